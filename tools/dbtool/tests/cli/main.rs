//! The program as its users see it: command lines, what they print, how they end.
//!
//! Every test runs in a new directory, so that paths in transcripts are relative and the same
//! everywhere. What depends on how the engine lays out its files is left open with `[..]`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod change;
mod demo;
mod dump;
mod exit;
#[cfg(unix)]
mod git;
mod inspect;
mod load;
mod options;
mod read;
mod readme;
mod salvage;
mod time;

use snapbox::cmd::{Command, cargo_bin};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Stdio};

/// A directory to run in.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A place with the collection `fruit` in the database `db`, of which upper is 4.
    fn with_fruit() -> Self {
        let place = Self::new();
        place.file("fruit.jsonl", FRUIT);
        place.run("load db fruit fruit.jsonl --quiet").success().stdout_eq("");
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        File::create(self.path().join(name)).unwrap().write_all(content.as_ref()).unwrap();
    }

    /// Runs dbtool with the words of `line` as arguments.
    fn run(&self, line: &str) -> snapbox::cmd::OutputAssert {
        self.run_args(&line.split(' ').collect::<Vec<_>>())
    }

    fn run_args(&self, args: &[&str]) -> snapbox::cmd::OutputAssert {
        Command::new(cargo_bin!("dbtool")).current_dir(self.path()).args(args).assert()
    }

    fn run_with(
        &self,
        line: &str,
        stdin: impl snapbox::data::IntoData,
    ) -> snapbox::cmd::OutputAssert {
        let command = Command::new(cargo_bin!("dbtool")).current_dir(self.path());
        command.args(line.split(' ')).stdin(stdin).assert()
    }

    /// What dbtool prints, which must succeed.
    fn stdout(&self, line: &str) -> Vec<u8> {
        self.run(line).success().get_output().stdout.clone()
    }

    /// Starts dbtool with pipes.
    fn spawn(&self, line: &str) -> Child {
        std::process::Command::new(cargo_bin!("dbtool"))
            .current_dir(self.path())
            .args(line.split(' '))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

/// Bytes, text with escapes, several values of a key, a retraction, a multiplicity.
const FRUIT: &str = r#"{"key":"apple","val":"red","ts":1,"diff":1}
{"key":"apple","val":"green","ts":1,"diff":2}
{"key":"pear","val":"green\n","ts":2,"diff":1}
{"key":"apple","val":"red","ts":2,"diff":-1}
{"key":{"b64":"/wA="},"val":{"b64":"gA=="},"ts":2,"diff":1}
{"key":"plum","val":"blue","ts":3,"diff":1}
"#;

/// The data that the repository carries.
fn cargo_lock() -> String {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/cargo-lock.jsonl.zst");
    data.to_str().unwrap().to_owned()
}
