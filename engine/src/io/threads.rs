//! Background threads: the system's, and none at all.

use std::io;

use super::{JoinHandle, Threads};

/// Threads of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsThreads;

impl Threads for OsThreads {
    fn spawn(
        &self,
        name: &str,
        work: Box<dyn FnOnce() + Send + 'static>,
    ) -> io::Result<Box<dyn JoinHandle>> {
        let handle = std::thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Box::new(OsJoinHandle(handle)))
    }
}

struct OsJoinHandle(std::thread::JoinHandle<()>);

impl JoinHandle for OsJoinHandle {
    fn join(self: Box<Self>) -> std::thread::Result<()> {
        self.0.join()
    }
}

/// Threads whose steps shuttle orders.
#[cfg(datestone_shuttle)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ShuttleThreads;

#[cfg(datestone_shuttle)]
impl Threads for ShuttleThreads {
    fn spawn(
        &self,
        name: &str,
        work: Box<dyn FnOnce() + Send + 'static>,
    ) -> io::Result<Box<dyn JoinHandle>> {
        let handle = shuttle::thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Box::new(ShuttleJoinHandle(handle)))
    }
}

#[cfg(datestone_shuttle)]
struct ShuttleJoinHandle(shuttle::thread::JoinHandle<()>);

#[cfg(datestone_shuttle)]
impl JoinHandle for ShuttleJoinHandle {
    fn join(self: Box<Self>) -> std::thread::Result<()> {
        self.0.join()
    }
}

/// Refuses to start a thread, for tests that drive every background step by hand and would no longer
/// repeat if a thread crept in.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoThreads;

impl Threads for NoThreads {
    fn spawn(
        &self,
        name: &str,
        _work: Box<dyn FnOnce() + Send + 'static>,
    ) -> io::Result<Box<dyn JoinHandle>> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("no thread '{name}' here: this environment runs without background threads"),
        ))
    }
}
