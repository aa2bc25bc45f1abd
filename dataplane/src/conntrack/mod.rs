//! Connection tracking: flows that go to what is no longer there.
//!
//! A tracked flow keeps the endpoint that its first packet got, for as long as packets come. A TCP connection may
//! drain that way; a UDP client that never closes its socket would talk to a Pod that is gone, for ever (kubernetes issue 105657).

mod flow;
mod question;

use std::{io, net::SocketAddr};

use netlink_packet_core::NLM_F_ACK;
use nix::errno::Errno;
use penstock_model::FrontendAddress;
use tokio::task::spawn_blocking;

use crate::netfilter::{NetfilterError, NetfilterSocket, NetworkNamespace, Reply};
use flow::Flow;
use question::{Question, questions};

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
        let (socket, namespace, questions) = (self.socket.take(), self.namespace.clone(), questions(stale));
        let work = move || {
            let mut socket = socket.map_or_else(|| NetfilterSocket::open(&namespace), Ok)?;
            forget(&mut socket, &questions).map(|gone| (socket, gone))
        };
        let done =
            spawn_blocking(work).await.map_err(|panic| NetfilterError::Send(io::Error::other(panic)))?;
        let (socket, gone) = done?;
        self.socket = Some(socket);
        Ok(gone)
    }
}

fn forget(socket: &mut NetfilterSocket, questions: &[Question]) -> Result<usize, NetfilterError> {
    let mut gone = 0;
    for question in questions {
        let mut flows = list(socket, question)?;
        flows.retain(|flow| question.matches(flow));
        gone += remove(socket, &flows)?;
    }
    Ok(gone)
}

/// The flows that the kernel lists. It makes each datagram when the one before has been received.
fn list(socket: &mut NetfilterSocket, question: &Question) -> Result<Vec<Flow>, NetfilterError> {
    let sequence = socket.take_sequence(1);
    let mut bytes = Vec::new();
    question.message(sequence).emit(&mut bytes);
    socket.send(&bytes)?;
    let mut flows = Vec::new();
    loop {
        for reply in socket.receive()?.ok_or(NetfilterError::Unanswered)? {
            match reply {
                Reply::Data(data) => flows.extend(Flow::read(&data)),
                Reply::Done(_) => return Ok(flows),
                Reply::Refused(why) => {
                    let what = format!("list the flows of {}", question.frontend);
                    return Err(NetfilterError::Refused { what, why });
                }
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
