//! From where a load balancer's addresses may be reached.

use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::core::v1 as core;

use crate::{Family, Unreadable, parse_ip};

/// Upstream's annotation of the same meaning as `spec.loadBalancerSourceRanges`, which comes first.
pub const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

const FIELD: &str = "spec.loadBalancerSourceRanges";

/// The clients of one family that may connect.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Sources {
    /// Any.
    #[default]
    All,
    /// Those in these networks, which are disjoint and in order; none at all where there is no network.
    Only(Vec<IpNet>),
}

/// The clients that may connect to a Service's load balancer IPs, by family: ranges of one family say nothing of the
/// other, and one that contains everything is as good as none.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SourceRanges {
    v4: Sources,
    v6: Sources,
}

impl SourceRanges {
    /// From ranges of both families. If `incomplete`, some could not be read: a family without any range then admits
    /// nobody, since those may have been its own. (Upstream would admit everybody.)
    #[must_use]
    pub fn new(ranges: &[IpNet], incomplete: bool) -> Self {
        let sources = |family| {
            let own: Vec<IpNet> =
                ranges.iter().filter(|net| Family::of(net.addr()) == family).copied().collect();
            let everything = own.iter().any(|net| net.prefix_len() == 0);
            if everything || own.is_empty() && !incomplete {
                Sources::All
            } else {
                Sources::Only(disjoint(&own))
            }
        };
        Self { v4: sources(Family::IPv4), v6: sources(Family::IPv6) }
    }

    /// Who of the family may connect.
    #[must_use]
    pub fn of(&self, family: Family) -> &Sources {
        match family {
            Family::IPv4 => &self.v4,
            Family::IPv6 => &self.v6,
        }
    }

    /// Whether everybody may connect.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.v4 == Sources::All && self.v6 == Sources::All
    }

    /// Lets a node in by the load balancer IPs too if it may connect at all: where such an address is the node's own as
    /// well, it is the source that the node's connections have (as upstream's `allowFromNode`).
    pub(crate) fn admit_node(&mut self, node: IpAddr, balancer_ips: &[IpAddr]) {
        let family = Family::of(node);
        let sources = if node.is_ipv4() { &mut self.v4 } else { &mut self.v6 };
        if let Sources::Only(nets) = sources
            && nets.iter().any(|net| net.contains(&node))
        {
            nets.extend(
                balancer_ips.iter().filter(|ip| Family::of(**ip) == family).map(|ip| IpNet::from(*ip)),
            );
            *nets = disjoint(nets);
        }
    }
}

impl Sources {
    /// Whether the client may connect.
    #[must_use]
    pub fn admit(&self, client: IpAddr) -> bool {
        match self {
            Self::All => true,
            Self::Only(nets) => nets.iter().any(|net| net.contains(&client)),
        }
    }
}

fn disjoint(nets: &[IpNet]) -> Vec<IpNet> {
    let mut nets = IpNet::aggregate(&nets.to_vec());
    nets.sort_unstable();
    nets
}

/// The ranges of the field, or of the annotation where the field is empty, as upstream reads them (k8s.io/cloud-provider,
/// `GetLoadBalancerSourceRanges`), and what of it is no range. In order, so that theirs is no change.
#[must_use]
pub fn read_source_ranges(object: &core::Service) -> (Vec<IpNet>, Vec<Unreadable>) {
    let field =
        object.spec.as_ref().and_then(|s| s.load_balancer_source_ranges.as_deref()).unwrap_or_default();
    let annotation = object.metadata.annotations.as_ref().and_then(|a| a.get(SOURCE_RANGES));
    let (name, texts): (_, Vec<&str>) = if field.is_empty() {
        (SOURCE_RANGES, annotation.map(|text| text.split(',').collect()).unwrap_or_default())
    } else {
        (FIELD, field.iter().map(String::as_str).collect())
    };
    let (mut ranges, mut unreadable) = (Vec::new(), Vec::new());
    for text in texts.into_iter().map(str::trim).filter(|text| !text.is_empty()) {
        match parse(text) {
            Some(range) => ranges.push(range),
            None => unreadable.push(Unreadable::range(name, text)),
        }
    }
    ranges.sort_unstable();
    ranges.dedup();
    (ranges, unreadable)
}

/// With host bits and with leading zeros, which the API server let through once and which upstream's
/// `ParseCIDRSloppy` reads as decimal.
fn parse(text: &str) -> Option<IpNet> {
    let (address, length) = text.split_once('/')?;
    if !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let ip = parse_ip(address).or_else(|| parse_ip(&without_leading_zeros(address)?))?;
    IpNet::new(ip, length.parse().ok()?).ok().map(|net| net.trunc())
}

/// `None` for what does not look like an IPv4 address.
fn without_leading_zeros(address: &str) -> Option<String> {
    let octets = address.split('.').map(|octet| octet.parse::<u8>().ok().map(|n| n.to_string()));
    Some(octets.collect::<Option<Vec<_>>>()?.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(field: &[&str], annotation: &str) -> (Vec<String>, Vec<String>) {
        let service = serde_json::from_value(json!({
            "metadata": {"annotations": {SOURCE_RANGES: annotation}}, "spec": {"loadBalancerSourceRanges": field}
        }))
        .unwrap();
        let (ranges, unreadable) = read_source_ranges(&service);
        (texts(&ranges), texts(&unreadable))
    }

    fn texts<T: ToString>(things: &[T]) -> Vec<String> {
        things.iter().map(ToString::to_string).collect()
    }

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_field_comes_before_the_annotation() {
        assert_eq!(read(&["10.0.0.0/8"], "192.0.2.0/24").0, ["10.0.0.0/8"]);
        assert_eq!(read(&[], "198.51.100.0/24, 192.0.2.0/24").0, ["192.0.2.0/24", "198.51.100.0/24"]);
        assert_eq!(read(&[], ""), (vec![], vec![]));
    }

    #[test]
    fn spaces_host_bits_and_leading_zeros_are_read_as_upstream_reads_them() {
        let field =
            [" 010.001.002.003/08 ", "2001:db8::7/32\t", "192.0.2.1/32", "192.0.2.001/32", "0.0.0.0/0"];
        let ranges = ["0.0.0.0/0", "10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32"];
        assert_eq!(read(&field, "").0, ranges);
    }

    #[test]
    fn what_is_no_range_is_named_with_its_field_and_the_others_kept() {
        let hostile = [
            "10.0.0.0",
            "nonsense",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "::ffff:10.0.0.0/104",
            "é/8",
            "/",
            "300.0.0.0/8",
        ];
        for text in hostile {
            let (ranges, unreadable) = read(&["192.0.2.0/24", text], "");
            assert_eq!(ranges, ["192.0.2.0/24"], "{text}");
            let sentence = format!("{FIELD}: {text:?} is not a CIDR such as 198.51.100.0/24");
            assert_eq!(unreadable, [sentence]);
        }
        assert!(read(&[], "10.0.0.0").1[0].starts_with(SOURCE_RANGES));
    }

    #[test]
    fn each_family_has_its_own_ranges_and_one_that_contains_all_is_none() {
        let only_v4 = SourceRanges::new(&nets(&["192.0.2.0/25", "192.0.2.128/25"]), false);
        assert_eq!(only_v4.of(Family::IPv4), &Sources::Only(nets(&["192.0.2.0/24"])));
        assert_eq!(only_v4.of(Family::IPv6), &Sources::All);
        let open = SourceRanges::new(&nets(&["192.0.2.0/24", "0.0.0.0/0"]), true);
        assert_eq!(open.of(Family::IPv4), &Sources::All);
        assert!(SourceRanges::new(&[], false).is_open());
    }

    #[test]
    fn where_nothing_could_be_read_nobody_is_admitted() {
        let broken = SourceRanges::new(&[], true);
        for family in [Family::IPv4, Family::IPv6] {
            assert_eq!(broken.of(family), &Sources::Only(vec![]));
        }
        assert!(!broken.of(Family::IPv4).admit(IpAddr::from([192, 0, 2, 1])));
    }

    #[test]
    fn a_node_that_may_connect_may_do_so_from_the_balancers_address() {
        let balancer_ips = ["203.0.113.200", "2001:db8:113::200"].map(|ip| ip.parse().unwrap());
        let admit = |node: &str| {
            let mut ranges = SourceRanges::new(&nets(&["203.0.113.0/25"]), false);
            ranges.admit_node(node.parse().unwrap(), &balancer_ips);
            ranges
        };
        assert!(admit("203.0.113.11").of(Family::IPv4).admit(balancer_ips[0]));
        assert!(!admit("203.0.113.210").of(Family::IPv4).admit(balancer_ips[0]));
        assert_eq!(admit("2001:db8:113::11"), SourceRanges::new(&nets(&["203.0.113.0/25"]), false));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_named(text in "\\PC{0,20}|[0-9./:]{0,20}") {
            let (ranges, unreadable) = read(&[&text], "");
            prop_assert_eq!(ranges.len() + unreadable.len(), usize::from(!text.trim().is_empty()));
        }
    }
}
