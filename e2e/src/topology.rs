//! Names and addresses of an instance, as values. Two instances differ in every name and share every address: their
//! namespaces never meet.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use ipnet::{Ipv4Net, Ipv6Net};

/// An address of each family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// The IPv4 address.
    pub v4: Ipv4Addr,
    /// The IPv6 address.
    pub v6: Ipv6Addr,
}

impl Pair {
    const fn on_segment(host: u8, host_v6: u16) -> Self {
        Self {
            v4: Ipv4Addr::new(203, 0, 113, host),
            v6: Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, host_v6),
        }
    }

    /// Both, IPv4 first.
    pub fn both(self) -> [IpAddr; 2] {
        [self.v4.into(), self.v6.into()]
    }
}

/// The client: the outside world, and everybody's default gateway, which forwards nothing.
pub const CLIENT: Pair = Pair::on_segment(1, 0x1);
/// The machine of etcd, the API server, the controller manager, the scheduler and the operator.
pub const CONTROL_PLANE: Pair = Pair::on_segment(10, 0x10);
/// The first node.
pub const NODE_1: Pair = Pair::on_segment(11, 0x11);
/// The second node.
pub const NODE_2: Pair = Pair::on_segment(12, 0x12);

/// Prefix lengths of the segment.
pub const SEGMENT_PREFIX: (u8, u8) = (24, 64);

/// A host outside the cluster that a Service without selector points at. It lives in the client namespace.
pub const EXTERNAL_HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 42);
/// An address of `spec.externalIPs`, which the network outside routes to a node.
pub const EXTERNAL_IP: Ipv4Addr = Ipv4Addr::new(80, 11, 12, 10);

/// Where Pods ask for names. Nobody answers there until a DNS is installed, such as the chart's.
pub const CLUSTER_DNS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

/// The API server's port in the control plane's namespace.
pub const API_PORT: u16 = 6443;

/// Where Services get their cluster addresses from.
pub const SERVICES: (Ipv4Net, Ipv6Net) = (
    Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 16),
    Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0xdb8, 0x96, 0, 0, 0, 0, 0), 112),
);

/// Where Pods get their addresses from; each node has a part of it.
pub const PODS: (Ipv4Net, Ipv6Net) = (
    Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 16),
    Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0xdb8, 0x244, 0, 0, 0, 0, 0), 48),
);

/// The Service CIDRs, as Kubernetes' flags want them.
pub fn service_cidrs() -> String {
    format!("{},{}", SERVICES.0, SERVICES.1)
}

/// The Pod CIDRs, as Kubernetes' flags want them.
pub fn pod_cidrs() -> String {
    format!("{},{}", PODS.0, PODS.1)
}

/// A machine of an instance. Each is a network namespace with one interface, `eth0`, on the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// etcd, the API server and what belongs to it.
    ControlPlane,
    /// The first node.
    Node1,
    /// The second node.
    Node2,
    /// The outside world.
    Client,
}

impl Place {
    /// Every machine.
    pub const ALL: [Self; 4] = [Self::ControlPlane, Self::Node1, Self::Node2, Self::Client];
    /// The machines with a kubelet.
    pub const NODES: [Self; 2] = [Self::Node1, Self::Node2];

    /// Its short name; a node's is its host name and the name of its Node object.
    pub fn name(self) -> &'static str {
        match self {
            Self::ControlPlane => "cp",
            Self::Node1 => "n1",
            Self::Node2 => "n2",
            Self::Client => "client",
        }
    }

    /// Its addresses on the segment.
    pub fn addresses(self) -> Pair {
        match self {
            Self::ControlPlane => CONTROL_PLANE,
            Self::Node1 => NODE_1,
            Self::Node2 => NODE_2,
            Self::Client => CLIENT,
        }
    }

    /// Whether a kubelet runs here.
    pub fn is_node(self) -> bool {
        Self::NODES.contains(&self)
    }
}

/// Below it every instance has a directory of its name.
pub const STATE_ROOT: &str = "/var/lib/penstock-e2e";

/// Below it, in every hierarchy, every instance has a cgroup of its name.
pub const CGROUP_ROOT: &str = "penstock-e2e";

/// The names of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    name: String,
}

impl Topology {
    /// The names of the instance `name`.
    ///
    /// # Errors
    /// When the name cannot be part of a namespace's and a directory's name.
    pub fn new(name: &str) -> Result<Self> {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        ensure!(
            (1..=32).contains(&name.len())
                && name.starts_with(|c: char| c.is_ascii_lowercase())
                && name.chars().all(good),
            "{name:?} is not a name for a cluster; use up to 32 lower-case letters, digits and dashes, a letter first"
        );
        Ok(Self { name: name.to_owned() })
    }

    /// The instance's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of a machine's network namespace.
    pub fn netns(&self, place: Place) -> String {
        format!("{}-{}", self.name, place.name())
    }

    /// The name of the network namespace that holds the segment's bridge and nothing else.
    pub fn segment_netns(&self) -> String {
        format!("{}-lan", self.name)
    }

    /// The name of the network namespace of a Pod that the harness itself plays, without a kubelet. Instances do not
    /// list these: whoever removes an instance looks for what begins like `pod_netns("")`.
    pub fn pod_netns(&self, pod: &str) -> String {
        format!("{}-pod-{pod}", self.name)
    }

    /// The network namespace of every machine and of the segment.
    pub fn all_netns(&self) -> Vec<String> {
        Place::ALL.iter().map(|place| self.netns(*place)).chain([self.segment_netns()]).collect()
    }

    /// The cgroup of everything that the instance runs, from the root of a hierarchy.
    pub fn cgroup(&self) -> PathBuf {
        Path::new(CGROUP_ROOT).join(&self.name)
    }

    /// Where the instance keeps its files.
    pub fn state_dir(&self) -> PathBuf {
        Path::new(STATE_ROOT).join(&self.name)
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The file of a named network namespace (ip-netns(8)).
pub fn netns_file(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_instances_share_no_name() {
        let (demo, test) = (Topology::new("penstock").unwrap(), Topology::new("penstock-test").unwrap());
        assert!(demo.all_netns().iter().all(|name| !test.all_netns().contains(name)));
        assert_ne!(demo.state_dir(), test.state_dir());
        assert_ne!(demo.cgroup(), test.cgroup());
        assert_eq!(demo.netns(Place::Node1), "penstock-n1");
    }

    #[test]
    fn a_name_that_would_escape_its_directory_is_refused() {
        for bad in ["", "../x", "a/b", "Upper", "1a", "-a", &"a".repeat(33)] {
            assert!(Topology::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn every_machine_has_its_own_address_on_the_segment() {
        let segment: Ipv4Net = "203.0.113.0/24".parse().unwrap();
        let segment_v6: Ipv6Net = "2001:db8:113::/64".parse().unwrap();
        for place in Place::ALL {
            let addresses = place.addresses();
            assert!(segment.contains(&addresses.v4) && segment_v6.contains(&addresses.v6));
            assert_eq!(Place::ALL.iter().filter(|other| other.addresses() == addresses).count(), 1);
        }
        assert_eq!(Place::Node2.addresses().v6.to_string(), "2001:db8:113::12");
    }

    #[test]
    fn flags_carry_both_families() {
        assert_eq!(service_cidrs(), "10.96.0.0/16,2001:db8:96::/112");
        assert_eq!(pod_cidrs(), "10.244.0.0/16,2001:db8:244::/48");
    }
}
