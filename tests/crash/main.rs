//! Kill and restart: a child process writes with acknowledgements over a pipe and is killed at
//! random moments.
//!
//! Goal: after each kill every acknowledged commit is there and whole, none is there by half, no
//! frontier has gone back, and a full verification is clean. Method: this program starts itself
//! again as the child ([`child`]), kills it with SIGKILL after a random number of acknowledgements
//! and a random delay (also while it creates the database or recovers), and opens what is left
//! ([`supervisor`]), some of the time after it has read it without opening it ([`twin`]). The child
//! does many things at once, each an [`actor`] in a thread of its own; what the database should hold
//! of an actor follows from the number of its steps alone, which the [`ledger`] keeps.
//!
//! `DATESTONE_CRASH_KILLS` sets the number of kills, `DATESTONE_SEED` the seed of their moments.

#[cfg(test)]
mod accounts;
#[cfg(test)]
mod actor;
#[cfg(test)]
mod alike;
#[cfg(test)]
mod bulk;
#[cfg(test)]
mod child;
#[cfg(test)]
mod copier;
#[cfg(test)]
mod copies;
#[cfg(test)]
mod events;
#[cfg(test)]
mod holds;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod multisets;
#[cfg(test)]
mod supervisor;
#[cfg(test)]
mod tables;
#[cfg(test)]
mod twin;

fn main() -> std::process::ExitCode {
    #[cfg(test)]
    return match std::env::var_os(child::PLACE_VARIABLE) {
        Some(place) => child::run(place.as_ref()),
        None => supervisor::run(),
    };
    #[cfg(not(test))]
    std::process::ExitCode::SUCCESS
}
