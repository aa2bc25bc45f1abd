//! Annotation keys on Services. MetalLB's are read as well as ours, so that its users keep their manifests.

/// Asks for an address from the pool of this name.
pub const ADDRESS_POOL: &str = "penstock.dev/address-pool";
/// MetalLB's key of the same meaning.
pub const ADDRESS_POOL_METALLB: &str = "metallb.io/address-pool";

/// Asks for these addresses: a comma list, at most one of each family.
pub const LOAD_BALANCER_IPS: &str = "penstock.dev/loadBalancerIPs";
/// MetalLB's key of the same meaning.
pub const LOAD_BALANCER_IPS_METALLB: &str = "metallb.io/loadBalancerIPs";

/// Written by the operator: the pool that the addresses came from.
pub const ALLOCATED_FROM: &str = "penstock.dev/ip-allocated-from-pool";
