//! Writes a dump.

use super::{CollectionHead, DUMP_VERSION, DumpHead, TS_WIDTH, Tally};
use crate::datum;
use crate::row;
use datestone::Update;
use std::io::{self, Write};

/// Writes a dump: `new`, for each collection `begin`, `row` and `end`, then `finish`.
pub(crate) struct DumpWriter<W> {
    out: W,
    line: Vec<u8>,
    tally: Tally,
    name: String,
    collections: u64,
    rows: u64,
}

impl<W: Write> DumpWriter<W> {
    /// Begins a dump.
    pub(crate) fn new(mut out: W, head: &DumpHead) -> io::Result<Self> {
        let created_by = concat!("dbtool ", env!("CARGO_PKG_VERSION"));
        let DumpHead { source_format, mode, as_of } = head;
        write!(
            out,
            "{{\"datestone_dump\":{DUMP_VERSION},\"created_by\":\"{created_by}\",\
             \"source_format\":{source_format},\"mode\":\"{}\",\"as_of\":",
            mode.name()
        )?;
        match as_of {
            Some(ts) => row::write_int(&mut out, i128::from(*ts))?,
            None => out.write_all(b"null")?,
        }
        out.write_all(b"}\n")?;
        let (line, name) = (vec![], String::new());
        Ok(Self { out, line, tally: Tally::default(), name, collections: 0, rows: 0 })
    }

    /// Begins a collection.
    pub(crate) fn begin(&mut self, head: &CollectionHead) -> io::Result<()> {
        self.name.clone_from(&head.name);
        self.tally = Tally::default();
        self.out.write_all(b"{\"collection\":")?;
        datum::write_json(&mut self.out, head.name.as_bytes())?;
        write!(
            self.out,
            ",\"ts_width\":{TS_WIDTH},\"since\":{},\"upper\":{},\"config\":{{\"kind\":\"{}\",\"meta\":",
            row::frontier_json(head.since),
            row::frontier_json(head.upper),
            head.kind
        )?;
        datum::write_json(&mut self.out, &head.meta)?;
        self.out.write_all(b"}}\n")
    }

    /// Writes a row of the collection.
    pub(crate) fn row(&mut self, update: Update<'_>) -> io::Result<()> {
        self.line.clear();
        row::write(&mut self.line, update)?;
        self.tally.add(&self.line, update.diff);
        self.out.write_all(&self.line)
    }

    /// Ends the collection.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.out.write_all(b"{\"end\":")?;
        datum::write_json(&mut self.out, self.name.as_bytes())?;
        write!(self.out, ",\"rows\":{},\"diff_sum\":", self.tally.rows)?;
        row::write_int(&mut self.out, self.tally.diff_sum)?;
        writeln!(self.out, ",\"crc32\":\"{}\"}}", self.tally.crc())?;
        self.collections += 1;
        self.rows += self.tally.rows;
        Ok(())
    }

    /// Ends the dump and flushes.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        let (collections, rows) = (self.collections, self.rows);
        writeln!(self.out, "{{\"end_dump\":true,\"collections\":{collections},\"rows\":{rows}}}")?;
        self.out.flush()
    }
}
