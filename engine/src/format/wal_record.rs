//! The payload of a commit frame: the operations of one commit, over any number of collections.
//!
//! The committing thread encodes with [`RecordBuilder`]; the leader of the group and the replay
//! decode with [`decode`].
//!
//! # Invariants
//! 1. What [`RecordBuilder`] finishes, [`decode`] takes; both check the same limits.
//! 2. [`Rows`] only exists over bytes that were checked whole, so it cannot fail.
//! 3. Decoding allocates nothing but error texts.

#![deny(clippy::indexing_slicing)]

use super::{FormatError, Reader, SpecConstant, SpecLayout, padded};
use crate::error::{Error, Result};
use crate::limits::{COMMIT_LEN_MAX, KEY_LEN_MAX, META_LEN_MAX, NAME_LEN_MAX, VAL_LEN_MAX};
use crate::types::{CollectionId, Frontier, Kind, Update};

/// Bytes of a record before its first op.
pub const WAL_RECORD_HEADER_LEN: usize = 8;
/// Bytes of an op before its body.
pub const WAL_OP_HEADER_LEN: usize = 24;
/// Ops start at multiples of this; the body is padded with zeros.
pub const WAL_OP_ALIGN: usize = 8;
/// Bytes of a row before its key.
pub const WAL_ROW_HEADER_LEN: usize = 24;
/// Op: updates of a collection.
pub const WAL_OP_APPEND: u8 = 1;
/// Op: a collection's upper is raised.
pub const WAL_OP_ADVANCE_UPPER: u8 = 2;
/// Op: a collection's since is asked to be raised.
pub const WAL_OP_COMPACT_BELOW: u8 = 3;
/// Op: a collection is created.
pub const WAL_OP_CREATE: u8 = 4;
/// Op: a collection is dropped.
pub const WAL_OP_DROP: u8 = 5;
/// Op: a collection's metadata is replaced.
pub const WAL_OP_SET_META: u8 = 6;
/// Time of a row whose time the database gives when the commit is applied: rows of logs, and of tables on the database's clock.
pub const WAL_TS_ASSIGNED: u64 = u64::MAX;
/// Bytes of a timestamp. 16 is reserved.
pub const WAL_TS_WIDTH: u8 = 8;

/// The constants of FORMAT.md.
pub const CONSTANTS: &[SpecConstant] = &[
    ("WAL_RECORD_HEADER_LEN", WAL_RECORD_HEADER_LEN as u64),
    ("WAL_OP_HEADER_LEN", WAL_OP_HEADER_LEN as u64),
    ("WAL_OP_ALIGN", WAL_OP_ALIGN as u64),
    ("WAL_ROW_HEADER_LEN", WAL_ROW_HEADER_LEN as u64),
    ("WAL_OP_APPEND", WAL_OP_APPEND as u64),
    ("WAL_OP_ADVANCE_UPPER", WAL_OP_ADVANCE_UPPER as u64),
    ("WAL_OP_COMPACT_BELOW", WAL_OP_COMPACT_BELOW as u64),
    ("WAL_OP_CREATE", WAL_OP_CREATE as u64),
    ("WAL_OP_DROP", WAL_OP_DROP as u64),
    ("WAL_OP_SET_META", WAL_OP_SET_META as u64),
    ("WAL_TS_ASSIGNED", WAL_TS_ASSIGNED),
    ("WAL_TS_WIDTH", WAL_TS_WIDTH as u64),
];

/// The layouts of FORMAT.md.
pub const LAYOUTS: &[SpecLayout] = &[
    ("WalRecordHeader", &[("op_count", 4), ("reserved", 4)]),
    ("WalOpHeader", &[("kind", 1), ("reserved", 7), ("collection", 8), ("body_len", 8)]),
    ("WalRowHeader", &[("key_len", 4), ("val_len", 4), ("ts", 8), ("diff", 8)]),
    ("WalCreateHeader", &[("kind", 1), ("ts_width", 1), ("name_len", 2), ("meta_len", 4)]),
];

/// What a collection is created with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Create<'a> {
    /// The collection's kind.
    pub kind: Kind,
    /// Bytes of a timestamp; only [`WAL_TS_WIDTH`] is in use.
    pub ts_width: u8,
    /// Its name, not empty.
    pub name: &'a str,
    /// Its metadata, opaque.
    pub meta: &'a [u8],
}

/// One operation of a commit.
#[derive(Clone, Debug)]
pub enum Op<'a> {
    /// Updates of a collection.
    Append {
        /// The collection.
        collection: CollectionId,
        /// The updates, in the order given.
        rows: Rows<'a>,
    },
    /// A collection's upper is raised.
    AdvanceUpper {
        /// The collection.
        collection: CollectionId,
        /// The new upper.
        upper: Frontier,
    },
    /// A collection's since is asked to be raised.
    CompactBelow {
        /// The collection.
        collection: CollectionId,
        /// The requested since.
        since: Frontier,
    },
    /// A collection is created.
    Create {
        /// Its id, never used before.
        collection: CollectionId,
        /// What it is created with.
        create: Create<'a>,
    },
    /// A collection is dropped.
    Drop {
        /// The collection.
        collection: CollectionId,
    },
    /// A collection's metadata is replaced.
    SetMeta {
        /// The collection.
        collection: CollectionId,
        /// The new metadata.
        meta: &'a [u8],
    },
}

/// Encodes the operations of one commit, straight into the bytes of the frame's payload.
#[derive(Debug)]
pub struct RecordBuilder {
    bytes: Vec<u8>,
    op_count: u32,
    row_count: u64,
    /// The append op that takes rows.
    open: Option<OpenAppend>,
}

/// An append op that is not ended.
#[derive(Debug)]
struct OpenAppend {
    /// Where it starts.
    start: usize,
    row_count: u64,
    collection: CollectionId,
}

impl Default for RecordBuilder {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl RecordBuilder {
    /// A record without operations, with room for `len` bytes of them.
    #[must_use]
    pub fn with_capacity(len: usize) -> Self {
        let mut bytes = Vec::with_capacity(WAL_RECORD_HEADER_LEN + len);
        bytes.resize(WAL_RECORD_HEADER_LEN, 0);
        Self { bytes, op_count: 0, row_count: 0, open: None }
    }

    /// Count of operations so far.
    #[must_use]
    pub const fn op_count(&self) -> u32 {
        self.op_count
    }

    /// Count of rows so far, over all appends.
    #[must_use]
    pub const fn row_count(&self) -> u64 {
        self.row_count
    }

    /// Bytes so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no operation yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.op_count == 0
    }

    /// Starts an append to `collection`: the rows follow. Ends with the next operation or `finish`.
    pub fn begin_append(&mut self, collection: CollectionId) {
        self.end_append();
        self.open = Some(OpenAppend { start: self.bytes.len(), row_count: 0, collection });
        self.header(WAL_OP_APPEND, collection, 0);
        self.bytes.extend_from_slice(&[0; 8]);
    }

    /// The collection of the append that takes rows, if there is one.
    #[must_use]
    pub fn appends_to(&self) -> Option<CollectionId> {
        self.open.as_ref().map(|open| open.collection)
    }

    /// Adds an update to the append begun last.
    #[inline]
    pub fn row(&mut self, update: &Update<'_>) -> Result<()> {
        let Some(OpenAppend { row_count, .. }) = &mut self.open else {
            return Err(Error::Internal { what: "a row outside of an append".into() });
        };
        let (key_len, val_len) = (update.key.len(), update.val.len());
        if key_len > KEY_LEN_MAX || val_len > VAL_LEN_MAX {
            return Err(too_long(key_len, val_len));
        }
        let row_len = WAL_ROW_HEADER_LEN + key_len + val_len;
        if self.bytes.len() + row_len > COMMIT_LEN_MAX {
            return Err(record_too_long());
        }
        *row_count += 1;
        self.row_count += 1;
        let mut header = [0; WAL_ROW_HEADER_LEN];
        // Both lengths are far below 2^32 by the limits just checked.
        let words = [
            key_len as u64 | (val_len as u64) << 32,
            update.ts,
            u64::from_le_bytes(update.diff.to_le_bytes()),
        ];
        for (field, word) in header.chunks_exact_mut(8).zip(words) {
            field.copy_from_slice(&word.to_le_bytes());
        }
        self.bytes.reserve(row_len);
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(update.key);
        self.bytes.extend_from_slice(update.val);
        Ok(())
    }

    /// An append of all of `updates`.
    pub fn append(&mut self, collection: CollectionId, updates: &[Update<'_>]) -> Result<()> {
        self.begin_append(collection);
        updates.iter().try_for_each(|update| self.row(update))
    }

    /// Raises the upper of `collection`.
    pub fn advance_upper(&mut self, collection: CollectionId, upper: Frontier) {
        self.op(WAL_OP_ADVANCE_UPPER, collection, &[&upper.encode()]);
    }

    /// Asks to raise the since of `collection`.
    pub fn compact_below(&mut self, collection: CollectionId, since: Frontier) {
        self.op(WAL_OP_COMPACT_BELOW, collection, &[&since.encode()]);
    }

    /// Creates `collection`.
    pub fn create(&mut self, collection: CollectionId, create: &Create<'_>) -> Result<()> {
        check_create(create).map_err(Error::invalid)?;
        let mut header = [create.kind.code(), create.ts_width, 0, 0, 0, 0, 0, 0];
        let (_, lens) = header.split_at_mut(2);
        let (name_len, meta_len) = lens.split_at_mut(2);
        name_len.copy_from_slice(&(create.name.len() as u16).to_le_bytes());
        meta_len.copy_from_slice(&(create.meta.len() as u32).to_le_bytes());
        self.op(WAL_OP_CREATE, collection, &[&header, create.name.as_bytes(), create.meta]);
        Ok(())
    }

    /// Drops `collection`.
    pub fn drop_collection(&mut self, collection: CollectionId) {
        self.op(WAL_OP_DROP, collection, &[]);
    }

    /// Replaces the metadata of `collection`.
    pub fn set_meta(&mut self, collection: CollectionId, meta: &[u8]) -> Result<()> {
        if meta.len() > META_LEN_MAX {
            return Err(Error::invalid(meta_too_long(meta.len())));
        }
        self.op(WAL_OP_SET_META, collection, &[meta]);
        Ok(())
    }

    /// Adds an operation of another record.
    pub fn op_again(&mut self, op: &Op<'_>) -> Result<()> {
        match op {
            Op::Append { collection, rows } => {
                self.begin_append(*collection);
                return rows.clone().try_for_each(|update| self.row(&update));
            }
            Op::AdvanceUpper { collection, upper } => self.advance_upper(*collection, *upper),
            Op::CompactBelow { collection, since } => self.compact_below(*collection, *since),
            Op::Create { collection, create } => return self.create(*collection, create),
            Op::Drop { collection } => self.drop_collection(*collection),
            Op::SetMeta { collection, meta } => return self.set_meta(*collection, meta),
        }
        Ok(())
    }

    /// The record.
    pub fn finish(mut self) -> Result<Vec<u8>> {
        self.end_append();
        if self.bytes.len() > COMMIT_LEN_MAX {
            return Err(record_too_long());
        }
        put(&mut self.bytes, 0, &self.op_count.to_le_bytes());
        Ok(self.bytes)
    }

    fn op(&mut self, kind: u8, collection: CollectionId, body: &[&[u8]]) {
        self.end_append();
        self.header(kind, collection, body.iter().map(|part| part.len() as u64).sum());
        body.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.pad();
    }

    fn header(&mut self, kind: u8, collection: CollectionId, body_len: u64) {
        self.op_count += 1;
        self.bytes.extend_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 0]);
        self.bytes.extend_from_slice(&collection.0.to_le_bytes());
        self.bytes.extend_from_slice(&body_len.to_le_bytes());
    }

    fn end_append(&mut self) {
        if let Some(OpenAppend { start, row_count, .. }) = self.open.take() {
            let body_len = (self.bytes.len() - start - WAL_OP_HEADER_LEN) as u64;
            put(&mut self.bytes, start + 16, &body_len.to_le_bytes());
            put(&mut self.bytes, start + WAL_OP_HEADER_LEN, &row_count.to_le_bytes());
            self.pad();
        }
    }

    fn pad(&mut self) {
        self.bytes.resize(padded(self.bytes.len(), WAL_OP_ALIGN), 0);
    }
}

/// Overwrites bytes that were reserved earlier.
fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes
        .get_mut(at..at + field.len())
        .expect("the field was reserved when its header was written")
        .copy_from_slice(field);
}

#[cold]
fn too_long(key_len: usize, val_len: usize) -> Error {
    Error::invalid(if key_len > KEY_LEN_MAX {
        format!("a key of {key_len} bytes; at most {KEY_LEN_MAX} are allowed")
    } else {
        format!("a value of {val_len} bytes; at most {VAL_LEN_MAX} are allowed")
    })
}

#[cold]
fn record_too_long() -> Error {
    Error::invalid(format!("a commit of more than {COMMIT_LEN_MAX} bytes; split it"))
}

fn meta_too_long(len: usize) -> String {
    format!("metadata of {len} bytes; at most {META_LEN_MAX} are allowed")
}

fn check_create(create: &Create<'_>) -> std::result::Result<(), String> {
    let name_len = create.name.len();
    if create.ts_width != WAL_TS_WIDTH {
        return Err(format!("timestamps of {} bytes are not known", create.ts_width));
    }
    if name_len == 0 || name_len > NAME_LEN_MAX || create.name.chars().any(char::is_control) {
        return Err(format!(
            "a collection name has 1 to {NAME_LEN_MAX} bytes and no control characters"
        ));
    }
    if create.meta.len() > META_LEN_MAX {
        return Err(meta_too_long(create.meta.len()));
    }
    Ok(())
}

/// The operations of a record. After an error the iterator returns the same error for ever.
pub fn decode(payload: &[u8]) -> std::result::Result<Ops<'_>, FormatError> {
    let mut reader = Reader::new(payload);
    let op_count = reader.u32()?;
    reader.zeros(4)?;
    if op_count as usize > reader.left() / WAL_OP_HEADER_LEN {
        return Err(reader.error(format!("{op_count} operations do not fit")));
    }
    Ok(Ops { reader, left: op_count, failed: false })
}

/// The operations of a record; see [`decode`].
#[derive(Clone, Debug)]
pub struct Ops<'a> {
    reader: Reader<'a>,
    left: u32,
    failed: bool,
}

impl<'a> Ops<'a> {
    fn step(&mut self) -> std::result::Result<Option<Op<'a>>, FormatError> {
        if self.left == 0 {
            return self.reader.clone().finish().map(|()| None);
        }
        self.left -= 1;
        let start = self.reader.offset();
        let kind = self.reader.u8()?;
        self.reader.zeros(7)?;
        let collection = CollectionId(self.reader.u64()?);
        let body_len = self.reader.u64()?;
        let body_at = self.reader.offset();
        // A length beyond `usize` is beyond the input as well.
        let body_len = usize::try_from(body_len).unwrap_or(usize::MAX);
        let body = self.reader.bytes(body_len)?;
        self.reader.zeros(padded(body_len, WAL_OP_ALIGN) - body_len)?;
        let op = decode_op(kind, collection, body).map_err(|mut e| {
            e.offset += body_at;
            e
        })?;
        match op {
            Some(op) => Ok(Some(op)),
            None => Err(FormatError::new(start, format!("operation kind {kind} is not known"))),
        }
    }
}

impl<'a> Iterator for Ops<'a> {
    type Item = std::result::Result<Op<'a>, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        self.step().inspect_err(|_| self.failed = true).transpose()
    }
}

fn decode_op(
    kind: u8,
    collection: CollectionId,
    body: &[u8],
) -> std::result::Result<Option<Op<'_>>, FormatError> {
    let mut reader = Reader::new(body);
    let op = match kind {
        WAL_OP_APPEND => {
            return Rows::check(body).map(|rows| Some(Op::Append { collection, rows }));
        }
        WAL_OP_ADVANCE_UPPER => Op::AdvanceUpper { collection, upper: reader.frontier()? },
        WAL_OP_COMPACT_BELOW => Op::CompactBelow { collection, since: reader.frontier()? },
        WAL_OP_CREATE => Op::Create { collection, create: decode_create(&mut reader)? },
        WAL_OP_DROP => Op::Drop { collection },
        WAL_OP_SET_META if body.len() > META_LEN_MAX => {
            return Err(reader.error(meta_too_long(body.len())));
        }
        WAL_OP_SET_META => Op::SetMeta { collection, meta: reader.bytes(body.len())? },
        _ => return Ok(None),
    };
    reader.finish().map(|()| Some(op))
}

fn decode_create<'a>(reader: &mut Reader<'a>) -> std::result::Result<Create<'a>, FormatError> {
    let (kind, ts_width) = (reader.u8()?, reader.u8()?);
    let kind = Kind::from_code(kind)
        .ok_or_else(|| reader.error(format!("collection kind {kind} is not known")))?;
    let (name_len, meta_len) = (reader.u16()? as usize, reader.u32()? as usize);
    let name = std::str::from_utf8(reader.bytes(name_len)?)
        .map_err(|_| reader.error("a collection name that is not UTF-8"))?;
    let create = Create { kind, ts_width, name, meta: reader.bytes(meta_len)? };
    check_create(&create).map_err(|what| reader.error(what))?;
    Ok(create)
}

/// The updates of one append, checked: an infallible iterator.
#[derive(Clone, Debug)]
pub struct Rows<'a> {
    bytes: &'a [u8],
    left: usize,
}

impl<'a> Rows<'a> {
    /// Checks the body of an append.
    fn check(body: &'a [u8]) -> std::result::Result<Self, FormatError> {
        let mut reader = Reader::new(body);
        let row_count = reader.u64()?;
        let bytes = body.get(8..).unwrap_or_default();
        let left = usize::try_from(row_count)
            .ok()
            .filter(|count| *count <= bytes.len() / WAL_ROW_HEADER_LEN)
            .ok_or_else(|| FormatError::new(0, format!("{row_count} rows do not fit")))?;
        let mut rows = bytes;
        for _ in 0..left {
            rows = match split_row(rows) {
                Some((update, rest))
                    if update.key.len() <= KEY_LEN_MAX && update.val.len() <= VAL_LEN_MAX =>
                {
                    rest
                }
                Some(_) => return Err(row_error(body, rows, "is longer than the limits allow")),
                None => return Err(row_error(body, rows, "reaches beyond the operation")),
            };
        }
        if !rows.is_empty() {
            return Err(row_error(body, rows, "was not announced"));
        }
        Ok(Self { bytes, left })
    }

    /// Whether there is no update left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.left == 0
    }
}

#[cold]
fn row_error(body: &[u8], rows: &[u8], what: &str) -> FormatError {
    FormatError::new(body.len() - rows.len(), format!("a row {what}"))
}

/// The row at the front of `bytes`, and what is behind it.
#[inline]
fn split_row(bytes: &[u8]) -> Option<(Update<'_>, &[u8])> {
    let (header, rest) = bytes.split_first_chunk::<WAL_ROW_HEADER_LEN>()?;
    let (key_len, header) = header.split_first_chunk::<4>()?;
    let (val_len, header) = header.split_first_chunk::<4>()?;
    let (ts, diff) = header.split_first_chunk::<8>()?;
    let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*key_len) as usize)?;
    let (val, rest) = rest.split_at_checked(u32::from_le_bytes(*val_len) as usize)?;
    let diff = i64::from_le_bytes(*diff.first_chunk::<8>()?);
    Some((Update { key, val, ts: u64::from_le_bytes(*ts), diff }, rest))
}

impl<'a> Iterator for Rows<'a> {
    type Item = Update<'a>;

    #[inline]
    fn next(&mut self) -> Option<Update<'a>> {
        if self.left == 0 {
            return None;
        }
        // I2: every row was split once before, so this is `Some`.
        let (update, rest) = split_row(self.bytes)?;
        self.bytes = rest;
        self.left -= 1;
        Some(update)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Rows<'_> {}

#[cfg(test)]
mod tests;
