//! Who answers for an address, as a client without any memory asks it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use penstock_announcer::{
    arp::{ArpFrame, Operation},
    link::Link,
    mac::Mac,
    ndp::{Message, NdpFrame, solicited_node},
    packet_socket::{Discovery, PacketSocket},
};

/// How long answers to one question are collected.
const ANSWERS_WITHIN: Duration = Duration::from_millis(100);
/// Questions by which a second owner would be heard.
const QUESTIONS: usize = 3;

pub(crate) struct Questions {
    mac: Mac,
    arp: PacketSocket,
    ndp: PacketSocket,
    asked: u32,
}

impl Questions {
    pub(crate) fn open(link: &Link) -> Self {
        let [arp, ndp] = [Discovery::Arp, Discovery::Ndp]
            .map(|discovery| PacketSocket::open(link.index, discovery).unwrap());
        Self { mac: link.mac, arp, ndp, asked: 0 }
    }

    /// Who answers for the address first, if somebody does soon.
    pub(crate) async fn ask(&mut self, address: IpAddr) -> Option<Mac> {
        self.question(address).await;
        tokio::time::timeout(ANSWERS_WITHIN, self.answer(address)).await.ok()
    }

    /// Who answers for the address, in order, each once: collected over several questions, so that a second owner
    /// whose answers come later is heard too.
    pub(crate) async fn ask_often(&mut self, address: IpAddr) -> Vec<Mac> {
        let mut macs = Vec::new();
        for _ in 0..QUESTIONS {
            self.question(address).await;
            while let Ok(mac) = tokio::time::timeout(ANSWERS_WITHIN, self.answer(address)).await {
                if !macs.contains(&mac) {
                    macs.push(mac);
                }
            }
        }
        macs
    }

    async fn question(&mut self, address: IpAddr) {
        self.asked += 1;
        let (v4, v6) = self.asker();
        match address {
            IpAddr::V4(address) => {
                let question = ArpFrame {
                    destination: Mac::BROADCAST,
                    operation: Operation::Request,
                    sender: (self.mac, v4),
                    target: (Mac([0; 6]), address),
                };
                self.arp.send(&question.to_bytes()).await.unwrap();
            }
            IpAddr::V6(target) => {
                let receiver = solicited_node(target);
                let destination = Mac::of_group(receiver);
                let sender = (self.mac, v6);
                let question =
                    NdpFrame { destination, sender, receiver, target, message: Message::Solicitation };
                self.ndp.send(&question.to_bytes()).await.unwrap();
            }
        }
    }

    /// Each question is asked from another address, so that answers to those before are told apart.
    fn asker(&self) -> (Ipv4Addr, Ipv6Addr) {
        let [high, low] = [(self.asked >> 16) as u16, self.asked as u16];
        (Ipv4Addr::from(0x0a00_0000 + self.asked), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, high, low))
    }

    /// The next answer to the last question.
    async fn answer(&self, address: IpAddr) -> Mac {
        loop {
            let answer = match address {
                IpAddr::V4(address) => self.next_arp(address).await,
                IpAddr::V6(address) => self.next_ndp(address).await,
            };
            if let Some(mac) = answer {
                return mac;
            }
        }
    }

    async fn next_arp(&self, address: Ipv4Addr) -> Option<Mac> {
        let frame = ArpFrame::parse(&self.arp.receive().await.unwrap())?;
        let asker = (self.mac, self.asker().0);
        let ours = frame.operation == Operation::Reply && frame.target == asker && frame.sender.1 == address;
        ours.then_some(frame.sender.0)
    }

    async fn next_ndp(&self, address: Ipv6Addr) -> Option<Mac> {
        let frame = NdpFrame::parse(&self.ndp.receive().await.unwrap())?;
        let is_answer = matches!(frame.message, Message::Advertisement { solicited: true, .. });
        let ours = is_answer && frame.receiver == self.asker().1 && frame.target == address;
        ours.then_some(frame.sender.0)
    }
}
