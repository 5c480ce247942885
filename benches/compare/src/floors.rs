//! How many times better than the best peer datestone has to be.

/// A goal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Floor {
    /// The least ratio.
    pub(crate) ratio: f64,
    /// Whether only log-structured peers count: the others need no memory to gather what they write.
    pub(crate) lsm_only: bool,
}

/// The goals: work, figure, ratio.
const FLOORS: &[(&str, &str, f64)] = &[
    ("commit", "commits, 1 threads", 1.05),
    ("commit", "commits, 8 threads", 1.7),
    ("commit", "commits, 32 threads", 2.5),
    ("load_random", "load", 2.5),
    ("load_random", "space", 1.0),
    ("load_random", "peak memory", 1.0),
    ("load_sorted", "load", 1.0),
    ("read", "get", 1.5),
    ("read", "get, 2 threads", 1.5),
    ("read", "absent get", 1.5),
    ("read", "100-row scan", 1.5),
    ("read", "full scan", 1.5),
    ("ycsb", "A", 1.5),
    ("ycsb", "B", 1.5),
    ("ycsb", "C", 1.5),
    ("ycsb", "D", 1.5),
    ("ycsb", "E", 1.5),
    ("ycsb", "F", 1.5),
    ("versioned", "ingest", 2.5),
    ("versioned", "get as of", 1.5),
    ("versioned", "snapshot as of", 4.0),
    ("versioned", "changes", 10.0),
    ("versioned", "forget", 2.0),
    ("versioned", "reopen after a kill", 1.0),
    ("versioned", "space", 1.0),
    ("versioned", "peak memory", 1.0),
];

/// The goal for a figure.
pub(crate) fn of(work: &str, figure: &str) -> Option<Floor> {
    let found = FLOORS.iter().find(|(of, what, _)| *of == work && *what == figure)?;
    Some(Floor { ratio: found.2, lsm_only: figure == "peak memory" })
}
