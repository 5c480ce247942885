//! `import-git`, against what git itself lists of each commit.

use super::Place;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether there is a git to compare with; without one there is nothing to test.
fn has_git() -> bool {
    Command::new("git").arg("--version").output().is_ok_and(|output| output.status.success())
}

struct Repo(PathBuf);

impl Repo {
    fn new(path: PathBuf) -> Self {
        std::fs::create_dir(&path).unwrap();
        let repo = Self(path);
        repo.git(&["init", "-q", "-b", "trunk"]);
        repo
    }

    fn git(&self, args: &[&str]) -> Vec<u8> {
        let who = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgSign=false"];
        let output = Command::new("git")
            .arg("-C")
            .arg(&self.0)
            .args(who)
            .args(args)
            .env_remove("GIT_DIR")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {args:?}: {told}");
        output.stdout
    }

    fn file(&self, name: impl AsRef<OsStr>, content: &str) {
        use std::io::Write as _;
        let path = self.0.join(name.as_ref());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(path).unwrap().write_all(content.as_bytes()).unwrap();
    }

    fn commit(&self, message: &str) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
    }

    /// The first-parent history, oldest first.
    fn history(&self) -> Vec<String> {
        let ids = self.git(&["rev-list", "--first-parent", "--reverse", "HEAD"]);
        String::from_utf8(ids).unwrap().lines().map(str::to_owned).collect()
    }

    /// What git lists of a commit, as pairs of path and `mode object-id`, sorted by path.
    fn tree(&self, id: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
        let listed = self.git(&["ls-tree", "-r", "-z", "--full-tree", id]);
        let mut rows: Vec<_> = listed
            .split(|byte| *byte == 0)
            .filter(|line| !line.is_empty())
            .map(|line| {
                let tab = line.iter().position(|byte| *byte == b'\t').unwrap();
                let words: Vec<_> = line[..tab].split(|byte| *byte == b' ').collect();
                (line[tab + 1..].to_vec(), [words[0], b" ", words[2]].concat())
            })
            .collect();
        rows.sort();
        rows
    }
}

/// The rows of `collection` as of `ts`, each there once.
fn contents(place: &Place, collection: &str, ts: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let db = datestone::Datestone::open(place.path().join("db")).unwrap();
    let snapshot = db.find(collection).unwrap().snapshot(ts as u64).unwrap();
    let mut rows = snapshot.iter();
    let mut found = vec![];
    while let Some(row) = rows.next_row().unwrap() {
        assert_eq!(row.diff, 1);
        found.push((row.key.to_vec(), row.val.to_vec()));
    }
    found
}

/// A history with everything that a tree can go through.
fn eventful(path: &Path) -> Repo {
    let repo = Repo::new(path.into());
    repo.file("a", "one");
    repo.file("dir/b", "two");
    repo.file("dir/new\nline\ttab \"quote\"", "odd");
    repo.file(OsStr::from_bytes(b"latin-\xe4"), "not UTF-8");
    repo.file(":100644 100644 x y M", "looks like a change");
    repo.file("0".repeat(40), "looks like a commit");
    repo.commit("first");
    repo.git(&["mv", "a", "renamed"]);
    repo.commit("rename");
    repo.commit("empty");
    repo.git(&["update-index", "--chmod=+x", "dir/b"]);
    repo.git(&["commit", "-q", "-m", "mode"]);
    repo.git(&["reset", "-q", "--hard"]);
    repo.git(&["checkout", "-q", "-b", "side"]);
    repo.file("side", "s");
    repo.file("dir/b", "changed on the side");
    repo.commit("side 1");
    repo.file("side", "s2");
    repo.commit("side 2");
    repo.git(&["checkout", "-q", "trunk"]);
    repo.file("trunk", "t");
    repo.commit("trunk");
    repo.git(&["merge", "-q", "--no-ff", "-m", "merge", "side"]);
    std::fs::remove_dir_all(repo.0.join("dir")).unwrap();
    repo.file("dir", "a file where a directory was");
    std::os::unix::fs::symlink("renamed", repo.0.join("link")).unwrap();
    repo.commit("a directory becomes a file");
    repo
}

#[test]
fn every_commit_reads_as_git_lists_it() {
    if !has_git() {
        return;
    }
    let place = Place::new();
    let repo = eventful(&place.path().join("repo"));
    // Small batches: commits of the database end within commits of git.
    place.run("import-git db repo --batch 3 -q").success().stdout_eq("");
    let history = repo.history();
    assert_eq!(history.len(), 7);
    for (ts, id) in history.iter().enumerate() {
        assert_eq!(contents(&place, "git", ts), repo.tree(id), "commit {ts} {id}");
    }
    place.run("import-git db repo --collection twice -q").success();
    assert_eq!(
        place.stdout("dump db git --mode snapshot"),
        String::from_utf8(place.stdout("dump db twice --mode snapshot"))
            .unwrap()
            .replace("\"twice\"", "\"git\"")
            .into_bytes()
    );
}

#[test]
fn an_import_goes_on_and_refuses_another_history() {
    if !has_git() {
        return;
    }
    let place = Place::new();
    let repo = eventful(&place.path().join("repo"));
    place
        .run("import-git db repo --rev HEAD~3")
        .success()
        .stderr_eq("dbtool: 4 new commits of 'git' are durable, upper 4\n");
    place
        .run("import-git db repo")
        .success()
        .stderr_eq("dbtool: 3 new commits of 'git' are durable, upper 7\n");
    let before = place.stdout("dump db git");
    place
        .run("import-git db repo")
        .success()
        .stderr_eq("dbtool: 0 new commits of 'git' are durable, upper 7\n");
    assert_eq!(place.stdout("dump db git"), before, "nothing is imported twice");
    for (ts, id) in repo.history().iter().enumerate() {
        assert_eq!(contents(&place, "git", ts), repo.tree(id), "commit {ts}");
    }
    // A shorter history, and one of the same length with another last commit.
    let refused = "dbtool: import-git: the history was rewritten since it was imported; 7 commits were imported, the last of them [..]; hint: import it into another --collection\n";
    place.run("import-git db repo --rev HEAD~1").code(1).stderr_eq(refused);
    repo.git(&["commit", "-q", "--amend", "-m", "amended"]);
    place.run("import-git db repo").code(1).stderr_eq(refused);
    assert_eq!(place.stdout("dump db git"), before);
}

#[test]
fn an_import_that_was_killed_within_a_commit_goes_on_exactly_there() {
    if !has_git() {
        return;
    }
    let place = Place::new();
    let repo = Repo::new(place.path().join("repo"));
    for n in 0..2000 {
        repo.file(format!("f{n:04}"), &n.to_string());
    }
    repo.commit("many");
    repo.file("f0000", "changed");
    repo.commit("one");
    // Killed at several moments, however far it has come by then.
    for round in 0..6 {
        let mut child = place.spawn("import-git db repo --batch 7 -q");
        let db = place.path().join("db");
        let mut spins = 0;
        while !db.join("LOCK").exists() && spins < 1_000_000 {
            spins += 1;
            std::thread::yield_now();
        }
        for _ in 0..(round * 3000) {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    place.run("import-git db repo --batch 7 -q").success();
    for (ts, id) in repo.history().iter().enumerate() {
        assert_eq!(contents(&place, "git", ts), repo.tree(id), "commit {ts}");
    }
}

#[test]
fn what_cannot_be_imported_is_told() {
    let place = Place::with_fruit();
    if !has_git() {
        return;
    }
    std::fs::create_dir(place.path().join("plain")).unwrap();
    place.run("import-git new plain").code(3).stderr_eq(
        "dbtool: import-git: git cannot read plain; [..]; hint: give the directory of a git repository with a commit, and a --rev of it\n",
    );
    let repo = Repo::new(place.path().join("repo"));
    place.run("import-git new repo").code(3);
    assert!(!place.path().join("new").exists(), "nothing to import must not make a database");
    repo.file("a", "1");
    repo.commit("one");
    place.run("import-git db repo --collection fruit").code(1).stderr_eq(
        "dbtool: import-git: collection 'fruit' is not what an import left; its upper is 4, 0 commits were imported; hint: choose another --collection\n",
    );
    place.run("import-git db repo --rev=--all").code(2);
    place.run("import-git db repo --collection dbtool.git").code(2);
}

#[test]
fn the_history_of_this_project_reads_as_git_lists_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    // A source archive has no history.
    if !has_git() || !root.join(".git").exists() {
        return;
    }
    let repo = Repo(root);
    let place = Place::new();
    let path = repo.0.to_str().unwrap();
    place.run_args(&["import-git", "db", path, "-q"]).success();
    for (ts, id) in repo.history().iter().enumerate() {
        assert_eq!(contents(&place, "git", ts), repo.tree(id), "commit {ts} {id}");
    }
}
