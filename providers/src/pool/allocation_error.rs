//! Why a Service gets no address, each in a sentence that says what to change.

use std::net::IpAddr;

use penstock_crds::Reason;
use penstock_model::Family;

use super::{
    rejection::{Rejection, families},
    terms::Clash,
};

/// A sentence about pools names at most this many: events have a limit of 1 KiB.
const NAMED: usize = 4;

/// Why a Service gets no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllocationError {
    /// There is no pool in use.
    #[error("there is no usable IPAddressPool: create one, or see why the existing ones are not accepted")]
    NoPool,
    /// No pool serves the Service without being asked for.
    #[error("no IPAddressPool serves this Service: {}", rejections(.0))]
    NoPoolForIt(Vec<(String, Rejection)>),
    /// The pool asked for is not there or not accepted.
    #[error("the Service asks for IPAddressPool {0}, which does not exist or is not accepted")]
    UnknownPool(String),
    /// The pool that has what is asked for does not serve the Service.
    #[error("the Service asks for IPAddressPool {pool} or an address of it, but {why}")]
    NotServed {
        /// The pool.
        pool: String,
        /// What does not match.
        why: Rejection,
    },
    /// The address asked for is in no pool.
    #[error("the Service asks for {0}, which is in no IPAddressPool that it may use")]
    OutsidePools(IpAddr),
    /// The address asked for is one that its pool leaves out.
    #[error(
        "the Service asks for {ip}, which IPAddressPool {pool} leaves out: its spec.avoidBuggyIPs is true"
    )]
    LeftOut {
        /// The address.
        ip: IpAddr,
        /// The pool.
        pool: String,
    },
    /// The addresses asked for lie in two pools.
    #[error("the Service asks for addresses of two IPAddressPools: all must come from one")]
    TwoPools,
    /// A requested address is of a family that the Service does not have.
    #[error("the Service asks for {0}, but has no ClusterIP of that family")]
    ForeignFamily(IpAddr),
    /// Others hold it, and do not share it with this Service.
    #[error("the Service cannot have the address that it asks for: {0}")]
    Taken(#[from] Clash),
    /// Nothing left.
    #[error("no free {} address in {}{}", families(.missing), pools_text(.pools), lacking_text(.lacking))]
    Exhausted {
        /// The families that are needed.
        missing: Vec<Family>,
        /// The pools that were looked at.
        pools: Vec<String>,
        /// Those of the families that none of the pools has.
        lacking: Vec<Family>,
    },
}

impl AllocationError {
    /// The reason for condition and event.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::NoPool | Self::NoPoolForIt(_) => Reason::NoPool,
            Self::Exhausted { .. } => Reason::Exhausted,
            _ => Reason::RequestRefused,
        }
    }
}

fn pools_text(pools: &[String]) -> String {
    let noun = if pools.len() == 1 { "IPAddressPool" } else { "any of IPAddressPools" };
    let named = pools.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    format!("{noun} {named}{}", more(pools.len()))
}

fn rejections(list: &[(String, Rejection)]) -> String {
    let sentences = list.iter().take(NAMED).map(|(pool, why)| format!("{pool}: {why}"));
    format!("{}{}", sentences.collect::<Vec<_>>().join("; "), more(list.len()))
}

fn more(count: usize) -> String {
    if count > NAMED { format!(" and {} more", count - NAMED) } else { String::new() }
}

fn lacking_text(lacking: &[Family]) -> String {
    if lacking.is_empty() {
        return String::new();
    }
    format!(": there are no {} addresses in spec.addresses", families(lacking))
}
