//! Kill and restart: a child process writes with acknowledgements over a pipe and is killed at
//! random moments.
//!
//! Goal: after each kill every acknowledged commit is there and whole, none is there by half, no
//! frontier has gone back, and a full verification is clean. Method: this program starts itself
//! again as the child ([`child`]), kills it with SIGKILL after a random number of acknowledgements
//! and a random delay (also while it creates the database or recovers), and opens what is left
//! ([`supervisor`]). What the database should hold follows from the number of commits alone
//! ([`ledger`], [`surface`]).
//!
//! `DATESTONE_CRASH_KILLS` sets the number of kills, `DATESTONE_SEED` the seed of their moments.

#[cfg(test)]
mod child;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod supervisor;
#[cfg(test)]
mod surface;

fn main() -> std::process::ExitCode {
    #[cfg(test)]
    return match std::env::var_os(child::DIR_VARIABLE) {
        Some(dir) => child::run(dir.as_ref()),
        None => supervisor::run(),
    };
    #[cfg(not(test))]
    std::process::ExitCode::SUCCESS
}
