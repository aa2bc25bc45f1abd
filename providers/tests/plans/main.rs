//! Plans, which are pure: by rules, and by snapshots of situations that are reviewed as people read them.

#![allow(clippy::unwrap_used)] // a test may panic

mod aws;
mod aws_model;
mod aws_situations;
mod aws_wish;
mod endpoint_model;
mod hetzner;
mod hetzner_wish;
mod pool_situations;
mod situation;
mod webhook;
mod webhook_situations;
