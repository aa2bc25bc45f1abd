//! Real packets through real rules, in network namespaces of our own. Needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod affinity;
mod agent;
mod api_server;
mod clients;
mod conntrack;
mod drift;
mod echo;
mod flow;
mod flows;
mod foreign;
mod health_check;
mod history;
mod invalid;
mod lab;
mod lifecycle;
mod mode;
mod namespace;
mod node_ports;
mod objects;
mod policies;
mod state;
