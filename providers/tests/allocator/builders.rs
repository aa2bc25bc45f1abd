//! Pools and wishes in few words.

use std::collections::BTreeMap;

use penstock_model::{Family, ObjectKey, Protocol, TrafficPolicy};
use penstock_providers::{
    Desired, FamilyNeed, Frontend, Request, Sharing,
    pool::{AllocationError, Allocator, Assignment, Pool},
};

pub(crate) fn pool(addresses: &[&str]) -> Pool {
    let ranges = addresses.iter().map(|text| text.parse().unwrap()).collect();
    Pool { ranges, auto_assign: true, avoid_buggy_ips: false, pinning: None }
}

pub(crate) fn allocator(pools: &[(&str, &[&str])]) -> Allocator {
    let mut allocator = Allocator::default();
    allocator
        .set_pools(pools.iter().map(|(name, addresses)| ((*name).to_owned(), pool(addresses))).collect());
    allocator
}

pub(crate) fn key(name: impl Into<String>) -> ObjectKey {
    ObjectKey::new("default", name)
}

pub(crate) fn wants(families: &[(Family, bool)]) -> Desired {
    let families =
        families.iter().map(|(family, required)| FamilyNeed { family: *family, required: *required });
    Desired { families: families.collect(), ..Desired::default() }
}

pub(crate) fn v4() -> Desired {
    wants(&[(Family::IPv4, true)])
}

pub(crate) fn asks_for(addresses: &[&str]) -> Desired {
    let addresses = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
    Desired { request: Request { addresses, ..Request::default() }, ..v4() }
}

/// One IPv4 address, shared under this key, with one TCP port.
pub(crate) fn shares(sharing_key: &str, port: u16, traffic_policy: TrafficPolicy, app: &str) -> Desired {
    let selector = BTreeMap::from([("app".to_owned(), app.to_owned())]);
    Desired {
        sharing: Some(Sharing { key: sharing_key.to_owned(), traffic_policy, selector }),
        frontends: vec![Frontend { protocol: Protocol::Tcp, port, node_port: None }],
        ..v4()
    }
}

pub(crate) fn assign(
    allocator: &mut Allocator,
    name: impl Into<String>,
    desired: &Desired,
) -> Result<Assignment, AllocationError> {
    let service = key(name);
    let assignment = allocator.choose(&service, desired)?;
    allocator.commit(&service, &assignment)?;
    Ok(assignment)
}

pub(crate) fn addresses(assignment: &Assignment) -> Vec<String> {
    assignment.addresses.iter().map(ToString::to_string).collect()
}
