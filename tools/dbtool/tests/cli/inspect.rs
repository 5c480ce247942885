//! `inspect` and `check-dump`: files told without a database, damaged ones as far as they go.

use super::Place;
use snapbox::str;
use std::io::Write as _;
use std::path::PathBuf;

/// The first file of the database whose name fits.
fn find(place: &Place, fits: impl Fn(&str) -> bool) -> PathBuf {
    let mut names: Vec<_> = std::fs::read_dir(place.path().join("db"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| fits(path.file_name().unwrap().to_str().unwrap()))
        .collect();
    names.sort();
    names.into_iter().next().unwrap()
}

fn inspect(place: &Place, args: &[&str]) -> snapbox::cmd::OutputAssert {
    place.run_args(&[&["inspect"], args].concat())
}

/// Lines of JSON, parsed.
fn lines(place: &Place, args: &[&str]) -> Vec<serde_json::Value> {
    let args = [args, &["--format", "jsonl"]].concat();
    let output = inspect(place, &args);
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn change(path: &std::path::Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0x55;
    std::fs::File::create(path).unwrap().write_all(&bytes).unwrap();
}

#[test]
fn a_log_file_is_told_frame_by_frame_and_values_only_when_asked() {
    let place = Place::with_fruit();
    let wal = find(&place, |name| name.ends_with(".log"));
    let wal = wal.to_str().unwrap();
    let text =
        String::from_utf8(inspect(&place, &["wal", wal]).success().get_output().stdout.clone())
            .unwrap();
    assert!(text.contains("frame     at=4096  seqno=1  kind=commit"), "{text}");
    assert!(text.contains("create    collection=1  name=fruit"), "{text}");
    assert!(text.contains("kind=close"), "{text}");
    assert!(text.ends_with("why=no frame of this use of the file from here on\n"), "{text}");
    assert!(!text.contains("update "), "no updates unless asked for: {text}");

    let rows = lines(&place, &["wal", wal, "--rows"]);
    let updates: Vec<_> = rows.iter().filter(|line| line["is"] == "update").collect();
    assert!(updates.iter().any(|line| line["key"] == "apple" && line["val_bytes"] == 3));
    assert!(updates.iter().all(|line| line.get("val").is_none()), "values are hidden");
    let rows = lines(&place, &["wal", wal, "--values"]);
    assert!(rows.iter().any(|line| line["key"]["b64"] == "/wA=" && line["val"]["b64"] == "gA=="));
}

#[test]
fn a_damaged_log_file_is_told_as_far_as_it_goes() {
    let place = Place::with_fruit();
    let wal = find(&place, |name| name.ends_with(".log"));
    let name = wal.to_str().unwrap();
    let frames = lines(&place, &["wal", name]);
    let at: Vec<_> = frames
        .iter()
        .filter(|line| line["is"] == "frame")
        .map(|line| line["at"].as_u64().unwrap() as usize)
        .collect();
    assert!(at.len() >= 3);
    // In a payload.
    change(&wal, at[1] + 41);
    let output = inspect(&place, &["wal", name]).code(4);
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    assert!(text.contains("seqno=1 ") && text.contains("damage  "), "{text}");
    assert!(!text.contains("seqno=3 "), "nothing behind the damage is believed: {text}");
    change(&wal, at[1] + 41);
    // In a header: a hole, because a frame of this use is behind it.
    change(&wal, at[1]);
    let told = format!(
        "dbtool: inspect: damage at offset {}: no frame here, but seqno 3 at offset {}; hint: [..]\n",
        at[1], at[2]
    );
    inspect(&place, &["wal", name]).code(4).stderr_eq(told);
    change(&wal, at[1]);
    // In the file's header, and cut short.
    change(&wal, 0);
    inspect(&place, &["wal", name]).code(4);
    change(&wal, 0);
    let bytes = std::fs::read(&wal).unwrap();
    std::fs::File::create(&wal).unwrap().write_all(&bytes[..at[1] + 44]).unwrap();
    inspect(&place, &["wal", name]).code(4);
    std::fs::File::create(&wal).unwrap();
    inspect(&place, &["wal", name]).success();
}

#[test]
fn a_manifest_is_told_edit_by_edit() {
    let place = Place::with_fruit();
    place.run("compact db -q").success();
    let manifest = find(&place, |name| name.starts_with("MANIFEST-"));
    let name = manifest.to_str().unwrap();
    let told = lines(&place, &["manifest", name]);
    let is = |sort: &str| told.iter().filter(|line| line["is"] == sort).count();
    assert_eq!((is("file"), is("snapshot"), is("stopped")), (1, 1, 1));
    assert!(told.iter().any(|line| line["is"] == "head" && line["name"] == "fruit"));
    assert!(told.iter().any(|line| line["is"] == "segment" && line["updates"] == 6));
    inspect(&place, &["manifest", name]).success();
    // Every byte: never a panic, never a crash, and what is before the damage is told.
    let len = std::fs::metadata(&manifest).unwrap().len() as usize;
    for at in (0..len).step_by(len / 24) {
        change(&manifest, at);
        let code = inspect(&place, &["manifest", name]).get_output().status.code();
        assert_eq!(code, Some(4), "byte {at}");
        change(&manifest, at);
    }
}

#[test]
fn a_segment_and_its_blocks_are_told_whole_or_damaged() {
    let place = Place::with_fruit();
    place.run("compact db -q").success();
    let segment = &find(&place, |name| name.ends_with(".seg"));
    let name = segment.to_str().unwrap();
    let told = lines(&place, &["segment", name]);
    let is = |sort: &str| told.iter().filter(|line| line["is"] == sort).count();
    assert_eq!((is("header"), is("stats"), is("block"), is("damage")), (1, 1, 1, 0));
    let rows = lines(&place, &["block", name, "0"]);
    let stats = told.iter().find(|line| line["is"] == "stats").unwrap();
    let updates: Vec<_> = rows.iter().filter(|line| line["is"] == "update").collect();
    assert_eq!(updates.len() as u64, stats["updates"].as_u64().unwrap());
    assert!(
        updates.iter().all(|line| line.get("val").is_none() && line.get("val_bytes").is_some())
    );
    let rows = lines(&place, &["block", name, "0", "--values"]);
    assert!(rows.iter().any(|line| line.get("val").is_some()));
    inspect(&place, &["block", name, "1"]).code(3);

    let block = told.iter().find(|line| line["is"] == "block").unwrap();
    let at = block["at"].as_u64().unwrap() as usize;
    change(segment, at + 1);
    // The damage is told beside what is whole.
    let told = lines(&place, &["segment", name]);
    let is = |sort: &str| told.iter().filter(|line| line["is"] == sort).count();
    assert_eq!((is("stats"), is("block"), is("damage")), (1, 1, 1));
    inspect(&place, &["segment", name]).code(4);
    inspect(&place, &["block", name, "0"]).code(4);
    change(segment, at + 1);

    let len = std::fs::metadata(segment).unwrap().len() as usize;
    for at in (0..len).step_by(len / 24) {
        change(segment, at);
        for args in [&["segment", name][..], &["block", name, "0"]] {
            let code = inspect(&place, args).get_output().status.code();
            assert!(matches!(code, Some(0 | 4)), "byte {at}: {code:?}");
        }
        change(segment, at);
    }
}

#[test]
fn what_is_no_such_file_is_told() {
    let place = Place::with_fruit();
    inspect(&place, &["wal", "db"]).code(2);
    inspect(&place, &["wal", "nowhere"]).code(3);
    for what in [&["wal"][..], &["manifest"], &["segment"]] {
        inspect(&place, &[what, &["fruit.jsonl"]].concat()).code(4).stdout_eq(str![[r#"
...
damage    at=[..]
...

"#]]);
    }
}

#[test]
fn a_dump_is_checked_without_a_database() {
    let place = Place::with_fruit();
    place.file("dump.jsonl", place.stdout("dump db"));
    place.run("check-dump dump.jsonl --format jsonl").success().stdout_eq(str![[r#"
{"dump":"dump.jsonl","mode":"updates","source_format":1,"collections":2,"rows":7}

"#]]);
    place.file("snapshot.jsonl", place.stdout("dump db fruit --mode snapshot"));
    place.run("check-dump snapshot.jsonl -q").success();
    let dump = std::fs::read_to_string(place.path().join("dump.jsonl")).unwrap();
    let all: Vec<&str> = dump.lines().collect();
    let mut cut = all[..all.len() - 1].join("\n");
    cut.push('\n');
    place.file("cut.jsonl", &cut);
    place.run("check-dump cut.jsonl").code(4).stderr_eq(
        "dbtool: check-dump: cut.jsonl is cut short; its last line does not say {\"end_dump\": ..}\n",
    );
    place.file("changed.jsonl", dump.replace("red", "rad"));
    place.run("check-dump changed.jsonl").code(1);
    // In another order: only the order is wrong, so the checksum is put right.
    let rows: Vec<usize> =
        (0..all.len()).filter(|n| all[*n].starts_with("{\"key\":\"apple\"")).collect();
    let mut swapped = all.clone();
    swapped.swap(rows[0], rows[1]);
    place.file("swapped.jsonl", swapped.join("\n") + "\n");
    place.run("check-dump swapped.jsonl").code(4).stderr_eq(
        "dbtool: check-dump: swapped.jsonl:[..]: the row is not in order of key, val and ts, or is there twice\n",
    );
}
