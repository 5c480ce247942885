//! [`Retention`]: how much of its past a collection keeps by itself.

use crate::error::Error;
use crate::types::{Frontier, Timestamp};
use std::fmt;
use std::str::FromStr;

/// How much of its past a collection keeps by itself. As text it is `manual`, `everything`, `latest`
/// or a number of timestamps.
///
/// ```
/// use datestone_engine::config::Retention;
/// assert_eq!("100".parse::<Retention>().unwrap(), Retention::Behind(100));
/// assert_eq!(Retention::Latest.to_string(), "latest");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Retention {
    /// What the caller has not allowed to be forgotten.
    #[default]
    Manual,
    /// Everything from now on, whatever the caller allows to be forgotten.
    Everything,
    /// The latest readable time and so many timestamps before it; what is older is forgotten as
    /// memory is flushed.
    Behind(u64),
    /// The latest readable time alone: as `Behind(0)`.
    Latest,
}

impl Retention {
    /// The since that a collection with this upper is to have; `None` when it is not for the policy to
    /// say.
    #[must_use]
    pub fn since(self, upper: Frontier) -> Option<Frontier> {
        let behind = match self {
            Self::Manual | Self::Everything => return None,
            Self::Behind(count) => count,
            Self::Latest => 0,
        };
        let latest: Timestamp = upper.last_below()?;
        Some(Frontier::at(latest.saturating_sub(behind)))
    }

    /// The bytes that [`decode`](Self::decode) reads: a tag and a number, little-endian.
    pub(crate) fn encode(self) -> Vec<u8> {
        let (tag, count) = match self {
            Self::Manual => (0_u8, 0_u64),
            Self::Everything => (1, 0),
            Self::Behind(count) => (2, count),
            Self::Latest => (3, 0),
        };
        [&[tag][..], &count.to_le_bytes()].concat()
    }

    /// What was stored, `None` when it is nothing that this build knows.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, count) = bytes.split_first()?;
        let count = u64::from_le_bytes(count.try_into().ok()?);
        match (tag, count) {
            (0, 0) => Some(Self::Manual),
            (1, 0) => Some(Self::Everything),
            (2, count) => Some(Self::Behind(count)),
            (3, 0) => Some(Self::Latest),
            _ => None,
        }
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manual => f.pad("manual"),
            Self::Everything => f.pad("everything"),
            Self::Behind(count) => fmt::Display::fmt(count, f),
            Self::Latest => f.pad("latest"),
        }
    }
}

impl FromStr for Retention {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "manual" => Ok(Self::Manual),
            "everything" => Ok(Self::Everything),
            "latest" => Ok(Self::Latest),
            number => number.parse().map(Self::Behind).map_err(|_| {
                let what = "a retention is manual, everything, latest or a number of timestamps";
                Error::invalid(format!("{what}, not '{text}'"))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_text_and_as_bytes() {
        let all =
            [Retention::Manual, Retention::Everything, Retention::Behind(7), Retention::Latest];
        for retention in all {
            assert_eq!(retention.to_string().parse::<Retention>().unwrap(), retention);
            assert_eq!(Retention::decode(&retention.encode()), Some(retention));
        }
        assert!("-1".parse::<Retention>().is_err());
        for odd in [&b""[..], &[2], &[0, 1, 0, 0, 0, 0, 0, 0, 0], &[9, 0, 0, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(Retention::decode(odd), None);
        }
    }

    #[test]
    fn since_follows_upper() {
        let upper = Frontier::at(10);
        assert_eq!(Retention::Latest.since(upper), Some(Frontier::at(9)));
        assert_eq!(Retention::Behind(4).since(upper), Some(Frontier::at(5)));
        assert_eq!(Retention::Behind(40).since(upper), Some(Frontier::at(0)));
        assert_eq!(Retention::Everything.since(upper), None);
        assert_eq!(Retention::Latest.since(Frontier::at(0)), None);
    }
}
