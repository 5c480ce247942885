//! Kill and restart: a child process writes with acknowledgements over a pipe and comes to a sudden end.
//!
//! Goal: after each end every acknowledged commit is there and whole, none is there by half, no frontier
//! has gone back, a full verification is clean, and the database can be used. Method: this program starts
//! itself again as the child ([`child`]), ends its life after a random number of acknowledgements and a
//! random delay (also while it creates the database or recovers), and opens what is left ([`supervisor`]),
//! some of the time after it has read it without opening it ([`twin`]). The child does many things at
//! once, each an [`actor`] in a thread of its own; what the database should hold of an actor follows from
//! the number of its steps alone, which the [`ledger`] keeps.
//!
//! The parts, each by its name as an argument, or all of them:
//!
//! | part | what ends a life |
//! | --- | --- |
//! | `kills` | SIGKILL |
//! | `kill_syscalls` | SIGKILL at the n-th call of the system that changes something ([`syscalls`]) |
//! | `power_cuts` | the file system of the database, in an [`image`], stops as by a power cut |
//! | `fill` | nothing: the device is full, and has space again ([`fill`]) |

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
mod course;
#[cfg(test)]
mod events;
#[cfg(test)]
mod fill;
#[cfg(test)]
mod holds;
#[cfg(test)]
mod image;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod multisets;
#[cfg(test)]
mod parts;
#[cfg(test)]
mod site;
#[cfg(test)]
mod supervisor;
#[cfg(test)]
mod syscalls;
#[cfg(test)]
mod tables;
#[cfg(test)]
mod twin;

fn main() -> std::process::ExitCode {
    #[cfg(test)]
    return match std::env::var_os(child::PLACE_VARIABLE) {
        Some(place) => child::run(place.as_ref()),
        None => parts::run(),
    };
    #[cfg(not(test))]
    std::process::ExitCode::SUCCESS
}
