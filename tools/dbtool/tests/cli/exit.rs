//! Every exit code, and the ends that have no message.

use super::{FRUIT, Place, cargo_lock};
use snapbox::str;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::Child;

#[test]
fn wrong_usage_is_2() {
    let place = Place::with_fruit();
    place.run("frobnicate db").code(2).stdout_eq("");
    place.run("scan db fruit --limit x").code(2).stdout_eq("");
    place.run("dump db --as-of 3").code(2).stderr_eq(str![[r#"
dbtool: dump: --as-of is for --mode snapshot; --mode updates writes every update; hint: add --mode snapshot

"#]]);
    place.run("load db dbtool.positions fruit.jsonl").code(2).stderr_eq(str![[r#"
dbtool: load: collection 'dbtool.positions' keeps the positions of loads; hint: choose another name

"#]]);
    place.run_args(&["load", "db", "", "fruit.jsonl"]).code(2);
    place.run("demo .").code(2).stderr_eq(str![[r#"
dbtool: demo: . is not empty; the demo works in a directory of its own; hint: dbtool demo NEW-DIRECTORY, or leave it out

"#]]);
}

#[test]
fn not_found_is_3() {
    let place = Place::with_fruit();
    place.run("ls nowhere").code(3).stdout_eq("").stderr_eq(str![[r#"
dbtool: ls: no [..]; hint: dbtool load nowhere COLLECTION FILE makes one

"#]]);
    assert!(!place.path().join("nowhere").exists(), "reading must not make a database");
    place.run("scan db veg").code(3).stdout_eq("").stderr_eq(str![[r#"
dbtool: scan: no collection 'veg'; hint: dbtool ls db

"#]]);
    place.run("get db fruit fig").code(3).stdout_eq("").stderr_eq(str![[r#"
dbtool: get: no row with key 'fig' in collection 'fruit' as of 3; hint: dbtool scan db fruit --as-of 3 --from 'fig'

"#]]);
    place.run("load new fruit missing.jsonl").code(3).stderr_eq(str![[r#"
dbtool: load: cannot open missing.jsonl; No such file or directory (os error 2)

"#]]);
    assert!(!place.path().join("new").exists(), "a missing input must not make a database");
}

/// A load that waits for input, its first commit done.
fn waiting_load(place: &Place) -> (Child, std::process::ChildStdin) {
    let mut child = place.spawn("load db fruit - --ack --batch 1");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(FRUIT.lines().next().unwrap().as_bytes()).unwrap();
    stdin.write_all(b"\n").unwrap();
    let mut ack = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut ack).unwrap();
    assert_eq!(ack, "{\"rows\":1,\"upper\":1}\n");
    (child, stdin)
}

#[test]
fn locked_is_5() {
    let place = Place::new();
    let (mut child, stdin) = waiting_load(&place);
    place.run("compact db").code(5).stdout_eq("").stderr_eq(str![[r#"
dbtool: compact: [..] is open in process [..]; hint: wait for that process, or end it, then try again

"#]]);
    let told = place.run("drop db fruit --commit").code(5).get_output().stderr.clone();
    let told = String::from_utf8(told).unwrap();
    let holder = format!("is open in process {} on host ", child.id());
    let (host, since) = told.split_once(&holder).unwrap().1.split_once(" since ").unwrap();
    assert!(!host.is_empty(), "{told}");
    let since: u64 = since.split(' ').next().unwrap().parse().unwrap();
    assert!(since > 1_700_000_000, "{told}");
    // Who only reads need not wait.
    place.run("info db").success();
    place.run("scan db fruit").success();
    place.run("verify db").success();
    drop(stdin);
    assert!(child.wait().unwrap().success());
    place.run("info db").success();
}

#[test]
fn an_unknown_dump_format_is_6() {
    let place = Place::new();
    place.file("dump.jsonl", "{\"datestone_dump\":2}\n");
    place.run("load db --dump dump.jsonl").code(6).stderr_eq(str![[r#"
dbtool: load: dump.jsonl is a dump of version 2; this build reads version 1; hint: use the dbtool of the version that wrote it

"#]]);
}

#[test]
fn outside_of_the_readable_window_is_7() {
    let place = Place::with_fruit();
    place.run("get db fruit apple --as-of 4").code(7).stdout_eq("").stderr_eq(str![[r#"
dbtool: get: as-of 4 of collection 'fruit' is not below upper 4 (that time may still change); readable window is 0..4; hint: choose a time in that window, or leave --as-of out to read the latest

"#]]);
    place.run("compact db fruit --below 2 -q").success();
    place.run("scan db fruit --as-of 1").code(7).stdout_eq("").stderr_eq(str![[r#"
dbtool: scan: as-of 1 of collection 'fruit' is before since 2 (history below it was compacted); readable window is 2..4; hint: choose a time in that window, or leave --as-of out to read the latest

"#]]);
    place.run("dump db fruit --mode snapshot --as-of 1").code(7);
    place.run_with("load db empty -q", "").success();
    place.run("scan db empty").code(7);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_device_is_8() {
    let place = Place::with_fruit();
    for line in ["scan db fruit", "dump db", "info db", "ls db", "scan db fruit --format table"] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = std::process::Command::new(snapbox::cmd::cargo_bin!("dbtool"));
        let command = command.current_dir(place.path()).args(line.split(' ')).stdout(full);
        let output = command.stderr(std::process::Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(8), "{line}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("cannot write to stdout; No space left on device"), "{told}");
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_is_130_and_loses_nothing() {
    let place = Place::new();
    let (mut child, stdin) = waiting_load(&place);
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(stdin);
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(told.ends_with("hint: the same command with --resume goes on\n"), "{told}");
    place
        .run_with("load db fruit --resume --ack -q", FRUIT)
        .success()
        .stdout_eq("{\"rows\":6,\"upper\":4}\n");
    assert_eq!(place.stdout("dump db fruit"), Place::with_fruit().stdout("dump db fruit"));
}

#[test]
fn a_reader_that_goes_ends_it_silently() {
    let place = Place::new();
    place.run(&format!("load db lock {} -q", cargo_lock())).success();
    let mut child = place.spawn("dump db");
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("{\"datestone_dump\":1"), "{line}");
    // The pipe is closed here, with a megabyte to come.
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn a_load_whose_acknowledgements_nobody_reads_says_so() {
    let place = Place::new();
    let mut child = place.spawn("load db fruit - --ack --batch 1");
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(FRUIT.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        told,
        "dbtool: load: nobody reads the acknowledgements; 1 rows are durable; hint: the same command with --resume goes on\n"
    );
}

#[test]
fn help_goes_to_stdout_and_names_the_exit_codes() {
    let place = Place::new();
    let help = String::from_utf8(place.stdout("--help")).unwrap();
    assert!(
        help.contains("Exit codes:\n  0    ok\n") && help.contains("  130  interrupted"),
        "{help}"
    );
    place.run("--version").success().stdout_eq(str!["dbtool [..]\n"]);
}

/// The one file of the database whose name ends (or begins) like this, with one byte changed.
fn damage(place: &Place, is_it: impl Fn(&str) -> bool, at: usize) {
    let mut damaged = 0;
    for entry in std::fs::read_dir(place.path().join("db")).unwrap() {
        let path = entry.unwrap().path();
        if is_it(path.file_name().unwrap().to_str().unwrap()) {
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[at] ^= 0x55;
            std::fs::File::create(&path).unwrap().write_all(&bytes).unwrap();
            damaged += 1;
        }
    }
    assert!(damaged > 0);
}

#[test]
fn a_damaged_block_is_4_and_names_file_and_offset() {
    let place = Place::with_fruit();
    place.run("compact db --quiet").success();
    damage(&place, |name| name.ends_with(".seg"), 100);
    // Every damaged segment is told; the last line ends the command.
    let expected = "...\ndbtool: verify: [..]corruption in db/[..].seg at offset [..]: [..]\n";
    place.run("verify db --full").code(4).stdout_eq("").stderr_eq(expected);
    place.run("scan db fruit").code(4);
}

#[test]
fn a_damaged_manifest_is_4() {
    let place = Place::with_fruit();
    damage(&place, |name| name.starts_with("MANIFEST-"), 3);
    let expected = "dbtool: ls: [..]corruption in db/MANIFEST-[..] at offset [..]: [..]\n";
    place.run("ls db").code(4).stdout_eq("").stderr_eq(expected);
}
