//! Sessions with real routers, on real TCP: bird and frr of Debian, and GoBGP, each in a network namespace of its own. The
//! namespaces have no names; they go with the test, however it ends. Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used)] // Clippy's exception for tests leaves out their functions.

mod bird;
mod distance;
mod frr;
mod gobgp;
mod lab;
mod md5;
mod restart;
mod sessions;
mod slow;
