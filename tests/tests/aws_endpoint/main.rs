//! The endpoint that stands for AWS, through the real SDK.

#![allow(clippy::unwrap_used)] // a test may panic

mod account;
mod certificates;
mod faults;
mod life;
mod lists;
mod refusals;
mod slowness;
