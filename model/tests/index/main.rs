//! The index from outside: objects in, changes out.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod claims;
mod endpoints;
mod flows;
mod frontends;
mod health_checks;
mod history;
mod hostile;
mod objects;
mod refusals;
mod said;
mod source_ranges;
mod topology;
mod vips;
