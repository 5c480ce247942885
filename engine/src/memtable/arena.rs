//! The arena: where the entries of a memtable lie, and the heads of the lists that go through them.
//!
//! An append-only store of entries in chunks that never move and are freed with the arena. An entry
//! is written once, by the one writer, and never changes after; so whoever has got hold of an
//! [`EntryRef`] may read the entry without a lock, for as long as it keeps the arena. A value too
//! long to share a chunk gets one of its own.
//!
//! This is the only module of the memtable with `unsafe` code, and nothing that it offers can be
//! misused from safe code: an `EntryRef` is made only here and carries the identity of its arena.
//!
//! # Invariants
//! 1. A chunk's address is put into the table before any entry in it is referred to, and neither
//!    moves nor is freed before the arena is dropped.
//! 2. An `EntryRef` with the identity of an arena was returned by `ArenaWriter::push` of it, after
//!    the entry was complete. It reaches another thread only over [`Head`] or [`HeadTable`]
//!    (release, acquire), or over whatever else orders the threads.
//! 3. No byte of an entry is written after `push` has returned: units are handed out once.
//!
//! Crash behaviour: none, this is memory; the WAL brings the rows back.

#![expect(
    unsafe_code,
    reason = "entries of any length in place, read without locks or copies: measured to pay"
)]

use crate::limits::{COMMIT_LEN_MAX, KEY_LEN_MAX, VAL_LEN_MAX};
use crate::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::types::{Timestamp, Update};
use std::mem::MaybeUninit;
use std::num::NonZeroU32;
use std::ptr;

/// Bytes of the unit that entries are placed and addressed in.
const UNIT: usize = size_of::<u64>();
/// Units of an ordinary chunk, as a power of two.
const CHUNK_UNIT_BITS: u32 = if cfg!(datestone_loom) {
    5
} else if cfg!(datestone_shuttle) {
    12
} else {
    19
};
/// Units of an ordinary chunk: 4 MiB.
const CHUNK_UNITS: usize = 1 << CHUNK_UNIT_BITS;
/// An entry of more units than this has a chunk of its own, so that an ordinary chunk is filled to
/// three quarters at least.
const SHARED_UNITS_MAX: usize = CHUNK_UNITS / 4;
/// Places in the table of chunks; the first is never used, so that no entry is at unit 0.
const CHUNK_COUNT_MAX: usize = if cfg!(datestone_loom) {
    4
} else if cfg!(datestone_shuttle) {
    64
} else {
    1 << (32 - CHUNK_UNIT_BITS)
};

/// A memtable that has reached this many bytes must be frozen before the next batch. It keeps the
/// arena from ever running out of places for chunks.
pub const MEMTABLE_BYTES_MAX: u64 = 4 << 30;

const _: () = assert!(size_of::<Header>().is_multiple_of(UNIT) && align_of::<Header>() == UNIT);
const _: () = assert!(VAL_LEN_MAX + KEY_LEN_MAX + size_of::<Header>() < u32::MAX as usize);
// A row takes 24 bytes in the WAL beside key and val, and at most twice that here. Each place of the
// table stands for a quarter of a chunk at least, so one commit fits on top of a full memtable.
const _: () = assert!(
    cfg!(any(datestone_loom, datestone_shuttle))
        || MEMTABLE_BYTES_MAX as usize + 2 * COMMIT_LEN_MAX
            < (CHUNK_COUNT_MAX - 2) * SHARED_UNITS_MAX * UNIT
);
const _: () = assert!(size_of::<Header>() + UNIT - 1 <= 2 * 24);

/// What stands before key and val in the arena.
#[repr(C)]
struct Header {
    next: u32,
    behind: u32,
    prev: u32,
    slot: u32,
    key_len: u32,
    val_len: u32,
    ts: Timestamp,
    diff: i64,
}

/// Where a complete entry of one certain arena is. Made only by this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntryRef {
    unit: NonZeroU32,
    arena: u32,
}

impl EntryRef {
    fn new(unit: u32, arena: u32) -> Option<Self> {
        NonZeroU32::new(unit).map(|unit| Self { unit, arena })
    }

    fn chunk(self) -> usize {
        (self.unit.get() >> CHUNK_UNIT_BITS) as usize
    }

    fn unit_in_chunk(self) -> usize {
        self.unit.get() as usize & (CHUNK_UNITS - 1)
    }
}

/// The head of a bucket: a list of entries, and bits that say what cannot be in it. The arena keeps
/// the bits and does not look at them, see [`super::chain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) newest: Option<EntryRef>,
    pub(super) filter: u32,
}

/// An entry as it lies in the arena.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    header: &'a Header,
    arena: u32,
    pub(super) key: &'a [u8],
    pub(super) val: &'a [u8],
}

impl Entry<'_> {
    pub(super) fn ts(&self) -> Timestamp {
        self.header.ts
    }

    pub(super) fn diff(&self) -> i64 {
        self.header.diff
    }

    pub(super) fn slot(&self) -> u32 {
        self.header.slot
    }

    /// What was the head of the same bucket before this entry.
    pub(super) fn next_in_bucket(&self) -> Link {
        Link { newest: EntryRef::new(self.header.next, self.arena), filter: self.header.behind }
    }

    /// The entry of the same collection before this one.
    pub(super) fn prev_in_collection(&self) -> Option<EntryRef> {
        EntryRef::new(self.header.prev, self.arena)
    }
}

/// What [`ArenaWriter::push`] is to write.
pub(super) struct NewEntry<'a> {
    pub(super) next_in_bucket: Link,
    pub(super) prev_in_collection: Option<EntryRef>,
    pub(super) slot: u32,
    pub(super) update: Update<'a>,
}

/// Bytes that an entry takes in the arena.
pub(super) const fn entry_len(key_len: usize, val_len: usize) -> usize {
    (size_of::<Header>() + key_len + val_len).next_multiple_of(UNIT)
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Arena {
    id: u32,
    /// Addresses of the chunks, null where there is none yet.
    chunks: Box<[AtomicPtr<MaybeUninit<u64>>]>,
    bytes: AtomicU64,
    tail: Mutex<Tail>,
    #[cfg(datestone_loom)]
    witnesses: Box<[witness::Witness]>,
}

/// The writer's place in the arena.
#[derive(Debug, Default)]
struct Tail {
    /// Units of chunk `i + 1` of the table.
    chunk_units: Vec<usize>,
    /// The chunk being filled, 0 for none.
    current: usize,
    /// First free unit in it.
    next_unit: usize,
    frozen: bool,
}

impl Arena {
    pub(super) fn new() -> Self {
        Self {
            id: next_arena_id(),
            chunks: (0..CHUNK_COUNT_MAX).map(|_| AtomicPtr::new(ptr::null_mut())).collect(),
            bytes: AtomicU64::new(0),
            tail: Mutex::new(Tail::default()),
            #[cfg(datestone_loom)]
            witnesses: witness::all(CHUNK_COUNT_MAX * CHUNK_UNITS),
        }
    }

    /// Bytes of the entries.
    pub(super) fn bytes(&self) -> u64 {
        // Relaxed: a figure for accounting, nothing is read on the strength of it.
        self.bytes.load(Ordering::Relaxed)
    }

    /// The one writer; waits for another one to finish.
    ///
    /// # Panics
    /// When the arena is frozen: the row would be lost with it.
    pub(super) fn writer(&self) -> ArenaWriter<'_> {
        let tail = self.tail.lock();
        assert!(!tail.frozen, "nothing is written to a frozen memtable");
        ArenaWriter { arena: self, tail }
    }

    /// Waits for the writer to finish and admits no other.
    pub(super) fn freeze(&self) {
        self.tail.lock().frozen = true;
    }

    /// Reads an entry.
    ///
    /// # Panics
    /// When `at` belongs to another arena.
    #[inline]
    pub(super) fn entry(&self, at: EntryRef) -> Entry<'_> {
        let start = self.start_of(at);
        #[cfg(datestone_loom)]
        self.witnesses[at.unit.get() as usize].read();
        // SAFETY: `start` is where `push` has placed a complete entry of this arena (I2, `start_of`
        // has checked the identity), aligned to a unit as every entry is, never written again (I3)
        // and not freed before `self` (I1), which the reference borrows.
        let header = unsafe { &*start.cast::<Header>() };
        // SAFETY: the entry is longer than its header, or just as long: `push` has reserved
        // `entry_len` bytes for it in one chunk.
        let key = unsafe { start.cast::<u8>().add(size_of::<Header>()) };
        let key_len = header.key_len as usize;
        // SAFETY: as above; the key's bytes come right after the header in the same entry.
        let val = unsafe { key.add(key_len) };
        // SAFETY: `push` has written `key_len` bytes at `key`, and nobody writes them again (I3).
        let key = unsafe { std::slice::from_raw_parts(key, key_len) };
        // SAFETY: `push` has written `val_len` bytes at `val`, and nobody writes them again (I3).
        let val = unsafe { std::slice::from_raw_parts(val, header.val_len as usize) };
        Entry { header, arena: self.id, key, val }
    }

    /// Asks the processor to fetch the start of an entry that will be read soon.
    #[inline]
    pub(super) fn prefetch(&self, at: EntryRef) {
        let start = self.start_of(at).cast::<i8>();
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: a hint; it reads nothing that the program could see and never faults.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start) };
            // SAFETY: as above; wrapping arithmetic makes no claim about the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(64)) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = start;
    }

    /// Address of an entry, inside its chunk.
    #[inline]
    fn start_of(&self, at: EntryRef) -> *const MaybeUninit<u64> {
        assert!(at.arena == self.id, "an entry is read in its own arena");
        // Relaxed: the address was stored before the entry was referred to (I1), and the reference
        // came here over a release and an acquire (I2), so no older value can be read.
        let chunk = self.chunks[at.chunk()].load(Ordering::Relaxed);
        // SAFETY: the entry is in this chunk (I2), so its first unit is inside the allocation.
        unsafe { chunk.add(at.unit_in_chunk()) }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let chunk_units = std::mem::take(&mut self.tail.lock().chunk_units);
        for (chunk, units) in self.chunks.iter().skip(1).zip(chunk_units) {
            let chunk = ptr::slice_from_raw_parts_mut(chunk.load(Ordering::Relaxed), units);
            // SAFETY: address and length are those of the box that `add_chunk` took apart, each
            // chunk is freed once, here, and `&mut self` proves that no entry is borrowed.
            drop(unsafe { Box::from_raw(chunk) });
            #[cfg(all(test, not(datestone_loom)))]
            live::add(-1);
        }
    }
}

/// The right to append; there is one at a time.
pub(super) struct ArenaWriter<'a> {
    arena: &'a Arena,
    tail: MutexGuard<'a, Tail>,
}

impl ArenaWriter<'_> {
    /// Writes an entry. Nobody but the caller sees it before it is published over a head.
    ///
    /// # Panics
    /// When key or val is beyond its limit (checked by the commit), or the arena is out of places
    /// (see [`MEMTABLE_BYTES_MAX`]).
    #[inline]
    pub(super) fn push(&mut self, new: &NewEntry<'_>) -> EntryRef {
        let Update { key, val, ts, diff } = new.update;
        assert!(key.len() <= KEY_LEN_MAX && val.len() <= VAL_LEN_MAX, "a row within the limits");
        let len = entry_len(key.len(), val.len());
        let at = self.reserve(len / UNIT);
        let header = Header {
            next: self.raw(new.next_in_bucket.newest),
            behind: new.next_in_bucket.filter,
            prev: self.raw(new.prev_in_collection),
            slot: new.slot,
            key_len: key.len() as u32,
            val_len: val.len() as u32,
            ts,
            diff,
        };
        let start = self.arena.start_of(at).cast_mut();
        #[cfg(datestone_loom)]
        self.arena.witnesses[at.unit.get() as usize].write();
        // SAFETY: `reserve` gave out `len` bytes at `start`, aligned to a unit, to this call alone
        // (I3), in a chunk whose address came from a box and so may be written through.
        unsafe { start.cast::<Header>().write(header) };
        // SAFETY: `len` bytes are reserved and the header takes no more than that.
        let key_start = unsafe { start.cast::<u8>().add(size_of::<Header>()) };
        // SAFETY: `len` covers the key after the header; what is borrowed as `key` cannot be
        // reserved memory, to which no reference exists yet.
        unsafe { ptr::copy_nonoverlapping(key.as_ptr(), key_start, key.len()) };
        // SAFETY: `len` covers header and key.
        let val_start = unsafe { key_start.add(key.len()) };
        // SAFETY: `len` covers the value after the key; no overlap, as for the key.
        unsafe { ptr::copy_nonoverlapping(val.as_ptr(), val_start, val.len()) };
        // Relaxed load and store: there is one writer, and the figure is for accounting only.
        let bytes = self.arena.bytes.load(Ordering::Relaxed) + len as u64;
        self.arena.bytes.store(bytes, Ordering::Relaxed);
        at
    }

    fn raw(&self, at: Option<EntryRef>) -> u32 {
        at.map_or(0, |at| {
            assert!(at.arena == self.arena.id, "lists stay within their arena");
            at.unit.get()
        })
    }

    /// Takes `units` units of one chunk. The reference is not complete yet (I2): only for `push`.
    #[inline]
    fn reserve(&mut self, units: usize) -> EntryRef {
        if self.tail.current == 0 || units > CHUNK_UNITS - self.tail.next_unit {
            return self.reserve_in_new_chunk(units);
        }
        let at = self.reference(self.tail.current, self.tail.next_unit);
        self.tail.next_unit += units;
        at
    }

    #[cold]
    fn reserve_in_new_chunk(&mut self, units: usize) -> EntryRef {
        if units > SHARED_UNITS_MAX {
            let own = self.add_chunk(units);
            return self.reference(own, 0);
        }
        self.tail.current = self.add_chunk(CHUNK_UNITS);
        self.tail.next_unit = units;
        self.reference(self.tail.current, 0)
    }

    fn reference(&self, chunk: usize, unit: usize) -> EntryRef {
        let unit = (chunk << CHUNK_UNIT_BITS) | unit;
        EntryRef::new(unit as u32, self.arena.id).expect("chunk 0 is not used, so no unit is 0")
    }

    /// Allocates the next chunk and puts it into the table (I1).
    fn add_chunk(&mut self, units: usize) -> usize {
        let index = self.tail.chunk_units.len() + 1;
        assert!(index < CHUNK_COUNT_MAX, "a memtable is frozen before MEMTABLE_BYTES_MAX");
        let chunk = Box::into_raw(Box::<[u64]>::new_uninit_slice(units));
        // Relaxed: released to readers with the entries in the chunk, see `Arena::start_of`.
        self.arena.chunks[index].store(chunk.cast(), Ordering::Relaxed);
        self.tail.chunk_units.push(units);
        #[cfg(all(test, not(datestone_loom)))]
        live::add(1);
        index
    }
}

/// Where readers find the newest entry of one list.
#[derive(Debug)]
pub(super) struct Head {
    arena: u32,
    unit: AtomicU32,
}

impl Head {
    pub(super) fn new(arena: &Arena) -> Self {
        Self { arena: arena.id, unit: AtomicU32::new(0) }
    }

    /// The newest entry.
    pub(super) fn load(&self) -> Option<EntryRef> {
        // Acquire: partner of `publish`.
        EntryRef::new(self.unit.load(Ordering::Acquire), self.arena)
    }

    /// Makes `at` the newest entry.
    pub(super) fn publish(&self, at: EntryRef) {
        assert!(at.arena == self.arena, "lists stay within their arena");
        // Release: whoever loads this sees the whole entry and all that it leads to.
        self.unit.store(at.unit.get(), Ordering::Release);
    }
}

/// Many heads side by side, all without entries at first. Each is one word, the filter above and
/// the entry below, so that a reader gets both of one moment.
#[derive(Debug)]
pub(super) struct HeadTable {
    arena: u32,
    links: Box<[AtomicU64]>,
}

impl HeadTable {
    pub(super) fn new(arena: &Arena, count: usize) -> Self {
        #[cfg(any(datestone_loom, datestone_shuttle))]
        let links = (0..count).map(|_| AtomicU64::new(0)).collect();
        #[cfg(not(any(datestone_loom, datestone_shuttle)))]
        // SAFETY: all-zero bytes are a valid `AtomicU64`. (Zeroed pages come from the system when
        // they are first touched, so a memtable that stays small does not pay for its capacity.)
        let links = unsafe { Box::<[AtomicU64]>::new_zeroed_slice(count).assume_init() };
        Self { arena: arena.id, links }
    }

    pub(super) fn count(&self) -> usize {
        self.links.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        size_of_val(&*self.links) as u64
    }

    /// The head of list `index`.
    #[inline]
    pub(super) fn load(&self, index: usize) -> Link {
        // Acquire: partner of `publish`.
        let link = self.links[index].load(Ordering::Acquire);
        Link { newest: EntryRef::new(link as u32, self.arena), filter: (link >> 32) as u32 }
    }

    /// Makes `at` the newest entry of list `index`.
    #[inline]
    pub(super) fn publish(&self, index: usize, at: EntryRef, filter: u32) {
        assert!(at.arena == self.arena, "lists stay within their arena");
        let link = u64::from(filter) << 32 | u64::from(at.unit.get());
        // Release: whoever loads this sees the whole entry and all that it leads to.
        self.links[index].store(link, Ordering::Release);
    }
}

/// An identity that no other arena of this process has.
fn next_arena_id() -> u32 {
    use std::sync::atomic::AtomicU32;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Relaxed: only distinctness matters. An identity must never be used twice, so running out is
    // the end; it would take 2^32 memtables.
    NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |id| id.checked_add(1))
        .expect("a process does not make 2^32 memtables")
}

/// Lets loom see the accesses to entries, which are plain memory.
#[cfg(datestone_loom)]
mod witness {
    use loom::cell::UnsafeCell;

    /// Stands for the bytes of one entry: a write beside another access that is not ordered with it
    /// fails the model.
    #[derive(Debug)]
    pub(super) struct Witness(UnsafeCell<()>);

    // SAFETY: the cell holds no data, and loom checks each access.
    unsafe impl Sync for Witness {}

    impl Witness {
        pub(super) fn read(&self) {
            self.0.with(|_| ());
        }
        pub(super) fn write(&self) {
            self.0.with_mut(|_| ());
        }
    }

    pub(super) fn all(count: usize) -> Box<[Witness]> {
        (0..count).map(|_| Witness(UnsafeCell::new(()))).collect()
    }
}

/// Count of the chunks that this thread has allocated and not freed, for the tests.
#[cfg(all(test, not(datestone_loom)))]
pub(super) mod live {
    use std::cell::Cell;

    thread_local! { static CHUNKS: Cell<isize> = const { Cell::new(0) }; }

    pub(super) fn add(count: isize) {
        CHUNKS.with(|chunks| chunks.set(chunks.get() + count));
    }

    pub(in crate::memtable) fn chunks() -> isize {
        CHUNKS.with(Cell::get)
    }
}
