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

/// Keeps the memory of all threads in one arena. By default the C library makes one for each thread, up to eight a processor,
/// and what is free in one of them is not there for the others; they would hold half as much again as is in use. To be
/// called before there are threads.
pub fn keep_in_one_arena() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no other thread runs, so that none allocates meanwhile (mallopt(3)). If it fails, all is as by default.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
