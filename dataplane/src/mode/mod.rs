//! With what the node forwards: the modes, whether the machine can have them, and how one follows another.
//!
//! [`choose`] takes the mode that was asked for, [`AnyBackend`] is its backend, a [`RuleSet`] is what a mode leaves in the
//! kernel, and [`HandOver`] takes away what other modes left once the new one serves.

mod any_backend;
mod choice;
mod hand_over;
mod rule_set;

pub use any_backend::AnyBackend;
pub use choice::{ModeError, choose};
pub use hand_over::HandOver;
pub use rule_set::{RemoveError, RuleSet};

use std::fmt;

/// With what the node forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// One table of nftables.
    Nftables,
    /// Chains of iptables.
    Iptables,
    /// Virtual servers of IPVS.
    Ipvs,
}

/// What `--mode` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum WantedMode {
    /// nftables.
    Nftables,
    /// iptables.
    Iptables,
    /// IPVS.
    Ipvs,
    /// nftables where it can be had, otherwise iptables.
    Auto,
}

impl Mode {
    /// As kube-proxy names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
            Self::Ipvs => "ipvs",
        }
    }
}

impl WantedMode {
    /// Which modes are tried, in this order.
    #[must_use]
    pub fn candidates(self) -> &'static [Mode] {
        match self {
            Self::Nftables => &[Mode::Nftables],
            Self::Iptables => &[Mode::Iptables],
            Self::Ipvs => &[Mode::Ipvs],
            Self::Auto => &[Mode::Nftables, Mode::Iptables],
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
