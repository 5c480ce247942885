//! [`Course`]: in which order the actors of a child make their steps, and how many.

use crate::actor::{Outcome, Wrong};
use std::fmt;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// Each in a thread of its own, with background work, until the child is killed.
    ForEver,
    /// The same with so many steps each, then the database is closed.
    Beside(u64),
    /// One after the other in one thread, which does the background work too; so many rounds, then the
    /// database is closed. The calls to the system come in an order that repeats.
    InTurn(u64),
}

impl fmt::Display for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForEver => write!(f, "for-ever 0"),
            Self::Beside(steps) => write!(f, "beside {steps}"),
            Self::InTurn(rounds) => write!(f, "in-turn {rounds}"),
        }
    }
}

impl FromStr for Course {
    type Err = Wrong;

    fn from_str(text: &str) -> Outcome<Self> {
        let wrong = || Wrong(format!("'{text}' is no course"));
        let (name, steps) = text.split_once(' ').ok_or_else(wrong)?;
        let steps = steps.parse().map_err(|_| wrong())?;
        match name {
            "for-ever" => Ok(Self::ForEver),
            "beside" => Ok(Self::Beside(steps)),
            "in-turn" => Ok(Self::InTurn(steps)),
            _ => Err(wrong()),
        }
    }
}
