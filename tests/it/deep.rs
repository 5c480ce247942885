//! Keys with long histories: point reads agree with scans at every time, through flushes and merges.

use datestone_engine::commit::Commit;
use datestone_engine::config::Durability;
use datestone_engine::read::RangeSpec;
use datestone_engine::read::range::prefix_range;
use datestone_engine::types::{Frontier, Kind, Update};
use datestone_engine::verify::VerifyDepth;
use datestone_tests::database::{collect, open, small_options};
use datestone_tests::seed::{Chance, seed};

/// Goal: what a point read finds with anchors is what a scan adds up. Method: a few keys whose values
/// are replaced again and again, some with many values at once, some with values that come back; in
/// memory, in several runs and in one; as of random times, before and after forgetting.
#[test]
fn point_reads_of_long_histories_agree_with_scans() {
    let mut chance = Chance::new(seed("point_reads_of_long_histories"));
    let fs = datestone_engine::io::MemFs::new();
    let db = open(&fs, &small_options()).unwrap();
    let id = db.create_or_load(Kind::Multiset, "c", b"").unwrap().id;
    let mut held: Vec<Vec<Vec<u8>>> = vec![Vec::new(); 6];
    let widths = [1, 2, 8, 20, 1, 3];
    let upper: u64 = 6_000;
    let mut since = 0;
    for ts in 0..upper {
        let mut commit = Commit::new();
        let mut batch = commit.append(id, "c");
        let which = chance.below(6) as usize;
        let (key, held) = (b"abcdef"[which], &mut held[which]);
        let val = if which < 4 { ts.to_be_bytes().to_vec() } else { vec![chance.below(5) as u8] };
        batch.push(Update { key: &[key], val: &val, ts, diff: 1 }).unwrap();
        held.push(val);
        while held.len() > widths[which] {
            let gone = held.remove(chance.below(held.len() as u64) as usize);
            batch.push(Update { key: &[key], val: &gone, ts, diff: -1 }).unwrap();
        }
        batch.finish().unwrap();
        commit.advance_upper(id, Frontier::at(ts + 1)).unwrap();
        db.commit(commit, Durability::Buffer).unwrap();
        if chance.one_in(700) {
            db.flush().unwrap();
        }
        if ts == 4_000 {
            db.compact(None).unwrap();
            since = 1_500;
            let mut commit = Commit::new();
            commit.compact_below(id, Frontier::at(since)).unwrap();
            db.commit(commit, Durability::Buffer).unwrap();
        }
        if ts % 500 == 499 {
            for _ in 0..40 {
                let as_of = since + chance.below(ts + 1 - since);
                let snapshot = db.snapshot(id, as_of).unwrap();
                for key in b"abcdef" {
                    let wanted = collect(snapshot.rows(prefix_range(&[*key]))).unwrap();
                    let mut found = Vec::new();
                    snapshot
                        .get(&[*key], |val, diff| {
                            found.push((vec![*key], val.to_vec(), diff));
                            Ok(())
                        })
                        .unwrap();
                    assert_eq!(found, wanted, "key {key}, as of {as_of}, at {ts}");
                }
            }
        }
    }
    db.compact(None).unwrap();
    assert!(db.verify(VerifyDepth::Full, |_, _| {}).unwrap().is_clean());
    let latest = collect(db.latest(id).unwrap().rows(RangeSpec::ALL)).unwrap();
    let mut all: Vec<(u8, Vec<u8>)> = (b"abcdef".iter().zip(held))
        .flat_map(|(key, vals)| vals.into_iter().map(|val| (*key, val)))
        .collect();
    all.sort();
    let latest = latest
        .into_iter()
        .flat_map(|(key, val, diff)| std::iter::repeat_n((key[0], val), diff as usize));
    assert!(latest.eq(all));
}
