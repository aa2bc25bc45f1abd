//! Connection tracking: flows that go to what is no longer there.
//!
//! A tracked flow keeps the endpoint that its first packet got, for as long as packets come. A TCP connection may
//! drain that way; a UDP client that never closes its socket would talk to a Pod that is gone, for ever (kubernetes issue 105657).

mod flow;
mod question;

use std::{
    collections::{BTreeSet, HashMap},
    io,
    net::SocketAddr,
};

use netlink_packet_core::NLM_F_ACK;
use nix::errno::Errno;
use penstock_model::{FrontendAddress, Protocol};
use tokio::task::spawn_blocking;

use crate::netfilter::{Message, NetfilterError, NetfilterSocket, NetworkNamespace, Reply, protocol_number};
use flow::Flow;
use question::{Question, all_udp, questions};

/// How many removals go in one datagram: their answers have to fit into the socket.
const REMOVALS: usize = 256;

/// Flows that are to be forgotten, so that their next packet chooses anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StaleFlows {
    /// What the client sends to.
    pub frontend: FrontendAddress,
    /// Who answers it; `None` for whoever does. The frontend's own address stands for flows that were not translated, because there
    /// was no rule when they began.
    pub endpoint: Option<SocketAddr>,
}

/// The connection tracking of a network namespace.
#[derive(Debug)]
pub struct Conntrack {
    namespace: NetworkNamespace,
    /// Opened when it is first needed, and anew after a failure.
    socket: Option<NetfilterSocket>,
}

impl Conntrack {
    /// One that has not been asked yet.
    #[must_use]
    pub fn new(namespace: NetworkNamespace) -> Self {
        Self { namespace, socket: None }
    }

    /// Forgets flows and returns how many there were. The rules have to be changed before, or flows come back. Each frontend
    /// costs one walk of the kernel through its table; only flows of the frontend reach this process (for IPv6 those of
    /// its port; before Linux 5.8 all), and each is removed by all that identifies it.
    ///
    /// # Errors
    /// When the kernel cannot be asked or refuses. Some of the flows may be gone.
    pub async fn forget(&mut self, stale: &[StaleFlows]) -> Result<usize, NetfilterError> {
        if stale.is_empty() {
            return Ok(0);
        }
        let questions = questions(stale);
        self.on_socket(move |socket| forget(socket, &questions)).await
    }

    /// All UDP flows by where they were sent and who answers, whoever began them. At most so many: the rest is left out.
    /// It costs one walk of the kernel through its table a family; only UDP reaches this process.
    ///
    /// # Errors
    /// When the kernel cannot be asked or refuses.
    pub async fn udp_flows(&mut self, most: usize) -> Result<BTreeSet<penstock_model::Flow>, NetfilterError> {
        self.on_socket(move |socket| udp_flows(socket, most)).await
    }

    /// Works on a thread of its own; after a failure answers may still wait in the socket, so it is not used again.
    async fn on_socket<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut NetfilterSocket) -> Result<T, NetfilterError> + Send + 'static,
    ) -> Result<T, NetfilterError> {
        let (socket, namespace) = (self.socket.take(), self.namespace.clone());
        let work = move || {
            let mut socket = socket.map_or_else(|| NetfilterSocket::open(&namespace), Ok)?;
            work(&mut socket).map(|done| (socket, done))
        };
        let done =
            spawn_blocking(work).await.map_err(|panic| NetfilterError::Send(io::Error::other(panic)))?;
        let (socket, done) = done?;
        self.socket = Some(socket);
        Ok(done)
    }
}

/// From so many frontends on, one walk for all is cheaper than one for each.
const TOGETHER: usize = 16;

fn forget(socket: &mut NetfilterSocket, questions: &[Question]) -> Result<usize, NetfilterError> {
    let (v4, v6): (Vec<_>, Vec<_>) = questions.iter().partition(|question| question.frontend.ip.is_ipv4());
    let mut gone = 0;
    for (family, questions) in [(libc::AF_INET, v4), (libc::AF_INET6, v6)] {
        gone += match questions.len() {
            0..TOGETHER => forget_each(socket, &questions)?,
            _ => forget_together(socket, family, &questions)?,
        };
    }
    Ok(gone)
}

fn forget_each(socket: &mut NetfilterSocket, questions: &[&Question]) -> Result<usize, NetfilterError> {
    let mut gone = 0;
    for question in questions {
        let flows = list(socket, question)?;
        gone += remove(socket, &flows)?;
    }
    Ok(gone)
}

fn forget_together(
    socket: &mut NetfilterSocket,
    family: libc::c_int,
    questions: &[&Question],
) -> Result<usize, NetfilterError> {
    let by_destination: HashMap<SocketAddr, &Question> =
        questions.iter().map(|question| (question.destination(), *question)).collect();
    let mut flows = Vec::new();
    list_udp(socket, family, |flow| {
        flows.extend(
            Some(flow).filter(|flow| by_destination.get(&flow.destination).is_some_and(|q| q.matches(flow))),
        );
    })?;
    remove(socket, &flows)
}

fn udp_flows(
    socket: &mut NetfilterSocket,
    most: usize,
) -> Result<BTreeSet<penstock_model::Flow>, NetfilterError> {
    let mut flows = BTreeSet::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        list_udp(socket, family, |flow| {
            if flows.len() < most {
                flows.insert(flow.by_frontend());
            }
        })?;
    }
    Ok(flows)
}

fn list_udp(
    socket: &mut NetfilterSocket,
    family: libc::c_int,
    mut take: impl FnMut(Flow),
) -> Result<(), NetfilterError> {
    let message = all_udp(family, socket.take_sequence(1));
    // Kernels before 5.8 compare nothing.
    let udp = protocol_number(Protocol::Udp);
    dump(socket, &message, "list the UDP flows", |flow| {
        if flow.protocol == udp {
            take(flow);
        }
    })
}

/// The flows at hand.
fn list(socket: &mut NetfilterSocket, question: &Question) -> Result<Vec<Flow>, NetfilterError> {
    let mut flows = listed(socket, question)?;
    flows.retain(|flow| question.matches(flow));
    Ok(flows)
}

/// The flows that the kernel lists for them.
fn listed(socket: &mut NetfilterSocket, question: &Question) -> Result<Vec<Flow>, NetfilterError> {
    let message = question.message(socket.take_sequence(1));
    let mut flows = Vec::new();
    dump(socket, &message, &format!("list the flows of {}", question.frontend), |flow| flows.push(flow))?;
    Ok(flows)
}

/// Hands over the flows that the kernel lists. It makes each datagram when the one before has been received.
fn dump(
    socket: &mut NetfilterSocket,
    message: &Message,
    what: &str,
    mut take: impl FnMut(Flow),
) -> Result<(), NetfilterError> {
    let mut bytes = Vec::new();
    message.emit(&mut bytes);
    socket.send(&bytes)?;
    loop {
        for reply in socket.receive()?.ok_or(NetfilterError::Unanswered)? {
            match reply {
                Reply::Data(data) => Flow::read(&data).into_iter().for_each(&mut take),
                Reply::Done(_) => return Ok(()),
                Reply::Refused(why) => return Err(NetfilterError::Refused { what: what.to_owned(), why }),
            }
        }
    }
}

/// How many of them it was that went; those that had ended by themselves do not count.
fn remove(socket: &mut NetfilterSocket, flows: &[Flow]) -> Result<usize, NetfilterError> {
    let mut gone = 0;
    for flows in flows.chunks(REMOVALS) {
        let mut bytes = Vec::new();
        let first = socket.take_sequence(REMOVALS as u32);
        for (number, flow) in (first..).zip(flows) {
            flow.removal(number, NLM_F_ACK).emit(&mut bytes);
        }
        let replies = socket.exchange(&bytes)?;
        if replies.len() != flows.len() {
            return Err(NetfilterError::Unanswered);
        }
        for reply in replies {
            gone += usize::from(was_there(reply, first, flows)?);
        }
    }
    Ok(gone)
}

fn was_there(reply: Reply, first: u32, flows: &[Flow]) -> Result<bool, NetfilterError> {
    match reply {
        Reply::Refused(why) if why.errno == Errno::ENOENT => Ok(false),
        Reply::Refused(why) => {
            let flow = flows.get(why.sequence.wrapping_sub(first) as usize);
            let what = flow.map_or_else(|| "remove a flow".into(), |flow| format!("remove the flow {flow}"));
            Err(NetfilterError::Refused { what, why })
        }
        Reply::Done(_) | Reply::Data(_) => Ok(true),
    }
}

#[cfg(test)]
mod tests;
