//! Ctrl-C: ends at once, with the exit code for it. The database is made to be killed at any
//! moment, so nothing has to be put in order first.

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a load runs, which can go on later.
static LOADING: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C ends the program with exit code 130.
pub(crate) fn install() -> Result<()> {
    let handled = ctrlc::set_handler(|| {
        // Relaxed: the flag guards nothing; at worst the hint is missing.
        let told = if LOADING.load(Ordering::Relaxed) {
            "dbtool: load: interrupted; every commit so far is kept; hint: the same command with --resume goes on"
        } else {
            "dbtool: interrupted"
        };
        let _ = writeln!(std::io::stderr(), "\n{told}");
        std::process::exit(i32::from(Exit::Interrupted as u8));
    });
    handled.map_err(|error| Failure::new(Exit::Error, "cannot handle Ctrl-C").why(error))
}

/// A load has begun: an interruption tells how to go on.
pub(crate) fn loading() {
    LOADING.store(true, Ordering::Relaxed);
}
