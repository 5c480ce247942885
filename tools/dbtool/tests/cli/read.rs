//! Reading: get, scan, info, ls, stat.

use super::Place;
use snapbox::str;

#[test]
fn get_prints_the_rows_of_a_key() {
    let place = Place::with_fruit();
    place.run("get db fruit apple").success().stderr_eq("").stdout_eq(str![[r#"
{"key":"apple","val":"green","ts":3,"diff":2}

"#]]);
    place.run("get db fruit apple --as-of 1").success().stdout_eq(str![[r#"
{"key":"apple","val":"green","ts":1,"diff":2}
{"key":"apple","val":"red","ts":1,"diff":1}

"#]]);
    place.run_args(&["get", "db", "fruit", r#"{"b64": "/wA="}"#]).success().stdout_eq(str![[r#"
{"key":{"b64":"/wA="},"val":{"b64":"gA=="},"ts":3,"diff":1}

"#]]);
}

#[test]
fn scan_prints_rows_in_order() {
    let place = Place::with_fruit();
    place.run("scan db fruit").success().stderr_eq("").stdout_eq(str![[r#"
{"key":"apple","val":"green","ts":3,"diff":2}
{"key":"pear","val":"green/n","ts":3,"diff":1}
{"key":"plum","val":"blue","ts":3,"diff":1}
{"key":{"b64":"/wA="},"val":{"b64":"gA=="},"ts":3,"diff":1}

"#]]);
    place.run("scan db fruit --prefix p --as-of 2").success().stdout_eq(str![[r#"
{"key":"pear","val":"green/n","ts":2,"diff":1}

"#]]);
    place.run("scan db fruit --from pear --to plum").success().stdout_eq(str![[r#"
{"key":"pear","val":"green/n","ts":3,"diff":1}

"#]]);
    place.run("scan db fruit --reverse --limit 2 --from b --to q").success().stdout_eq(str![[r#"
{"key":"plum","val":"blue","ts":3,"diff":1}
{"key":"pear","val":"green/n","ts":3,"diff":1}

"#]]);
    place.run("scan db fruit --prefix x").success().stdout_eq("");
}

#[test]
fn scan_counts() {
    let place = Place::with_fruit();
    place.run("scan db fruit --count").success().stdout_eq("{\"as_of\":3,\"rows\":4}\n");
    place
        .run("scan db fruit --count --as-of 2 --limit 2")
        .success()
        .stdout_eq("{\"as_of\":2,\"rows\":2}\n");
    place
        .run("scan db fruit --count --prefix x --format tsv")
        .success()
        .stdout_eq("as_of\trows\n3\t0\n");
}

#[test]
fn rows_in_other_formats() {
    let place = Place::with_fruit();
    let tsv = "key\tval\tts\tdiff\napple\tgreen\t3\t2\npear\tgreen\\n\t3\t1\nplum\tblue\t3\t1\n\
               {\"b64\":\"/wA=\"}\t{\"b64\":\"gA==\"}\t3\t1\n";
    assert_eq!(place.stdout("scan db fruit --format tsv"), tsv.as_bytes());
    let table = String::from_utf8(place.stdout("scan db fruit --limit 2 --format table")).unwrap();
    assert_eq!(
        table,
        "key    val      ts  diff\napple  green     3     2\npear   green\\n   3     1\n"
    );
}

#[test]
fn info_ls_and_stat_tell_what_there_is() {
    let place = Place::with_fruit();
    place.run("ls db").success().stderr_eq("").stdout_eq(str![[r#"
collection        id  kind      since  upper  updates  bytes  garbage  segments  runs
dbtool.positions [..]
fruit             [..]  multiset      0      4        6  [..]

"#]]);
    place.run("info db").success().stderr_eq("").stdout_eq(str![[r#"
database        db
format_version  1
collections     2
...
collection        id  kind      since  upper  updates[..]
dbtool.positions [..]
fruit             [..]  multiset      0      4        6  [..]

"#]]);
    place.run("stat db fruit --format jsonl").success().stdout_eq(str![[r#"
{"collection":"fruit","id":[..],"kind":"multiset","since":0,"upper":4,"updates":6,"bytes":[..],"garbage":0.0000,"segments":[..],"runs":[..],"meta_bytes":0}

"#]]);
    place.run("stat db --format jsonl").success().stdout_eq(str![[r#"
{"format_version":1,"collections":2,"updates":[..]}

"#]]);
}

#[test]
fn compact_forgets_what_was_below() {
    let place = Place::with_fruit();
    place.run("compact db fruit --below 3 --format jsonl").success().stderr_eq("").stdout_eq(str![[r#"
{"collection":"fruit","since":3,"updates_before":6,"updates_after":4,"bytes_before":[..],"bytes_after":[..]}

"#]]);
    place.run("scan db fruit --count").success().stdout_eq("{\"as_of\":3,\"rows\":4}\n");
    place.run("get db fruit apple --as-of 2").code(7).stdout_eq("");
    // Asking for less than was forgotten already changes nothing.
    place.run("compact db --below 1 --format tsv --quiet").success();
    place.run("stat db fruit --format jsonl").success().stdout_eq(str![[r#"
{"collection":"fruit","id":[..],"kind":"multiset","since":3,"upper":4,"updates":4,[..]}

"#]]);
    place.run("compact db fruit --below 9 --format tsv").success().stderr_eq(str![[r#"
dbtool: nothing of 'fruit' is readable until upper, 4, passes 9

"#]]);
}

#[test]
fn verify_tells_what_it_checked() {
    let place = Place::with_fruit();
    place.run("verify db").success().stdout_eq(str![[r#"
depth     quick
segments  [..]
blocks    [..]
updates   [..]
bytes     [..]

"#]]);
    place.run("verify db --full --format jsonl --quiet").success().stderr_eq("").stdout_eq(str![[
        r#"
{"depth":"full","segments":[..]}

"#
    ]]);
}
