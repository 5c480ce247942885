//! `dbtool import-git`: the first-parent history of a git repository as a collection.
//!
//! key = path, val = `mode object-id`, ts = the ordinal of the commit from 0. The contents as of n
//! are what `git ls-tree -r` lists of commit n.
//!
//! # Invariants
//! 1. A commit of the database holds a batch of updates, where it ends in the history, and the upper
//!    that the whole commits of git before it have come to, all or nothing.
//! 2. Upper passes the ordinal of a commit when all of its updates are durable, not before.
//! 3. Only a history that begins with what was imported is gone on with: a commit names all of its
//!    ancestors, so comparing one commit compares them all.
//! 4. Memory is bounded by a batch, however large a commit or a history is.

mod git;

use super::mark::Mark;
use super::note;
use super::position::POSITIONS;
use crate::args::{Global, ImportGit};
use crate::batch::Batch;
use crate::exit::Exit;
use crate::failure::{Failure, InDatabase as _, Result};
use crate::progress::Bar;
use crate::store::Store;
use datestone::{Collection, Frontier, Update};
use git::{Event, Repository};

/// The collection that keeps where imports stand: key = name of a collection, val = [`Place`].
const MARKS: &str = "dbtool.git";
/// Most bytes of keys and values in a commit.
const BATCH_LEN_MAX: usize = 16 << 20;

/// Runs the command.
pub(crate) fn run(global: &Global, args: &ImportGit) -> Result<()> {
    if [MARKS, POSITIONS].contains(&args.collection.as_str()) {
        let what = format!("collection '{}' keeps where imports stand", args.collection);
        return Err(Failure::usage(what).hint("choose another name"));
    }
    let repository = Repository::new(&args.repo);
    let tip = repository.resolve(&args.rev)?;
    let total = repository.count(&tip)?;
    let bar = Bar::commits("importing", total, global.progress());
    let store = Store::existing_or_new(&args.db)?;
    let mut import = Import::open(&store, &args.collection, args.batch.get())?;
    let before = import.place.commits;
    import.check(&repository, &tip, total)?;
    import.all(&repository, &tip, &bar)?;
    let Place { commits, .. } = import.place;
    store.close()?;
    bar.clear();
    let (new, target) = (commits - before, &args.collection);
    note(global, format_args!("{new} new commits of '{target}' are durable, upper {commits}"));
    Ok(())
}

/// How far the history is imported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Place {
    /// Count of commits that are imported as a whole.
    commits: u64,
    /// The last of them.
    done: Option<String>,
    /// Updates of the next commit that are imported already.
    rows: u64,
    /// That commit, when there are any.
    next: Option<String>,
}

impl Place {
    fn text(&self) -> String {
        let id = |id: &Option<String>| id.clone().unwrap_or_else(|| "-".into());
        format!("{} {} {} {}", self.commits, id(&self.done), self.rows, id(&self.next))
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let words: Vec<_> = std::str::from_utf8(text).ok()?.split(' ').collect();
        let [commits, done, rows, next] = words.as_slice() else { return None };
        let id = |word: &str| (word != "-").then(|| word.to_owned());
        let place = Self {
            commits: commits.parse().ok()?,
            done: id(done),
            rows: rows.parse().ok()?,
            next: id(next),
        };
        let fits = (place.commits == 0) == place.done.is_none()
            && (place.rows == 0) == place.next.is_none();
        fits.then_some(place)
    }
}

struct Import<'a> {
    store: &'a Store,
    collection: Collection,
    mark: Mark,
    /// What the batch comes to.
    place: Place,
    batch: Batch,
    batch_max: usize,
    /// Updates of the current commit that are durable already.
    skip: u64,
}

impl<'a> Import<'a> {
    fn open(store: &'a Store, target: &str, batch_max: usize) -> Result<Self> {
        let collection = store.db.collection(target).in_database(store.path())?;
        let mark = Mark::open(store, MARKS, target)?;
        let place = match mark.val() {
            None => Place::default(),
            Some(val) => Place::parse(val).ok_or_else(|| mark.odd())?,
        };
        let info = store.info(&collection)?;
        let is_empty = info.updates + info.memtable_updates == 0;
        let fits = info.upper == Frontier::at(place.commits) && (is_empty || mark.val().is_some());
        if !fits {
            let what = format!("collection '{target}' is not what an import left");
            return Err(Failure::new(Exit::Error, what)
                .why(format!(
                    "its upper is {}, {} commits were imported",
                    info.upper, place.commits
                ))
                .hint("choose another --collection"));
        }
        let skip = place.rows;
        Ok(Self { store, collection, mark, place, batch: Batch::default(), batch_max, skip })
    }

    /// Refuses a history that does not begin with what is imported (I3).
    fn check(&self, repository: &Repository, tip: &str, total: u64) -> Result<()> {
        let Some(done) = &self.place.done else { return Ok(()) };
        let commits = self.place.commits;
        let found = match total.checked_sub(commits) {
            Some(back) => repository.before(tip, back)?,
            None => String::new(),
        };
        if &found == done { Ok(()) } else { Err(self.rewritten()) }
    }

    fn rewritten(&self) -> Failure {
        let commits = self.place.commits;
        let last = self.place.done.as_deref().unwrap_or("none");
        Failure::new(Exit::Error, "the history was rewritten since it was imported")
            .why(format!("{commits} commits were imported, the last of them {last}"))
            .hint("import it into another --collection")
    }

    fn all(&mut self, repository: &Repository, tip: &str, bar: &Bar) -> Result<()> {
        let mut changes = repository.changes(self.place.done.as_deref(), tip)?;
        let mut current: Option<String> = None;
        while let Some(event) = changes.next()? {
            match event {
                Event::Commit(id) => {
                    self.whole(current.take());
                    if self.place.next.as_ref().is_some_and(|next| next != &id) {
                        return Err(self.rewritten());
                    }
                    self.place.rows = 0;
                    self.place.next = None;
                    current = Some(id);
                    bar.set_position(self.place.commits);
                }
                Event::Change { path, old, new } => {
                    for (val, diff) in [(old, -1), (new, 1)] {
                        if let Some(val) = val {
                            self.push(&path, &val, diff, &current);
                        }
                    }
                }
            }
            if self.batch.len() >= self.batch_max || self.batch.len_bytes() >= BATCH_LEN_MAX {
                self.commit()?;
            }
        }
        self.whole(current);
        self.commit()
    }

    /// All updates of `commit`, if there is one, are in the batch or durable.
    fn whole(&mut self, commit: Option<String>) {
        if commit.is_some() {
            let commits = self.place.commits + 1;
            self.place = Place { commits, done: commit, rows: 0, next: None };
            self.skip = 0;
        }
    }

    /// Adds an update of the current commit, unless it is durable already.
    fn push(&mut self, path: &[u8], val: &[u8], diff: i64, current: &Option<String>) {
        self.place.rows += 1;
        self.place.next.clone_from(current);
        if self.place.rows > self.skip {
            let ts = self.place.commits;
            self.batch.push(Update { key: path, val, ts, diff }, 0);
        }
    }

    /// Commits the batch and where it comes to (I1).
    fn commit(&mut self) -> Result<()> {
        let place = self.place.text();
        if self.mark.val() == Some(place.as_bytes()) {
            return Ok(());
        }
        let commit = self.store.db.commit().append(&self.collection, self.batch.updates());
        let commit = commit.advance_upper(&self.collection, Frontier::at(self.place.commits)); // I2
        self.mark.put(commit, place.as_bytes())?.run().in_database(self.store.path())?;
        self.mark.committed(place.as_bytes());
        self.batch.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_goes_round_and_an_odd_one_is_refused() {
        let next = Some("b".to_owned());
        for place in [
            Place::default(),
            Place { rows: 7, next: next.clone(), ..Place::default() },
            Place { commits: 3, done: Some("a".into()), rows: 0, next: None },
            Place { commits: 3, done: Some("a".into()), rows: 9, next },
        ] {
            assert_eq!(Place::parse(place.text().as_bytes()), Some(place));
        }
        for bad in ["", "0", "0 - 0", "0 a 0 -", "1 - 0 -", "0 - 1 -", "0 - 0 b", "x - 0 -"] {
            assert_eq!(Place::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
