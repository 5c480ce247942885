//! Replays the corpora: every input that the fuzzer found worth keeping, and those that once
//! crashed.

use datestone_fuzz_targets::TARGETS;
use std::path::Path;

/// Goal: no input of a corpus makes its target panic, and each target has a corpus. Method: run them
/// all, with checksums that count, as a user's build has them.
#[test]
fn corpora() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    for (name, target) in TARGETS {
        let mut paths: Vec<_> = std::fs::read_dir(corpus.join(name))
            .unwrap_or_else(|e| panic!("the corpus of {name}: {e}"))
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        assert!(!paths.is_empty(), "the corpus of {name} is empty");
        for path in paths {
            println!("{}", path.display());
            target(&std::fs::read(&path).unwrap());
        }
    }
}

/// Goal: a corpus directory that no target replays is noticed.
#[test]
fn every_corpus_has_a_target() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    for entry in std::fs::read_dir(corpus).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(TARGETS.iter().any(|(target, _)| *target == name), "{name:?}");
    }
}
