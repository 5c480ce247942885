//! Dumps go round, and any change or cut is noticed.

use super::*;
use crate::failure::Result;
use crate::input::Input;
use datestone::Update;
use std::io::Cursor;

const ROWS: [Update<'static>; 3] = [
    Update { key: b"", val: b"\xff", ts: 3, diff: i64::MIN },
    Update { key: b"a", val: b"v", ts: 3, diff: 1 },
    Update { key: b"a", val: b"v", ts: u64::MAX, diff: -1 },
];

fn heads() -> [CollectionHead; 2] {
    let head = |name: &str, since, upper, meta: &[u8]| CollectionHead {
        kind: datestone::Kind::Multiset,
        name: name.into(),
        since,
        upper,
        meta: meta.to_vec(),
    };
    [
        head("a \"quoted\" name", Frontier::at(3), Frontier::at(1 << 53), b"\x00\xff"),
        head("empty", Frontier::MIN, Frontier::CLOSED, b""),
    ]
}

fn dump() -> Vec<u8> {
    let head = DumpHead { source_format: 1, mode: Mode::Updates, as_of: None };
    let mut out = vec![];
    let mut writer = DumpWriter::new(&mut out, &head).unwrap();
    let [first, second] = heads();
    writer.begin(&first).unwrap();
    for row in ROWS {
        writer.row(row).unwrap();
    }
    writer.end().unwrap();
    writer.begin(&second).unwrap();
    writer.end().unwrap();
    writer.finish().unwrap();
    out
}

/// Reads the whole dump and writes it again; `Ok(None)` when it is cut.
fn rewrite(dump: &[u8]) -> Result<Option<Vec<u8>>> {
    let input = Input::new("dump".into(), Box::new(Cursor::new(dump.to_vec())))?;
    let mut reader = DumpReader::new(input)?;
    let mut out = vec![];
    let mut writer = DumpWriter::new(&mut out, reader.head()).unwrap();
    loop {
        match reader.next_event()? {
            Event::Begin(head) => writer.begin(&head).unwrap(),
            Event::Row(update, _) => writer.row(update).unwrap(),
            Event::End => writer.end().unwrap(),
            Event::Finished => break,
            Event::Cut => return Ok(None),
        }
    }
    writer.finish().unwrap();
    Ok(Some(out))
}

#[test]
fn the_format_is_as_documented() {
    let text = String::from_utf8(dump()).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let head = format!(
        "{{\"datestone_dump\":1,\"created_by\":\"dbtool {}\",\"source_format\":1,\"mode\":\"updates\",\"as_of\":null}}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(lines[0], head);
    assert_eq!(
        lines[1],
        r#"{"collection":"a \"quoted\" name","ts_width":8,"since":3,"upper":"9007199254740992","config":{"kind":"multiset","meta":{"b64":"AP8="}}}"#
    );
    assert_eq!(lines[2], r#"{"key":"","val":{"b64":"/w=="},"ts":3,"diff":"-9223372036854775808"}"#);
    let crc = crc32fast::hash(
        text.lines().skip(2).take(3).fold(String::new(), |all, line| all + line + "\n").as_bytes(),
    );
    assert_eq!(
        lines[5],
        format!(
            "{{\"end\":\"a \\\"quoted\\\" name\",\"rows\":3,\"diff_sum\":\"-9223372036854775808\",\"crc32\":\"{crc:08x}\"}}"
        )
    );
    assert_eq!(lines[7], r#"{"end":"empty","rows":0,"diff_sum":0,"crc32":"00000000"}"#);
    assert_eq!(lines[8], r#"{"end_dump":true,"collections":2,"rows":3}"#);
    assert_eq!(lines.len(), 9);
}

#[test]
fn a_dump_goes_round() {
    assert_eq!(rewrite(&dump()).unwrap(), Some(dump())); // I1
}

#[test]
fn a_cut_dump_is_never_taken_for_a_whole_one() {
    let dump = dump();
    let whole = dump.len() - 1; // the last line end says nothing
    for cut in 0..whole {
        assert!(!matches!(rewrite(&dump[..cut]), Ok(Some(_))), "cut at {cut}"); // I2
    }
    assert_eq!(rewrite(&dump[..whole]).unwrap(), Some(dump.clone()));
}

#[test]
fn a_changed_row_line_is_refused() {
    let dump = dump();
    let text = String::from_utf8(dump.clone()).unwrap();
    let rows_start: usize = text.lines().take(2).map(|line| line.len() + 1).sum();
    let rows_end: usize = text.lines().take(5).map(|line| line.len() + 1).sum();
    for at in rows_start..rows_end {
        let mut changed = dump.clone();
        changed[at] ^= 1;
        assert!(rewrite(&changed).is_err(), "changed at {at}"); // I2
    }
    let more = [dump.clone(), b"{}\n".to_vec()].concat();
    let told = rewrite(&more).unwrap_err().to_string();
    assert_eq!(told, "dump:10: the dump has ended before this line");
    let crlf = text.replace('\n', "\r\n");
    assert!(rewrite(crlf.as_bytes()).unwrap_err().to_string().contains("the dump was changed"));
}

#[test]
fn what_is_no_dump_of_ours_is_told_apart() {
    let failure = rewrite(br#"{"key":"a","val":"","ts":1,"diff":1}"#).unwrap_err();
    assert!(failure.to_string().starts_with("dump is not a dump; "), "{failure}");
    assert_eq!(failure.exit(), crate::exit::Exit::Error);
    let newer = rewrite(br#"{"datestone_dump":2,"anything":[1]}"#).unwrap_err();
    assert_eq!(newer.exit(), crate::exit::Exit::Format);
    let text = String::from_utf8(dump()).unwrap();
    let table = rewrite(text.replace("multiset", "heap").as_bytes()).unwrap_err();
    assert_eq!(table.exit(), crate::exit::Exit::Format);
}
