//! Serializability by what depends on what: a commit comes after those whose values it read or replaced,
//! and before those that replaced what it read. In a serial order there is no cycle. The times of the
//! commits order only the versions of one key.
//!
//! After the direct serialization graphs of Adya, 1999.

use super::{Commit, KEYS};
use std::collections::{BTreeMap, HashMap};

/// The count of edges; or a cycle, as text.
pub(super) fn check(commits: &[Commit]) -> Result<usize, String> {
    let edges = edges(commits)?;
    let mut incoming = vec![0_usize; commits.len()];
    edges.iter().flatten().for_each(|to| incoming[*to] += 1);
    // Who waits for nobody goes first (Kahn); who is left when nobody can go is in a cycle or behind one.
    let mut free: Vec<usize> = (0..commits.len()).filter(|node| incoming[*node] == 0).collect();
    let mut gone = 0;
    while let Some(node) = free.pop() {
        gone += 1;
        for to in &edges[node] {
            incoming[*to] -= 1;
            if incoming[*to] == 0 {
                free.push(*to);
            }
        }
    }
    if gone == commits.len() {
        return Ok(edges.iter().map(Vec::len).sum());
    }
    Err(cycle(commits, &edges, &incoming))
}

/// Walks back from somebody who waits, to somebody who waits, until one comes again.
fn cycle(commits: &[Commit], edges: &[Vec<usize>], incoming: &[usize]) -> String {
    let waits = |node: usize| incoming[node] > 0;
    let before =
        |node: usize| (0..edges.len()).find(|from| waits(*from) && edges[*from].contains(&node));
    let Some(mut node) = (0..edges.len()).find(|node| waits(*node)) else { return String::new() };
    let mut path = Vec::new();
    while !path.contains(&node) {
        path.push(node);
        node = before(node).unwrap_or(node);
    }
    let start = path.iter().position(|other| *other == node).unwrap_or(0);
    let text = path[start..].iter().rev().map(|node| {
        let commit = &commits[*node];
        format!("at {} reads {:?} writes {:?}", commit.ts, commit.reads, commit.writes)
    });
    format!("a cycle: {}", text.collect::<Vec<_>>().join("\n -> "))
}

/// The time of a version, its value, and its writer.
type Version = (u64, Option<u64>, usize);

/// For each commit those that must come after it.
fn edges(commits: &[Commit]) -> Result<Vec<Vec<usize>>, String> {
    // The versions of each key: value and writer, in the order of their times.
    let mut versions: BTreeMap<(usize, u64), Vec<Version>> = BTreeMap::new();
    for (node, commit) in commits.iter().enumerate() {
        for (table, key, val) in &commit.writes {
            versions.entry((*table, *key)).or_default().push((commit.ts, *val, node));
        }
    }
    let mut writer_of: HashMap<u64, ((usize, u64), usize)> = HashMap::new();
    let mut edges = vec![Vec::new(); commits.len()];
    for (key, versions) in &mut versions {
        versions.sort_unstable();
        versions.windows(2).for_each(|pair| edges[pair[0].2].push(pair[1].2));
        for (at, (_, val, _)) in versions.iter().enumerate() {
            if let Some(val) = val
                && writer_of.insert(*val, (*key, at)).is_some()
            {
                return Err(format!("value {val} was put twice"));
            }
        }
    }
    let none = Vec::new();
    for (node, commit) in commits.iter().enumerate() {
        let mut read = |table: usize, key: u64, val: Option<u64>| {
            let versions = versions.get(&(table, key)).unwrap_or(&none);
            let version = match val {
                Some(val) => match writer_of.get(&val) {
                    Some((of, at)) if *of == (table, key) => Some(*at),
                    _ => return Err(format!("key {key} of {table} has {val}, which nobody put")),
                },
                // Nothing is no version; that it was read says only that the latest one is a deletion.
                None => versions.iter().rposition(|(ts, ..)| *ts <= commit.as_of),
            };
            if let Some((.., writer)) = version.and_then(|at| versions.get(at)) {
                edges[*writer].push(node);
            }
            if let Some((.., next)) = versions.get(version.map_or(0, |at| at + 1)) {
                edges[node].push(*next);
            }
            Ok(())
        };
        for (table, key, val) in &commit.reads {
            read(*table, *key, *val)?;
        }
        for (table, from, to, rows) in &commit.ranges {
            for key in *from..(*to).min(KEYS) {
                let found = rows.iter().find(|(of, _)| *of == key).map(|(_, val)| *val);
                read(*table, key, found)?;
            }
        }
    }
    for (node, after) in edges.iter_mut().enumerate() {
        after.sort_unstable();
        after.dedup();
        after.retain(|other| *other != node);
    }
    Ok(edges)
}

mod tests {
    use super::*;

    fn commit(ts: u64, as_of: u64, reads: &[(u64, Option<u64>)], writes: &[(u64, u64)]) -> Commit {
        let reads = reads.iter().map(|(key, val)| (0, *key, *val)).collect();
        let writes = writes.iter().map(|(key, val)| (0, *key, Some(*val))).collect();
        Commit { ts, as_of, reads, writes, ..Commit::default() }
    }

    #[test]
    fn what_is_serial_has_no_cycle() {
        let first = commit(1, 0, &[], &[(1, 10), (2, 20)]);
        let second = commit(2, 1, &[(1, Some(10)), (2, Some(20))], &[(1, 11)]);
        let third = commit(3, 2, &[(1, Some(11)), (3, None)], &[(2, 21), (3, 30)]);
        assert!(check(&[first, second, third]).unwrap() >= 3);
    }

    #[test]
    fn what_is_not_is_told() {
        let first = || commit(1, 0, &[], &[(1, 10), (2, 20)]);
        // A lost update.
        let lost = [
            first(),
            commit(2, 1, &[(1, Some(10))], &[(1, 11)]),
            commit(3, 1, &[(1, Some(10))], &[(1, 12)]),
        ];
        // Two that have read what the other has changed.
        let skew = [
            first(),
            commit(2, 1, &[(1, Some(10)), (2, Some(20))], &[(1, 11)]),
            commit(3, 1, &[(1, Some(10)), (2, Some(20))], &[(2, 21)]),
        ];
        // The same with keys that were not there.
        let phantom = [
            commit(2, 1, &[(5, None), (6, None)], &[(5, 50)]),
            commit(3, 1, &[(5, None), (6, None)], &[(6, 60)]),
        ];
        for wrong in [&lost[..], &skew, &phantom] {
            let told = check(wrong).unwrap_err();
            assert!(told.starts_with("a cycle: at "), "{told}");
        }
        assert!(check(&[commit(2, 1, &[(1, Some(9))], &[])]).unwrap_err().contains("nobody put"));
    }
}
