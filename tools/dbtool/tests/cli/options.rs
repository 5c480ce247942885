//! `--set`, `--env`, `config`, `completions` and `man`.

use super::Place;
use snapbox::cmd::{Command, cargo_bin};
use snapbox::str;

#[test]
fn options_are_set_by_name_and_refused_by_name() {
    let place = Place::with_fruit();
    place.run("scan db fruit --count --set memtable_bytes=1MiB --set durability=none").success();
    place.run("info db --set memtable_byte=1MiB").code(2).stdout_eq("").stderr_eq(str![[r#"
dbtool: info: no option 'memtable_byte' (given the value '1MiB'); the nearest is 'memtable_bytes'; hint: dbtool config lists the options

"#]]);
    place.run("info db --set memtable_bytes=1").code(2).stderr_eq(str![[r#"
dbtool: info: option memtable_bytes is 1, must be from 64KiB to 4GiB; hint: dbtool config lists the options

"#]]);
    place.run("info db --set memtable_bytes").code(2);
    // The option reaches the database: it may not be created.
    place.run("load new fruit fruit.jsonl --set create_if_missing=false").code(3);
    assert!(!place.path().join("new").exists());
}

#[test]
fn config_lists_every_option_with_its_value() {
    let place = Place::new();
    let text =
        String::from_utf8(place.stdout("config --set memtable_bytes=8MiB --format jsonl")).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), datestone::Options::table().len());
    let line = lines.iter().find(|line| line["option"] == "memtable_bytes").unwrap();
    assert_eq!((&line["value"], &line["default"]), (&"8MiB".into(), &"64MiB".into()));
    assert_eq!(line["variable"], "DATESTONE_MEMTABLE_BYTES");
    place.run("config").success();
    let run = |args: &[&str]| {
        Command::new(cargo_bin!("dbtool"))
            .env("DATESTONE_MEMTABLE_BYTES", "7MiB")
            .args(args)
            .assert()
            .success()
            .get_output()
            .stdout
            .clone()
    };
    let shown = |args: &[&str]| String::from_utf8(run(args)).unwrap();
    assert!(!shown(&["config"]).contains("7MiB"), "nothing is taken from the environment unasked");
    assert!(shown(&["config", "--env"]).contains("7MiB"));
    let both = shown(&["config", "--env", "--set", "memtable_bytes=4MiB"]);
    assert!(both.contains("4MiB") && !both.contains("7MiB"), "{both}");
}

#[test]
fn the_guide_has_the_table_of_options() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let guide = std::fs::read_to_string(root.join("docs/guide/operations.md")).unwrap();
    let documented: Vec<&str> = guide.lines().filter(|line| line.starts_with("| `")).collect();
    let said = |option: &datestone::OptionInfo| {
        let (name, kind, purpose) = (option.name, option.kind.name(), option.purpose);
        format!(
            "| `{name}` | {kind} | {} | {} | {purpose} |",
            option.default(),
            option.kind.bounds()
        )
    };
    assert_eq!(documented, datestone::Options::table().iter().map(said).collect::<Vec<_>>());
}

#[test]
fn completions_and_manual_pages_name_every_command() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = String::from_utf8(place.stdout(&format!("completions {shell}"))).unwrap();
        for command in ["import-git", "check-dump", "compact"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
    let page = String::from_utf8(place.stdout("man")).unwrap();
    assert!(page.contains(".TH dbtool 1") && page.contains("Exit codes"), "{page}");
    let page = String::from_utf8(place.stdout("man import-git")).unwrap();
    assert!(page.contains(r"\-\-collection") && page.contains("import\\-git"), "{page}");
    place.run("man frobnicate").code(3);
}
