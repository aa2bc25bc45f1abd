//! Why one pool gives a Service nothing.

use std::net::IpAddr;

use penstock_model::Family;

use super::terms::Clash;

/// Why one pool gives a Service nothing; a sentence about "it", the pool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The Service's class has a list of pools.
    #[error("spec.pool.ipAddressPools of the Service's LoadBalancerClass does not name it")]
    NotOfClass,
    /// The Service asks for another pool.
    #[error("the Service asks for IPAddressPool {0}")]
    OtherPoolAsked(String),
    /// The Service asks for an address.
    #[error("the Service asks for {0}, which is not in its spec.addresses")]
    OtherAddressAsked(IpAddr),
    /// It serves those who ask for it.
    #[error("its spec.autoAssign is false and the Service does not ask for it")]
    NotAutomatic,
    /// It is for other namespaces.
    #[error("its spec.serviceAllocation admits neither the name nor the labels of namespace {0}")]
    Namespace(String),
    /// It is for other Services.
    #[error("none of its spec.serviceAllocation.serviceSelectors matches the Service's labels")]
    ServiceLabels,
    /// It has other families.
    #[error("its spec.addresses have no {} addresses", families(.0))]
    LacksFamilies(Vec<Family>),
    /// All are taken.
    #[error("it has no free {} address", families(.0))]
    Exhausted(Vec<Family>),
    /// The address asked for is somebody else's.
    #[error(transparent)]
    Taken(#[from] Clash),
}

/// Families in a sentence.
pub(super) fn families(list: &[Family]) -> String {
    let names: Vec<String> = list.iter().map(|f| format!("{f:?}")).collect();
    names.join(" and ")
}
