//! Prints the scorecard: `scorecard [--quick] [--rounds=N] [ROW ...]`.

use datestone_benches::Result;
use datestone_benches::scorecard::{CHILDREN, Context, run};
use std::path::Path;

fn main() -> Result<()> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, work, dir, rest @ ..] = args.as_slice()
        && flag == "--child"
    {
        let (_, child) =
            CHILDREN.iter().find(|(name, _)| name == work).ok_or("no such work for a child")?;
        return child(Path::new(dir), rest);
    }
    let mut context = Context { program: std::env::current_exe()?, quick: false, rounds: None };
    for flag in args.extract_if(.., |arg| arg.starts_with("--")) {
        match flag.strip_prefix("--rounds=") {
            Some(rounds) => context.rounds = Some(rounds.parse()?),
            None if flag == "--quick" => context.quick = true,
            None => return Err(format!("no option '{flag}'").into()),
        }
    }
    run(&context, &args, &mut std::io::stdout())
}
