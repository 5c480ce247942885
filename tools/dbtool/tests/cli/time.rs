//! Along the time axis: history, diff, tail.

use super::Place;
use snapbox::str;
use std::io::{BufRead as _, BufReader};

#[test]
fn history_prints_updates_at_their_times() {
    let place = Place::with_fruit();
    place.run("history db fruit apple").success().stderr_eq("").stdout_eq(str![[r#"
{"key":"apple","val":"green","ts":1,"diff":2}
{"key":"apple","val":"red","ts":1,"diff":1}
{"key":"apple","val":"red","ts":2,"diff":-1}

"#]]);
    place.run("history db fruit --prefix p --from 3").success().stdout_eq(str![[r#"
{"key":"plum","val":"blue","ts":3,"diff":1}

"#]]);
    place
        .run("history db fruit --from-key apple --to-key plum --from 2 --to 3")
        .success()
        .stdout_eq(str![[r#"
{"key":"apple","val":"red","ts":2,"diff":-1}
{"key":"pear","val":"green/n","ts":2,"diff":1}

"#]]);
    place.run("history db fruit --to 9").code(7).stderr_eq(str![[r#"
dbtool: history: as-of 8 of collection 'fruit' is not below upper 4 (that time may still change); readable window is 0..4; hint: [..]

"#]]);
    // What was compacted is at since.
    place.run("compact db fruit --below 2 --quiet").success();
    place
        .run("history db fruit apple --format tsv")
        .success()
        .stdout_eq("key\tval\tts\tdiff\napple\tgreen\t2\t2\n");
}

#[test]
fn diff_prints_net_changes() {
    let place = Place::with_fruit();
    place.run("diff db fruit 1 2").success().stderr_eq("").stdout_eq(str![[r#"
{"key":"apple","val":"red","ts":2,"diff":-1}
{"key":"pear","val":"green/n","ts":2,"diff":1}
{"key":{"b64":"/wA="},"val":{"b64":"gA=="},"ts":2,"diff":1}

"#]]);
    place.run("diff db fruit 1 3 --prefix pl").success().stdout_eq(str![[r#"
{"key":"plum","val":"blue","ts":3,"diff":1}

"#]]);
    place.run("diff db fruit 2 2").success().stdout_eq("");
    place.run("diff db fruit 3 2").code(2).stdout_eq("");
    place.run("diff db fruit 1 4").code(7).stdout_eq("");
}

#[test]
fn tail_prints_updates_in_order_of_time() {
    let place = Place::with_fruit();
    let all = str![[r#"
{"key":"apple","val":"green","ts":1,"diff":2}
{"key":"apple","val":"red","ts":1,"diff":1}
{"key":"apple","val":"red","ts":2,"diff":-1}
{"key":"pear","val":"green/n","ts":2,"diff":1}
{"key":{"b64":"/wA="},"val":{"b64":"gA=="},"ts":2,"diff":1}
{"key":"plum","val":"blue","ts":3,"diff":1}

"#]];
    place.run("tail db fruit").success().stderr_eq("").stdout_eq(all.clone());
    place.run("tail db fruit --from 0").success().stdout_eq(all);
    place.run("tail db fruit --from 3").success().stdout_eq(str![[r#"
{"key":"plum","val":"blue","ts":3,"diff":1}

"#]]);
    place.run("tail db fruit --from 9").success().stdout_eq("");
    place.run("compact db fruit --below 3 --quiet").success();
    place.run("tail db fruit --from 1").code(7).stdout_eq("");
    place.run("tail db fruit --follow --format table").code(2).stdout_eq("");
}

/// Goal: what another process adds is printed. Method: load while tail follows.
#[test]
fn tail_follows() {
    let place = Place::with_fruit();
    let mut child = place.spawn("tail db fruit --from 3 --follow");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert_eq!(first, r#"{"key":"plum","val":"blue","ts":3,"diff":1}"#);
    for ts in 5..8 {
        let row = format!(r#"{{"key":"fig","val":"","ts":{ts},"diff":1}}"#);
        place.run_with("load db fruit - --quiet --input jsonl", format!("{row}\n")).success();
        assert_eq!(lines.next().unwrap().unwrap(), row);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
