//! `dbtool completions` and `dbtool man`: what the command line says of itself, for shells and for
//! `man`. Made from the same description that parses it, so that neither can go stale.

use crate::args::Args;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output::{self, OnStdout as _};
use clap::CommandFactory as _;
use clap_complete::Shell;
use std::io::Write as _;

/// Writes the completions for `shell`.
pub(crate) fn completions(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "dbtool", &mut script);
    write(&script)
}

/// Writes the manual page of the program, or of one of its commands.
pub(crate) fn man(of: Option<&str>) -> Result<()> {
    let mut program = Args::command();
    program.build();
    let page = match of {
        None => program,
        Some(name) => program
            .find_subcommand(name)
            .cloned()
            .ok_or_else(|| {
                Failure::new(Exit::NotFound, format!("no command '{name}'")).hint("dbtool help")
            })?
            .display_name(format!("dbtool-{name}")),
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page).render(&mut text).on_stdout()?;
    write(&text)
}

fn write(bytes: &[u8]) -> Result<()> {
    let mut out = output::stdout();
    out.write_all(bytes).and_then(|()| out.flush()).on_stdout()
}
