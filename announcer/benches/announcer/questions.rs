//! ARP and Neighbor Discovery as a client does it that knows nothing: a question every 20 ms, and who answers it.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use penstock_announcer::{
    arp::{ArpFrame, Operation},
    link::LinkWatch,
    mac::Mac,
    ndp::{Message, NdpFrame, solicited_node},
    packet_socket::{Discovery, PacketSocket},
};
use penstock_e2e::namespace::Namespace;

use crate::INTERVAL;

/// Askers are told apart by their address, so that each answer shows which question it belongs to.
const ASKERS_V4: u32 = 0x0a00_0000;
const ASKERS_V6: u128 = 0xfd00 << 112;

/// A question and the stations that answered it.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) at: Instant,
    pub(crate) answers: BTreeSet<Mac>,
}

/// Asks for one address, from the client's `eth0`.
pub(crate) struct Questions {
    address: IpAddr,
    mac: Mac,
    socket: PacketSocket,
    asked: Vec<Question>,
    next: Instant,
}

impl Questions {
    pub(crate) async fn start(client: &Namespace, address: IpAddr) -> Result<Self> {
        let discovery = if address.is_ipv6() { Discovery::Ndp } else { Discovery::Arp };
        let links = client.inside(LinkWatch::open)?.context("look at the client's interfaces")?;
        let links = links.list().await.context("list the client's interfaces")?;
        let link = links.into_iter().find(|link| link.name == "eth0").context("the client has no eth0")?;
        let socket =
            client.inside(|| PacketSocket::open(link.index, discovery))?.context("open a packet socket")?;
        Ok(Self { address, mac: link.mac, socket, asked: Vec::new(), next: Instant::now() })
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> &[Question] {
        &self.asked
    }

    /// Forgets what was asked so far.
    pub(crate) fn forget(&mut self) {
        self.asked.clear();
    }

    /// Asks for a while, and takes the answers.
    pub(crate) async fn run_for(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            tokio::select! {
                () = tokio::time::sleep_until(self.next.into()) => self.ask().await?,
                bytes = self.socket.receive() => self.take(&bytes.context("receive an answer")?),
            }
        }
        Ok(())
    }

    async fn ask(&mut self) -> Result<()> {
        let number = self.asked.len() + 1;
        let bytes = match self.address {
            IpAddr::V4(address) => ArpFrame {
                destination: Mac::BROADCAST,
                operation: Operation::Request,
                sender: (self.mac, Ipv4Addr::from(ASKERS_V4 + number as u32)),
                target: (Mac([0; 6]), address),
            }
            .to_bytes()
            .to_vec(),
            IpAddr::V6(target) => {
                let receiver = solicited_node(target);
                let destination = Mac::of_group(receiver);
                let sender = (self.mac, Ipv6Addr::from(ASKERS_V6 + number as u128));
                NdpFrame { destination, sender, receiver, target, message: Message::Solicitation }.to_bytes()
            }
        };
        self.next = Instant::now() + INTERVAL;
        self.asked.push(Question { at: Instant::now(), answers: BTreeSet::new() });
        self.socket.send(&bytes).await.context("send a question")
    }

    fn take(&mut self, bytes: &[u8]) {
        let answer = match self.address {
            IpAddr::V4(address) => ArpFrame::parse(bytes)
                .filter(|frame| frame.operation == Operation::Reply && frame.sender.1 == address)
                .map(|frame| (frame.sender.0, u32::from(frame.target.1).wrapping_sub(ASKERS_V4) as usize)),
            IpAddr::V6(address) => NdpFrame::parse(bytes)
                .filter(|frame| frame.message != Message::Solicitation && frame.target == address)
                .map(|frame| (frame.sender.0, u128::from(frame.receiver).wrapping_sub(ASKERS_V6) as usize)),
        };
        if let Some((mac, number)) = answer
            && let Some(question) = number.checked_sub(1).and_then(|index| self.asked.get_mut(index))
        {
            question.answers.insert(mac);
        }
    }
}
