//! Talks to the kernel's IPVS.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use nix::errno::Errno;
use penstock_model::{Family, Scheduler};

use super::{
    codec::{
        Connections, Destination, Request, ServerAddress, VirtualServer, family_number, family_question,
    },
    ledger::Observed,
    mark::Mark,
};
use crate::netfilter::{Data, NetfilterError, NetfilterSocket, NetworkNamespace, Refusal, Reply};

/// How many requests go in one datagram: the answers to those that are refused have to fit into the socket.
const BATCH: usize = 1024;

/// Why IPVS does not do what was asked, or why that is not known.
#[derive(Debug, thiserror::Error)]
pub enum IpvsError {
    /// There is none.
    #[error("this kernel has no IPVS: load the module ip_vs (modprobe ip_vs)")]
    Missing,
    /// It has no such scheduler.
    #[error("this kernel has no scheduler {0} of IPVS: load the module ip_vs_{0} (modprobe ip_vs_{0})")]
    NoScheduler(Scheduler),
    /// The kernel cannot be asked.
    #[error("cannot talk to the kernel's IPVS")]
    Netlink(#[from] NetfilterError),
    /// It refused one request; others of the same call may have been carried out.
    #[error("IPVS refused to {what}: {why}")]
    Refused {
        /// What.
        what: String,
        /// Why.
        why: Refusal,
    },
    /// A task of ours ended.
    #[error("the work on IPVS ended early")]
    Panicked(#[from] tokio::task::JoinError),
}

/// A socket to the kernel's IPVS.
#[derive(Debug)]
pub(super) struct IpvsSocket {
    socket: NetfilterSocket,
    family: u16,
    calls: u64,
}

impl IpvsSocket {
    /// Opens one and asks for the family's number.
    pub(super) fn open(namespace: &NetworkNamespace) -> Result<Self, IpvsError> {
        let mut socket = NetfilterSocket::open_generic(namespace)?;
        let mut bytes = Vec::new();
        family_question(socket.take_sequence(1)).emit(&mut bytes);
        for reply in socket.exchange(&bytes)? {
            match reply {
                Reply::Data(data) => {
                    if let Some(family) = family_number(&data) {
                        return Ok(Self { socket, family, calls: 0 });
                    }
                }
                Reply::Refused(why) if why.errno == Errno::ENOENT => return Err(IpvsError::Missing),
                Reply::Refused(why) => {
                    return Err(IpvsError::Refused { what: "be found".into(), why });
                }
                Reply::Done(_) => {}
            }
        }
        Err(IpvsError::Netlink(NetfilterError::Unanswered))
    }

    /// How many datagrams were sent.
    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    /// Carries requests out, as few datagrams as possible. All are tried; the first that was refused is the error.
    pub(super) fn carry_out(&mut self, requests: &[Request]) -> Result<(), IpvsError> {
        let mut refused = None;
        for batch in requests.chunks(BATCH) {
            let first = self.socket.take_sequence(u32::try_from(batch.len()).unwrap_or(u32::MAX));
            let mut answered = false;
            for reply in self.exchange(batch, first)? {
                match reply {
                    Reply::Done(_) => answered = true,
                    Reply::Refused(why) => {
                        answered = true;
                        let request = batch.get(why.sequence.wrapping_sub(first) as usize);
                        let what = request.map_or_else(|| "do something".into(), ToString::to_string);
                        refused.get_or_insert(IpvsError::Refused { what, why });
                    }
                    Reply::Data(_) => {}
                }
            }
            if !answered {
                return Err(IpvsError::Netlink(NetfilterError::Unanswered));
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// Only the last is acknowledged: refusals come anyway, and those before it have been carried out when it was.
    fn exchange(&mut self, batch: &[Request], first: u32) -> Result<Vec<Reply>, NetfilterError> {
        let mut bytes = Vec::new();
        for (sequence, (place, request)) in (0..).map(|n| first.wrapping_add(n)).zip(batch.iter().enumerate())
        {
            request.message(self.family, sequence, place + 1 == batch.len()).emit(&mut bytes);
        }
        self.calls += 1;
        self.socket.exchange(&bytes)
    }

    /// A list, whole. The kernel makes the next part when one is taken.
    fn list(&mut self, request: &Request) -> Result<Vec<Data>, IpvsError> {
        let mut bytes = Vec::new();
        request.message(self.family, self.socket.take_sequence(1), false).emit(&mut bytes);
        self.calls += 1;
        self.socket.send(&bytes)?;
        let mut found = Vec::new();
        loop {
            for reply in self.socket.receive()?.ok_or(NetfilterError::Unanswered)? {
                match reply {
                    Reply::Data(data) => found.push(data),
                    Reply::Done(_) => return Ok(found),
                    Reply::Refused(why) => return Err(IpvsError::Refused { what: request.to_string(), why }),
                }
            }
        }
    }

    /// All servers with their destinations.
    pub(super) fn observe(&mut self) -> Result<BTreeMap<ServerAddress, Observed>, IpvsError> {
        let answers = self.list(&Request::Servers)?;
        let servers: Vec<VirtualServer> =
            answers.iter().filter_map(|data| Request::server_in(&data.attributes)).collect();
        let mut all = BTreeMap::new();
        for server in servers {
            let destinations = self.destinations(server.address)?;
            let destinations = destinations.into_iter().map(|(to, _)| (to.address, to)).collect();
            all.insert(server.address, Observed { server, destinations });
        }
        Ok(all)
    }

    fn destinations(&mut self, address: ServerAddress) -> Result<Vec<(Destination, Connections)>, IpvsError> {
        let family = address.family();
        let answers = self.list(&Request::Destinations(address))?;
        Ok(answers.iter().filter_map(|data| read_destination(data, family)).collect())
    }

    /// How many connections each destination of a server has. A server that is gone has none.
    pub(super) fn connections(
        &mut self,
        address: ServerAddress,
    ) -> Result<BTreeMap<SocketAddr, Connections>, IpvsError> {
        Ok(self
            .destinations(address)?
            .into_iter()
            .map(|(to, connections)| (to.address, connections))
            .collect())
    }

    /// Which schedulers the kernel has, or can load by itself: each is tried with a server that no packet can reach.
    pub(super) fn schedulers(&mut self) -> Result<BTreeSet<Scheduler>, IpvsError> {
        let address = ServerAddress::Mark(Family::IPv4, Mark::SCRATCH);
        let mut found = BTreeSet::new();
        for scheduler in Scheduler::ALL {
            let server = VirtualServer { scheduler: Some(scheduler), ..VirtualServer::at(address) };
            match self.carry_out(&[Request::NewServer(server)]) {
                Ok(()) => {
                    found.insert(scheduler);
                    self.carry_out(&[Request::DeleteServer(address)])?;
                }
                Err(IpvsError::Refused { why, .. }) if why.errno == Errno::ENOENT => {}
                // Left by one that ended just then.
                Err(IpvsError::Refused { why, .. }) if why.errno == Errno::EEXIST => {
                    self.carry_out(&[Request::DeleteServer(address)])?;
                    found.insert(scheduler);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

fn read_destination(data: &Data, family: Family) -> Option<(Destination, Connections)> {
    let bytes = Request::destination_in(&data.attributes)?;
    Some((Destination::read(bytes, family)?, Connections::read(bytes)))
}
