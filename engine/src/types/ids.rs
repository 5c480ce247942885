//! Identifiers that must not be mistaken for each other at a call site.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// The identifier after this one.
            ///
            /// # Panics
            /// When 2^64 identifiers have been handed out.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("an identifier space of 2^64 is never used up"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

id!(
    /// Names a collection for ever: never reused, also not after a drop.
    CollectionId,
    "c"
);
id!(
    /// Names a segment file for ever: never reused within a database.
    SegmentId,
    "s"
);
id!(
    /// The position of a commit in the write-ahead log: dense, starting at 1. 0 means "none yet".
    SeqNo,
    "#"
);
