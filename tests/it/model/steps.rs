//! The steps of a history as proptest makes and shrinks them. They hold choices, not times or
//! names: `world` makes something legal of every choice in every state, so that a history stays
//! legal while it shrinks.

use datestone_engine::config::Durability;
use datestone_engine::io::CrashPlan;
use datestone_tests::seed::Chance;
use proptest::collection::vec;
use proptest::prelude::*;

/// What a test puts weight on.
pub(super) struct Profile;

impl Profile {
    pub(super) const SMALL: u8 = 0;
    pub(super) const BULKY: u8 = 1;
}

/// One step and the read after it.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) op: Op,
    pub(super) probe: Probe,
}

/// What happens in a step.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Create(u8),
    Drop(u8),
    Commit { parts: Vec<Part>, durability: Durability },
    Refused { which: u8, refusal: Refusal, others: Vec<Part> },
    Flush,
    BackgroundSteps(u8),
    Compact(Option<u8>),
    Hold { which: u8, at: u16 },
    Release(u8),
    Sync,
    Verify,
    Reopen { end: End, options: u8 },
}

/// How the life of a process ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Close,
    Kill,
    PowerCut(CrashPlan),
}

/// A commit that must be refused, and leave nothing behind.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refusal {
    BelowUpper,
    UpperMismatch,
    BeyondNewUpper,
    Dropped,
}

/// What a commit does to one collection.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) which: u8,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Append(Vec<Choice>),
    Bulk { seed: u64, count: u16, spread: u8 },
    Compare { updates: Vec<Choice>, by: u8 },
    AdvanceUpper(u8),
    AdvanceFar,
    CloseUpper,
    CompactBelow(u16),
    CompactBeyondUpper(u8),
    CloseSince,
}

/// An update, its time counted from upper.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    pub(super) key: u16,
    pub(super) val: u8,
    pub(super) ahead: u8,
    pub(super) diff: i64,
}

/// A read.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    pub(super) which: u8,
    pub(super) at: u16,
    pub(super) kind: ProbeKind,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum ProbeKind {
    All,
    Reverse,
    Range { from: u16, to: u16, inclusive: bool, reverse: bool },
    Prefix { key: u16, len: u8, reverse: bool },
    Get(u16),
    Count,
    Updates,
    Held(u8),
    BelowSince,
    BeyondUpper,
}

/// From here on choices mean keys in sequence.
const SEQUENCE: u16 = 60_000;

/// Keys: odd ones that are near the ends of the order or prefixes of each other, then plain ones,
/// and a long sequence, parts of which a bulk fills by itself (so that merges meet whole blocks
/// that nothing else overlaps).
pub(super) fn key(choice: u16) -> Vec<u8> {
    if choice >= SEQUENCE {
        return format!("sequence{choice:05}").into_bytes();
    }
    let odd: [&[u8]; 8] = [b"", b"\0", b"a", b"ab", b"ab\0", b"\xff", b"\xff\xff", b"\xff\xfe"];
    match usize::from(choice % 400) {
        n if n < 48 => odd[n % 8].to_vec(),
        n if n < 120 => [&[b'p'; 150][..], &[n as u8]].concat(),
        n => format!("key{n:03}").into_bytes(),
    }
}

/// Values: most are short and few, so that they repeat; some are longer than a block, and a few
/// longer than a memtable.
pub(super) fn val(choice: u8) -> Vec<u8> {
    match choice {
        255 => vec![b'h'; 100 << 10],
        254 => vec![b'g'; 40 << 10],
        251..254 => vec![choice; 3000],
        200..251 => vec![b'f'; usize::from(choice)],
        _ => vec![b'a' + choice % 5; usize::from(choice % 4)],
    }
}

/// The updates of a bulk: either anywhere, or long values in a stretch of the sequence.
pub(super) fn bulk(seed: u64, count: u16, spread: u8) -> impl Iterator<Item = Choice> {
    let mut chance = Chance::new(seed);
    let in_sequence = chance.one_in(2);
    let start = chance.below(u64::from(u16::MAX - SEQUENCE - count)) as u16;
    (0..count).map(move |n| {
        let (key, val, diff) = if in_sequence {
            (SEQUENCE + start + n, 200 + chance.below(50) as u8, 1)
        } else {
            let diff = if chance.one_in(3) { -1 } else { 1 };
            (chance.below(400) as u16, chance.below(240) as u8, diff)
        };
        Choice { key, val, ahead: chance.below(1 + u64::from(spread)) as u8, diff }
    })
}

pub(super) fn step(profile: u8) -> impl Strategy<Value = Step> {
    (op(profile), probe()).prop_map(|(op, probe)| Step { op, probe })
}

fn op(profile: u8) -> impl Strategy<Value = Op> {
    let bulky = profile == Profile::BULKY;
    let durability = prop_oneof![
        8 => Just(Durability::Fsync),
        1 => Just(Durability::Buffer),
        1 => Just(Durability::None),
    ];
    let commit = (vec(part(profile), 1..4), durability)
        .prop_map(|(parts, durability)| Op::Commit { parts, durability });
    let refused = (any::<u8>(), refusal(), vec(part(profile), 0..2))
        .prop_map(|(which, refusal, others)| Op::Refused { which, refusal, others });
    let reopen = (end(), any::<u8>()).prop_map(|(end, options)| Op::Reopen { end, options });
    prop_oneof![
        60 => commit,
        4 => refused,
        3 => any::<u8>().prop_map(Op::Create),
        1 => any::<u8>().prop_map(Op::Drop),
        if bulky { 2 } else { 5 } => Just(Op::Flush),
        if bulky { 20 } else { 8 } => (1u8..20).prop_map(Op::BackgroundSteps),
        1 => any::<u8>().prop_map(|which| Op::Compact(Some(which))),
        1 => Just(Op::Compact(None)),
        4 => (any::<u8>(), any::<u16>()).prop_map(|(which, at)| Op::Hold { which, at }),
        2 => any::<u8>().prop_map(Op::Release),
        1 => Just(Op::Sync),
        1 => Just(Op::Verify),
        if bulky { 4 } else { 8 } => reopen,
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        1 => Just(End::Close),
        1 => Just(End::Kill),
        1 => Just(End::PowerCut(CrashPlan::LoseUnsynced)),
        2 => any::<u64>().prop_map(|seed| End::PowerCut(CrashPlan::Random(seed))),
    ]
}

fn refusal() -> impl Strategy<Value = Refusal> {
    prop_oneof![
        Just(Refusal::BelowUpper),
        Just(Refusal::UpperMismatch),
        Just(Refusal::BeyondNewUpper),
        Just(Refusal::Dropped),
    ]
}

fn part(profile: u8) -> impl Strategy<Value = Part> {
    let bulk_weight = if profile == Profile::BULKY { 14 } else { 1 };
    let what = prop_oneof![
        20 => vec(choice(), 0..12).prop_map(What::Append),
        bulk_weight => (any::<u64>(), 100u16..700, 0u8..6)
            .prop_map(|(seed, count, spread)| What::Bulk { seed, count, spread }),
        8 => (vec(choice(), 0..12), 0u8..5)
            .prop_map(|(updates, by)| What::Compare { updates, by }),
        20 => (0u8..4).prop_map(What::AdvanceUpper),
        8 => any::<u16>().prop_map(What::CompactBelow),
        1 => (0u8..4).prop_map(What::CompactBeyondUpper),
    ];
    let what = prop_oneof![
        200 => what,
        1 => Just(What::AdvanceFar),
        1 => Just(What::CloseUpper),
        1 => Just(What::CloseSince),
    ];
    (any::<u8>(), what).prop_map(|(which, what)| Part { which, what })
}

fn choice() -> impl Strategy<Value = Choice> {
    let ahead = prop_oneof![6 => Just(0u8), 4 => 0u8..6, 1 => 6u8..30, 1 => 253u8..=255];
    (any::<u16>(), any::<u8>(), ahead, -2i64..=3).prop_map(|(key, val, ahead, diff)| Choice {
        key,
        val,
        ahead,
        diff,
    })
}

fn probe() -> impl Strategy<Value = Probe> {
    let kind = prop_oneof![
        3 => Just(ProbeKind::All),
        3 => Just(ProbeKind::Reverse),
        4 => (any::<u16>(), any::<u16>(), any::<bool>(), any::<bool>()).prop_map(
            |(from, to, inclusive, reverse)| ProbeKind::Range { from, to, inclusive, reverse }
        ),
        2 => (any::<u16>(), 0u8..6, any::<bool>())
            .prop_map(|(key, len, reverse)| ProbeKind::Prefix { key, len, reverse }),
        6 => any::<u16>().prop_map(ProbeKind::Get),
        1 => Just(ProbeKind::Count),
        1 => Just(ProbeKind::Updates),
        2 => any::<u8>().prop_map(ProbeKind::Held),
        1 => Just(ProbeKind::BelowSince),
        1 => Just(ProbeKind::BeyondUpper),
    ];
    (any::<u8>(), any::<u16>(), kind).prop_map(|(which, at, kind)| Probe { which, at, kind })
}
