//! What lints cannot see: the direction of layers, hollow assertions, plain sources.

use std::path::{Path, PathBuf};

/// The modules of the engine from the lowest layer up: a module may use those before its own line,
/// and those of its own line only if they are one thing in two files (`+`).
const LAYERS: &[&str] = &[
    "types limits sync throttle prefetch gallop planted",
    "error admission",
    "events",
    "cursor found consolidate config stats holds watch",
    "format",
    "io",
    "wal memtable segment",
    "manifest read",
    "collection+commit",
    "catalog+snapshot",
    "split",
    "leader verify",
    "view",
    "install scrub",
    "compaction",
    "flush",
    "maintenance recovery follower checkpoint erase ingest truncate",
    "backup salvage absent",
    "db",
    "subscription",
    "shuttle",
];

/// Words that only some modules may name, and those modules (by the start of their path).
const RESERVED: &[(&str, &[&str])] = &[
    ("std::fs", &["io/"]),
    ("std::thread", &["io/", "sync.rs", "sync/"]),
    ("Instant::now", &["io/"]),
    ("SystemTime::now", &["io/"]),
    ("parking_lot", &["sync.rs"]),
    ("rustix::", &["io/", "sync/"]),
    ("unsafe {", &["io/mmap.rs", "memtable/arena.rs", "memtable/arena/", "prefetch.rs"]),
    ("unsafe fn", &["io/mmap.rs", "memtable/arena.rs", "memtable/arena/"]),
];

struct Source {
    /// Path below the repository, with `/`.
    path: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(extension: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut dirs = vec![root()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let skipped = name.starts_with('.') || ["target", "corpus", "golden"].contains(&&*name);
            if path.is_dir() {
                if !skipped {
                    dirs.push(path);
                }
            } else if name.ends_with(&format!(".{extension}")) {
                let text = std::fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
                sources.push(Source { path, text });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

/// The engine's sources without their tests, with paths below `engine/src`.
fn engine_sources() -> Vec<Source> {
    let is_test = |path: &str| path.contains("/tests") || path.contains("/testing");
    let sources: Vec<_> = (sources("rs").into_iter())
        .filter_map(|source| {
            let path = source.path.strip_prefix("engine/src/")?.to_owned();
            let text = source.text.split("\n#[cfg(test)]\nmod ").next()?.to_owned();
            (!is_test(&format!("/{path}"))).then_some(Source { path, text })
        })
        .collect();
    assert!(sources.len() > 40, "the engine's sources are found");
    sources
}

/// Layer and group of a module.
fn place(module: &str) -> Option<(usize, &'static str)> {
    LAYERS.iter().enumerate().find_map(|(layer, line)| {
        let mut groups = line.split(' ');
        let group = groups.find(|group| group.split('+').any(|name| name == module))?;
        Some((layer, group))
    })
}

/// The modules of the engine that a line names, in code.
fn named(line: &str) -> impl Iterator<Item = &str> {
    let code = line.split("//").next().unwrap_or_default();
    code.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        &rest[..end.unwrap_or(rest.len())]
    })
}

/// Why a module may not be named in another one.
fn objection(from: &str, to: &str) -> Option<String> {
    let Some((to_layer, to_group)) = place(to) else {
        return Some(format!("'{to}' has no layer: give it one in this test"));
    };
    let Some((from_layer, from_group)) = place(from) else {
        return Some(format!("'{from}' has no layer: give it one in this test"));
    };
    let downwards = to_layer < from_layer || from_group == to_group;
    (!downwards).then(|| format!("'{from}' may not use '{to}', which lies beside or above it"))
}

#[test]
fn layers_point_one_way() {
    let mut objections = Vec::new();
    for Source { path, text } in engine_sources() {
        let module = path.split(['/', '.']).next().unwrap_or_default();
        if ["lib", "loom"].contains(&module) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            for used in named(line) {
                if let Some(why) = objection(module, used) {
                    objections.push(format!("engine/src/{path}:{}: {why}", number + 1));
                }
            }
        }
    }
    assert!(objections.is_empty(), "{}", objections.join("\n"));
}

#[test]
fn a_wrong_direction_is_noticed() {
    assert_eq!(named("use crate::io::{self, Env};").collect::<Vec<_>>(), ["io"]);
    assert_eq!(named("// crate::db").count(), 0);
    assert!(objection("format", "io").is_some());
    assert!(objection("wal", "memtable").is_some());
    assert!(objection("flush", "db").is_some());
    assert_eq!(objection("collection", "commit"), None);
    assert_eq!(objection("db", "wal"), None);
}

#[test]
fn reserved_words_stay_in_their_modules() {
    let mut objections = Vec::new();
    for Source { path, text } in engine_sources() {
        for (word, modules) in RESERVED {
            let allowed = modules.iter().any(|module| path.starts_with(module));
            let named = |line: &str| line.split("//").next().unwrap_or_default().contains(word);
            if let Some(number) = text.lines().position(named).filter(|_| !allowed) {
                objections.push(format!("engine/src/{path}:{}: {word}", number + 1));
            }
        }
        if path == "compaction/policy.rs" {
            for layer in ["io", "segment", "manifest", "install"] {
                assert!(!text.contains(&format!("crate::{layer}")), "the policy is pure: {layer}");
            }
        }
    }
    assert!(objections.is_empty(), "{}", objections.join("\n"));
}

#[test]
fn the_public_crate_shows_no_files_or_formats() {
    for Source { path, text } in sources("rs") {
        if path.starts_with("api/src/") {
            for hidden in ["format", "io"] {
                let shown = format!("pub use datestone_engine::{hidden}");
                assert!(!text.contains(&shown), "{path}: {shown}");
            }
        }
    }
    for Source { path, text } in sources("toml") {
        let inside = path.starts_with("tests/");
        assert!(inside || !text.contains("datestone-tests"), "{path} depends on the tests");
    }
}

#[test]
fn sources_are_plain_text() {
    let all: Vec<_> = sources("rs").into_iter().chain(sources("toml")).collect();
    assert!(all.len() > 60, "the sources are found");
    for Source { path, text } in all {
        for (number, line) in text.lines().enumerate() {
            assert!(line.is_ascii(), "{path}:{}: not ASCII: {line}", number + 1);
            assert!(!line.contains('\t'), "{path}:{}: a tab", number + 1);
        }
    }
}

/// Where a `matches!` stands alone as a statement, so that its outcome is thrown away.
fn hollow(text: &str) -> Option<usize> {
    let word = concat!("matches", "!(");
    text.match_indices(word).map(|(at, _)| at).find(|at| {
        let before = text[..*at].trim_end().chars().next_back();
        let begins = before.is_none_or(|c| matches!(c, ';' | '{' | '}'));
        let mut depth = 0;
        let end = text[*at..].char_indices().find(|(_, c)| {
            depth += match c {
                '(' => 1,
                ')' => -1,
                _ => 0,
            };
            depth == 0 && *c == ')'
        });
        let after = end.and_then(|(end, _)| text[at + end + 1..].trim_start().chars().next());
        begins && after == Some(';')
    })
}

#[test]
fn no_assertion_is_hollow() {
    for Source { path, text } in sources("rs") {
        let line = hollow(&text).map(|at| text[..at].lines().count());
        assert_eq!(line, None, "{path}: a `matches!` asserts nothing by itself");
    }
}

#[test]
fn a_hollow_assertion_is_noticed() {
    let word = concat!("matches", "!");
    assert!(hollow(&format!("fn f() {{\n    {word}(x, Some((1, _)));\n}}")).is_some());
    assert!(hollow(&format!("let a = 1;\n{word}(x, A(..));\n")).is_some());
    assert_eq!(hollow(&format!("assert!({word}(x, A(..)));")), None);
    assert_eq!(hollow(&format!("let b = {word}(x, A);")), None);
    assert_eq!(hollow(&format!("{{ {word}(x, A) }}")), None);
}
