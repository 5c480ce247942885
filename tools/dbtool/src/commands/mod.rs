//! The commands, one module each.

pub(crate) mod backup;
pub(crate) mod change;
pub(crate) mod check_dump;
pub(crate) mod compact;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod diff;
pub(crate) mod dump;
pub(crate) mod get;
pub(crate) mod history;
pub(crate) mod holds;
pub(crate) mod import_git;
pub(crate) mod info;
pub(crate) mod inspect;
mod keys;
pub(crate) mod load;
pub(crate) mod ls;
mod mark;
mod position;
mod restore;
pub(crate) mod salvage;
pub(crate) mod scan;
pub(crate) mod shell;
pub(crate) mod space;
pub(crate) mod stat;
pub(crate) mod tail;
pub(crate) mod upgrade;
pub(crate) mod verify;

use crate::args::Global;
use std::fmt;
use std::io::Write as _;

/// Tells a person something that is not data.
fn note(global: &Global, text: impl fmt::Display) {
    if !global.quiet {
        // Whoever closed stderr does not want to know.
        let _ = writeln!(std::io::stderr(), "dbtool: {text}");
    }
}
