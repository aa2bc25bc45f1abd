//! What programs of a network namespace tell the kernel's IPVS, counted by the kernel: it shows every netlink message on a
//! device of the kind nlmon, before it is worked on.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::netns;

/// The device.
const DEVICE: &str = "nlmon0";
/// The family in which questions for families are asked (`GENL_ID_CTRL`); all after it have a number of their own.
const CONTROL: u16 = 0x10;
/// `NETLINK_GENERIC`.
const GENERIC: u16 = 16;
/// `NLM_F_REQUEST`: answers do not have it. The kind of packet does not tell them apart, since the kernel sets it anew for all
/// that it shows on its way out of a device (`dev_queue_xmit_nit`).
const REQUEST: u16 = 1;
/// How many bytes may wait to be counted: those of a whole pass of kube-proxy.
const ROOM: usize = 64 << 20;
/// How long a look takes that finds nothing.
const LOOK: Duration = Duration::from_millis(50);

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    calls: AtomicU64,
    /// When, in milliseconds from the start.
    last: AtomicU64,
}

/// Counts until it is dropped. One call is what one system call sends, with however many messages.
#[derive(Debug)]
pub(super) struct Monitor {
    seen: Arc<Seen>,
    begin: Instant,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Monitor {
    /// Makes the device in the namespace and starts to count. Nothing but IPVS is spoken to by generic netlink there.
    ///
    /// # Errors
    /// When the kernel has no nlmon.
    pub(super) fn start(netns: &str) -> Result<Self> {
        netns::batch(netns, &format!("link add {DEVICE} type nlmon\nlink set {DEVICE} up\n"))?;
        let socket = netns::within(netns, open)?;
        let (seen, done, begin) =
            (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)), Instant::now());
        let (shared, until) = (seen.clone(), done.clone());
        let thread = std::thread::spawn(move || count(&socket, &shared, begin, &until));
        Ok(Self { seen, begin, done, thread: Some(thread) })
    }

    /// How many calls there were.
    pub(super) fn calls(&self) -> u64 {
        self.seen.calls.load(Ordering::Relaxed)
    }

    /// For how long there was none.
    pub(super) fn quiet(&self) -> Duration {
        let last = Duration::from_millis(self.seen.last.load(Ordering::Relaxed));
        self.begin.elapsed().saturating_sub(last)
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it could not count.
    pub(super) fn end(mut self) -> Result<()> {
        self.done.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        ended.unwrap_or(Ok(Ok(()))).map_err(|_| anyhow!("the monitor panicked"))?
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

/// It hears all devices of the namespace: what goes by netlink is known by its direction.
fn open() -> Result<OwnedFd> {
    let socket =
        socket(AddressFamily::Packet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)
            .context("open a packet socket")?;
    setsockopt(&socket, sockopt::RcvBufForce, &ROOM).context("make room for messages")?;
    let look = TimeVal::milliseconds(LOOK.as_millis() as i64);
    setsockopt(&socket, sockopt::ReceiveTimeout, &look).context("set a time-out")?;
    Ok(socket)
}

fn count(socket: &OwnedFd, seen: &Seen, begin: Instant, until: &AtomicBool) -> Result<()> {
    // The header of a netlink message says to which family it goes.
    let mut header = [0; 16];
    while !until.load(Ordering::Relaxed) {
        match recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut header) {
            Ok((length, Some(from))) if is_call(&from, &header[..length]) => {
                seen.calls.fetch_add(1, Ordering::Relaxed);
                let now = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
                seen.last.store(now, Ordering::Relaxed);
            }
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(error) => return Err(error).context("read what goes by netlink"),
        }
    }
    Ok(())
}

/// A message to the kernel that is not about families. The protocol's number stands where that of an Ethernet frame does.
fn is_call(from: &LinkAddr, header: &[u8]) -> bool {
    let field = |at: usize| header.get(at..at + 2).map(|bytes| u16::from_ne_bytes([bytes[0], bytes[1]]));
    u16::from_be(from.protocol()) == GENERIC
        && field(4).is_some_and(|family| family > CONTROL)
        && field(6).is_some_and(|flags| flags & REQUEST != 0)
}
