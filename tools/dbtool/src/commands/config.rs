//! `dbtool config`: all options, with the values that `--set` and `--env` give them.

use crate::args::Global;
use crate::failure::Result;
use crate::output::{self, Fact, Facts, Format, OnStdout as _, write_list};
use datestone::{OptionInfo, Options};
use std::io::Write as _;

const NAMES: [&str; 7] = ["option", "type", "value", "default", "bounds", "variable", "purpose"];

/// Runs the command.
pub(crate) fn run(global: &Global) -> Result<()> {
    let options = global.options()?;
    let list: Vec<Facts> = Options::table().iter().map(|option| facts(option, &options)).collect();
    let mut out = output::stdout();
    let format = global.format.unwrap_or(Format::Table);
    write_list(&mut out, format, &NAMES, &list).and_then(|()| out.flush()).on_stdout()
}

fn facts(option: &OptionInfo, options: &Options) -> Facts {
    let values = [
        option.name.into(),
        option.kind.name().into(),
        option.get(options),
        option.default(),
        option.kind.bounds(),
        option.variable(),
        option.purpose.into(),
    ];
    NAMES.into_iter().zip(values.map(Fact::Text)).collect()
}
