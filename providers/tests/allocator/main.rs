//! The allocator's promises: no address twice, addresses stay, everything free is found again.

#![allow(clippy::unwrap_used)] // a test may panic

mod addresses;
mod builders;
mod properties;
mod selection;
mod sharing;
