//! Which states of a disk are looked at, and how one that fails is made small.

use super::disk::{Change, Disk, Fate};
use crate::seed::Chance;

/// Changes that are dropped, or kept, one by one; when more are pending, chance takes as many.
const SINGLES_MAX: usize = 12;
/// Random subsets of each disk.
const SUBSETS: usize = 6;

/// Fates for the pending changes of a disk: one for each, in order.
pub type Fates = Vec<Fate>;

/// The states to look at.
#[must_use]
pub fn recipes(disk: &Disk, chance: &mut Chance) -> Vec<Fates> {
    let pending = &disk.pending;
    let all = vec![Fate::Keep; pending.len()];
    let mut recipes = vec![all.clone()];
    if pending.is_empty() {
        return recipes;
    }
    let of = |keep: &dyn Fn(&Change) -> bool| -> Fates {
        pending.iter().map(|c| if keep(c) { Fate::Keep } else { Fate::Drop }).collect()
    };
    recipes.extend([of(&|_| false), of(&Change::is_name), of(&|change| !change.is_name())]);
    singles(&all, chance, &mut recipes);
    for _ in 0..SUBSETS.min(1 << pending.len().min(8)) {
        let subset = pending.iter().map(|change| match chance.below(8) {
            0..=3 => Fate::Keep,
            4 => torn(disk, change, chance),
            _ => Fate::Drop,
        });
        recipes.push(subset.collect());
    }
    let last = pending.iter().rposition(|change| matches!(change, Change::Write(..)));
    if let Some(index) = last {
        for fate in tears(disk, index, chance) {
            let mut recipe =
                if chance.one_in(4) { of(&|change| change.is_name()) } else { all.clone() };
            put(&mut recipe, index, fate);
            recipes.push(recipe);
        }
    }
    recipes.iter_mut().for_each(|recipe| disk.legalise(recipe));
    recipes
}

/// Each change dropped, and each one alone.
fn singles(all: &[Fate], chance: &mut Chance, recipes: &mut Vec<Fates>) {
    for nth in 0..all.len().min(SINGLES_MAX) {
        let few = all.len() <= SINGLES_MAX;
        let index = if few { nth } else { chance.below(all.len() as u64) as usize };
        let (mut without, mut alone) = (all.to_vec(), vec![Fate::Drop; all.len()]);
        put(&mut without, index, Fate::Drop);
        put(&mut alone, index, Fate::Keep);
        recipes.extend([without, alone]);
    }
}

fn put(fates: &mut [Fate], index: usize, fate: Fate) {
    if let Some(place) = fates.get_mut(index) {
        *place = fate;
    }
}

/// The ways in which a write is torn: at sectors, at pages, at any byte; without data, with junk.
fn tears(disk: &Disk, index: usize, chance: &mut Chance) -> Vec<Fate> {
    let Some(Change::Write(_, offset, data)) = disk.pending.get(index) else { return Vec::new() };
    let len = data.len();
    let mut tears = vec![Fate::Zeros, Fate::Junk(chance.next_u64()), other(disk, chance)];
    for unit in [512, 4096] {
        // Where a unit of the file, or of the write, ends within the write.
        let first = unit - offset % unit;
        let cuts: Vec<usize> =
            (first..len).step_by(unit).chain((unit..len).step_by(unit)).collect();
        for _ in 0..cuts.len().min(3) {
            let at = cuts.get(chance.below(cuts.len() as u64) as usize).copied().unwrap_or(unit);
            tears.extend([Fate::Head(at), Fate::LongHead(at), Fate::Tail(at)]);
        }
    }
    if len > 512 {
        tears.push(Fate::Sectors(chance.next_u64()));
    }
    for _ in 0..3 {
        let at = chance.below(len as u64) as usize;
        tears.extend([Fate::Head(at), Fate::LongHead(at), Fate::Tail(at)]);
    }
    tears.extend([Fate::Head(1), Fate::Head(len - 1), Fate::Tail(1), Fate::LongHead(len - 1)]);
    tears
}

fn torn(disk: &Disk, change: &Change, chance: &mut Chance) -> Fate {
    let Change::Write(_, _, data) = change else { return Fate::Keep };
    let at = chance.below(data.len().max(1) as u64) as usize;
    match chance.below(7) {
        0 => Fate::Head(at),
        1 => Fate::LongHead(at),
        2 => Fate::Tail(at),
        3 => Fate::Sectors(chance.next_u64()),
        4 => Fate::Zeros,
        5 => other(disk, chance),
        _ => Fate::Junk(chance.next_u64()),
    }
}

fn other(disk: &Disk, chance: &mut Chance) -> Fate {
    Fate::Stale(chance.below(disk.file_count().max(1) as u64) as usize)
}

/// Drops of what is kept, and makes whole of what is torn, as much as leaves it failing.
pub fn shrink(disk: &Disk, mut fates: Fates, fails: &mut dyn FnMut(&Fates) -> bool) -> Fates {
    loop {
        let before = fates.clone();
        for index in (0..fates.len()).rev() {
            for simpler in [Fate::Drop, Fate::Keep] {
                let is_simpler = match fates.get(index) {
                    Some(Fate::Drop) | None => false,
                    Some(Fate::Keep) => simpler == Fate::Drop,
                    Some(_) => true,
                };
                let mut tried = fates.clone();
                put(&mut tried, index, simpler);
                disk.legalise(&mut tried);
                if is_simpler && fails(&tried) {
                    fates = tried;
                    break;
                }
            }
        }
        if fates == before {
            return fates;
        }
    }
}
