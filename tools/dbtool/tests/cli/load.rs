//! Loading: acknowledgements, bad lines, going on, order of times.

use super::{FRUIT, Place, cargo_lock};
use snapbox::str;
use std::io::{BufRead as _, BufReader, Write as _};

#[test]
fn each_commit_is_acknowledged() {
    let place = Place::new();
    place
        .run_with("load db fruit --batch 2 --ack", FRUIT)
        .success()
        .stdout_eq(str![[r#"
{"rows":2,"upper":1}
{"rows":4,"upper":2}
{"rows":6,"upper":3}
{"rows":6,"upper":4}

"#]])
        .stderr_eq(str![[r#"
dbtool: 6 rows of 'fruit' are durable, upper 4 ([..] s)

"#]]);
    place
        .run_with("load db fruit --batch 2 --ack --resume -q", FRUIT)
        .success()
        .stdout_eq("{\"rows\":6,\"upper\":4}\n");
    place.run_with("load db empty --ack -q", "").success().stdout_eq("{\"rows\":0,\"upper\":0}\n");
}

#[test]
fn open_ended_leaves_room_at_the_last_time() {
    let place = Place::new();
    place
        .run_with("load db fruit --open-ended --ack -q", FRUIT)
        .success()
        .stdout_eq("{\"rows\":6,\"upper\":3}\n");
    place.run("get db fruit plum").code(3);
    let more = "{\"key\":\"fig\",\"val\":\"\",\"ts\":3,\"diff\":1}\n";
    place
        .run_with("load db fruit --ack -q", more)
        .success()
        .stdout_eq("{\"rows\":1,\"upper\":4}\n");
    place
        .run("scan db fruit --prefix f")
        .success()
        .stdout_eq("{\"key\":\"fig\",\"val\":\"\",\"ts\":3,\"diff\":1}\n");
    place.run("get db fruit plum -q").success();
}

#[test]
fn csv_and_zstd_load_the_same() {
    let place = Place::with_fruit();
    let csv = "diff,ts,key,val\n1,1,apple,red\n2,1,apple,green\n1,2,pear,\"green\n\"\n-1,2,apple,red\n\
               1,2,\"{\"\"b64\"\":\"\"/wA=\"\"}\",\"{\"\"b64\"\":\"\"gA==\"\"}\"\n1,3,plum,blue\n";
    place.file("fruit.csv", csv);
    place.file("fruit.jsonl.zst", zstd::encode_all(FRUIT.as_bytes(), 3).unwrap());
    place.file("fruit.csv.zst", zstd::encode_all(csv.as_bytes(), 3).unwrap());
    let expected = place.stdout("dump db fruit");
    for file in ["fruit.csv", "fruit.jsonl.zst", "fruit.csv.zst"] {
        place.run(&format!("load {file}.db fruit {file} -q")).success();
        assert_eq!(place.stdout(&format!("dump {file}.db fruit")), expected, "{file}");
    }
    place.run_with("load stdin.db fruit - --input csv -q", csv).success();
    assert_eq!(place.stdout("dump stdin.db fruit"), expected);
}

#[test]
fn nothing_of_a_batch_with_a_bad_line_is_loaded() {
    let place = Place::new();
    let bad = FRUIT.replace("{\"key\":\"plum\"", "{\"kez\":\"plum\"");
    place.file("rows.jsonl", &bad);
    place.run("load db fruit rows.jsonl --batch 4 --ack").code(1).stdout_eq("{\"rows\":4,\"upper\":2}\n").stderr_eq(str![[r#"
dbtool: load: rows.jsonl:6: column 6: unknown field `kez`, expected one of `key`, `val`, `ts`, `diff`; hint: 4 rows before it are durable, go on with --resume

"#]]);
    // The row with bytes stands before the bad line, but in its batch.
    place.run_args(&["get", "db", "fruit", r#"{"b64":"/wA="}"#]).code(3);
    place.file("rows.jsonl", FRUIT);
    place.run("load db fruit rows.jsonl --batch 4 --resume -q").success();
    let whole = Place::with_fruit();
    assert_eq!(place.stdout("dump db fruit"), whole.stdout("dump db fruit"));
}

#[test]
fn times_that_go_back_are_refused_unless_unordered() {
    let place = Place::new();
    let reversed: Vec<_> = FRUIT.lines().rev().collect();
    let reversed = reversed.join("\n");
    place.file("rows.jsonl", &reversed);
    place.run("load db fruit rows.jsonl --batch 1").code(1).stderr_eq(str![[r#"
dbtool: load: rows.jsonl:2: column 49: ts 2 is below upper 3: that time is closed; hint: rows come in order of ts, or load with --unordered; a load that was stopped goes on with --resume; 1 rows before it are durable, go on with --resume

"#]]);
    place.run("load db2 fruit rows.jsonl --batch 4 --unordered --ack -q").success().stdout_eq(
        str![[r#"
{"rows":4,"upper":0}
{"rows":6,"upper":4}

"#]],
    );
    assert_eq!(place.stdout("dump db2 fruit"), Place::with_fruit().stdout("dump db fruit"));
}

#[test]
fn resume_wants_the_same_input() {
    let place = Place::with_fruit();
    place.file("short.jsonl", FRUIT.lines().next().unwrap());
    place.run("load db fruit short.jsonl --resume").code(1).stderr_eq(str![[r#"
dbtool: load: short.jsonl has 1 rows, of which 6 were loaded; --resume goes on with the same input; hint: give the input of the load that was stopped

"#]]);
}

/// Kills loads in every phase of a batch, and sees that going on gives what one load gives.
#[test]
fn a_killed_load_goes_on_exactly_where_it_ended() {
    let whole = Place::new();
    whole.run(&format!("load db lock {} --quiet", cargo_lock())).success();
    let expected = whole.stdout("dump db lock");
    let text = zstd::decode_all(std::fs::File::open(cargo_lock()).unwrap()).unwrap();
    let lines: Vec<_> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let place = Place::new();
    let mut acked = 0;
    for (more, in_flight) in [(1, 0), (700, 1), (1, 9), (0, 5), (350, 10)] {
        let mut child = place.spawn("load db lock - --ack --batch 10 --resume");
        let mut stdin = child.stdin.take().unwrap();
        let mut acks = BufReader::new(child.stdout.take().unwrap());
        let given = lines[..acked + more * 10].concat();
        std::thread::scope(|scope| {
            scope.spawn(|| stdin.write_all(&given).unwrap());
            let mut ack = String::new();
            for _ in 0..more {
                ack.clear();
                acks.read_line(&mut ack).unwrap();
                acked += 10;
                assert!(ack.starts_with(&format!("{{\"rows\":{acked},")), "{ack}");
            }
        });
        // The batch under way may or may not be there; all before it is.
        let last = lines[acked..acked + in_flight].concat();
        stdin.write_all(&last).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        if in_flight == 10 {
            let position = String::from_utf8(place.stdout("scan db dbtool.positions")).unwrap();
            let is_at = |rows: usize| position.contains(&format!("\"val\":\"{rows}\""));
            assert!(is_at(acked) || is_at(acked + 10), "{position}");
        }
    }
    place.run(&format!("load db lock {} --resume --quiet", cargo_lock())).success();
    assert!(place.stdout("dump db lock") == expected, "the dumps differ");
    place.run("verify db --full -q").success();
    place.run("scan db dbtool.positions").success().stdout_eq(str![[r#"
{"key":"lock","val":"11248","ts":[..],"diff":1}

"#]]);
}
