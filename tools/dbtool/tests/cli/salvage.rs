//! `salvage`: an undamaged database is copied, of a damaged one all is saved but the hit piece, and
//! nothing is written over.

use super::Place;
use snapbox::str;
use std::io::Write as _;

/// The only file of the database with this ending.
fn file(place: &Place, ending: &str) -> std::path::PathBuf {
    let entries = std::fs::read_dir(place.path().join("db")).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path());
    paths.find(|path| path.to_str().unwrap().ends_with(ending)).unwrap()
}

fn flip(path: &std::path::Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    std::fs::File::create(path).unwrap().write_all(&bytes).unwrap();
}

#[test]
fn an_undamaged_database_is_copied() {
    let place = Place::with_fruit();
    let dump = place.stdout("dump db");
    place.run("salvage db new").success().stderr_eq("").stdout_eq(str![[r#"
manifest          whole
collections       2
segments          0
segments_damaged  0
segments_lost     0
blocks            0
blocks_lost       0
updates           0
updates_lost      0
updates_left_out  0
commits           [..]
commits_lost      0
damages           0

"#]]);
    assert!(place.stdout("dump new") == dump && place.stdout("dump db") == dump);
    place.run("salvage db new").code(1).stderr_eq(str![[r#"
dbtool: salvage: something in new exists already

"#]]);
    place.run("salvage nothing other").code(3);
}

#[test]
fn what_is_hit_is_told_and_the_rest_is_saved() {
    let place = Place::with_fruit();
    place.run("compact db -q").success();
    let dump = place.stdout("dump db");
    let segment = file(&place, ".seg");
    // The header: nothing is lost.
    flip(&segment, 3);
    place.run("dump db").code(4);
    place.run("salvage db new").code(4).stderr_eq(str![[r#"
dbtool: db/[..].seg at offset 0: magic [..] expected, [..] found; collection 'fruit'
dbtool: salvage: 1 damages in db; new has what is whole; hint: dbtool info new

"#]]);
    assert!(place.stdout("dump new") == dump);
    // The one block.
    flip(&segment, 3);
    flip(&segment, 70);
    let lines = place.run("salvage db other --format jsonl").code(4).get_output().stdout.clone();
    let lines: Vec<serde_json::Value> = (String::from_utf8(lines).unwrap().lines())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!((&lines[0]["blocks_lost"], &lines[0]["updates_lost"]), (&1.into(), &6.into()));
    assert_eq!((&lines[1]["collection"], &lines[1]["offset"]), (&"fruit".into(), &64.into()));
    assert_eq!((&lines[1]["first_key"], &lines[1]["updates_lost"]), (&"apple".into(), &6.into()));
    assert_eq!(lines.len(), 2);
    place.run("ls other --format tsv").success();
    place.run("scan other fruit --count").success().stdout_eq("{\"as_of\":3,\"rows\":0}\n");
}
