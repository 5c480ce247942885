//! Inputs to start a corpus with: what the engine itself writes.

use crate::backup::taken;
use crate::base::{Base, base};
use crate::session::DIR;
use datestone_engine::format::block_builder::BlockBuilder;
use datestone_engine::format::wal_record::{Create, RecordBuilder, WAL_TS_WIDTH};
use datestone_engine::types::{CollectionId, Frontier, Kind, Update};
use std::path::Path;

/// Longest seed of a file.
const LEN_MAX: usize = 24 << 10;

/// Every seed: the target, a name, the bytes.
#[must_use]
pub fn seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = vec![("wal_record", "every-op".to_owned(), record())];
    for shape in 0..4 {
        seeds.push(("block", format!("shape-{shape}"), block(shape)));
    }
    for choice in 0..4 {
        let fs = &base(choice).fs;
        for name in Base::names(fs) {
            let content = fs.read_file(Path::new(DIR).join(&name)).unwrap_or_default();
            let name = name.to_string_lossy();
            let target = match () {
                () if name.ends_with(".seg") => "segment",
                () if name.starts_with("MANIFEST-") => "manifest",
                () => continue,
            };
            if content.len() <= LEN_MAX {
                seeds.push((target, format!("base-{choice}-{name}"), content));
            }
        }
    }
    for choice in 0..4 {
        seeds.push(("open_dir", format!("unharmed-{choice}"), vec![choice]));
        seeds.push(("wal_open", format!("unharmed-{choice}"), vec![choice]));
        let noise = |step: u8, len: u8| (0..len).map(|i| i.wrapping_mul(step) ^ choice).collect();
        seeds.push(("open_dir", format!("noise-{choice}"), noise(37, 60)));
        seeds.push(("wal_open", format!("noise-{choice}"), noise(91, 60)));
        seeds.push(("ops", format!("noise-{choice}"), noise(113, 255)));
    }
    for choice in 0..5 {
        seeds.push(("salvage", format!("unharmed-{choice}"), vec![choice, 254]));
        let noise = (0..60_u8).map(|i| i.wrapping_mul(53) ^ choice).collect();
        seeds.push(("salvage", format!("noise-{choice}"), noise));
        seeds.push(("backup", format!("keep-{choice}"), vec![choice]));
        let noise = (0..60_u8).map(|i| i.wrapping_mul(29) ^ choice).collect();
        seeds.push(("backup", format!("noise-{choice}"), noise));
    }
    seeds.extend((0..4).map(|choice| ("salvage", format!("files-{choice}"), whole_files(choice))));
    let backups = &taken().backups;
    for name in Base::names(backups) {
        let name = name.to_string_lossy();
        if name.starts_with("BACKUP-") {
            let content = backups.read_file(Path::new(DIR).join(&*name)).unwrap_or_default();
            seeds.push(("backup", name.into_owned(), [&[u8::MAX], &content[..]].concat()));
        }
    }
    seeds
}

/// The manifest, a segment and the beginning of the log of a base, as `salvage` takes whole files.
fn whole_files(choice: u8) -> Vec<u8> {
    let fs = &base(choice).fs;
    let mut bytes = vec![u8::MAX, 254];
    for ending in ["MANIFEST-", ".seg", ".log"] {
        let name = Base::names(fs).into_iter().find(|name| {
            let name = name.to_string_lossy();
            name.starts_with(ending) || name.ends_with(ending)
        });
        let content = name.and_then(|name| fs.read_file(Path::new(DIR).join(name)).ok());
        let content = content.unwrap_or_default();
        let content = content.get(..content.len().min(LEN_MAX / 4)).unwrap_or_default();
        bytes.extend_from_slice(&(content.len() as u16).to_le_bytes());
        bytes.extend_from_slice(content);
    }
    bytes
}

/// A record with every operation.
fn record() -> Vec<u8> {
    let id = CollectionId(3);
    let mut record = RecordBuilder::default();
    let create =
        Create { kind: Kind::Multiset, ts_width: WAL_TS_WIDTH, name: "name", meta: b"meta" };
    record.create(id, &create).expect("within the limits");
    let rows = [
        Update { key: b"key", val: b"value", ts: 7, diff: 1 },
        Update { key: b"", val: b"", ts: u64::MAX, diff: i64::MIN },
    ];
    record.append(id, &rows).expect("within the limits");
    record.advance_upper(id, Frontier::at(8));
    record.compact_below(id, Frontier::CLOSED);
    record.set_meta(id, b"other").expect("within the limits");
    record.drop_collection(id);
    record.finish().expect("within the limits")
}

/// Blocks that use different columns: fixed and free lengths, one and many values and updates.
fn block(shape: u8) -> Vec<u8> {
    let mut builder = BlockBuilder::default();
    for n in 0_u8..12 {
        let key = if shape < 2 { vec![b'k', n] } else { vec![n; usize::from(n) + 1] };
        let val = if shape == 0 { vec![n; 4] } else { vec![n; usize::from(n)] };
        let updates: Vec<(u64, i64)> = match shape {
            0 => vec![(5, 1)],
            1 => vec![(5 + u64::from(n), -1)],
            _ => (0..3).map(|i| (u64::from(n) << (8 * i), 1 << (9 * i))).collect(),
        };
        let mut updates = updates;
        updates.sort_unstable();
        builder.push_key(&key, &val, &updates);
        if shape == 3 {
            builder.push_entry(&[n; 20], &updates);
        }
    }
    let mut bytes = Vec::new();
    builder.encode(&mut bytes);
    bytes
}
