//! Rows R1 to R10 of the decision table, damage at every byte, and hostile files.

use super::*;
use crate::error::ErrorKind;
use crate::format::manifest_frame::FrameBuilder;
use crate::manifest::testing::flush_edit;

const NUMBER: u64 = 7;
const FIRST_EDIT_NO: u64 = 20;

/// A manifest file under construction.
struct Writer {
    bytes: Vec<u8>,
    seed: u32,
    last_crc: u32,
    next: u64,
    /// Where each frame begins, and where the last one ends.
    starts: Vec<usize>,
}

impl Writer {
    fn new(header: &ManifestHeader) -> Self {
        let bytes = header.encode();
        let (_, seed) = ManifestHeader::decode(&bytes).unwrap();
        Self { starts: vec![bytes.len()], bytes, seed, last_crc: 0, next: FIRST_EDIT_NO }
    }

    fn payload(&mut self, payload: &[u8]) {
        let frame = FrameBuilder::begin(&mut self.bytes);
        self.bytes.extend_from_slice(payload);
        self.last_crc = frame.finish(&mut self.bytes, self.seed, self.last_crc, self.next).unwrap();
        self.next += 1;
        self.starts.push(self.bytes.len());
    }

    fn edit(&mut self, edit: &Edit) {
        let mut payload = Vec::new();
        edit.encode(&mut payload).unwrap();
        self.payload(&payload);
    }
}

fn header() -> ManifestHeader {
    ManifestHeader { format_version: 1, db_uuid: 42, number: NUMBER }
}

/// A file with the snapshot of the state after flush 1, then `count` more flushes.
fn file(count: u64) -> Writer {
    let mut writer = Writer::new(&header());
    writer.edit(&state(1).snapshot());
    (2..2 + count).for_each(|n| writer.edit(&flush_edit(n)));
    writer
}

fn state(flushes: u64) -> ManifestState {
    let mut state = ManifestState::new(42);
    (1..=flushes).for_each(|n| state.apply(&flush_edit(n)).unwrap());
    state
}

fn read(bytes: &[u8]) -> Result<(ManifestState, ReplaySummary)> {
    replay(bytes, Path::new("db/MANIFEST"), NUMBER)
}

fn kind(bytes: &[u8]) -> ErrorKind {
    read(bytes).unwrap_err().kind()
}

/// R1: everything is valid.
#[test]
fn r1_a_whole_file_is_read() {
    let writer = file(3);
    let (found, summary) = read(&writer.bytes).unwrap();
    assert_eq!(found, state(4));
    let len = writer.bytes.len() as u64;
    let last_edit_no = FIRST_EDIT_NO + 3;
    let expected =
        ReplaySummary { number: NUMBER, edits: 3, last_edit_no, valid_len: len, file_len: len };
    assert_eq!(summary, expected);
    assert!(!summary.is_torn());
}

/// R2 to R5: the header. R6: the snapshot.
#[test]
fn r2_to_r6_header_and_snapshot_must_be_whole() {
    let good = file(1).bytes;
    // R2: shorter than a header, or no header.
    for len in 0..MANIFEST_HEADER_LEN {
        assert_eq!(kind(&good[..len]), ErrorKind::Corruption, "{len} bytes");
    }
    // R3: any damage of the header.
    for bit in 0..MANIFEST_HEADER_LEN * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(kind(&bytes), ErrorKind::Corruption, "bit {bit}");
    }
    assert_eq!(kind(&vec![0; good.len()]), ErrorKind::Corruption);
    // R4: a whole header of a newer version, even if its reserved bytes are used.
    let mut newer = Writer::new(&ManifestHeader { format_version: 2, ..header() });
    newer.payload(b"what a newer version writes");
    let error = read(&newer.bytes).unwrap_err();
    assert!(matches!(error, Error::FormatTooNew { found: 2, max: 1, .. }), "{error}");
    // R5: a file of another number, under this name.
    let mut other = Writer::new(&ManifestHeader { number: 8, ..header() });
    other.edit(&state(1).snapshot());
    assert_eq!(kind(&other.bytes), ErrorKind::Corruption);
    // R6: the snapshot is absent, torn or damaged, also when nothing follows.
    let snapshot_only = file(0);
    for len in MANIFEST_HEADER_LEN..snapshot_only.bytes.len() {
        assert_eq!(kind(&snapshot_only.bytes[..len]), ErrorKind::Corruption, "{len} bytes");
    }
    for bit in MANIFEST_HEADER_LEN * 8..snapshot_only.bytes.len() * 8 {
        let mut bytes = snapshot_only.bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(kind(&bytes), ErrorKind::Corruption, "bit {bit}");
    }
    let mut late = Writer::new(&header());
    late.last_crc = 5;
    late.edit(&state(1).snapshot());
    assert_eq!(kind(&late.bytes), ErrorKind::Corruption, "the first frame follows another");
}

/// R7: the last frame is invalid and nothing valid is behind it, whatever is there: it is cut.
#[test]
fn r7_a_torn_tail_is_cut() {
    let writer = file(3);
    let [.., start, end] = writer.starts[..] else { panic!("no frames") };
    let check = |bytes: &[u8], what: &str| {
        let (found, summary) = read(bytes).unwrap();
        assert_eq!(found, state(3), "{what}");
        assert_eq!(summary.valid_len, start as u64, "{what}");
        assert_eq!(summary.is_torn(), bytes.len() > start, "{what}");
    };
    for len in start..end {
        check(&writer.bytes[..len], &format!("cut to {len}"));
        // Length without data.
        let mut zeros = writer.bytes[..len].to_vec();
        zeros.resize(end + 512, 0);
        if zeros[..end] != writer.bytes[..end] {
            check(&zeros, &format!("zeros from {len}"));
        }
    }
    for bit in start * 8..end * 8 {
        let mut bytes = writer.bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        check(&bytes, &format!("bit {bit}"));
    }
    // Junk, and valid frames of another file, are nothing valid.
    let mut junk = writer.bytes[..start].to_vec();
    junk.extend((0..5000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8));
    check(&junk, "junk");
    let mut other = Writer::new(&ManifestHeader { db_uuid: 43, ..header() });
    other.edit(&state(1).snapshot());
    let mut stale = writer.bytes[..start].to_vec();
    stale.extend_from_slice(&other.bytes);
    check(&stale, "another file's frames");
}

/// R8: an invalid frame with a valid one behind it is a hole in what was synced.
#[test]
fn r8_a_hole_is_corruption() {
    let writer = file(3);
    let (start, end) = (writer.starts[2], writer.starts[3]);
    for bit in start * 8..end * 8 {
        let mut bytes = writer.bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let error = read(&bytes).unwrap_err();
        let Error::Corruption { offset, .. } = &error else { panic!("bit {bit}: {error}") };
        assert!((start as u64..=end as u64).contains(offset), "bit {bit}: {error}");
    }
    let mut bytes = writer.bytes.clone();
    bytes[writer.starts[1]..end].fill(0);
    assert_eq!(kind(&bytes), ErrorKind::Corruption, "two frames are zero");
}

/// R9: valid frames that do not follow each other.
#[test]
fn r9_a_broken_chain_is_corruption() {
    let writer = file(3);
    let [_, a, b, c, end] = writer.starts[..] else { panic!("other frames") };
    let frame = |from: usize, to: usize| &writer.bytes[from..to];
    let orders = [
        [&writer.bytes[..a], frame(b, c), frame(c, end)].concat(),
        [&writer.bytes[..b], frame(c, end)].concat(),
        [&writer.bytes[..c], frame(b, c)].concat(),
        [&writer.bytes[..b], frame(a, b)].concat(),
    ];
    for (index, bytes) in orders.iter().enumerate() {
        assert_eq!(kind(bytes), ErrorKind::Corruption, "order {index}");
    }
    // The right number after the wrong frame.
    let mut forked = file(1);
    forked.last_crc ^= 1;
    forked.edit(&flush_edit(3));
    assert_eq!(kind(&forked.bytes), ErrorKind::Corruption);
}

/// R10: a valid frame that cannot be decoded, or whose edit contradicts the state.
#[test]
fn r10_a_wrong_edit_is_corruption() {
    let mut garbled = file(1);
    garbled.payload(b"not an edit");
    assert_eq!(kind(&garbled.bytes), ErrorKind::Corruption);
    let mut repeated = file(2);
    repeated.edit(&flush_edit(2));
    let error = read(&repeated.bytes).unwrap_err();
    let at = repeated.starts[3] as u64;
    assert!(matches!(error, Error::Corruption { offset, .. } if offset == at), "{error}");
    let mut first = Writer::new(&header());
    first.payload(b"not an edit");
    assert_eq!(kind(&first.bytes), ErrorKind::Corruption);
}

/// R7, I2: a file made to make the search behind an invalid frame long: every 24 bytes a frame seems to
/// begin that goes to the end of the file.
#[test]
fn r7_a_search_is_never_long() {
    let mut bytes = file(1).bytes;
    let len = bytes.len() + (4 << 20);
    while bytes.len() + MANIFEST_FRAME_LEN < len {
        let claimed = (len - bytes.len() - MANIFEST_FRAME_LEN) as u32;
        let mut frame = vec![0; MANIFEST_FRAME_LEN];
        frame[..4].copy_from_slice(&claimed.to_le_bytes());
        frame[4..8].copy_from_slice(&[1; 4]);
        bytes.extend_from_slice(&frame);
    }
    bytes.resize(len, 0);
    let (found, summary) = read(&bytes).unwrap();
    assert_eq!(found, state(2));
    assert!(summary.is_torn());
}

/// R7: what a kill left of a large edit, cut off at the end of a page, was taken for corruption, and nothing
/// opened the database any more: the edit's small numbers look like the lengths of thousands of frames, and
/// the search behind it was given up when it had computed too many checksums. Found by the 2,377th kill of a
/// run of them.
#[test]
fn r7_a_torn_edit_full_of_small_numbers_is_cut() {
    let mut writer = file(1);
    let start = writer.bytes.len();
    writer
        .payload(&(0..4_000_u64).flat_map(|n| (n * 37 % 3_000).to_le_bytes()).collect::<Vec<_>>());
    for end in (start..writer.bytes.len()).step_by(512).skip(1) {
        let (found, summary) = read(&writer.bytes[..end]).unwrap();
        assert_eq!(found, state(2), "cut at {end}");
        assert_eq!((summary.valid_len, summary.is_torn()), (start as u64, true), "cut at {end}");
    }
    // A whole edit behind what is torn is found among all of that.
    let mut hole = writer.bytes.clone();
    hole.truncate(writer.bytes.len() - 512);
    let mut behind = file(2);
    hole.extend_from_slice(&behind.bytes.split_off(behind.starts[2]));
    assert_eq!(kind(&hole), ErrorKind::Corruption);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// I1: whatever is done to one place of a file, the result is an error, or the state before the
    /// first damaged edit when the damage reaches into the last one; never anything else, never a
    /// panic. (Damage at rest of the last edit looks like a torn one. What it cost then shows in the
    /// WAL and in missing segments.)
    #[test]
    fn damage_is_noticed(at in 0..4096_usize, junk in proptest::collection::vec(0..=255_u8, 1..400)) {
        let writer = file(4);
        let good = &writer.bytes;
        let mut bytes = good.clone();
        let at = at % bytes.len();
        let end = (at + junk.len()).min(bytes.len());
        bytes[at..end].copy_from_slice(&junk[..end - at]);
        let damaged: Vec<usize> = (at..end).filter(|&at| bytes[at] != good[at]).collect();
        let frames = damaged.iter().map(|at| writer.starts.partition_point(|start| start <= at));
        let (first, last) = (frames.clone().min().unwrap_or(6), frames.max().unwrap_or(5));
        match read(&bytes) {
            Ok((found, summary)) => {
                proptest::prop_assert!(first >= 2 && last == 5);
                proptest::prop_assert_eq!(found, state(first as u64 - 1));
                proptest::prop_assert_eq!(summary.is_torn(), first <= 5);
            }
            Err(e) => {
                proptest::prop_assert_eq!(e.kind(), ErrorKind::Corruption);
                proptest::prop_assert!(first < 2 || last < 5);
            }
        }
    }
}
