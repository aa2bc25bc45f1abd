//! A network namespace for a test. Needs root.

use std::thread;

use nix::sched::{CloneFlags, unshare};

use crate::nftables::Nft;

/// Runs work on a thread in a new namespace, which ends with it: programs that the thread starts and sockets
/// that it opens are inside.
pub(crate) fn in_fresh_namespace(work: impl FnOnce() + Send + 'static) {
    let inside = move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("this test makes network namespaces: run it as root");
        work();
    };
    if let Err(panic) = thread::spawn(inside).join() {
        std::panic::resume_unwind(panic);
    }
}

/// Carries out a script in the thread's namespace.
pub(crate) fn nft(script: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(Nft::default().run(script)).unwrap();
}
