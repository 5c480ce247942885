//! [`Kind`]: what a collection is, fixed at its creation.

use std::fmt;

/// What a collection holds and who gives its times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Any multiplicity of any `(key, val)`; times are the caller's.
    #[default]
    Multiset,
    /// At most one value for a key, the last one put; times are the caller's.
    Table,
    /// Append-only: events at the positions 0, 1, 2 and so on, which are their times too.
    Log,
    /// A table whose times come from the database's clock, one for each commit.
    ClockTable,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Multiset, Self::Table, Self::Log, Self::ClockTable];

    /// Its byte on disk.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Multiset => 0,
            Self::Table => 1,
            Self::Log => 2,
            Self::ClockTable => 3,
        }
    }

    /// The kind of this byte.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Its name, as people write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Multiset => "multiset",
            Self::Table => "table",
            Self::Log => "log",
            Self::ClockTable => "clock-table",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it is a table, on whichever clock.
    #[must_use]
    pub const fn is_table(self) -> bool {
        matches!(self, Self::Table | Self::ClockTable)
    }

    /// Whether the database gives the times.
    #[must_use]
    pub const fn assigns_times(self) -> bool {
        matches!(self, Self::Log | Self::ClockTable)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
