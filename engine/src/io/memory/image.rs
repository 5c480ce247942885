//! The content of one file of [`super::MemFs`]: what was written beside what a power cut leaves.

use std::collections::BTreeMap;
use std::io;

use super::CrashPlan;
use crate::io::clock::Chance;

/// What a disk writes whole or not at all.
const SECTOR_LEN: u64 = 512;

/// A file's content, live and durable.
#[derive(Clone, Default)]
pub(super) struct Image {
    /// What a reader sees.
    live: Vec<u8>,
    /// What was synced.
    durable: Vec<u8>,
    /// What happened since the last sync, oldest first.
    pending: Vec<Pending>,
}

#[derive(Clone)]
struct Pending {
    change: Change,
    /// A sync of this change has failed: the system took the change for written and will not try
    /// again, so that no later sync makes it durable.
    lost: bool,
}

#[derive(Clone)]
enum Change {
    Write { offset: usize, data: Vec<u8> },
    SetLen(usize),
}

impl Image {
    /// A file that holds `content`, durably.
    pub(super) fn synced(content: Vec<u8>) -> Self {
        Self { live: content.clone(), durable: content, pending: Vec::new() }
    }

    /// What a reader sees.
    pub(super) fn live(&self) -> &[u8] {
        &self.live
    }

    /// Copies what is at `offset` into `buf`; returns how much.
    pub(super) fn read_at(&self, buf: &mut [u8], offset: u64) -> usize {
        let rest = usize::try_from(offset).ok().and_then(|start| self.live.get(start..));
        let rest = rest.unwrap_or_default();
        let len = rest.len().min(buf.len());
        for (to, from) in buf.iter_mut().zip(rest) {
            *to = *from;
        }
        len
    }

    /// Writes `data` at `offset`.
    pub(super) fn write_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let end = offset.checked_add(data.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        self.reserve(end)?;
        self.change(Change::Write { offset, data: data.to_vec() });
        Ok(())
    }

    /// Cuts or zero-extends.
    pub(super) fn set_len(&mut self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.reserve(len)?;
        self.change(Change::SetLen(len));
        Ok(())
    }

    fn reserve(&mut self, len: usize) -> io::Result<()> {
        let more = len.saturating_sub(self.live.len());
        self.live.try_reserve(more).map_err(|_| io::ErrorKind::StorageFull.into())
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.pending.push(Pending { change, lost: false });
    }

    /// Flips the bits of `mask` in one byte of both images; false when there is no such byte.
    pub(super) fn flip_bits(&mut self, offset: u64, mask: u8) -> bool {
        let Ok(offset) = usize::try_from(offset) else { return false };
        for content in [&mut self.live, &mut self.durable] {
            if let Some(byte) = content.get_mut(offset) {
                *byte ^= mask;
            }
        }
        offset < self.live.len()
    }

    /// Makes what happened so far durable.
    pub(super) fn sync(&mut self) {
        for pending in self.pending.drain(..) {
            if !pending.lost {
                pending.change.apply(&mut self.durable);
            }
        }
    }

    /// A sync that the system failed.
    pub(super) fn fail_sync(&mut self) {
        for pending in &mut self.pending {
            pending.lost = true;
        }
    }

    /// What is there after a power cut.
    pub(super) fn crash(&self, plan: CrashPlan, chance: &mut Chance) -> Vec<u8> {
        match plan {
            CrashPlan::LoseUnsynced => self.durable.clone(),
            CrashPlan::KeepAll => self.live.clone(),
            CrashPlan::Random(_) => match chance.below(4) {
                0 => self.durable.clone(),
                1 => self.live.clone(),
                _ => self.crash_torn(chance),
            },
        }
    }

    /// Each sector as of a moment of its own between the last sync and the power cut, and the length
    /// as of yet another moment: so there may be length without data and data without length.
    fn crash_torn(&self, chance: &mut Chance) -> Vec<u8> {
        let moments = self.pending.len() as u64 + 1;
        let len_moment = chance.below(moments);
        let mut sector_moments = BTreeMap::new();
        let mut content = self.durable.clone();
        let mut len = content.len();
        for (moment, pending) in (0..).zip(&self.pending) {
            match &pending.change {
                Change::SetLen(new_len) => {
                    if moment < len_moment {
                        pending.change.apply(&mut content);
                        len = *new_len;
                    }
                }
                Change::Write { offset, data } => {
                    if moment < len_moment {
                        len = len.max(offset + data.len());
                    }
                    for (sector, offset, data) in sectors(*offset, data) {
                        let until =
                            sector_moments.entry(sector).or_insert_with(|| chance.below(moments));
                        if moment < *until {
                            overwrite(&mut content, offset, data);
                        }
                    }
                }
            }
        }
        content.resize(len, 0);
        content
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, data } => overwrite(content, *offset, data),
            Self::SetLen(len) => content.resize(*len, 0),
        }
    }
}

/// Puts `data` at `offset`; a gap before it reads as zeros. The caller has checked that the end fits.
fn overwrite(content: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(data);
}

/// Splits a write at the sector boundaries: sector number, offset, bytes.
fn sectors(offset: usize, mut data: &[u8]) -> impl Iterator<Item = (u64, usize, &[u8])> {
    let mut offset = offset;
    std::iter::from_fn(move || {
        if data.is_empty() {
            return None;
        }
        let sector_len = SECTOR_LEN as usize;
        let len = (sector_len - offset % sector_len).min(data.len());
        let (head, rest) = data.split_at(len);
        let item = ((offset / sector_len) as u64, offset, head);
        data = rest;
        offset += len;
        Some(item)
    })
}
