//! The `git` executable: which commits there are, and what each changed.
//!
//! Only plumbing is called, without a shell, with arguments that cannot be taken for options and
//! output that is separated by zero bytes, so that no configuration, no path and no name of a
//! revision changes what is read.
//!
//! # Invariants
//! 1. Every process that is started has ended when its owner is gone.
//! 2. What git prints is not trusted: a line that is not of the expected form is a failure, and none
//!    longer than [`TOKEN_LEN_MAX`] is kept.

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// Longest token that git may print, in bytes; a path is one.
const TOKEN_LEN_MAX: u64 = 1 << 20;
/// Variables that would have git look into another repository than the one that is named.
const VARIABLES: [&str; 6] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_NAMESPACE",
    "GIT_INDEX_FILE",
];

/// A git repository.
pub(super) struct Repository {
    path: PathBuf,
}

impl Repository {
    /// The repository at `path`.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.into() }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("git");
        // Replaced objects would make histories with the same commits differ.
        command.arg("--no-replace-objects").arg("-C").arg(&self.path);
        VARIABLES.iter().for_each(|name| {
            command.env_remove(name);
        });
        command.env("GIT_OPTIONAL_LOCKS", "0").stdin(Stdio::null());
        command
    }

    /// What git prints with these arguments.
    fn ask(&self, args: &[&str]) -> Result<String> {
        let output = self.command().args(args).output().map_err(|error| cannot_run(&error))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            let what = format!("git cannot read {}", self.path.display());
            return Err(Failure::new(Exit::NotFound, what)
                .why(said.lines().last().unwrap_or("it does not say why"))
                .hint("give the directory of a git repository with a commit, and a --rev of it"));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().into())
    }

    /// The id of the commit that `rev` stands for.
    pub(super) fn resolve(&self, rev: &str) -> Result<String> {
        if rev.starts_with('-') {
            return Err(Failure::usage(format!("'{rev}' is no revision")));
        }
        let id = self.ask(&["rev-parse", "--verify", &format!("{rev}^{{commit}}"), "--"]);
        let id = id?.lines().next().unwrap_or_default().to_owned();
        if is_id(id.as_bytes()) { Ok(id) } else { Err(odd(id.as_bytes())) }
    }

    /// Count of the commits in the first-parent history of `tip`, itself included.
    pub(super) fn count(&self, tip: &str) -> Result<u64> {
        let count = self.ask(&["rev-list", "--count", "--first-parent", tip, "--"])?;
        count.parse().map_err(|_| odd(count.as_bytes()))
    }

    /// The commit that is `back` commits before `tip` in its first-parent history.
    pub(super) fn before(&self, tip: &str, back: u64) -> Result<String> {
        let skip = format!("--skip={back}");
        self.ask(&["rev-list", "--first-parent", "--max-count=1", &skip, tip, "--"])
    }

    /// What the commits of the first-parent history of `tip` changed, oldest first; only those
    /// behind `done`, if that is given.
    pub(super) fn changes(&self, done: Option<&str>, tip: &str) -> Result<Changes> {
        let range = done.map_or_else(|| tip.to_owned(), |done| format!("{done}..{tip}"));
        let mut list = Process::start(self.command().args([
            "rev-list",
            "--first-parent",
            "--reverse",
            &range,
            "--",
        ]))?;
        let ids = list.stdout()?;
        let mut diffs = Process::start(
            self.command()
                .args(["diff-tree", "--stdin", "-r", "-z", "-m", "--root", "--raw", "--always"])
                .args(["--no-renames", "--no-abbrev", "--no-ext-diff", "--ignore-submodules=none"])
                .stdin(ids),
        )?;
        let out = BufReader::with_capacity(256 << 10, diffs.stdout()?);
        let tokens = Tokens { out, token: Vec::new() };
        Ok(Changes { tokens, list, diffs, last: None, is_repeated: false })
    }
}

/// What happened to the tree, in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// What follows was changed by this commit.
    Commit(String),
    /// An entry of the tree was replaced, added or removed.
    Change {
        /// Its path.
        path: Vec<u8>,
        /// `mode object-id` before, `None` when it was not there.
        old: Option<Vec<u8>>,
        /// `mode object-id` after, `None` when it is gone.
        new: Option<Vec<u8>>,
    },
}

/// Reads what commits changed.
pub(super) struct Changes {
    tokens: Tokens,
    list: Process,
    diffs: Process,
    last: Option<String>,
    /// Whether what is read repeats a merge against another than its first parent.
    is_repeated: bool,
}

impl Changes {
    /// The next event; `None` at the end, when git has said that all went well.
    pub(super) fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if !self.tokens.read()? {
                self.list.end()?;
                self.diffs.end()?;
                return Ok(None);
            }
            if is_id(&self.tokens.token) {
                let id = String::from_utf8_lossy(&self.tokens.token).into_owned();
                self.is_repeated = self.last.as_ref() == Some(&id);
                if self.is_repeated {
                    continue;
                }
                self.last = Some(id.clone());
                return Ok(Some(Event::Commit(id)));
            }
            let Some((old, new)) = parse_change(&self.tokens.token) else {
                return Err(odd(&self.tokens.token));
            };
            if self.last.is_none() || !self.tokens.read()? {
                return Err(odd(b""));
            }
            if !self.is_repeated {
                let path = self.tokens.token.clone();
                return Ok(Some(Event::Change { path, old, new }));
            }
        }
    }
}

/// `mode object-id` of a path, `None` when it is not there.
type Entry = Option<Vec<u8>>;

/// `:<old mode> <new mode> <old id> <new id> <letter>` as the entries before and after.
fn parse_change(token: &[u8]) -> Option<(Entry, Entry)> {
    let words: Vec<&[u8]> = token.strip_prefix(b":")?.split(|byte| *byte == b' ').collect();
    let [old_mode, new_mode, old_id, new_id, _letter] = words.as_slice() else { return None };
    let entry = |mode: &[u8], id: &[u8]| {
        let is_mode = mode.len() == 6 && mode.iter().all(u8::is_ascii_digit);
        let there = mode != b"000000";
        (is_mode && is_id(id)).then(|| there.then(|| [mode, b" ", id].concat()))
    };
    Some((entry(old_mode, old_id)?, entry(new_mode, new_id)?))
}

/// Whether this is the id of an object: SHA-1 or SHA-256 in hexadecimal.
fn is_id(bytes: &[u8]) -> bool {
    matches!(bytes.len(), 40 | 64) && bytes.iter().all(u8::is_ascii_hexdigit)
}

/// Tokens that end with a zero byte.
struct Tokens {
    out: BufReader<ChildStdout>,
    token: Vec<u8>,
}

impl Tokens {
    /// Reads the next token; `false` at the end.
    fn read(&mut self) -> Result<bool> {
        self.token.clear();
        let mut limited = self.out.by_ref().take(TOKEN_LEN_MAX);
        let read = limited
            .read_until(0, &mut self.token)
            .map_err(|error| Failure::new(Exit::Error, "cannot read what git prints").why(error))?;
        match self.token.pop() {
            None => Ok(false),
            Some(0) => Ok(true),
            Some(_) if read as u64 == TOKEN_LEN_MAX => Err(odd(&self.token)),
            Some(_) => Err(Failure::new(Exit::Error, "git stopped in the middle")),
        }
    }
}

/// A running git.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Result<Self> {
        command.stdout(Stdio::piped()).spawn().map(Self).map_err(|error| cannot_run(&error))
    }

    fn stdout(&mut self) -> Result<ChildStdout> {
        self.0.stdout.take().ok_or_else(|| Failure::new(Exit::Error, "git has no output"))
    }

    /// Waits for its end, which must be a good one.
    fn end(&mut self) -> Result<()> {
        match self.0.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Failure::new(Exit::Error, "git failed").why(status)),
            Err(error) => Err(Failure::new(Exit::Error, "cannot wait for git").why(error)),
        }
    }
}

impl Drop for Process {
    /// Of a process that has ended this does nothing. I1
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn cannot_run(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Error, "cannot run git").why(error).hint("install git, or put it on PATH")
}

fn odd(said: &[u8]) -> Failure {
    let head = said.get(..64).unwrap_or(said).escape_ascii();
    Failure::new(Exit::Error, "git printed something unexpected").why(format!("'{head}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_read_or_refused() {
        let (zero, id) = ["0".repeat(40), "a".repeat(40)].into();
        let parse = |text: String| parse_change(text.as_bytes());
        let entry = Some(format!("100644 {id}").into_bytes());
        assert_eq!(parse(format!(":000000 100644 {zero} {id} A")), Some((None, entry.clone())));
        assert_eq!(parse(format!(":100644 000000 {id} {zero} D")), Some((entry, None)));
        for bad in [
            String::new(),
            ":".into(),
            format!("000000 100644 {zero} {id} A"),
            format!(":000000 100644 {zero} {id}"),
            format!(":000000 100644 {zero} {id} R100 x"),
            format!(":000000 10x644 {zero} {id} A"),
            format!(":000000 100644 {zero} {} A", &id[1..]),
        ] {
            assert_eq!(parse(bad.clone()), None, "{bad}");
        }
    }
}
