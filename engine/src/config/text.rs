//! Options from text: one at a time, as a list, and from the environment.

use super::{OptionInfo, Options};
use crate::error::{Error, Result};
use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;

/// How the environment variables start that set options.
const VARIABLE_PREFIX: &str = "DATESTONE_";
/// A variable whose name is at most so many edits away from one that sets an option is taken for a
/// mistake; others that start like it may be something else's.
const MISTAKE_EDITS_MAX: usize = 2;

impl Options {
    /// Gives the option `key` the value `value`.
    ///
    /// ```
    /// use datestone_engine::config::{Durability, Options};
    /// let mut options = Options::default();
    /// options.set("memtable_bytes", "8MiB")?;
    /// options.set("durability", "buffer")?;
    /// assert_eq!(options.memtable_bytes, 8 << 20);
    /// assert_eq!(options.durability, Durability::Buffer);
    ///
    /// let error = options.set("memtable_byte", "8MiB").unwrap_err();
    /// assert!(error.to_string().ends_with("the nearest is 'memtable_bytes'"));
    /// # Ok::<(), datestone_engine::error::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` when there is no such option (the error names the nearest) or when it cannot have
    /// that value (the error names what it can have); then nothing has changed.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        match Self::table().iter().find(|option| option.name == key) {
            Some(option) => option.set(self, value),
            None => Err(Error::UnknownOption {
                name: key.into(),
                value: value.into(),
                nearest: nearest(key).1.name,
            }),
        }
    }

    /// The defaults, changed by the environment: `DATESTONE_MEMTABLE_BYTES=8MiB` and so on. Nothing
    /// reads the environment unless this is called.
    ///
    /// ```
    /// use datestone_engine::config::Options;
    /// let options = Options::from_env()?;
    /// assert!(options.check().is_ok());
    /// # Ok::<(), datestone_engine::error::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` as for [`set`](Self::set); also when a variable's name is nearly that of an option.
    /// Other variables are left alone.
    pub fn from_env() -> Result<Self> {
        Self::from_vars(std::env::vars_os())
    }

    /// [`from_env`](Self::from_env) of these variables.
    pub(super) fn from_vars(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self> {
        let mut options = Self::default();
        for (name, value) in vars {
            let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(VARIABLE_PREFIX))
            else {
                continue;
            };
            let key = rest.to_ascii_lowercase();
            if nearest(&key).0 <= MISTAKE_EDITS_MAX {
                options.set(&key, &value.to_string_lossy())?;
            }
        }
        Ok(options)
    }
}

impl FromStr for Options {
    type Err = Error;

    /// The defaults, changed by a list `name=value,name=value`; blanks around the parts are of no
    /// meaning, and of an option that is named twice the last value counts.
    fn from_str(text: &str) -> Result<Self> {
        let mut options = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let Some((key, value)) = part.split_once('=') else {
                return Err(Error::invalid(format!("'{part}' is not of the form name=value")));
            };
            options.set(key.trim(), value.trim())?;
        }
        Ok(options)
    }
}

impl fmt::Display for Options {
    /// The list of all options that [`FromStr`] reads back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, option) in Self::table().iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}={}", option.name, option.get(self))?;
        }
        Ok(())
    }
}

/// The option whose name is most like `key`, and how many edits away it is.
fn nearest(key: &str) -> (usize, &'static OptionInfo) {
    let first = Options::table().first().expect("there is an option");
    Options::table()
        .iter()
        .map(|option| (edits(key, option.name), option))
        .min_by_key(|(edits, _)| *edits)
        .unwrap_or((usize::MAX, first))
}

/// Insertions, removals and replacements of bytes that turn `a` into `b`. Of a long `a` only the
/// start is looked at, so that any input takes little time.
fn edits(a: &str, b: &str) -> usize {
    const LOOKED_AT: usize = 64;
    let a = a.as_bytes();
    let rest = a.len().saturating_sub(LOOKED_AT);
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().take(LOOKED_AT).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(*x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()] + rest
}
