//! The device `penstock-ipvs`, which has the addresses of Services: IPVS sees only packets to local addresses.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use futures::{StreamExt, TryStreamExt, channel::mpsc::UnboundedReceiver, stream};
use rtnetlink::{
    Handle, LinkDummy, LinkUnspec, MulticastGroup, new_connection, new_multicast_connection,
    packet_core::{NetlinkMessage, NetlinkPayload},
    packet_route::{
        RouteNetlinkMessage,
        address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, CacheInfo},
        link::{LinkAttribute, LinkMessage},
    },
    sys::SocketAddr,
};

/// Its name.
pub(super) const NAME: &str = "penstock-ipvs";
/// That of one which is made and taken away, to see whether it can be.
const PROBE: &str = "penstock-probe";
/// That of kube-proxy, whose addresses are not the node's own either.
const PREDECESSOR: &str = "kube-ipvs0";
/// How many addresses are on their way to the kernel at a time.
const AT_ONCE: usize = 64;

/// Why the device does not have what it should.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// No netlink socket.
    #[error("cannot open a netlink socket to configure the device {NAME}")]
    Open(#[source] std::io::Error),
    /// It cannot be made.
    #[error("cannot make the device {NAME}: load the module dummy (modprobe dummy)")]
    Make(#[source] rtnetlink::Error),
    /// The kernel refused something else.
    #[error("cannot read the node's addresses")]
    Read(#[source] rtnetlink::Error),
    /// An address.
    #[error("cannot change the address {ip} of the device {NAME}")]
    Address {
        /// Which.
        ip: IpAddr,
        /// Why.
        #[source]
        source: rtnetlink::Error,
    },
}

/// The device, or the way to it.
#[derive(Clone, Debug)]
pub(super) struct Device {
    handle: Handle,
    index: Option<u32>,
}

/// A message of the kernel.
pub(super) type Message = (NetlinkMessage<RouteNetlinkMessage>, SocketAddr);
/// What the kernel tells of changes of addresses and devices.
pub(super) type Changes = UnboundedReceiver<Message>;

impl Device {
    /// Opens a way to it, in the process's own network namespace. Needs a tokio runtime.
    ///
    /// Requests have a socket of their own: where more changes are told than fit, the answer to a request would be lost
    /// among them, and waited for for ever.
    pub(super) fn open() -> Result<(Self, Changes), DeviceError> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let (listening, _, changes) = new_multicast_connection(&groups).map_err(DeviceError::Open)?;
        let (asking, handle, _) = new_connection().map_err(DeviceError::Open)?;
        tokio::spawn(listening);
        tokio::spawn(asking);
        Ok((Self { handle, index: None }, changes))
    }

    /// Finds out whether it is there or can be made. Leaves nothing.
    pub(super) async fn probe(&self) -> Result<(), DeviceError> {
        if self.find(NAME).await?.is_some() {
            return Ok(());
        }
        // One that ended just then may have left it.
        self.remove_named(PROBE).await?;
        let made = self.handle.link().add(LinkDummy::new(PROBE).build()).execute().await;
        made.map_err(DeviceError::Make)?;
        self.remove_named(PROBE).await
    }

    /// Makes it unless it is there.
    pub(super) async fn ensure(&mut self) -> Result<(), DeviceError> {
        if let Some(index) = self.find(NAME).await? {
            self.index = Some(index);
            return self.up(index).await;
        }
        let made = self.handle.link().add(LinkDummy::new(NAME).up().build()).execute().await;
        made.map_err(DeviceError::Make)?;
        self.index = self.find(NAME).await?;
        Ok(())
    }

    /// Finds it, if it is there.
    pub(super) async fn look(&mut self) -> Result<(), DeviceError> {
        self.index = self.find(NAME).await?;
        Ok(())
    }

    async fn up(&self, index: u32) -> Result<(), DeviceError> {
        let up = LinkUnspec::new_with_index(index).up().build();
        self.handle.link().set(up).execute().await.map_err(DeviceError::Make)
    }

    async fn links(&self) -> Result<Vec<LinkMessage>, DeviceError> {
        self.handle.link().get().execute().try_collect().await.map_err(DeviceError::Read)
    }

    async fn find(&self, name: &str) -> Result<Option<u32>, DeviceError> {
        let links = self.links().await?;
        Ok(links.iter().find(|link| name_of(link) == Some(name)).map(|link| link.header.index))
    }

    /// Its addresses, and those of all other devices but kube-proxy's.
    pub(super) async fn addresses(&self) -> Result<Addresses, DeviceError> {
        let addresses: Vec<AddressMessage> =
            self.handle.address().get().execute().try_collect().await.map_err(DeviceError::Read)?;
        let predecessor = self.find(PREDECESSOR).await?;
        let mut found = Addresses::default();
        let mut by_ip: BTreeMap<IpAddr, BTreeSet<u32>> = BTreeMap::new();
        for message in &addresses {
            if let Some(ip) = address_of(message) {
                by_ip.entry(ip).or_default().insert(message.header.index);
            }
        }
        for (ip, devices) in by_ip {
            if self.index.is_some_and(|index| devices.contains(&index)) {
                found.bound.insert(ip);
            }
            if devices.iter().any(|device| Some(*device) != self.index && Some(*device) != predecessor) {
                found.own.insert(ip);
            }
        }
        Ok(found)
    }

    /// Gives it addresses.
    pub(super) async fn bind(&self, ips: &[IpAddr]) -> Result<(), DeviceError> {
        let Some(index) = self.index else { return Ok(()) };
        let requests = ips.iter().copied().map(|ip| {
            let mut request = self.handle.address().add(index, ip, full(ip)).replace();
            dress(request.message_mut(), ip);
            async move { request.execute().await.map_err(|source| DeviceError::Address { ip, source }) }
        });
        all(requests).await
    }

    /// Takes addresses from it; it is no error if it does not have them.
    pub(super) async fn unbind(&self, ips: &[IpAddr]) -> Result<(), DeviceError> {
        let Some(index) = self.index else { return Ok(()) };
        let requests = ips.iter().copied().map(|ip| {
            let mut message = self.handle.address().add(index, ip, full(ip)).message_mut().clone();
            dress(&mut message, ip);
            let request = self.handle.address().del(message);
            async move {
                match request.execute().await {
                    Err(rtnetlink::Error::NetlinkError(why)) if why.raw_code() == -libc::EADDRNOTAVAIL => {
                        Ok(())
                    }
                    done => done.map_err(|source| DeviceError::Address { ip, source }),
                }
            }
        });
        all(requests).await
    }

    /// Removes it with its addresses; it is no error if there is none.
    pub(super) async fn remove(&self) -> Result<(), DeviceError> {
        self.remove_named(NAME).await
    }

    async fn remove_named(&self, name: &str) -> Result<(), DeviceError> {
        match self.find(name).await? {
            Some(index) => self.handle.link().del(index).execute().await.map_err(DeviceError::Make),
            None => Ok(()),
        }
    }

    /// Whether a message says that it has lost something.
    pub(super) fn lost(&self, message: &NetlinkMessage<RouteNetlinkMessage>) -> Option<Lost> {
        match &message.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(gone))
                if Some(gone.header.index) == self.index =>
            {
                address_of(gone).map(Lost::Address)
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(gone))
                if Some(gone.header.index) == self.index =>
            {
                Some(Lost::Device)
            }
            NetlinkPayload::Overrun(_) => Some(Lost::Track),
            _ => None,
        }
    }
}

/// Which addresses there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Addresses {
    /// On our device.
    pub(super) bound: BTreeSet<IpAddr>,
    /// On others.
    pub(super) own: BTreeSet<IpAddr>,
}

impl Addresses {
    /// Whether the node has it.
    pub(super) fn contains(&self, ip: IpAddr) -> bool {
        self.bound.contains(&ip) || self.own.contains(&ip)
    }
}

/// What the device has lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// An address.
    Address(IpAddr),
    /// Itself.
    Device,
    /// Nobody knows: more was told than fits into the socket (`ENOBUFS`, netlink(7)).
    Track,
}

/// Some at a time. All are tried; the first that failed is the error.
async fn all(
    requests: impl Iterator<Item = impl Future<Output = Result<(), DeviceError>>>,
) -> Result<(), DeviceError> {
    let done: Vec<_> = stream::iter(requests).buffer_unordered(AT_ONCE).collect().await;
    done.into_iter().collect()
}

fn full(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// Without a broadcast address, which would be the address itself, and not as the source of anything else: IPv6 would
/// choose among all that are not deprecated.
fn dress(message: &mut AddressMessage, ip: IpAddr) {
    message.attributes.retain(|attribute| !matches!(attribute, AddressAttribute::Broadcast(_)));
    if ip.is_ipv6() {
        message.header.flags |= AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        let mut life = CacheInfo::default();
        (life.ifa_preferred, life.ifa_valid) = (0, u32::MAX);
        message.attributes.push(AddressAttribute::CacheInfo(life));
    }
}

fn name_of(link: &LinkMessage) -> Option<&str> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

/// The interface's own: `IFA_LOCAL` where there is one, since `IFA_ADDRESS` is then the peer's.
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

#[cfg(test)]
mod tests;
