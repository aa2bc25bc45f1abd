//! Carries out transactions by netlink.

use std::io;

use tokio::task::spawn_blocking;

use super::{OwnCommits, OwnPort, batch::Batch, transaction::Transaction};
use crate::netfilter::{NetfilterError, NetfilterSocket, NetworkNamespace, Reply};

/// A way to the kernel's nftables for changes of elements.
///
/// Chains stay with the `nft` program: rules in the kernel's own words are expressions over registers, which depend on versions
/// of kernel and program. A transaction with new chains goes there whole, elements too: it stays one transaction, and pays for
/// a run of the program either way. So does a load that takes the place of another.
#[derive(Debug)]
pub struct Netlink {
    namespace: NetworkNamespace,
    /// Opened for the first transaction, and anew after a failure: answers to the failed one may still wait in the old one.
    open: Option<Open>,
    /// Who has to know what is committed here.
    own: Option<OwnCommits>,
}

/// A socket, whose commits are known as ours for as long as it is open.
#[derive(Debug)]
struct Open {
    socket: NetfilterSocket,
    _ours: Option<OwnPort>,
}

impl Open {
    fn new(namespace: &NetworkNamespace, own: Option<&OwnCommits>) -> Result<Self, NetfilterError> {
        let socket = NetfilterSocket::open(namespace)?;
        let ours = own.map(|own| own.by_port(socket.port())).transpose()?;
        Ok(Self { socket, _ours: ours })
    }
}

impl Netlink {
    /// A way that is not open yet.
    #[must_use]
    pub fn new(namespace: NetworkNamespace) -> Self {
        Self { namespace, open: None, own: None }
    }

    /// A way whose commits a [`TableWatch`](super::TableWatch) knows as ours.
    #[must_use]
    pub fn known_to(self, own: OwnCommits) -> Self {
        Self { own: Some(own), ..self }
    }

    /// One on an open socket.
    #[cfg(test)]
    pub(super) fn with_socket(socket: NetfilterSocket) -> Self {
        Self { open: Some(Open { socket, _ours: None }), ..Self::new(NetworkNamespace::Own) }
    }

    /// Whether a transaction can be carried out here: whether it needs no new chain.
    #[must_use]
    pub fn takes(transaction: &Transaction) -> bool {
        transaction.chains.is_empty()
    }

    /// The port by which the kernel names the author of changes; `None` while it is not open.
    #[must_use]
    pub fn port(&self) -> Option<u32> {
        self.open.as_ref().map(|open| open.socket.port())
    }

    /// Carries out the elements of a transaction, all or none. Its chains must exist.
    ///
    /// # Errors
    /// When the kernel refuses, and nothing has changed; when it cannot be asked or does not answer, and it is not known.
    pub async fn run(&mut self, transaction: &Transaction) -> Result<(), NetfilterError> {
        self.send(Batch::of(transaction)).await
    }

    /// Carries out a batch, all or none.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) async fn send(&mut self, batch: Batch) -> Result<(), NetfilterError> {
        if batch.is_empty() {
            return Ok(());
        }
        let (open, namespace, own) = (self.open.take(), self.namespace.clone(), self.own.clone());
        // The kernel works within the call that sends; a large batch takes it as long as a load.
        let work = move || {
            let mut open = open.map_or_else(|| Open::new(&namespace, own.as_ref()), Ok)?;
            carry_out(&mut open.socket, &batch).map(|()| open)
        };
        let done = spawn_blocking(work).await;
        self.open = Some(done.map_err(|panic| NetfilterError::Send(io::Error::other(panic)))??);
        Ok(())
    }
}

/// Sends a batch and looks at what the kernel says of it.
pub(super) fn carry_out(socket: &mut NetfilterSocket, batch: &Batch) -> Result<(), NetfilterError> {
    let first = socket.take_sequence(batch.messages());
    let replies = socket.exchange(&batch.encode(first))?;
    let mut acknowledged = false;
    for reply in replies {
        match reply {
            Reply::Done(sequence) => acknowledged |= sequence == batch.acknowledged(first),
            Reply::Refused(why) => {
                let what = batch.describe(first, why.sequence, why.offset);
                return Err(NetfilterError::Refused { what, why });
            }
            Reply::Data(_) => {}
        }
    }
    if acknowledged { Ok(()) } else { Err(NetfilterError::Unanswered) }
}

#[cfg(test)]
mod tests;
