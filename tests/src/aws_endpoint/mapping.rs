//! The subnets of a load balancer, each with its addresses.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use serde_json::{Value, json};

use super::{
    failure::Failure,
    form::Form,
    world::{Subnet, World},
};

/// The addresses in one subnet that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// An elastic address.
    pub allocation: Option<String>,
    /// An address of the subnet.
    pub private: Option<Ipv4Addr>,
}

/// By the id of the subnet.
pub type Mappings = BTreeMap<String, Mapping>;

/// The parameters `Subnets` or `SubnetMappings`.
pub(super) fn take(form: &mut Form) -> Result<Mappings, Failure> {
    let (subnets, members) = (form.list("Subnets"), form.structures("SubnetMappings"));
    let pairs = match (subnets, members) {
        (Some(_), Some(_)) => {
            return Err(Failure::validation("You must specify either subnets or subnet mappings, not both"));
        }
        (Some(subnets), None) => subnets.into_iter().map(|id| (id, Mapping::default())).collect(),
        (None, members) => {
            members.unwrap_or_default().into_iter().map(member).collect::<Result<Vec<_>, Failure>>()?
        }
    };
    let count = pairs.len();
    let mappings: Mappings = pairs.into_iter().collect();
    match count {
        0 => Err(Failure::validation("At least one subnet must be specified")),
        _ if count > mappings.len() => Err(Failure::configuration("A subnet was specified twice")),
        _ => Ok(mappings),
    }
}

fn member(mut form: Form) -> Result<(String, Mapping), Failure> {
    let subnet = form.required("SubnetId")?;
    let private = form.take("PrivateIPv4Address").map(|text| {
        text.parse().map_err(|_| Failure::validation(format!("'{text}' is not a valid IPv4 address")))
    });
    let mapping = Mapping { allocation: form.take("AllocationId"), private: private.transpose()? };
    form.finish()?;
    Ok((subnet, mapping))
}

/// Whether a load balancer may stand there; `taken` is what others have. Returns its VPC.
pub(super) fn check(
    mappings: &Mappings,
    world: &World,
    internal: bool,
    dual: bool,
    taken: &[&Mapping],
) -> Result<String, Failure> {
    let subnets = resolve(mappings, world)?;
    if dual && !subnets.values().all(|subnet| subnet.ipv6) {
        return Err(Failure::configuration("You must specify subnets with an associated IPv6 CIDR block"));
    }
    check_addresses(mappings, &subnets, internal)?;
    for mapping in mappings.values() {
        if let Some(id) = mapping.allocation.as_ref().filter(|id| !world.allocations.contains_key(*id)) {
            let message = format!("The allocation ID '{id}' does not exist");
            return Err(Failure::new("AllocationIdNotFound", message));
        }
        let same = |other: &&&Mapping| {
            (other.allocation.is_some() && other.allocation == mapping.allocation)
                || (other.private.is_some() && other.private == mapping.private)
        };
        if taken.iter().any(|other| same(&other)) {
            return Err(Failure::new("ResourceInUse", "An address is in use by another load balancer"));
        }
    }
    Ok(subnets.values().next().map(|subnet| subnet.vpc.clone()).unwrap_or_default())
}

fn resolve<'a>(mappings: &Mappings, world: &'a World) -> Result<BTreeMap<String, &'a Subnet>, Failure> {
    let mut found = BTreeMap::new();
    for id in mappings.keys() {
        let absent = || Failure::new("SubnetNotFound", format!("The subnet ID '{id}' does not exist"));
        found.insert(id.clone(), world.subnets.get(id).ok_or_else(absent)?);
    }
    let vpcs: BTreeSet<&str> = found.values().map(|subnet| subnet.vpc.as_str()).collect();
    if vpcs.len() > 1 {
        return Err(Failure::new("InvalidSubnet", "All subnets must belong to the same VPC"));
    }
    let zones: BTreeSet<&str> = found.values().map(|subnet| subnet.zone.as_str()).collect();
    if zones.len() < found.len() {
        let message = "A load balancer cannot be attached to multiple subnets in the same Availability Zone";
        return Err(Failure::configuration(message));
    }
    Ok(found)
}

fn check_addresses(
    mappings: &Mappings,
    subnets: &BTreeMap<String, &Subnet>,
    internal: bool,
) -> Result<(), Failure> {
    let elastic = mappings.values().filter(|mapping| mapping.allocation.is_some()).count();
    let private = mappings.values().filter(|mapping| mapping.private.is_some()).count();
    for (given, what) in [(elastic, "an Elastic IP address"), (private, "a private IPv4 address")] {
        if given != 0 && given != mappings.len() {
            return Err(Failure::configuration(format!(
                "You must specify {what} for every subnet, or for none"
            )));
        }
    }
    if internal && elastic > 0 {
        return Err(Failure::configuration("Elastic IP addresses are for internet-facing load balancers"));
    }
    if !internal && private > 0 {
        return Err(Failure::configuration("Private IPv4 addresses are for internal load balancers"));
    }
    for (id, mapping) in mappings {
        if let Some(ip) =
            mapping.private.filter(|ip| !subnets.get(id).is_some_and(|subnet| subnet.contains(*ip)))
        {
            let message = format!("The private address '{ip}' is not in the range of the subnet '{id}'");
            return Err(Failure::configuration(message));
        }
    }
    Ok(())
}

/// As answers have them.
pub(super) fn shown(mappings: &Mappings, world: &World) -> Value {
    let of = |(id, mapping): (&String, &Mapping)| {
        let zone = world.subnets.get(id).map(|subnet| subnet.zone.clone());
        let elastic = mapping.allocation.as_ref().map(|allocation| {
            json!([{"AllocationId": allocation, "IpAddress": world.allocations.get(allocation)}])
        });
        let private = mapping.private.map(|ip| json!([{"PrivateIPv4Address": ip}]));
        let addresses = elastic.or(private).unwrap_or_else(|| json!([]));
        json!({"ZoneName": zone, "SubnetId": id, "LoadBalancerAddresses": addresses})
    };
    mappings.iter().map(of).collect()
}
