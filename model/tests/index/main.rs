//! The index from outside: objects in, changes out.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod claims;
mod endpoints;
mod frontends;
mod history;
mod objects;
mod refusals;
mod said;
