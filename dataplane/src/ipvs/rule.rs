//! What the table `inet penstock-ipvs` holds: everything about Services that IPVS itself cannot do.

use std::net::IpAddr;

use ipnet::IpNet;
use penstock_model::{Family, FrontendAddress};

use crate::nftables::{Field, Row};

/// One element of the table's sets and maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// A frontend without endpoints: its connections are rejected.
    Refused(FrontendAddress),
    /// A frontend whose connections are dropped, those apart that [`Rule::Inside`] takes.
    Dropped(FrontendAddress),
    /// A frontend whose clients' source is replaced.
    Always(FrontendAddress),
    /// A frontend whose clients' source is replaced unless they are pods.
    OffCluster(FrontendAddress),
    /// A frontend with external policy Local: pods and this node get this mark, which leads to another virtual server.
    Inside(FrontendAddress, u32),
    /// A frontend that not everybody may connect to.
    Firewalled(FrontendAddress),
    /// Who may.
    Source(FrontendAddress, IpNet),
    /// An address of a Service, bound to our device: what IPVS does not take is rejected (kubernetes issue 72236).
    Vip(IpAddr),
    /// A local endpoint's address: its connections to itself are masqueraded.
    Hairpin(IpAddr),
}

impl Rule {
    /// The element as it is added.
    pub(super) fn row(&self) -> Row {
        let value = match *self {
            Self::Inside(_, mark) => vec![Field::Number(mark)],
            _ => Vec::new(),
        };
        Row { value, ..self.key() }
    }

    /// What identifies it: as it is removed.
    pub(super) fn key(&self) -> Row {
        let key = match *self {
            Self::Refused(f)
            | Self::Dropped(f)
            | Self::Always(f)
            | Self::OffCluster(f)
            | Self::Inside(f, _)
            | Self::Firewalled(f) => full(f).to_vec(),
            Self::Source(f, net) => full(f).into_iter().chain([Field::Net(net)]).collect(),
            Self::Vip(ip) => vec![Field::Address(ip)],
            Self::Hairpin(ip) => vec![Field::Address(ip); 2],
        };
        Row { set: self.set(), key, value: Vec::new() }
    }

    /// Whether several Service ports may have it in common.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Vip(_) | Self::Hairpin(_))
    }

    fn set(&self) -> &'static str {
        let both = match self {
            Self::Refused(_) => ["refused4", "refused6"],
            Self::Dropped(_) => ["dropped4", "dropped6"],
            Self::Always(_) => ["always4", "always6"],
            Self::OffCluster(_) => ["off-cluster4", "off-cluster6"],
            Self::Inside(..) => ["inside4", "inside6"],
            Self::Firewalled(_) => ["firewalled4", "firewalled6"],
            Self::Source(..) => ["sources4", "sources6"],
            Self::Vip(_) => ["vips4", "vips6"],
            Self::Hairpin(_) => ["hairpin4", "hairpin6"],
        };
        match Family::of(self.ip()) {
            Family::IPv4 => both[0],
            Family::IPv6 => both[1],
        }
    }

    fn ip(&self) -> IpAddr {
        match self {
            Self::Refused(f)
            | Self::Dropped(f)
            | Self::Always(f)
            | Self::OffCluster(f)
            | Self::Inside(f, _)
            | Self::Firewalled(f)
            | Self::Source(f, _) => f.ip,
            Self::Vip(ip) | Self::Hairpin(ip) => *ip,
        }
    }
}

fn full(frontend: FrontendAddress) -> [Field; 3] {
    [Field::Address(frontend.ip), Field::Protocol(frontend.protocol), Field::Port(frontend.port)]
}
