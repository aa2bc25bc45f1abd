//! What exists around the load balancers: one VPC with three zones, and another.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use super::credentials::REGION;

/// The VPC of the subnets `subnet-a`, `subnet-b` and `subnet-c`.
pub const VPC: &str = "vpc-0a";

/// A subnet of a VPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// Its VPC.
    pub vpc: String,
    /// `eu-central-1a`.
    pub zone: String,
    /// The first three bytes of its addresses, a /24.
    pub network: [u8; 3],
    /// Whether it has IPv6 addresses too.
    pub ipv6: bool,
    /// For the discovery of subnets.
    pub tags: BTreeMap<String, String>,
}

impl Subnet {
    fn new(vpc: &str, zone: char, network: [u8; 3]) -> Self {
        let (vpc, zone) = (vpc.to_owned(), format!("{REGION}{zone}"));
        Self { vpc, zone, network, ipv6: true, tags: BTreeMap::new() }
    }

    pub(super) fn contains(&self, ip: Ipv4Addr) -> bool {
        ip.octets()[..3] == self.network
    }
}

/// Everything that calls may refer to and ELBv2 does not make itself.
#[derive(Clone, Debug)]
pub struct World {
    /// By id.
    pub subnets: BTreeMap<String, Subnet>,
    /// Ids.
    pub security_groups: BTreeSet<String>,
    /// Elastic addresses by allocation id.
    pub allocations: BTreeMap<String, Ipv4Addr>,
    /// The running instances by id; none: every well-formed id is one.
    pub instances: Option<BTreeSet<String>>,
}

impl Default for World {
    /// `subnet-a`, `subnet-b` and `subnet-c` in [`VPC`] with 10.0.0.0/24, 10.0.1.0/24 and 10.0.2.0/24, a second subnet
    /// of the first zone `subnet-a2` (10.0.3.0/24, without IPv6), `subnet-x` in `vpc-0b` (10.1.0.0/24), `sg-1` and
    /// `sg-2`, and `eipalloc-1` to `eipalloc-6` with 203.0.113.1 to 203.0.113.6.
    fn default() -> Self {
        let subnet = |id: &str, vpc, zone, network| (id.to_owned(), Subnet::new(vpc, zone, network));
        let mut subnets = BTreeMap::from([
            subnet("subnet-a", VPC, 'a', [10, 0, 0]),
            subnet("subnet-b", VPC, 'b', [10, 0, 1]),
            subnet("subnet-c", VPC, 'c', [10, 0, 2]),
            subnet("subnet-a2", VPC, 'a', [10, 0, 3]),
            subnet("subnet-x", "vpc-0b", 'a', [10, 1, 0]),
        ]);
        if let Some(subnet) = subnets.get_mut("subnet-a2") {
            subnet.ipv6 = false;
        }
        Self {
            subnets,
            security_groups: ["sg-1", "sg-2"].map(ToOwned::to_owned).into(),
            allocations: (1..=6).map(|n| (format!("eipalloc-{n}"), Ipv4Addr::new(203, 0, 113, n))).collect(),
            instances: None,
        }
    }
}

impl World {
    /// The VPCs that there are.
    #[must_use]
    pub fn has_vpc(&self, vpc: &str) -> bool {
        self.subnets.values().any(|subnet| subnet.vpc == vpc)
    }

    /// The zones of a VPC.
    pub(super) fn zones(&self, vpc: &str) -> BTreeSet<&str> {
        self.subnets.values().filter(|subnet| subnet.vpc == vpc).map(|subnet| subnet.zone.as_str()).collect()
    }

    /// Whether an address lies in a subnet of the VPC. Every IPv6 address of documentation does.
    pub(super) fn inside(&self, vpc: &str, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => self.subnets.values().any(|subnet| subnet.vpc == vpc && subnet.contains(ip)),
            IpAddr::V6(ip) => ip.segments()[..2] == [0x2001, 0xdb8],
        }
    }
}

/// Where instances and peered networks may be: RFC 1918 and RFC 6598.
pub(super) fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || (ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64),
        IpAddr::V6(_) => false,
    }
}
