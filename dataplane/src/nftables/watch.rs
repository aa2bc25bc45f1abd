//! Notices when somebody else changes our table.

use std::{
    collections::BTreeSet,
    os::fd::{AsRawFd, RawFd},
    sync::{Arc, Mutex, PoisonError},
};

use futures::{Stream, stream};
use socket2::{SockFilter, SockRef};
use tokio::io::{Interest, unix::AsyncFd};

use super::touch::{Commit, Touched, generation};
use crate::netfilter::{Message, NetfilterError, NetfilterSocket, NetworkNamespace, Reply};

/// Where the port of a commit's author stands in what the kernel tells (`nlmsg_pid`). All messages of a datagram have the same.
const AUTHOR: u32 = 12;

/// Hears of all commits.
#[derive(Debug)]
pub struct TableWatch {
    socket: AsyncFd<Arc<Watching>>,
    commit: Commit,
}

/// What belongs to the watch and to those who tell it which commits are ours.
#[derive(Debug)]
struct Watching {
    socket: NetfilterSocket,
    /// Asks, so that answers do not come between what is told.
    asking: Mutex<NetfilterSocket>,
    ours: Mutex<BTreeSet<u32>>,
}

impl AsRawFd for Watching {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl TableWatch {
    /// Hears from now on. Needs a tokio runtime.
    ///
    /// # Errors
    /// When there is no socket to be had.
    pub fn open(namespace: &NetworkNamespace) -> Result<(Self, OwnCommits), NetfilterError> {
        Self::open_to(namespace, Commit::default())
    }

    /// The same for another table of the family `inet`.
    pub(crate) fn open_for(
        namespace: &NetworkNamespace,
        table: &'static str,
    ) -> Result<(Self, OwnCommits), NetfilterError> {
        Self::open_to(namespace, Commit::of(table))
    }

    fn open_to(namespace: &NetworkNamespace, commit: Commit) -> Result<(Self, OwnCommits), NetfilterError> {
        let socket = NetfilterSocket::open(namespace)?;
        socket.join(libc::NFNLGRP_NFTABLES)?;
        let asking = Mutex::new(NetfilterSocket::open(namespace)?);
        let watching = Arc::new(Watching { socket, asking, ours: Mutex::default() });
        let own = OwnCommits(watching.clone());
        // SAFETY: the Arc's content owns its descriptor and is neither replaced nor closed while the AsyncFd has it.
        let socket = unsafe { AsyncFd::register_with_interest(watching, Interest::READABLE) };
        let socket = socket.map_err(|error| NetfilterError::Open(error.into()))?;
        Ok((Self { socket, commit }, own))
    }

    /// Waits until somebody else changes our table. Nothing is lost if this is given up.
    ///
    /// # Errors
    /// When the socket broke.
    pub async fn touched(&mut self) -> Result<Touched, NetfilterError> {
        loop {
            let mut ready = self.socket.readable().await.map_err(NetfilterError::Receive)?;
            match ready.get_inner().socket.receive() {
                Ok(None) => ready.clear_ready(),
                Ok(Some(replies)) => {
                    if let Some(touched) = take(&mut self.commit, replies) {
                        return Ok(touched);
                    }
                }
                Err(error) if error.is_overrun() => {
                    empty(&ready.get_inner().socket)?;
                    return Ok(Touched::Unknown);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The same as a stream, which ends when the socket broke.
    pub fn into_stream(self) -> impl Stream<Item = Touched> + Send {
        stream::unfold(self, |mut watch| async {
            match watch.touched().await {
                Ok(touched) => Some((touched, watch)),
                Err(error) => {
                    tracing::error!(
                        "cannot notice changes of the rules any longer: {:#}",
                        anyhow::Error::from(error)
                    );
                    None
                }
            }
        })
    }
}

/// After it could not tell something, the kernel tells nothing, nor that, before all it told has been taken.
fn empty(socket: &NetfilterSocket) -> Result<(), NetfilterError> {
    loop {
        match socket.receive() {
            Ok(None) => return Ok(()),
            Ok(Some(_)) => {}
            Err(error) if error.is_overrun() => {}
            Err(error) => return Err(error),
        }
    }
}

fn take(commit: &mut Commit, replies: Vec<Reply>) -> Option<Touched> {
    let data = replies.into_iter().filter_map(|reply| match reply {
        Reply::Data(data) => Some(data),
        Reply::Done(_) | Reply::Refused(_) => None,
    });
    // All of them have to be looked at; one commit is as good as several.
    data.filter_map(|data| commit.take(&data)).last()
}

/// Tells a [`TableWatch`] which commits are ours.
#[derive(Clone, Debug)]
pub struct OwnCommits(Arc<Watching>);

impl OwnCommits {
    /// What the socket with this port commits is ours, until the value is dropped. The kernel leaves it out, so that a large
    /// batch of ours does not push out what others do.
    ///
    /// # Errors
    /// When the kernel does not take the filter.
    pub fn by_port(&self, port: u32) -> Result<OwnPort, NetfilterError> {
        self.change(|ours| ours.insert(port))?;
        Ok(OwnPort { commits: self.clone(), port })
    }

    /// Hears nothing until [`Paused::resume`]. For runs of the `nft` program, whose port is not known beforehand, and
    /// for loads: for each element the kernel would make a message of 4 KiB and keep it until the commit.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn pause(&self) -> Result<Paused, NetfilterError> {
        let generation = self.0.generation()?;
        self.0.socket.leave(libc::NFNLGRP_NFTABLES)?;
        Ok(Paused { commits: self.clone(), generation })
    }

    fn change(&self, change: impl FnOnce(&mut BTreeSet<u32>) -> bool) -> Result<(), NetfilterError> {
        let mut ours = self.0.ours.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut ours);
        let socket = SockRef::from(&self.0.socket);
        socket.attach_filter(&leave_out(&ours)).map_err(NetfilterError::Open)
    }
}

/// While it lives, a port's commits are ours.
#[derive(Debug)]
pub struct OwnPort {
    commits: OwnCommits,
    port: u32,
}

impl Drop for OwnPort {
    fn drop(&mut self) {
        let port = self.port;
        if let Err(error) = self.commits.change(|ours| ours.remove(&port)) {
            tracing::warn!(
                "changes by the netlink port {port} stay unnoticed: {:#}",
                anyhow::Error::from(error)
            );
        }
    }
}

/// While it lives, commits are not told.
#[derive(Debug)]
#[must_use = "nothing is noticed until it is resumed"]
pub struct Paused {
    commits: OwnCommits,
    generation: u32,
}

impl Paused {
    /// Hears again. Returns whether somebody else committed anything since the pause began, perhaps to our table, when `commits`
    /// of that time were ours.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn resume(self, commits: u32) -> Result<bool, NetfilterError> {
        self.commits.0.socket.join(libc::NFNLGRP_NFTABLES)?;
        Ok(self.commits.0.generation()? != self.generation.wrapping_add(commits))
    }

    /// [`Self::resume`] after as many commits of ours as were made, or did not succeed: either way the watch hears again.
    ///
    /// # Errors
    /// What became of the commits; otherwise as [`Self::resume`].
    pub(crate) fn resume_after<E: From<NetfilterError>>(self, commits: Result<u32, E>) -> Result<bool, E> {
        let others = self.resume(*commits.as_ref().unwrap_or(&0));
        commits?;
        Ok(others?)
    }
}

impl Watching {
    /// The number of the last commit.
    fn generation(&self) -> Result<u32, NetfilterError> {
        let mut socket = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = Message::kind(libc::NFNL_SUBSYS_NFTABLES, libc::NFT_MSG_GETGEN);
        let mut bytes = Vec::new();
        Message { kind, sequence: socket.take_sequence(1), ..Message::default() }.emit(&mut bytes);
        let replies = socket.exchange(&bytes)?;
        let mut found = replies.iter().filter_map(|reply| match reply {
            Reply::Data(data) => generation(data),
            Reply::Done(_) | Reply::Refused(_) => None,
        });
        found.next().ok_or(NetfilterError::Unanswered)
    }
}

/// Drops what these ports did and lets everything else through. Classic BPF loads numbers in network byte order.
fn leave_out(ports: &BTreeSet<u32>) -> Vec<SockFilter> {
    let code = |parts: u32| parts as u16;
    let load = SockFilter::new(code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS), 0, 0, AUTHOR);
    let answer = |bytes| SockFilter::new(code(libc::BPF_RET | libc::BPF_K), 0, 0, bytes);
    let compare = |port: &u32| {
        let port = u32::from_be_bytes(port.to_ne_bytes());
        [SockFilter::new(code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K), 0, 1, port), answer(0)]
    };
    std::iter::once(load).chain(ports.iter().flat_map(compare)).chain([answer(u32::MAX)]).collect()
}

#[cfg(test)]
mod tests;
