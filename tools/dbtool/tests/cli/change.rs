//! Writes by hand, and what destroys.

use super::Place;
use snapbox::str;

#[test]
fn tables_are_put_to_read_and_deleted_from() {
    let place = Place::new();
    place.run("put db users alice admin --format tsv").success().stdout_eq("ts\n1\n");
    place.run("put db users bob user -q").success();
    place.run("put db users alice user -q").success();
    place.run("get db users alice").success().stdout_eq(str![[r#"
{"key":"alice","val":"user","ts":3,"diff":1}

"#]]);
    place.run("get db users alice --as-of 2").success().stdout_eq(str![[r#"
{"key":"alice","val":"admin","ts":2,"diff":1}

"#]]);
    place.run("del db users bob -q").success();
    place.run("scan db users").success().stdout_eq(str![[r#"
{"key":"alice","val":"user","ts":4,"diff":1}

"#]]);
    place.run("put db users carol x --ts 5").code(2);
    place.run("load db users -q").code(2);
}

#[test]
fn tables_on_their_users_clock_take_a_time() {
    let place = Place::new();
    place.run("put db prices oil 81 --ts 7 -q").success();
    place.run("get db prices oil").code(7);
    place.run("put db prices oil 84 --ts 9 --advance -q").success();
    place.run("get db prices oil --as-of 8").success().stdout_eq(str![[r#"
{"key":"oil","val":"81","ts":8,"diff":1}

"#]]);
    place.run("put db prices oil 85").code(2);
    place.run("truncate db prices --at 8").success().stderr_eq(str![[r#"
dbtool: the plan: upper of 'prices' goes back; nothing was changed, --commit does it

"#]]);
    place.run("get db prices oil --as-of 9").success();
    place.run("truncate db prices --at 8 --commit -q --format jsonl").success().stdout_eq(str![[
        r#"
{"updates":1,"upper_before":10,"upper_after":8,"done":"true"}

"#
    ]]);
    place.run("get db prices oil --as-of 9").code(7);
    place.run("get db prices oil").success();
}

#[test]
fn events_are_appended_at_expected_positions_and_once() {
    let place = Place::new();
    let position = |line: &str| place.stdout(&format!("{line} --format tsv"));
    assert_eq!(position("append db log placed"), b"position\tevents\n0\t1\n");
    assert_eq!(position("append db log paid --expect 1"), b"position\tevents\n1\t1\n");
    place.run("append db log paid --expect 1").code(1);
    assert_eq!(position("append db log sent --id a"), b"position\tevents\n2\t1\n");
    assert_eq!(position("append db log sent --id a"), b"position\tevents\n2\t1\n");
    place.run("append db log other --id a").code(1);
    place.run_with("append db log -q", "four\nfive\n").success();
    place.run("scan db log --count --format tsv").success().stdout_eq("as_of\trows\n4\t5\n");
    place.run("compact db log --below 3").code(2);
}

#[test]
fn what_destroys_does_so_only_when_told() {
    let place = Place::with_fruit();
    place.run("erase db fruit apple").success();
    place.run("get db fruit apple").success();
    place.run("erase db fruit").code(2);
    place.run("erase db fruit apple --commit -q").success();
    place.run("get db fruit apple").code(3);
    place.run("get db fruit plum").success();
    place.run("drop db fruit").success();
    place.run("get db fruit plum").success();
    place.run("drop db fruit --commit -q").success();
    place.run("get db fruit plum").code(3);
}

#[test]
fn what_was_erased_is_in_no_file() {
    let place = Place::with_fruit();
    let found = place.run("verify db --absent green --format tsv").code(1);
    let told = String::from_utf8(found.get_output().stdout.clone()).unwrap();
    assert!(told.starts_with("file\toffset\tas\ndb/"), "{told}");
    place.run("erase db fruit apple --commit -q").success();
    place.run("erase db fruit pear --commit -q").success();
    place.run("verify db --absent green -q").success();
    place.run("verify db --absent green --full").code(2);
}

#[test]
fn a_checkpoint_is_a_database_of_its_own() {
    let place = Place::with_fruit();
    place.run("checkpoint db copy -q").success();
    let dump = place.stdout("dump db");
    place.run("erase db fruit apple --commit -q").success();
    assert!(place.stdout("dump copy") == dump);
    place.run("verify copy --full -q").success();
    place.run("checkpoint db copy").code(1);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "damages a file behind the program's back")]
fn backups_are_taken_kept_and_restored() {
    let place = Place::with_fruit();
    let dump = place.stdout("dump db");
    place.run("backup db backups -q").success();
    place.run("erase db fruit apple --commit -q").success();
    let second = place.stdout("backup db backups --format jsonl");
    let second = String::from_utf8(second).unwrap();
    assert!(second.starts_with("{\"backup\":2,\"taken\":\"20"), "{second}");
    assert!(second.contains("\"copied\":1,"), "{second}");
    assert_eq!(
        place.stdout("backups backups --verify -q --format tsv").split(|b| *b == b'\n').count(),
        4
    );
    place.run("restore backups old --backup 1 --verify -q").success();
    assert!(place.stdout("dump old") == dump);
    place.run("restore backups new -q").success();
    assert!(place.stdout("dump new") == place.stdout("dump db"));
    place.run("restore backups new").code(1);
    place.run("restore backups other --backup 9").code(3);
    place.run("backups db").code(2);
    place.run("backups nowhere").code(3);
    place.run("backup db backups --keep 1 -q").success();
    place.run("restore backups other --backup 2").code(3);
    // Damage is told, and nothing is made of it.
    let segment = std::fs::read_dir(place.path().join("backups")).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        (path.extension()? == "seg").then_some(path)
    });
    let segment = segment.unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    place.run("backups backups --verify").code(4);
    place.run("restore backups damaged").code(4);
    place.run("info damaged").code(4);
}

#[test]
fn upgrading_changes_no_contents() {
    let place = Place::with_fruit();
    let dump = place.stdout("dump db");
    let told = |line: &str| String::from_utf8(place.stdout(line)).unwrap();
    let plan = told("upgrade db -q --format jsonl");
    assert!(
        plan.starts_with("{\"format_version\":1,") && plan.ends_with("\"done\":\"false\"}\n"),
        "{plan}"
    );
    let done = told("upgrade db --commit -q --format jsonl");
    assert!(done.ends_with("\"done\":\"true\"}\n"), "{done}");
    assert!(place.stdout("dump db") == dump);
    place.run("upgrade nowhere --commit").code(3);
}

#[test]
fn space_is_told_by_collection_and_holder() {
    let place = Place::with_fruit();
    place.run("compact db fruit -q").success();
    {
        let db = datestone::Datestone::open(place.path().join("db")).unwrap();
        let fruit = db.find("fruit").unwrap();
        db.durable_hold("report", &fruit, 1, "nightly report").unwrap();
    }
    let told = String::from_utf8(place.stdout("space db --below 3 --format jsonl")).unwrap();
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines[0].starts_with("{\"disk\":") && lines[0].contains("\"referenced\":"), "{told}");
    let fruit = lines.iter().find(|line| line.contains("\"collection\":\"fruit\"")).unwrap();
    assert!(fruit.contains("\"would_free\":"), "{told}");
    let holder =
        "{\"holder\":\"nightly report (durable: report)\",\"collection\":\"fruit\",\"at\":1,";
    assert!(lines.last().unwrap().starts_with(holder), "{told}");
    place.run("space db").success();
}

#[test]
fn a_collection_keeps_what_it_is_told_to() {
    let place = Place::with_fruit();
    let shown = |line: &str| String::from_utf8(place.stdout(line)).unwrap();
    let row = |retention: &str, since: u64| {
        format!("collection\tretention\tsince\tupper\nfruit\t{retention}\t{since}\t4\n")
    };
    assert_eq!(shown("retention db fruit --format tsv"), row("manual", 0));
    assert_eq!(shown("retention db fruit 1 --format tsv"), row("manual", 0));
    shown("retention db fruit 1 --commit -q");
    shown("compact db fruit -q");
    assert_eq!(shown("retention db fruit --format tsv"), row("1", 2));
    place.run("get db fruit apple --as-of 1").code(7);
    place.run("retention db fruit sometimes").code(2);
    place.run("retention db veg").code(3);
}

#[test]
fn holds_are_listed_and_released() {
    let place = Place::with_fruit();
    let seqno = {
        let db = datestone::Datestone::open(place.path().join("db")).unwrap();
        let fruit = db.find("fruit").unwrap();
        db.durable_hold("report", &fruit, 2, "nightly report").unwrap();
        db.durable_holds().unwrap()[0].seqno
    };
    let listed = &format!(
        "{{\"name\":\"report\",\"what\":\"hold\",\"collection\":\"fruit\",\"at\":2,\"bytes\":0,\"seqno\":{seqno},\"epoch\":1,\"owner\":\"nightly report\"}}\n"
    );
    place.run("holds db --format jsonl").success().stdout_eq(listed);
    place.run("holds db --release report -q --format jsonl").success().stdout_eq(listed);
    place.run("holds db --release other").code(3);
    place.run("holds db --release report --commit -q").success();
    place.run("holds db --format jsonl").success().stdout_eq("");
}

/// Every kind of collection comes back from its dump, byte for byte.
#[test]
fn tables_and_logs_are_restored_from_their_dumps() {
    let place = Place::with_fruit();
    for n in 0..40 {
        place.run(&format!("put db users user{} {n} -q", n % 7)).success();
        place.run(&format!("put db more key{} {n} -q", n % 3)).success();
        place.run(&format!("put db prices oil{} {n} --ts {n} --advance -q", n % 5)).success();
    }
    place.run("del db users user3 -q").success();
    place.run("append db log one -q").success();
    place.run("append db log two --id x -q").success();
    place.run("compact db prices --below 20 -q").success();
    let dump = place.stdout("dump db");
    place.file("dump.jsonl", &dump);
    place.run("check-dump dump.jsonl -q").success();
    place.run("load restored --dump dump.jsonl --batch 3 -q").success();
    assert_eq!(
        String::from_utf8_lossy(&place.stdout("dump restored")),
        String::from_utf8_lossy(&dump)
    );
    place
        .run("append restored log two --id x -q --format tsv")
        .success()
        .stdout_eq("position\tevents\n1\t1\n");
    place.run("put restored users new 1 --format tsv").success().stdout_eq("ts\n82\n");
}
