//! The engine crate: what it depends on, and how long it takes to build.

use super::Context;
use super::table::Line;
use crate::Result;
use crate::stopwatch::timed;
use crate::store::scratch_dir;
use std::collections::BTreeSet;
use std::process::{Command, Stdio};

/// Crates in the engine's tree, itself and build dependencies included; a clean release build.
pub(super) fn engine(context: &Context) -> Result<Vec<Line>> {
    let tree = cargo()
        .args(["tree", "-p", "datestone-engine", "-e", "normal,build", "--prefix", "none"])
        .stderr(Stdio::inherit())
        .output()?;
    let names = String::from_utf8(tree.stdout)?;
    // A package that was printed before comes with a mark.
    let crates: BTreeSet<&str> = names.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    if !tree.status.success() || crates.is_empty() {
        return Err("cargo tree failed".into());
    }
    let count = crates.len() as f64;
    let mut lines =
        vec![Line::figure("engine crate: crates", format!("{count}")).at_most(count, 60.0, "")];
    if !context.quick {
        let dir = scratch_dir()?;
        let (seconds, built) = timed(|| {
            cargo()
                .args(["build", "--release", "-p", "datestone-engine", "--target-dir"])
                .arg(dir.path())
                .stderr(Stdio::null())
                .status()
        });
        if !built?.success() {
            return Err("cargo build failed".into());
        }
        lines.push(
            Line::figure("engine crate: clean release build", format!("{seconds:.1} s"))
                .at_most(seconds, 60.0, " s"),
        );
    }
    Ok(lines)
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}
