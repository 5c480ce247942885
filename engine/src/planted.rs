//! Bugs on request, for the proof that the tests would see them: each is what somebody might get wrong,
//! at the place where it would be wrong.
//!
//! Nothing of this is in a build without the feature `planted`, which nothing but the tests of the tests
//! switches on: [`planted`] is `false` there, at compile time. With it the variable
//! [`PLANTED_VARIABLE`] names the one bug of the process.

/// Names the bug, as [`Bug::name`] does.
pub const PLANTED_VARIABLE: &str = "DATESTONE_PLANTED";

macro_rules! bugs {
    ($($bug:ident: $what:literal,)*) => {
        /// What may be wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Bug {
            $(#[doc = $what] $bug,)*
        }

        impl Bug {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$bug,)*];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$bug => stringify!($bug),)* }
            }

            /// What is wrong, in words.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self { $(Self::$bug => $what,)* }
            }
        }
    };
}

bugs! {
    WalSyncSkipped: "The log is not synced",
    AcknowledgedEarly: "A commit is acknowledged when it is given to the operating system",
    FailedSyncRetried: "A failed sync of the log is tried again and believed",
    WalReusedEarly: "Files of the log are used again before their commits are in segments",
    ReplayLeavesOut: "Recovery leaves a commit of the log out",
    ChecksumsIgnored: "No checksum is compared",
    BlockChecksumIgnored: "The checksum of a block is not compared",
    DirSyncSkipped: "The names of new segments are not made durable",
    SegmentSyncSkipped: "A new segment is not synced",
    ManifestSyncSkipped: "An edit of the manifest is not synced",
    ManifestNameUnsynced: "The name of a new manifest is not made durable",
    FailedCommitKept: "A commit that could not be logged stays in effect",
    FutureLost: "A flush loses what lies ahead of upper",
    NewestBelowSinceLost: "The newest version at or below since is left out",
    DeletionDroppedEarly: "A deletion is left out although older runs have what it hides",
    DiffsOverwritten: "Diffs of one time are not added up",
    AdvancedBeyondSince: "A merge advances history one time beyond since",
    AdvancedOutOfInterval: "A merge advances history out of the interval that shows it",
    MergeShowsHidden: "A merge copies what the window of a run hides",
    VersionOffByOne: "The version at exactly the time asked for is not seen",
    StaleFilter: "A filter does not know the last key of its segment",
    FirstPlaceOnly: "Only the first place that the hash index names is looked at",
    ReverseCrossesWrong: "Going back, a segment is entered at its beginning",
    CacheMixedUp: "The block cache takes a block of one segment for that of another",
    TruncationShowsAll: "A truncation lowers upper and hides nothing",
    ErasureKeepsLog: "An erasure leaves the log as it is",
    RangesUnvalidated: "A transaction's ranges are not validated",
    EventIdsUnchecked: "An event is appended though its log has its id",
    TokenForgotten: "A commit with a token is made each time",
    HoldsIgnored: "Since passes holds",
    DeliveryLeavesOut: "A subscription begins one time too late",
    BackupNameUnsynced: "The name of a backup is not made durable",
}

/// Whether the process is to have this bug.
#[cfg(feature = "planted")]
#[must_use]
pub fn planted(bug: Bug) -> bool {
    use std::sync::OnceLock;
    static WANTED: OnceLock<Option<Bug>> = OnceLock::new();
    let wanted = WANTED.get_or_init(|| {
        let name = std::env::var(PLANTED_VARIABLE).ok()?;
        Bug::ALL.iter().copied().find(|bug| bug.name() == name)
    });
    *wanted == Some(bug)
}

/// Whether the process is to have this bug: never, without the feature `planted`.
#[cfg(not(feature = "planted"))]
#[inline(always)]
#[must_use]
pub const fn planted(_: Bug) -> bool {
    false
}
