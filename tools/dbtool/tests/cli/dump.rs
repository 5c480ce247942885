//! Dumps, and what comes of them.

use super::{FRUIT, Place, cargo_lock};
use snapbox::str;

#[test]
fn a_dump_is_as_documented() {
    let place = Place::with_fruit();
    place.run("dump db fruit").success().stderr_eq("").stdout_eq(str![[r#"
{"datestone_dump":1,"created_by":"dbtool [..]","source_format":1,"mode":"updates","as_of":null}
{"collection":"fruit","ts_width":8,"since":0,"upper":4,"config":{"kind":"multiset","meta":""}}
{"key":"apple","val":"green","ts":1,"diff":2}
{"key":"apple","val":"red","ts":1,"diff":1}
{"key":"apple","val":"red","ts":2,"diff":-1}
{"key":"pear","val":"green/n","ts":2,"diff":1}
{"key":"plum","val":"blue","ts":3,"diff":1}
{"key":{"b64":"/wA="},"val":{"b64":"gA=="},"ts":2,"diff":1}
{"end":"fruit","rows":6,"diff_sum":5,"crc32":"b7d653cf"}
{"end_dump":true,"collections":1,"rows":6}

"#]]);
    place.run("dump db fruit --mode snapshot --as-of 1").success().stdout_eq(str![[r#"
{"datestone_dump":1,"created_by":"dbtool [..]","source_format":1,"mode":"snapshot","as_of":1}
{"collection":"fruit","ts_width":8,"since":1,"upper":2,"config":{"kind":"multiset","meta":""}}
{"key":"apple","val":"green","ts":1,"diff":2}
{"key":"apple","val":"red","ts":1,"diff":1}
{"end":"fruit","rows":2,"diff_sum":3,"crc32":"[..]"}
{"end_dump":true,"collections":1,"rows":2}

"#]]);
}

/// Future updates, a raised since, an empty collection, real data: the dump of what was restored
/// is the same, byte for byte.
#[test]
fn the_dump_of_a_restored_database_is_the_same() {
    let place = Place::new();
    place.run_with("load db fruit --open-ended -q", FRUIT).success();
    place.run_with("load db empty -q", "").success();
    place.run(&format!("load db lock {} --batch 3000 -q", cargo_lock())).success();
    place.run("compact db lock --below 1704067200 -q").success();
    let dump = place.stdout("dump db");
    place.file("dump.jsonl", &dump);
    place.file("dump.jsonl.zst", zstd::encode_all(&*dump, 3).unwrap());
    place.run("load restored --dump dump.jsonl --batch 100").success().stdout_eq("").stderr_eq(
        str![[r#"
dbtool: restored updates of 4 collections, [..] rows

"#]],
    );
    assert!(place.stdout("dump restored") == dump, "the dumps differ");
    place.run("load again --dump dump.jsonl.zst -q").success();
    place.run("compact again -q").success();
    assert!(place.stdout("dump again") == dump, "the dumps differ after compaction");
    place.run_with("load piped --dump - -q", dump.clone()).success();
    assert!(place.stdout("dump piped") == dump, "the dumps differ when piped");
}

#[test]
fn a_cut_dump_restores_nothing_unless_told_to() {
    let place = Place::with_fruit();
    let dump = String::from_utf8(place.stdout("dump db fruit")).unwrap();
    let cut: String = dump.split_inclusive('\n').take(5).collect();
    place.file("cut.jsonl", &cut);
    place.run("load restored --dump cut.jsonl --batch 1").code(1).stderr_eq(str![[r#"
dbtool: load: the dump cut.jsonl is cut short; its last line {"end_dump": ..} is missing; nothing was restored; hint: get the whole dump, or keep what there is with --allow-partial

"#]]);
    place.run("ls restored --format jsonl").success().stdout_eq("");
    place.run("load restored --dump cut.jsonl --allow-partial -q").success();
    place.run("scan restored fruit").success().stdout_eq(str![[r#"
{"key":"apple","val":"green","ts":3,"diff":2}

"#]]);
}

#[test]
fn a_changed_dump_restores_nothing() {
    let place = Place::with_fruit();
    let dump = String::from_utf8(place.stdout("dump db fruit")).unwrap();
    place.file("changed.jsonl", dump.replace("\"val\":\"blue\"", "\"val\":\"bleu\""));
    place.run("load restored --dump changed.jsonl").code(1).stderr_eq(str![[r#"
dbtool: load: changed.jsonl:9: the dump was changed: collection 'fruit' has rows 6, diff_sum 5, crc32 [..], where this line says 'fruit', 6, 5, [..]

"#]]);
    place.run("ls restored --format jsonl").success().stdout_eq("");
}

#[test]
fn a_dump_never_goes_over_what_is_there() {
    let place = Place::with_fruit();
    place.file("dump.jsonl", place.stdout("dump db fruit"));
    place.run("load db --dump dump.jsonl").code(1).stderr_eq(str![[r#"
dbtool: load: collection 'fruit' exists already; hint: restore into a new directory

"#]]);
    place.run("scan db fruit --count").success().stdout_eq("{\"as_of\":3,\"rows\":4}\n");
}
