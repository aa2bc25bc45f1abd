//! Clients that connect all the time while something else changes: none of their connections may fail.

use std::{
    fs::File,
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{JoinHandle, spawn},
    time::Duration,
};

use nix::sched::{CloneFlags, setns};

use crate::namespace::Namespace;

/// What a client does about a SYN without an answer.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// Tries another connection at once. Waiting until the packet is sent again would be a second in which nothing is seen;
    /// but that nothing answers at all it does not see.
    Hasty,
    /// Waits until it is sent again: somebody has to answer in the end.
    Patient,
}

/// Clients at work.
pub(crate) struct Clients {
    done: Arc<AtomicBool>,
    threads: Vec<JoinHandle<usize>>,
}

impl Clients {
    /// One of each manner for each namespace and where it connects to.
    pub(crate) fn start(ways: &[(&Namespace, &str)]) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let both = ways.iter().flat_map(|way| [(way, Manner::Hasty), (way, Manner::Patient)]);
        let threads = both.map(|((from, to), manner)| {
            let inside = File::open(Path::new("/run/netns").join(from.name())).unwrap();
            let (to, done) = (to.parse().unwrap(), Arc::clone(&done));
            spawn(move || {
                setns(inside, CloneFlags::CLONE_NEWNET).unwrap();
                connect(to, manner, &done)
            })
        });
        Self { threads: threads.collect(), done }
    }

    /// Ends them. Panics if a connection failed, or one of them never connected.
    pub(crate) fn end(self) {
        self.done.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| assert!(thread.join().unwrap() > 0));
    }
}

/// How many connections it made until it was told to end, and one at least.
fn connect(to: SocketAddr, manner: Manner, done: &AtomicBool) -> usize {
    let patience = match manner {
        Manner::Hasty => Duration::from_millis(100),
        Manner::Patient => Duration::from_secs(10),
    };
    let mut connections = 0;
    while connections == 0 || !done.load(Ordering::Relaxed) {
        // Without rules it would be rejected, dropped, or answered from outside, where nobody listens at this port.
        match (TcpStream::connect_timeout(&to, patience), manner) {
            (Ok(_), _) => connections += 1,
            (Err(error), Manner::Hasty) if error.kind() == ErrorKind::TimedOut => {}
            (Err(error), _) => panic!("connection {connections} of a {manner:?} client to {to}: {error}"),
        }
    }
    connections
}
