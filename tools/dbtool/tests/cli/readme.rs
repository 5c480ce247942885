//! Goal: what the README shows of dbtool is what it prints. Method: its `console` blocks are run in
//! order in one new directory; every line after a `$ dbtool ..` is expected on stdout.

use super::Place;
use snapbox::cmd::{Command, cargo_bin};

const README: &str = include_str!("../../../../README.md");

/// The commands of the README's `console` blocks, each with what it is said to print.
fn shown() -> Vec<(String, String)> {
    let mut shown: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for line in README.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if inside && let Some(command) = line.strip_prefix("$ ") {
            shown.push((command.to_owned(), String::new()));
        } else if inside && let Some((_, output)) = shown.last_mut() {
            output.push_str(line);
            output.push('\n');
        }
    }
    shown
}

#[test]
fn the_readme_shows_what_is_printed() {
    let place = Place::new();
    let shown = shown();
    assert!(shown.len() >= 5, "{} commands", shown.len());
    for (command, output) in shown {
        let assert = match command.strip_prefix("dbtool ") {
            Some(words) => Command::new(cargo_bin!("dbtool")).args(words.split(' ')),
            None => Command::new("sh").args(["-c", &command]),
        }
        .current_dir(place.path())
        .assert();
        assert.success().stdout_eq(output);
    }
}
