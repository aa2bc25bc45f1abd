//! Memory that is free in the process and not in the machine.

/// Gives the machine what the allocator keeps of freed memory. Lists, loads and the state file take several times what
/// stays of them, and the allocator of the C library would keep that for ever. Takes milliseconds.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time from any thread (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}
