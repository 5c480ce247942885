//! Progress bars, on a terminal only, and the clock of their summaries.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal as _, Read};
use std::time::{Duration, Instant};

/// What a bar over bytes shows when it knows how many there are, and when not.
const BYTES: &str = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
const BYTES_SO_FAR: &str = "{msg} {bytes} {bytes_per_sec}";
/// What a bar over rows shows.
const ROWS: &str = "{msg} [{bar:30}] {human_pos}/{human_len} rows";
/// What a bar over commits of git shows.
const COMMITS: &str = "{msg} [{bar:30}] {human_pos}/{human_len} commits {eta}";

/// A progress bar on stderr, or nothing.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// A bar that is never drawn.
    pub(crate) fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// A bar over bytes, which only counts until [`Bar::set_length`].
    pub(crate) fn bytes(what: &'static str, wanted: Wanted) -> Self {
        Self::new(None, BYTES_SO_FAR, what, wanted)
    }

    /// A bar over `count` rows.
    pub(crate) fn rows(what: &'static str, count: u64, wanted: Wanted) -> Self {
        Self::new(Some(count), ROWS, what, wanted)
    }

    /// A bar over `count` commits of git.
    pub(crate) fn commits(what: &'static str, count: u64, wanted: Wanted) -> Self {
        Self::new(Some(count), COMMITS, what, wanted)
    }

    fn new(len: Option<u64>, template: &str, what: &'static str, wanted: Wanted) -> Self {
        if wanted == Wanted::No || !std::io::stderr().is_terminal() {
            return Self::hidden();
        }
        let bar = ProgressBar::with_draw_target(len, ProgressDrawTarget::stderr_with_hz(10));
        bar.set_style(style(template));
        bar.set_message(what);
        Self(bar)
    }

    /// Says how many bytes there will be.
    pub(crate) fn set_length(&self, len_bytes: u64) {
        self.0.set_style(style(BYTES));
        self.0.set_length(len_bytes);
    }

    /// Says how far it is.
    pub(crate) fn set_position(&self, at: u64) {
        self.0.set_position(at);
    }

    /// `reader`, whose bytes move the bar.
    pub(crate) fn wrap_read(&self, reader: Box<dyn Read>) -> Box<dyn Read> {
        if self.0.is_hidden() { reader } else { Box::new(self.0.wrap_read(reader)) }
    }

    /// Takes the bar off the terminal.
    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    style.expect("a template of ours is well formed").progress_chars("=> ")
}

/// Whether progress is wanted at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// On a terminal.
    Yes,
    /// Never.
    No,
}

/// Time that passes, for people to read.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts.
    #[expect(clippy::disallowed_methods, reason = "for people only: nothing is decided by it")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_well_formed() {
        for template in [BYTES, BYTES_SO_FAR, ROWS, COMMITS] {
            let _ = style(template);
        }
    }
}
