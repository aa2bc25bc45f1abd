//! This node's interfaces and their addresses, by rtnetlink. The task [`LinkWatch::run`] tells of them at the start,
//! after each change, and now and then in case a message of a change was lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use futures::{FutureExt, StreamExt, TryStreamExt, channel::mpsc::UnboundedReceiver};
use rtnetlink::{
    Handle, MulticastGroup, new_connection, new_multicast_connection,
    packet_core::NetlinkMessage,
    packet_route::{
        RouteNetlinkMessage,
        address::{AddressAttribute, AddressMessage},
        link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage},
    },
    sys::SocketAddr,
};
use tokio::sync::mpsc;

use crate::{Input, mac::Mac};

/// How often links are read without a message that they changed.
const INTERVAL: Duration = Duration::from_secs(10);

/// Links could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No netlink socket.
    #[error("cannot open a netlink socket to read the node's interfaces")]
    Open(#[source] std::io::Error),
    /// The kernel refused.
    #[error("cannot read the node's interfaces")]
    Read(#[source] rtnetlink::Error),
}

/// An Ethernet interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number; a re-created interface has another.
    pub index: u32,
    /// The name.
    pub name: String,
    /// The hardware address.
    pub mac: Mac,
    /// Up, with a carrier, and doing ARP: dummy interfaces do not.
    pub running: bool,
    /// Its addresses, of both families.
    pub addresses: BTreeSet<IpAddr>,
}

impl Link {
    /// Whether ARP can be sent from it.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.running && self.mac.is_station()
    }
}

/// A netlink socket that hears of changes, and one for questions: where more changes are told than fit, the answer to a
/// question would be lost among them, and waited for for ever. They belong to the network namespace in which they were
/// opened.
pub struct LinkWatch {
    handle: Handle,
    changes: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
}

impl LinkWatch {
    /// Opens the sockets; needs a tokio runtime.
    ///
    /// # Errors
    /// When the kernel gives none.
    pub fn open() -> Result<Self, LinkError> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let (listening, _, changes) = new_multicast_connection(&groups).map_err(LinkError::Open)?;
        let (asking, handle, _) = new_connection().map_err(LinkError::Open)?;
        tokio::spawn(listening);
        tokio::spawn(asking);
        Ok(Self { handle, changes })
    }

    /// Tells of the links until nobody listens.
    pub async fn run(mut self, news: mpsc::Sender<Input>) {
        loop {
            match self.list().await {
                Ok(links) => {
                    if news.send(Input::Links(links)).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "interfaces stay as they were known"
                    );
                }
            }
            let change = tokio::time::timeout(INTERVAL, self.changes.next()).await;
            if matches!(change, Ok(None)) {
                tracing::error!("the netlink socket closed: changes of interfaces are no longer noticed");
                return;
            }
            while self.changes.next().now_or_never().flatten().is_some() {}
        }
    }

    /// All Ethernet interfaces, by number.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn list(&self) -> Result<Vec<Link>, LinkError> {
        let addresses = self.handle.address().get().execute().try_collect::<Vec<_>>();
        let mut by_link: BTreeMap<u32, BTreeSet<IpAddr>> = BTreeMap::new();
        for message in addresses.await.map_err(LinkError::Read)? {
            by_link.entry(message.header.index).or_default().extend(address_of(&message));
        }
        let links: Vec<_> =
            self.handle.link().get().execute().try_collect().await.map_err(LinkError::Read)?;
        let mut links: Vec<Link> = links.iter().filter_map(|message| read(message, &mut by_link)).collect();
        links.sort_by_key(|link| link.index);
        Ok(links)
    }
}

/// The interface's own address: `IFA_LOCAL` where there is one, since `IFA_ADDRESS` is then the peer's.
fn address_of(message: &AddressMessage) -> Option<IpAddr> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(ip) => Some(*ip),
            _ => None,
        })
    })
}

fn read(message: &LinkMessage, addresses: &mut BTreeMap<u32, BTreeSet<IpAddr>>) -> Option<Link> {
    if message.header.link_layer_type != LinkLayerType::Ether {
        return None;
    }
    let (mut name, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            LinkAttribute::Address(bytes) => mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(Mac),
            _ => {}
        }
    }
    let index = message.header.index;
    Some(Link {
        index,
        name: name?,
        mac: mac?,
        running: message.header.flags.contains(LinkFlags::Up | LinkFlags::Running)
            && !message.header.flags.contains(LinkFlags::Noarp),
        addresses: addresses.remove(&index).unwrap_or_default(),
    })
}
