//! Rows in, from every form, and what is said of bad ones.

use super::*;
use std::io;

/// An update that owns its bytes.
type Owned = (Vec<u8>, Vec<u8>, u64, i64);

fn input(bytes: &[u8]) -> Input {
    Input::new("rows".into(), Box::new(Cursor::new(bytes.to_vec()))).unwrap()
}

/// Every row of `bytes`, or the first failure as told.
fn read(
    bytes: &[u8],
    format: RowFormat,
    upper: Frontier,
) -> std::result::Result<Vec<Owned>, String> {
    let mut batch = Batch::default();
    let mut all = || -> Result<()> {
        let mut source = RowSource::new(input(bytes), format)?;
        assert_eq!(source.name(), "rows");
        while source.read_into(&mut batch, upper)? {}
        Ok(())
    };
    all().map_err(|failure| failure.to_string())?;
    let own = |u: &Update<'_>| (u.key.to_vec(), u.val.to_vec(), u.ts, u.diff);
    Ok(batch.updates().iter().map(own).collect())
}

const JSONL: &[u8] = br#"{"key":"a","val":"x\ty","ts":1,"diff":1}

  {"diff": "-2", "ts": "18446744073709551615", "val": {"b64": "/wA="}, "key": ""}
"#;

fn expected() -> Vec<Owned> {
    vec![(b"a".to_vec(), b"x\ty".to_vec(), 1, 1), (vec![], vec![0xff, 0], u64::MAX, -2)]
}

#[test]
fn lines_of_json_plain_and_compressed() {
    assert_eq!(read(JSONL, RowFormat::Jsonl, Frontier::MIN), Ok(expected()));
    let crlf = String::from_utf8(JSONL.to_vec()).unwrap().replace('\n', "\r\n");
    assert_eq!(read(crlf.as_bytes(), RowFormat::Jsonl, Frontier::MIN), Ok(expected()));
    let unended = JSONL.trim_ascii_end();
    assert_eq!(read(unended, RowFormat::Jsonl, Frontier::MIN), Ok(expected()));
    let mut compressed = zstd::encode_all(JSONL, 3).unwrap();
    assert_eq!(read(&compressed, RowFormat::Jsonl, Frontier::MIN), Ok(expected()));
    // Frames may follow each other, as `cat a.zst b.zst` makes them.
    compressed.extend_from_within(..);
    let twice = [expected(), expected()].concat();
    assert_eq!(read(&compressed, RowFormat::Jsonl, Frontier::MIN), Ok(twice));
    assert_eq!(read(b"", RowFormat::Jsonl, Frontier::MIN), Ok(vec![]));
}

#[test]
fn csv_in_any_order_of_columns() {
    let csv = b"ts,key,val,diff\r\n1,a,\"x\ty\",1\r\n18446744073709551615,,\"{\"\"b64\"\": \"\"/wA=\"\"}\",-2\r\n";
    assert_eq!(read(csv, RowFormat::Csv, Frontier::MIN), Ok(expected()));
    let raw = b"key,val,ts,diff\n\"a\nb\",\xff,1,1\n";
    let rows = vec![(b"a\nb".to_vec(), vec![0xff], 1, 1)];
    assert_eq!(read(raw, RowFormat::Csv, Frontier::MIN), Ok(rows));
    assert_eq!(read(b"\xef\xbb\xbfkey,val,ts,diff\n", RowFormat::Csv, Frontier::MIN), Ok(vec![]));
}

#[test]
fn a_bad_line_names_file_line_and_column() {
    let cases: [(&[u8], RowFormat, &str); 11] = [
        (b"\n{\"key\":\"a\"\n", RowFormat::Jsonl, "rows:2: column 1"),
        (b"{\"key\":\"\xff\",\"val\":\"\",\"ts\":1,\"diff\":1}", RowFormat::Jsonl, "rows:1: column 9: invalid unicode"),
        (
            b"{\"key\":\"a\",\"val\":\"\",\"ts\":1,\"diff\":1}\n{\"key\":\"a\",\"val\":\"\",\"ts\":4,\"diff\":0.5}",
            RowFormat::Jsonl,
            "rows:2: column 37: invalid type: floating point `0.5`, expected a diff",
        ),
        (b"", RowFormat::Csv, "rows:1: column 1: the header has no column 'key'; hint: begin the file with"),
        (b"key,val,ts\n", RowFormat::Csv, "the header has no column 'diff'"),
        (b"key,val,ts,diff,key\n", RowFormat::Csv, "the header names the column 'key' twice"),
        (b"key,val,ts,weight\n", RowFormat::Csv, "a column 'weight', which no row has"),
        (b"key,val,ts,diff\na,b,1\n", RowFormat::Csv, "rows:2: column 4: the header has 4 columns, this row 3"),
        (b"key,val,ts,diff\n\"a\n\",b,1,1\na,b,x,1\n", RowFormat::Csv, "rows:4: column 3 (ts): a ts is a whole number"),
        (b"diff,key,val,ts\n,a,b,1\n", RowFormat::Csv, "rows:2: column 1 (diff): a diff is a whole number"),
        (b"key,val,ts,diff\na,\"{\"\"b64\"\":1}\",1,1\n", RowFormat::Csv, "rows:2: column 2 (val): what starts with"),
    ];
    for (bytes, format, told) in cases {
        let failure = read(bytes, format, Frontier::MIN).unwrap_err();
        assert!(failure.contains(told), "{failure}\nexpected: {told}");
    }
}

#[test]
fn a_closed_time_and_a_long_key_are_refused_in_place() {
    let line = b"{\"key\":\"a\",\"val\":\"\",\"ts\":4,\"diff\":1}";
    let told = read(line, RowFormat::Jsonl, Frontier::at(5)).unwrap_err();
    let place = "rows:1: column 26: ts 4 is below upper 5: that time is closed; hint: ";
    assert!(told.starts_with(place), "{told}");
    assert!(read(line, RowFormat::Jsonl, Frontier::at(4)).is_ok());
    let csv = b"ts,diff,key,val\n4,1,a,b\n";
    let told = read(csv, RowFormat::Csv, Frontier::CLOSED).unwrap_err();
    assert!(told.starts_with("rows:2: column 1 (ts): ts 4 is below upper closed"), "{told}");
    let key = "k".repeat(KEY_LEN_MAX + 1);
    let long = format!("{{\"key\":\"{key}\",\"val\":\"\",\"ts\":4,\"diff\":1}}");
    let told = read(long.as_bytes(), RowFormat::Jsonl, Frontier::MIN).unwrap_err();
    assert_eq!(told, "rows:1: column 8: a key has at most 65536 bytes, this has 65537");
}

#[test]
fn a_line_without_end_is_refused_in_bounded_memory() {
    let endless = Input::new("rows".into(), Box::new(io::repeat(b'x'))).unwrap();
    let mut lines = Lines::with_len_max(endless, 1000);
    let failure = lines.next_line().unwrap_err().to_string();
    assert_eq!(failure, "rows:1: column 1: the line is longer than 1000 bytes");
    assert!(lines.last().len() <= 1001);
}

#[test]
fn damaged_zstd_is_told_and_never_taken_for_the_end() {
    let compressed = zstd::encode_all(JSONL, 3).unwrap();
    for cut in 4..compressed.len() {
        let failure = read(&compressed[..cut], RowFormat::Jsonl, Frontier::MIN);
        let told = failure.expect_err("a cut file must not read as a whole one");
        assert!(told.contains("rows"), "{told}");
    }
    let cut = &compressed[..compressed.len() - 1];
    let told = read(cut, RowFormat::Jsonl, Frontier::MIN).unwrap_err();
    assert!(told.contains("cannot read rows") && told.contains("cut short"), "{told}");
}

#[test]
fn the_name_of_a_file_tells_its_format() {
    let of = |name| RowFormat::of(Path::new(name));
    assert_eq!(of("dir/rows.csv"), RowFormat::Csv);
    assert_eq!(of("rows.CSV.zst"), RowFormat::Csv);
    assert_eq!(of("rows.jsonl.zst"), RowFormat::Jsonl);
    assert_eq!(of("csv"), RowFormat::Jsonl);
    assert_eq!(of("-"), RowFormat::Jsonl);
}

#[test]
fn what_is_no_file_is_told() {
    let told = |path: &Path| Input::open(path, &Bar::hidden()).err().map(|failure| failure.exit());
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(told(&dir.path().join("missing")), Some(Exit::NotFound));
    assert_eq!(told(dir.path()), Some(Exit::Usage));
}
