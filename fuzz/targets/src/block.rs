//! A block: checking is total, and every access to what it accepts is in bounds and agrees with
//! every other.

use datestone_engine::format::block::BlockShape;
use datestone_engine::types::TimeWindow;

/// See the module.
pub fn block(data: &[u8]) {
    let Ok((shape, facts)) = BlockShape::check(data) else { return };
    let mut keys: Vec<Vec<u8>> = Vec::new();
    shape.each_key(data, |key| keys.push(key.to_vec()));
    assert_eq!(keys.len(), shape.keys() as usize);
    assert!(keys.is_sorted_by(|a, b| a < b), "keys ascend");
    let (mut entries, mut updates) = (0, 0);
    let (mut least, mut greatest) = (u64::MAX, 0);
    for (index, key) in (0..shape.keys()).zip(&keys) {
        assert_eq!(shape.key_to_vec(data, index), *key);
        assert!(shape.key_is(data, index, key));
        assert_eq!(shape.lower_bound(data, key, 0), index);
        assert_eq!(shape.lower_bound_near(data, key, index), index);
        let beyond = [key.as_slice(), &[0]].concat();
        assert_eq!(shape.lower_bound(data, &beyond, 0), index + 1);
        assert!(!shape.key_is(data, index, &beyond));
        for entry in shape.entries_of(data, index) {
            assert_eq!(entry, entries, "entries follow each other");
            entries += 1;
            std::hint::black_box(shape.val(data, entry));
            let mut sum = 0;
            for update in shape.updates_of(data, entry) {
                assert_eq!(update, updates, "updates follow each other");
                updates += 1;
                let ts = shape.ts(data, update);
                (least, greatest) = (least.min(ts), greatest.max(ts));
                sum += i128::from(shape.diff(data, update));
            }
            assert_eq!(shape.sum(data, entry, TimeWindow::ALL, true), sum);
            assert_eq!(shape.sum(data, entry, TimeWindow::ALL, false), sum);
        }
    }
    assert_eq!((entries, updates), (shape.entries(), shape.updates()));
    assert_eq!((least, greatest), (facts.min_ts, facts.max_ts));
}
