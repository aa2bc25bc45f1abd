//! Why a Service gets no address, each in a sentence that says what to change.

use std::net::IpAddr;

use penstock_crds::Reason;
use penstock_model::{Family, ObjectKey};

/// Why a Service gets no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllocationError {
    /// There is no pool in use.
    #[error("there is no usable IPAddressPool: create one, or see why the existing ones are not accepted")]
    NoPool,
    /// No pool gives addresses to those who do not ask for it.
    #[error(
        "no IPAddressPool that this Service may use has autoAssign: create one or ask for a pool by annotation"
    )]
    NoAutomaticPool,
    /// The pool asked for is not there or not accepted.
    #[error("the Service asks for IPAddressPool {0}, which does not exist or is not accepted")]
    UnknownPool(String),
    /// The class does not allow the pool.
    #[error("the Service asks for IPAddressPool {0}, which its LoadBalancerClass does not allow")]
    PoolNotOfClass(String),
    /// The address asked for is in no pool.
    #[error("the Service asks for {0}, which is in no IPAddressPool that it may use")]
    OutsidePools(IpAddr),
    /// The addresses asked for lie in two pools.
    #[error("the Service asks for addresses of two IPAddressPools: all must come from one")]
    TwoPools,
    /// A requested address is of a family that the Service does not have.
    #[error("the Service asks for {0}, but has no ClusterIP of that family")]
    ForeignFamily(IpAddr),
    /// Another Service holds it.
    #[error("the Service asks for {ip}, which Service {holder} holds")]
    Taken {
        /// The address.
        ip: IpAddr,
        /// Who has it.
        holder: ObjectKey,
    },
    /// Nothing left.
    #[error("no free {} address in {}", families(.missing), pools_text(.pools))]
    Exhausted {
        /// The families that are needed.
        missing: Vec<Family>,
        /// The pools that were looked at.
        pools: Vec<String>,
    },
}

impl AllocationError {
    /// The reason for condition and event.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::NoPool | Self::NoAutomaticPool => Reason::NoPool,
            Self::Exhausted { .. } => Reason::Exhausted,
            _ => Reason::RequestRefused,
        }
    }
}

fn families(missing: &[Family]) -> String {
    let names: Vec<String> = missing.iter().map(|f| format!("{f:?}")).collect();
    names.join(" and ")
}

fn pools_text(pools: &[String]) -> String {
    let noun = if pools.len() == 1 { "IPAddressPool" } else { "any of IPAddressPools" };
    format!("{noun} {}", pools.join(", "))
}
