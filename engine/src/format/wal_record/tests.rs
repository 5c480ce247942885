use super::*;
use proptest::prelude::*;

/// An operation that owns its data, to compare with what was decoded.
#[derive(Clone, Debug, PartialEq)]
enum Owned {
    Append(u64, Vec<(Vec<u8>, Vec<u8>, u64, i64)>),
    Upper(u64, Frontier),
    Below(u64, Frontier),
    Create(u64, String, Vec<u8>),
    Drop(u64),
    Meta(u64, Vec<u8>),
}

fn own(op: &Op<'_>) -> Owned {
    match op {
        Op::Append { collection, rows } => Owned::Append(
            collection.0,
            rows.clone().map(|u| (u.key.to_vec(), u.val.to_vec(), u.ts, u.diff)).collect(),
        ),
        Op::AdvanceUpper { collection, upper } => Owned::Upper(collection.0, *upper),
        Op::CompactBelow { collection, since } => Owned::Below(collection.0, *since),
        Op::Create { collection, create } => {
            Owned::Create(collection.0, create.name.into(), create.meta.into())
        }
        Op::Drop { collection } => Owned::Drop(collection.0),
        Op::SetMeta { collection, meta } => Owned::Meta(collection.0, meta.to_vec()),
    }
}

fn encode(ops: &[Owned]) -> Vec<u8> {
    let mut builder = RecordBuilder::default();
    for op in ops {
        match op {
            Owned::Append(c, rows) => {
                let rows: Vec<Update<'_>> = rows
                    .iter()
                    .map(|(key, val, ts, diff)| Update { key, val, ts: *ts, diff: *diff })
                    .collect();
                builder.append(CollectionId(*c), &rows).unwrap();
            }
            Owned::Upper(c, f) => builder.advance_upper(CollectionId(*c), *f),
            Owned::Below(c, f) => builder.compact_below(CollectionId(*c), *f),
            Owned::Create(c, name, meta) => {
                builder.create(CollectionId(*c), &create(name, meta)).unwrap();
            }
            Owned::Drop(c) => builder.drop_collection(CollectionId(*c)),
            Owned::Meta(c, meta) => builder.set_meta(CollectionId(*c), meta).unwrap(),
        }
    }
    builder.finish().unwrap()
}

fn create<'a>(name: &'a str, meta: &'a [u8]) -> Create<'a> {
    Create { kind: Kind::Multiset, ts_width: WAL_TS_WIDTH, name, meta }
}

fn decode_all(payload: &[u8]) -> std::result::Result<Vec<Owned>, FormatError> {
    decode(payload)?.map(|op| op.map(|op| own(&op))).collect()
}

fn any_op() -> impl Strategy<Value = Owned> {
    let frontier = prop_oneof![Just(Frontier::CLOSED), any::<u64>().prop_map(Frontier::at)];
    let bytes = || prop::collection::vec(any::<u8>(), 0..20);
    let row = (bytes(), bytes(), any::<u64>(), any::<i64>());
    prop_oneof![
        (any::<u64>(), prop::collection::vec(row, 0..5)).prop_map(|(c, r)| Owned::Append(c, r)),
        (any::<u64>(), frontier.clone()).prop_map(|(c, f)| Owned::Upper(c, f)),
        (any::<u64>(), frontier).prop_map(|(c, f)| Owned::Below(c, f)),
        (any::<u64>(), "[a-z]{1,9}", bytes()).prop_map(|(c, n, m)| Owned::Create(c, n, m)),
        any::<u64>().prop_map(Owned::Drop),
        (any::<u64>(), bytes()).prop_map(|(c, m)| Owned::Meta(c, m)),
    ]
}

proptest! {
    #[test]
    fn what_was_encoded_is_decoded(ops in prop::collection::vec(any_op(), 0..8)) {
        let payload = encode(&ops);
        prop_assert_eq!(payload.len() % 8, 0);
        prop_assert_eq!(decode_all(&payload).unwrap(), ops);
    }

    /// The frame's checksum is what notices damage; the decoder must only stay sane.
    #[test]
    fn damaged_records_never_panic(
        ops in prop::collection::vec(any_op(), 1..5), at: prop::sample::Index, to: u8, cut: bool,
    ) {
        let mut payload = encode(&ops);
        let at = at.index(payload.len());
        if cut {
            payload.truncate(at);
            prop_assert!(decode_all(&payload).is_err());
        } else {
            payload[at] = to;
            let _ = decode_all(&payload);
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_all(&bytes);
    }
}

/// Goal: each check of the decoder on its own. Method: one field of a good record is changed.
#[test]
fn every_odd_field_is_refused() {
    let append = encode(&[Owned::Append(1, vec![(b"k".to_vec(), b"v".to_vec(), 1, 1)])]);
    let create = encode(&[Owned::Create(1, "name".into(), vec![])]);
    let upper = encode(&[Owned::Upper(1, Frontier::at(3))]);
    let cases: &[(&[u8], usize, u8, &str)] = &[
        (&append, 0, 0, "bytes too many"),
        (&append, 0, 9, "9 operations do not fit"),
        (&append, 4, 1, "reserved bytes"),
        (&append, 8, 7, "operation kind 7 is not known"),
        (&append, 9, 1, "reserved bytes"),
        (&append, 24, 255, "bytes expected"),
        (&append, 32, 0, "was not announced"),
        (&append, 32, 2, "2 rows do not fit"),
        (&append, 40, 2, "reaches beyond"),
        (&append, append.len() - 1, 1, "reserved bytes"),
        (&upper, 32, 2, "frontier tag"),
        (&create, 32, 4, "collection kind 4"),
        (&create, 33, 16, "timestamps of 16 bytes"),
        (&create, 34, 0, "no control characters"),
        (&create, 40, 0xff, "not UTF-8"),
        (&create, 40, 7, "no control characters"),
    ];
    for (good, at, value, what) in cases {
        assert!(decode_all(good).is_ok());
        let mut bad = good.to_vec();
        bad[*at] = *value;
        let error = decode_all(&bad).expect_err(what);
        assert!(error.what.contains(what), "{at}: {error:?} should say {what}");
    }
}

#[test]
fn an_error_comes_once_and_ends_the_operations() {
    let mut payload = encode(&[Owned::Drop(1), Owned::Drop(2)]);
    payload[32] = 99;
    let mut ops = decode(&payload).unwrap();
    assert!(ops.next().unwrap().is_ok());
    let error = ops.next().unwrap().unwrap_err();
    assert_eq!(error.offset, 32);
    // It came for ever once: who passed over errors, as a salvage does, never ended.
    assert!(ops.next().is_none());
    assert_eq!(decode(&payload).unwrap().flatten().count(), 1);
}

#[test]
fn limits_hold_when_encoding_and_when_decoding() {
    let long_key = vec![0; KEY_LEN_MAX + 1];
    let mut builder = RecordBuilder::default();
    builder.begin_append(CollectionId(1));
    let row = |key| Update { key, val: b"", ts: 0, diff: 1 };
    assert!(builder.row(&row(&long_key)).unwrap_err().to_string().contains("key of 65537 bytes"));
    builder.row(&row(&long_key[1..])).unwrap();
    assert_eq!(builder.row_count(), 1);
    let mut payload = builder.finish().unwrap();
    assert_eq!(decode_all(&payload).unwrap().len(), 1);
    // The same bytes as one key that is too long: key_len + 1 with a byte more in the op.
    payload[40..44].copy_from_slice(&(KEY_LEN_MAX as u32 + 1).to_le_bytes());
    payload[24..32].copy_from_slice(&(8 + 24 + KEY_LEN_MAX as u64 + 1).to_le_bytes());
    payload.resize(padded(payload.len() + 1, 8), 0);
    assert!(decode_all(&payload).unwrap_err().what.contains("longer than the limits"));

    let mut builder = RecordBuilder::default();
    let id = CollectionId(1);
    let long_meta = vec![0; META_LEN_MAX + 1];
    assert!(builder.set_meta(id, &long_meta).is_err());
    assert!(builder.create(id, &create("a", &long_meta)).is_err());
    assert!(builder.create(id, &create("", b"")).is_err());
    assert!(builder.create(id, &create(&"x".repeat(256), b"")).is_err());
    assert!(builder.create(id, &create("a\nb", b"")).is_err());
    assert!(builder.is_empty());
    builder.create(id, &create(&"x".repeat(255), &long_meta[1..])).unwrap();
}

#[test]
fn layouts_have_the_lengths_of_the_headers() {
    let len = |at: usize| LAYOUTS[at].1.iter().map(|(_, len)| len).sum::<usize>();
    assert_eq!(len(0), WAL_RECORD_HEADER_LEN);
    assert_eq!(len(1), WAL_OP_HEADER_LEN);
    assert_eq!(len(2), WAL_ROW_HEADER_LEN);
    assert_eq!(len(3), 8);
}
