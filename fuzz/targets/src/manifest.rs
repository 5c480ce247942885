//! A manifest file: replay is total, and what it accepts is a state that obeys its own rules and
//! survives being written anew.

use datestone_engine::format::manifest_edit::Edit;
use datestone_engine::format::manifest_frame::ManifestHeader;
use datestone_engine::manifest::{ManifestState, manifest_name, replay};
use std::path::Path;

/// See the module. The bytes are first taken as a file, then as the payload of one edit.
pub fn manifest(data: &[u8]) {
    // The number that the file's name would have.
    let number = ManifestHeader::decode(data).map_or(1, |(header, _)| header.number);
    if let Ok((state, _)) = replay(data, Path::new(&manifest_name(number)), number) {
        state.check().expect("a state that was replayed is sound");
        let mut again = ManifestState::new(state.uuid());
        again.apply(&state.snapshot()).expect("its snapshot applies");
        assert_eq!(again, state, "a snapshot holds the whole state");
    }
    let Ok(edit) = Edit::decode(data) else { return };
    let mut bytes = Vec::new();
    edit.encode(&mut bytes).expect("an edit that was decoded is within the limits");
    assert_eq!(bytes, data, "an edit has one encoding");
    let mut state = ManifestState::new(0);
    if state.apply(&edit).is_ok() {
        state.check().expect("an edit that applies leaves a sound state");
    }
}
