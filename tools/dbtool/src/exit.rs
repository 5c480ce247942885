//! Exit codes: what a script may rely on. Printed by `--help`, tested by the transcripts.

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// An error that no other code names, such as a failure of the operating system.
    Error = 1,
    /// The command line is wrong. clap uses the same code.
    Usage = 2,
    /// The database, collection or key does not exist.
    NotFound = 3,
    /// Bytes on disk are not what was written.
    Corruption = 4,
    /// Another process has the database open.
    Locked = 5,
    /// The files were written by a newer (or a no longer supported) version.
    Format = 6,
    /// The as-of time lies outside of the readable window.
    OutsideWindow = 7,
    /// The device is full.
    NoSpace = 8,
    /// Stopped by Ctrl-C.
    Interrupted = 130,
}

/// The end of `dbtool --help`.
pub(crate) const HELP: &str = "\
Keys and values are text; bytes that are not UTF-8 are written {\"b64\": \"..\"}, in arguments too.
Data goes to stdout, everything else to stderr.

Exit codes:
  0    ok
  1    error, or the operating system refused something
  2    wrong usage
  3    not found: no such database, collection or key
  4    corruption found
  5    locked: another process has the database open
  6    format too new or too old for this build
  7    as-of outside of the readable window since..upper
  8    no space left on the device
  130  interrupted";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_code() {
        let all = [
            Exit::Ok,
            Exit::Error,
            Exit::Usage,
            Exit::NotFound,
            Exit::Corruption,
            Exit::Locked,
            Exit::Format,
            Exit::OutsideWindow,
            Exit::NoSpace,
            Exit::Interrupted,
        ];
        for exit in all {
            let line = format!("\n  {:<5}", exit as u8);
            assert!(HELP.contains(&line), "--help does not explain exit code {}", exit as u8);
        }
    }
}
