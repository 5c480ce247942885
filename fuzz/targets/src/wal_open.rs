//! A damaged log: recovery returns an error, or the commits that were written, without a gap, from
//! the first one asked for.

use crate::damage::{Harm, damage};
use arbitrary::{Arbitrary, Unstructured};
use datestone_engine::io::{Fs, MemFs};
use datestone_engine::types::SeqNo;
use datestone_engine::wal::{FrameIn, WalOptions, open};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use crate::session::DIR;

const UUID: u128 = 0x1234_5678_9abc_def0;
const COMMITS: u64 = 60;
const RELEASED: u64 = 20;
/// The last commit that was synced.
const SYNCED: u64 = 51;

fn options() -> WalOptions {
    WalOptions { file_len: 64 << 10, spares_max: 2, spare_after_bytes: 1 << 10 }
}

/// The payload of each commit.
fn payload(seqno: u64) -> Vec<u8> {
    let len = (seqno.wrapping_mul(0x9e37_79b9) >> 3) % 6_000;
    (0..len).map(|at| (at ^ seqno) as u8).collect()
}

/// A log of several files, some of them used again, that was killed with commits beyond the last
/// sync.
fn log() -> &'static MemFs {
    static LOG: OnceLock<MemFs> = OnceLock::new();
    LOG.get_or_init(|| {
        let fs = MemFs::new();
        fs.create_dir(Path::new(DIR)).expect("a new directory");
        let shared: Arc<dyn Fs> = Arc::new(fs.clone());
        let opened = open(shared, Path::new(DIR), UUID, options(), SeqNo(0), &mut |_| Ok(()));
        let (mut writer, _) = opened.expect("an empty log opens");
        for seqno in 1..=COMMITS {
            let payload = payload(seqno);
            writer.append(&[FrameIn::new(&payload)]).expect("nothing fails");
            if seqno % 3 == 0 && seqno <= SYNCED {
                writer.sync().expect("nothing fails");
            } else {
                writer.write().expect("nothing fails");
            }
            if seqno == RELEASED + 5 {
                writer.shared().release(SeqNo(RELEASED)).expect("nothing fails");
            }
            writer.shared().prepare_spare().expect("nothing fails");
        }
        fs.kill()
    })
}

/// See the module.
pub fn wal_open(data: &[u8]) {
    let mut bytes = Unstructured::new(data);
    let Ok(flushed) = u8::arbitrary(&mut bytes) else { return };
    let flushed = RELEASED + u64::from(flushed % 8);
    let fs = log().kill();
    let harm = damage(&fs, &mut bytes, |name| name.starts_with("wal-"));
    let Some(last) = recover(&fs, flushed, None) else { return };
    if cfg!(fuzzing) {
        return;
    }
    // Commits behind the synced ones tell that they were.
    assert!(harm == Harm::Any || last >= SYNCED, "{harm:?} loses synced commits from {last} on");
    // After a kill the commit that was written and synced then is found too.
    let again = recover(&fs.kill(), flushed, Some(last + 1));
    assert!(again == Some(last + 1), "{again:?} is the last commit, not {}", last + 1);
}

/// What is committed after a recovery.
const NEXT: &[u8] = b"next";

/// The last commit found, of which `next` was committed after an earlier recovery; `None` after an
/// error.
fn recover(fs: &MemFs, flushed: u64, next: Option<u64>) -> Option<u64> {
    let mut expected = flushed + 1;
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let opened = open(shared, Path::new(DIR), UUID, options(), SeqNo(flushed), &mut |frame| {
        assert_eq!(frame.seqno.0, expected, "commits come without a gap");
        let written = if next == Some(expected) { NEXT.to_vec() } else { payload(expected) };
        assert!(cfg!(fuzzing) || frame.payload == written, "a commit is as it was written");
        expected += 1;
        Ok(())
    });
    let (mut writer, summary) = opened.ok()?;
    let last = summary.last_seqno.0;
    assert!(last + 1 >= expected, "the summary knows of all commits");
    // Writing goes on behind what was found.
    let appended = writer.append(&[FrameIn::new(NEXT)]).and_then(|_| writer.sync()).ok()?;
    assert_eq!(appended.0, last + 1);
    Some(last)
}
