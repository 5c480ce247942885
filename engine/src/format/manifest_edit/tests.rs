//! What is encoded is decoded; what is not an edit is refused.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn frontier() -> impl Strategy<Value = Frontier> {
    prop_oneof![any::<u64>().prop_map(Frontier::at), Just(Frontier::CLOSED)]
}

fn segment() -> impl Strategy<Value = SegmentMeta> {
    let counts = (1..100_u64, 0..100_u64, 0..100_u64);
    let times = (any::<u64>(), any::<u64>(), proptest::option::of(any::<u64>()));
    (any::<u64>(), any::<u64>(), any::<u32>(), counts, times, any::<u64>()).prop_map(
        |(id, file_len, trailer_crc, (keys, more, most), (a, b, garbage_first_ts), data_len)| {
            let (entries, updates) = (keys + more, keys + more + most);
            let (min_ts, max_ts, id) = (a.min(b), a.max(b), SegmentId(id));
            SegmentMeta {
                id,
                file_len,
                trailer_crc,
                keys,
                entries,
                updates,
                min_ts,
                max_ts,
                data_len,
                garbage_first_ts,
            }
        },
    )
}

fn op() -> impl Strategy<Value = EditOp> {
    let part = || vec(segment(), 1..3);
    let run = (frontier(), frontier(), vec(part(), 0..3))
        .prop_map(|(lower, upper, parts)| RunDesc { lower, upper, parts });
    let runs =
        (any::<u64>(), vec(run, 0..3), vec(part(), 0..3)).prop_map(|(id, sealed, future)| {
            EditOp::Runs { id: CollectionId(id), runs: RunList { sealed, future } }
        });
    let head = (any::<u64>(), "\\PC{1,60}", vec(any::<u8>(), 0..40), frontier(), frontier())
        .prop_map(|(id, name, meta, since, upper)| {
            let (kind, ts_width) = (Kind::Multiset, COLLECTION_TS_WIDTH);
            let id = CollectionId(id);
            EditOp::Collection(CollectionHead { id, kind, ts_width, name, meta, since, upper })
        });
    prop_oneof![
        (any::<u64>(), any::<u64>()).prop_map(|(a, b)| EditOp::NextIds {
            collection: CollectionId(a),
            segment: SegmentId(b)
        }),
        any::<u64>().prop_map(|seqno| EditOp::Flushed(SeqNo(seqno))),
        head,
        any::<u64>().prop_map(|id| EditOp::Drop(CollectionId(id))),
        runs,
    ]
}

fn encoded(edit: &Edit) -> Vec<u8> {
    let mut out = Vec::new();
    edit.encode(&mut out).unwrap();
    out
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// I1, and that nothing but a whole edit is one.
    #[test]
    fn edits_round_trip(ops in vec(op(), 0..6)) {
        let edit = Edit { ops };
        let bytes = encoded(&edit);
        prop_assert!(bytes.len().is_multiple_of(UNIT));
        prop_assert_eq!(Edit::decode(&bytes).unwrap(), edit);
        for len in 0..bytes.len() {
            prop_assert!(Edit::decode(&bytes[..len]).is_err());
        }
        let longer = [&bytes[..], &[0; 8]].concat();
        prop_assert!(Edit::decode(&longer).is_err());
    }

    /// Any change of any byte gives an error or an edit that is encoded as exactly these bytes.
    #[test]
    fn damaged_edits_do_not_panic(
        ops in vec(op(), 1..4),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = encoded(&Edit { ops });
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(edit) = Edit::decode(&bytes) {
            prop_assert_eq!(encoded(&edit), bytes);
        }
    }

    #[test]
    fn any_bytes_do_not_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _either = Edit::decode(&bytes);
    }
}

/// I2: counts that the input cannot hold are refused before anything is allocated for them.
#[test]
fn counts_beyond_the_input_are_refused() {
    let mut bytes = u32::MAX.to_le_bytes().to_vec();
    bytes.extend_from_slice(&[0; 4]);
    assert!(Edit::decode(&bytes).is_err());
    let runs = RunList {
        sealed: vec![RunDesc { lower: Frontier::MIN, upper: Frontier::at(1), parts: Vec::new() }],
        future: Vec::new(),
    };
    let good = encoded(&Edit { ops: vec![EditOp::Runs { id: CollectionId(1), runs }] });
    // Count of sealed runs, of future parts, of the run's parts.
    for at in [24, 28, 64] {
        let mut bytes = good.clone();
        bytes[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Edit::decode(&bytes).is_err(), "count at {at}");
    }
}

/// I1: what could not be read is not written.
#[test]
fn values_beyond_their_limits_are_not_encoded() {
    let head = CollectionHead {
        id: CollectionId(1),
        kind: Kind::Multiset,
        ts_width: COLLECTION_TS_WIDTH,
        name: "a".repeat(NAME_LEN_MAX),
        meta: vec![0; META_LEN_MAX],
        since: Frontier::MIN,
        upper: Frontier::MIN,
    };
    let encode = |op| Edit { ops: vec![op] }.encode(&mut Vec::new());
    assert!(encode(EditOp::Collection(head.clone())).is_ok());
    for broken in [
        CollectionHead { name: String::new(), ..head.clone() },
        CollectionHead { name: "a".repeat(NAME_LEN_MAX + 1), ..head.clone() },
        CollectionHead { meta: vec![0; META_LEN_MAX + 1], ..head.clone() },
        CollectionHead { ts_width: 16, ..head },
    ] {
        assert!(encode(EditOp::Collection(broken)).is_err());
    }
    let meta = SegmentMeta {
        id: SegmentId(1),
        file_len: 1,
        trailer_crc: 0,
        keys: 1,
        entries: 1,
        updates: 1,
        min_ts: 1,
        max_ts: 1,
        data_len: 1,
        garbage_first_ts: None,
    };
    let runs = |part| EditOp::Runs {
        id: CollectionId(1),
        runs: RunList { sealed: Vec::new(), future: vec![part] },
    };
    assert!(encode(runs(vec![meta.clone()])).is_ok());
    for part in [
        Part::new(),
        vec![SegmentMeta { min_ts: 2, ..meta.clone() }],
        vec![SegmentMeta { keys: 0, ..meta.clone() }],
        vec![SegmentMeta { keys: 2, ..meta.clone() }],
        vec![SegmentMeta { entries: 2, ..meta }],
    ] {
        assert!(encode(runs(part)).is_err());
    }
}

/// The fixed lengths in the code are those of the layouts.
#[test]
fn layouts_have_the_lengths_that_are_used() {
    let len = |name: &str| -> usize {
        let layout = LAYOUTS.iter().find(|layout| layout.0 == name).unwrap();
        layout.1.iter().map(|field| field.1).sum()
    };
    let lengths = ["ManifestOp", "ManifestRun", "ManifestPart", "ManifestSegment"].map(len);
    assert_eq!(lengths, [OP_LEN, RUN_LEN, PART_LEN, SEGMENT_LEN]);
    let collection = len("ManifestCollection");
    let head = CollectionHead {
        id: CollectionId(1),
        kind: Kind::Multiset,
        ts_width: COLLECTION_TS_WIDTH,
        name: "n".to_owned(),
        meta: Vec::new(),
        since: Frontier::MIN,
        upper: Frontier::CLOSED,
    };
    let bytes = encoded(&Edit { ops: vec![EditOp::Collection(head)] });
    let body_len = u32::from_le_bytes(bytes[12..16].try_into().unwrap());
    assert_eq!(body_len as usize, collection + 1);
}
