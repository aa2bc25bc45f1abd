//! Where the connections of a port go.

use std::collections::BTreeSet;

use penstock_model::Protocol;

use super::{
    options::TargetType,
    spec::{GroupTarget, Transport},
    wanted::Entry,
};
use crate::{Desired, ProviderError, Target};

/// # Errors
/// TCP and UDP of one port that endpoints take at different ones.
pub(super) fn targets(
    desired: &Desired,
    entry: Entry,
    target_type: TargetType,
) -> Result<BTreeSet<GroupTarget>, ProviderError> {
    match target_type {
        TargetType::Instance => {
            let port = entry.node_port.unwrap_or_default();
            let instances = desired.targets.iter().filter_map(instance_id);
            Ok(instances.map(|id| GroupTarget { id: id.to_owned(), port }).collect())
        }
        TargetType::Ip => endpoints(desired, entry),
    }
}

/// `aws:///eu-central-1a/i-0123`: a node without one is not an instance, as those of Fargate.
pub(super) fn instance_id(target: &Target) -> Option<&str> {
    let id = target.provider_id.as_deref()?.strip_prefix("aws://")?.rsplit('/').next()?;
    Some(id).filter(|id| id.starts_with("i-") && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'))
}

fn endpoints(desired: &Desired, entry: Entry) -> Result<BTreeSet<GroupTarget>, ProviderError> {
    let v4_first = desired.families.first().is_none_or(|need| need.family == penstock_model::Family::IPv4);
    let of = |protocol: Protocol| -> BTreeSet<GroupTarget> {
        let all = desired.endpoints.iter().flatten();
        let ours =
            all.filter(|e| e.port == entry.port && e.protocol == protocol && e.address.is_ipv4() == v4_first);
        ours.map(|e| GroupTarget { id: e.address.to_string(), port: e.target_port }).collect()
    };
    match entry.protocol {
        Transport::Tcp | Transport::Tls => Ok(of(Protocol::Tcp)),
        Transport::Udp => Ok(of(Protocol::Udp)),
        Transport::TcpUdp if of(Protocol::Tcp) == of(Protocol::Udp) => Ok(of(Protocol::Tcp)),
        Transport::TcpUdp => Err(ProviderError::refused(format!(
            "port {} is TCP and UDP, which AWS sends to one port of an endpoint: give both the same targetPort",
            entry.port
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_instances_have_an_identity() {
        let target = |id: &str| Target { node: "n".into(), provider_id: Some(id.into()), addresses: vec![] };
        for (id, instance) in [
            ("aws:///eu-central-1a/i-0123abc", Some("i-0123abc")),
            ("aws://eu-central-1/i-1", Some("i-1")),
            ("aws:///eu-central-1a/task/fargate-10.0.0.1", None),
            ("aws:///eu-central-1a/i-1/x", None),
            ("aws:///eu-central-1a/i-0 1", None),
            ("kind://docker/kind/node", None),
            ("i-0123", None),
        ] {
            assert_eq!(instance_id(&target(id)), instance, "{id}");
        }
        assert_eq!(instance_id(&Target { provider_id: None, ..target("") }), None);
    }
}
