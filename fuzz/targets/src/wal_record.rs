//! The payload of a WAL frame: decoding is total, and what it accepts encodes to the same bytes.

use datestone_engine::format::wal_record::{Op, RecordBuilder, decode};

/// See the module.
pub fn wal_record(data: &[u8]) {
    let Ok(ops) = decode(data) else { return };
    let mut builder = RecordBuilder::default();
    for op in ops {
        let Ok(op) = op else {
            assert!(fails_for_ever(data), "an iterator that failed goes on failing");
            return;
        };
        encode(&mut builder, op);
    }
    let again = builder.finish().expect("it was within the limits");
    assert_eq!(again, data, "a record has one encoding");
}

fn fails_for_ever(data: &[u8]) -> bool {
    let Ok(mut ops) = decode(data) else { return true };
    let Some(error) = ops.by_ref().find_map(Result::err) else { return false };
    ops.take(2).all(|op| op.is_err_and(|e| e == error))
}

fn encode(builder: &mut RecordBuilder, op: Op<'_>) {
    let encoded = match op {
        Op::Append { collection, rows } => {
            builder.begin_append(collection);
            for row in rows {
                builder.row(&row).expect("a row that was decoded is within the limits");
            }
            Ok(())
        }
        Op::AdvanceUpper { collection, upper } => {
            builder.advance_upper(collection, upper);
            Ok(())
        }
        Op::CompactBelow { collection, since } => {
            builder.compact_below(collection, since);
            Ok(())
        }
        Op::Create { collection, create } => builder.create(collection, &create),
        Op::Drop { collection } => {
            builder.drop_collection(collection);
            Ok(())
        }
        Op::SetMeta { collection, meta } => builder.set_meta(collection, meta),
    };
    encoded.expect("an operation that was decoded is within the limits");
}
