//! The solicited-node groups of one interface. They are joined as any program would: the kernel sets the card's filter, and
//! tells switches that watch for it by MLD (RFC 3810).

use std::{collections::BTreeSet, io, net::Ipv6Addr};

use nix::errno::Errno;
use socket2::{Domain, Socket, Type};

/// What was joined.
#[derive(Debug)]
pub(crate) struct Memberships {
    interface: u32,
    /// The kernel gives each socket room for some hundreds (`net.core.optmem_max`).
    sockets: Vec<(Socket, BTreeSet<Ipv6Addr>)>,
}

impl Memberships {
    /// None yet, on an interface of the thread's network namespace. Without IPv6 there will never be any, which
    /// [`Memberships::set`] says.
    pub(crate) fn open(interface: u32) -> Self {
        let first = unbound().map(|socket| (socket, BTreeSet::new()));
        Self { interface, sockets: first.into_iter().collect() }
    }

    /// Joins the groups that are missing and leaves all others.
    ///
    /// # Errors
    /// The first group that could not be joined and why; all are tried.
    pub(crate) fn set(&mut self, wanted: &BTreeSet<Ipv6Addr>) -> Result<(), (Ipv6Addr, io::Error)> {
        for (socket, joined) in &mut self.sockets {
            for group in joined.difference(wanted) {
                // One that the kernel has forgotten with its interface is left, too.
                let _ = socket.leave_multicast_v6(group, self.interface);
            }
            joined.retain(|group| wanted.contains(group));
        }
        let mut outcome = Ok(());
        for group in wanted {
            if !self.sockets.iter().any(|(_, joined)| joined.contains(group)) {
                outcome = outcome.and(self.join(*group).map_err(|error| (*group, error)));
            }
        }
        outcome
    }

    fn join(&mut self, group: Ipv6Addr) -> io::Result<()> {
        if let Some((socket, joined)) = self.sockets.last_mut() {
            match socket.join_multicast_v6(&group, self.interface) {
                Err(error) if is_full(&error) => {}
                outcome => {
                    outcome?;
                    joined.insert(group);
                    return Ok(());
                }
            }
        }
        let socket = unbound()?;
        socket.join_multicast_v6(&group, self.interface)?;
        self.sockets.push((socket, [group].into()));
        Ok(())
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::ENOBUFS | Errno::ENOMEM))
}

/// Bound to nothing: it hears nothing.
fn unbound() -> io::Result<Socket> {
    Socket::new(Domain::IPV6, Type::DGRAM.cloexec(), None)
}
