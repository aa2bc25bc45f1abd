//! The network namespace that a socket belongs to.

use std::{fs::File, io, path::Path, thread};

use nix::sched::{CloneFlags, setns};

/// Where a socket is to be opened. It stays there, whichever thread uses it later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NetworkNamespace {
    /// That of the thread which opens it, as a rule the process's own.
    #[default]
    Own,
    /// One with a name, as `ip netns` gives it.
    Named(String),
}

impl NetworkNamespace {
    /// Does something inside: for another namespace on a thread that lives no longer than this, since a thread that has changed
    /// its namespace would carry it into whatever runs there next.
    ///
    /// # Errors
    /// When there is no such namespace, or the right to enter it (CAP_SYS_ADMIN) is missing; those of the work itself.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        let Self::Named(name) = self else { return work() };
        let file = File::open(Path::new("/run/netns").join(name))?;
        let inside = move || {
            setns(file, CloneFlags::CLONE_NEWNET)?;
            work()
        };
        let joined = thread::scope(|scope| scope.spawn(inside).join());
        joined.unwrap_or_else(|_| Err(io::Error::other("the thread in the namespace panicked")))
    }
}
