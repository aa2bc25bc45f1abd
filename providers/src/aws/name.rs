//! Names of what is built: they follow from the Service alone, so that a crash at any call is found again.

use penstock_crds::AwsParameters;
use sha2::{Digest, Sha256};

use super::{
    options::{IpAddressType, Scheme},
    spec::GroupKind,
};
use crate::Owner;

/// `k8s-NAMESPACE-NAME-HASH`, at most 32 characters. A balancer of another scheme has another name: both exist for a
/// while when a Service changes it.
pub(super) fn balancer(parameters: &AwsParameters, owner: &Owner, scheme: Scheme) -> String {
    let public = if scheme == Scheme::InternetFacing { "internet-facing" } else { "internal" };
    readable(owner, &[&parameters.cluster_name, &parameters.vpc_id, &owner.uid, public])
}

/// Of a target group. Whatever cannot be changed of one is part of the hash: another one has another name, so that both
/// can exist while a listener is moved. So is the balancer: a group belongs to one only.
pub(super) fn group(
    parameters: &AwsParameters,
    owner: &Owner,
    balancer: &str,
    port: u16,
    kind: &GroupKind,
) -> String {
    let parts = [
        parameters.cluster_name.clone(),
        parameters.vpc_id.clone(),
        owner.uid.clone(),
        balancer.to_owned(),
        port.to_string(),
        format!("{:?}", kind.protocol),
        kind.port.to_string(),
        format!("{:?}", kind.target_type),
        if kind.ip_address_type == IpAddressType::Ipv4 { "ipv4" } else { "ipv6" }.to_owned(),
    ];
    readable(owner, &parts.each_ref().map(String::as_str))
}

fn readable(owner: &Owner, parts: &[&str]) -> String {
    let digest = Sha256::digest(parts.join("\n").as_bytes());
    let hash: String = digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    format!("k8s-{}-{}-{hash}", short(&owner.service.namespace), short(&owner.service.name))
}

/// A name begins and ends with neither; dots are not allowed at all.
fn short(text: &str) -> String {
    let plain: String = text.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    if plain.is_empty() { "x".to_owned() } else { plain }
}
