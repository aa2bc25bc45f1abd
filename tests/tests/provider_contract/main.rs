//! Every provider against the one suite, each with the double that stands for what is outside.

#![allow(clippy::unwrap_used)] // a test may panic

mod aws;
mod checklist;
mod digitalocean;
mod flawed;
mod hetzner;
mod pool;
mod vendor_types;
mod webhook;
