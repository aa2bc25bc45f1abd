//! A balancer as the endpoint describes it.

use std::{collections::BTreeSet, fmt, net::IpAddr};

use penstock_crds::ProviderResource;
use penstock_model::Family;
use serde::{Deserialize, Serialize};

use super::spec::Spec;
use crate::{Built, IpMode, Owner, Target};

/// A balancer, as `GET` returns it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Balancer {
    /// Whose it is.
    pub owner: BalancerOwner,
    /// What was last accepted.
    pub spec: Spec,
    /// The nodes that were last accepted, by name.
    pub targets: Vec<Target>,
    /// What became of it.
    pub status: BalancerStatus,
}

/// The Service that a balancer was built for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalancerOwner {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// What became of a balancer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BalancerStatus {
    /// How far it is.
    pub state: State,
    /// For people; what is wrong, with state `error`.
    #[serde(default)]
    pub message: String,
    /// Its addresses.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// Its name in the DNS, where it has no fixed address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// How traffic reaches the nodes.
    #[serde(default)]
    pub ip_mode: IpMode,
    /// What it is made of, for the record.
    #[serde(default)]
    pub resources: Vec<ProviderResource>,
    /// When to look again, where the endpoint says so; in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
}

/// How far a balancer is with what was last accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is as accepted.
    Active,
    /// It will be.
    Provisioning,
    /// Something is in the way.
    Error,
    /// It is going.
    Deleting,
}

impl State {
    /// Whether it ends by itself, so that it is worth while to look again.
    pub(super) fn is_passing(self) -> bool {
        matches!(self, Self::Provisioning | Self::Deleting)
    }
}

impl From<&Owner> for BalancerOwner {
    fn from(owner: &Owner) -> Self {
        let key = &owner.service;
        Self { namespace: key.namespace.clone(), name: key.name.clone(), uid: owner.uid.clone() }
    }
}

impl fmt::Display for BalancerOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?} with UID {:?}", self.namespace, self.name, self.uid)
    }
}

impl Balancer {
    /// The same with its lists in the one order that [`Spec`] has.
    pub(super) fn sorted(mut self) -> Self {
        self.spec = self.spec.sorted();
        self.targets.sort_unstable();
        self
    }

    /// What an active balancer lacks for what was accepted; the endpoint breaks the contract then.
    pub(super) fn contradiction(&self) -> Option<String> {
        let status = &self.status;
        if let Some(ip) = status.addresses.iter().find(|ip| !is_usable(ip)) {
            return Some(format!("{ip}, which cannot be a balancer's address"));
        }
        if let Some(name) = status.hostname.as_deref().filter(|name| !is_dns_name(name)) {
            return Some(format!("the hostname {name:?}, which is no DNS name in lower case"));
        }
        match (status.addresses.is_empty(), status.hostname.is_some()) {
            (true, true) => None,
            (true, false) => Some("neither an address nor a hostname".to_owned()),
            (false, _) => self.wrong_addresses(),
        }
    }

    fn wrong_addresses(&self) -> Option<String> {
        let addresses = &self.status.addresses;
        if let Some(ip) = self.spec.requested_addresses.iter().find(|ip| !addresses.contains(ip)) {
            return Some(format!("other addresses than {ip}, which was asked for"));
        }
        let families: BTreeSet<Family> = addresses.iter().map(|ip| Family::of(*ip)).collect();
        if families.len() < addresses.len() {
            return Some("two addresses of one family".to_owned());
        }
        let wanted = &self.spec.families;
        if let Some(need) = wanted.iter().find(|need| need.required && !families.contains(&need.family)) {
            return Some(format!("no {:?} address, which the Service requires", need.family));
        }
        let foreign = families.iter().find(|family| !wanted.iter().any(|need| need.family == **family))?;
        Some(format!("an {foreign:?} address, a family that the Service does not have"))
    }

    /// What the Service's status may show: nothing that nodes must not take for a balancer's.
    pub(super) fn built(&self) -> Built {
        let status = &self.status;
        let of = |family| status.addresses.iter().copied().filter(move |ip| Family::of(*ip) == family);
        let addresses = self.spec.families.iter().flat_map(|need| of(need.family)).filter(is_usable);
        Built {
            addresses: addresses.collect(),
            hostname: status.hostname.clone().filter(|name| is_dns_name(name)),
            ip_mode: status.ip_mode,
            pool: None,
            resources: status.resources.clone(),
        }
    }
}

/// Nodes forward what is sent to a balancer's address: one that means the node itself or many hosts would break them.
fn is_usable(ip: &IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some(),
    };
    !(link_local || ip.is_unspecified() || ip.is_loopback() || ip.is_multicast())
}

/// As the API server checks the hostname in a Service's status (RFC 1123).
fn is_dns_name(name: &str) -> bool {
    let ends = |label: &str| label.starts_with('-') || label.ends_with('-');
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let label = |label: &str| (1..=63).contains(&label.len()) && !ends(label) && label.chars().all(fits);
    name.len() <= 253 && name.parse::<IpAddr>().is_err() && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn balancer(status: &Value, requested: &[&str]) -> Balancer {
        let family = |family, required| json!({"family": family, "required": required});
        let spec = json!({
            "frontends": [], "families": [family("IPv4", true), family("IPv6", false)],
            "requestedAddresses": requested, "sourceRanges": [], "trafficPolicy": "Cluster",
            "healthCheck": {"protocol": "tcp"}
        });
        let owner = json!({"namespace": "d", "name": "s", "uid": "u"});
        let object = json!({"owner": owner, "spec": spec, "targets": [], "status": status});
        serde_json::from_value(object).unwrap()
    }

    fn said(addresses: &[&str], hostname: Option<&str>, requested: &[&str]) -> String {
        let status = json!({"state": "active", "addresses": addresses, "hostname": hostname});
        balancer(&status, requested).contradiction().unwrap_or_default()
    }

    #[test]
    fn an_active_balancer_has_what_was_asked_for() {
        assert_eq!(said(&["203.0.113.1"], None, &[]), "");
        assert_eq!(said(&["2001:db8::1", "203.0.113.1"], None, &["203.0.113.1"]), "");
        assert_eq!(said(&[], Some("lb-1.example.com"), &[]), "");
        assert!(said(&[], None, &[]).contains("neither an address nor a hostname"));
        assert!(said(&["203.0.113.1"], None, &["203.0.113.2"]).contains("other addresses than 203.0.113.2"));
        assert!(said(&["2001:db8::1"], None, &[]).contains("no IPv4 address"));
        assert!(said(&["203.0.113.1", "203.0.113.2"], None, &[]).contains("two addresses of one family"));
    }

    #[test]
    fn what_would_break_nodes_is_neither_accepted_nor_shown() {
        for bad in
            ["127.0.0.1", "0.0.0.0", "224.0.0.1", "169.254.1.1", "::1", "fe80::1", "::ffff:203.0.113.1"]
        {
            assert!(said(&[bad], None, &[]).contains("cannot be a balancer's address"), "{bad}");
            let shown = balancer(&json!({"state": "active", "addresses": [bad]}), &[]).built();
            assert!(shown.is_empty(), "{bad}");
        }
        for bad in ["", "LB.example", "-a.example", "a..b", "203.0.113.1", "a b"] {
            assert!(said(&[], Some(bad), &[]).contains("no DNS name"), "{bad}");
        }
    }

    #[test]
    fn the_status_shows_the_services_first_family_first() {
        let status =
            json!({"state": "active", "addresses": ["2001:db8::1", "203.0.113.1"], "ipMode": "Proxy"});
        let built = balancer(&status, &[]).built();
        let shown: Vec<String> = built.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["203.0.113.1", "2001:db8::1"]);
        assert_eq!(built.ip_mode, IpMode::Proxy);
    }
}
