//! SQLite, through rusqlite with its bundled source.
//!
//! Tuning: a table `WITHOUT ROWID` with the key as its primary key, as its documentation recommends
//! for keys that are not integers; WAL with `synchronous = FULL`, which syncs each commit; a cache of
//! 1 GiB and a memory map of 8 GiB, which save system calls; prepared statements. Deferred commits set
//! `synchronous = OFF`. The sorted load is one transaction in order of the keys. A reader is a
//! connection of its own with one read transaction.
//!
//! Checksums: of the log only; pages have none unless an extension adds them.

use super::{CACHE_BYTES, Shape};
use crate::Result;
use crate::data::{Key, Seen, Val};
use crate::engine::{Durability, Engine, Op, Reader};
use rusqlite::{Connection, Statement};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

const PUT: &str = "INSERT INTO kv VALUES (?1, ?2) ON CONFLICT (k) DO UPDATE SET v = ?2";
const DELETE: &str = "DELETE FROM kv WHERE k = ?1";
const GET: &str = "SELECT v FROM kv WHERE k = ?1";
const FROM: &str = "SELECT k, v FROM kv WHERE k >= ?1 ORDER BY k LIMIT ?2";
const BETWEEN: &str = "SELECT k, v FROM kv WHERE k >= ?1 AND k < ?3 ORDER BY k LIMIT ?2";
const REVERSE: &str = "SELECT k, v FROM kv ORDER BY k DESC LIMIT ?1";

/// An open database.
struct Store {
    path: PathBuf,
    writer: Mutex<Writer>,
}

/// The connection that writes.
struct Writer {
    connection: Connection,
    durability: Durability,
}

/// Opens it.
pub(super) fn open(dir: &Path, _shape: Shape) -> Result<Box<dyn Engine>> {
    let path = dir.join("sqlite");
    let connection = connect(&path)?;
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS kv (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID",
    )?;
    let writer = Writer { connection, durability: Durability::Synced };
    Ok(Box::new(Store { path, writer: Mutex::new(writer) }))
}

/// A connection.
fn connect(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.set_prepared_statement_cache_capacity(16);
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 60000;
         PRAGMA cache_size = -{}; PRAGMA mmap_size = {};",
        CACHE_BYTES >> 10,
        8_u64 << 30,
    ))?;
    Ok(connection)
}

impl Writer {
    /// Has commits made as `durability` says from now on.
    fn ask(&mut self, durability: Durability) -> Result<()> {
        if self.durability != durability {
            self.connection.execute_batch(match durability {
                Durability::Synced => "PRAGMA synchronous = FULL",
                Durability::Deferred => "PRAGMA synchronous = OFF",
            })?;
            self.durability = durability;
        }
        Ok(())
    }
}

impl Engine for Store {
    fn write(&self, ops: &[Op<'_>], durability: Durability) -> Result<()> {
        let mut writer = self.writer.lock().map_err(|_| "a writer panicked")?;
        writer.ask(durability)?;
        let connection = &writer.connection;
        // A statement alone is a transaction; many need one around them.
        let several = ops.len() > 1;
        if several {
            connection.prepare_cached("BEGIN IMMEDIATE")?.execute(())?;
        }
        for op in ops {
            match op.val {
                Some(val) => connection.prepare_cached(PUT)?.execute((op.key, val))?,
                None => connection.prepare_cached(DELETE)?.execute((op.key,))?,
            };
        }
        if several {
            connection.prepare_cached("COMMIT")?.execute(())?;
        }
        Ok(())
    }

    fn get(&self, key: &[u8], seen: &mut Seen) -> Result<bool> {
        let writer = self.writer.lock().map_err(|_| "a writer panicked")?;
        find(&mut *writer.connection.prepare_cached(GET)?, key, seen)
    }

    fn read(&self, job: &mut dyn FnMut(&dyn Reader) -> Result<()>) -> Result<()> {
        let connection = connect(&self.path)?;
        connection.execute_batch("BEGIN")?;
        job(&View {
            get: RefCell::new(connection.prepare(GET)?),
            from: RefCell::new(connection.prepare(FROM)?),
            between: RefCell::new(connection.prepare(BETWEEN)?),
            reverse: RefCell::new(connection.prepare(REVERSE)?),
        })?;
        Ok(connection.execute_batch("COMMIT")?)
    }

    fn load_sorted(&self, rows: &mut dyn Iterator<Item = (Key, Val)>) -> Result<()> {
        let mut writer = self.writer.lock().map_err(|_| "a writer panicked")?;
        writer.ask(Durability::Synced)?;
        let connection = &writer.connection;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let mut put = connection.prepare("INSERT INTO kv VALUES (?1, ?2)")?;
        for (key, val) in rows {
            put.execute((&key[..], &val[..]))?;
        }
        Ok(connection.execute_batch("COMMIT")?)
    }

    fn bulk_path(&self) -> &'static str {
        "one transaction, in order"
    }

    fn sync(&self) -> Result<()> {
        let mut writer = self.writer.lock().map_err(|_| "a writer panicked")?;
        writer.ask(Durability::Synced)?;
        checkpoint(&writer.connection, "FULL")
    }

    fn flush(&self) -> Result<()> {
        let writer = self.writer.lock().map_err(|_| "a writer panicked")?;
        checkpoint(&writer.connection, "TRUNCATE")
    }

    fn reclaim(&mut self) -> Result<()> {
        let writer = self.writer.lock().map_err(|_| "a writer panicked")?;
        writer.connection.execute_batch("VACUUM")?;
        checkpoint(&writer.connection, "TRUNCATE")
    }
}

/// Copies the log into the database, synced.
fn checkpoint(connection: &Connection, mode: &str) -> Result<()> {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    Ok(connection.query_row(&sql, (), |_| Ok(()))?)
}

/// Reads the value of a key.
fn find(statement: &mut Statement<'_>, key: &[u8], seen: &mut Seen) -> Result<bool> {
    let mut rows = statement.query((key,))?;
    let Some(row) = rows.next()? else { return Ok(false) };
    seen.val(row.get_ref(0)?.as_blob()?);
    Ok(true)
}

/// One read transaction with its statements.
struct View<'a> {
    get: RefCell<Statement<'a>>,
    from: RefCell<Statement<'a>>,
    between: RefCell<Statement<'a>>,
    reverse: RefCell<Statement<'a>>,
}

impl Reader for View<'_> {
    fn get(&self, key: &[u8], seen: &mut Seen) -> Result<bool> {
        find(&mut self.get.borrow_mut(), key, seen)
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>, limit: u64, seen: &mut Seen) -> Result<()> {
        let limit = i64::try_from(limit).unwrap_or(-1);
        let (mut statement, mut between);
        let mut rows = match to {
            None => {
                statement = self.from.borrow_mut();
                statement.query((from, limit))?
            }
            Some(to) => {
                between = self.between.borrow_mut();
                between.query((from, limit, to))?
            }
        };
        while let Some(row) = rows.next()? {
            seen.row(row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
        }
        Ok(())
    }

    fn scan_reverse(&self, limit: u64, seen: &mut Seen) -> Result<()> {
        let mut statement = self.reverse.borrow_mut();
        let mut rows = statement.query((i64::try_from(limit).unwrap_or(-1),))?;
        while let Some(row) = rows.next()? {
            seen.row(row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
        }
        Ok(())
    }

    fn rows(&self, from: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        let mut statement = self.from.borrow_mut();
        let mut rows = statement.query((from, -1))?;
        while let Some(row) = rows.next()? {
            if !visit(row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?) {
                break;
            }
        }
        Ok(())
    }
}
