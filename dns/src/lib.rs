//! The cluster's DNS.
//!
//! [`index`] is pure: objects go in, answers come out. It follows Kubernetes' DNS-Based Service Discovery 1.1.0 as
//! CoreDNS 1.15 answers it.

pub mod index;
