//! How often the rules of a network namespace were changed, and when: the kernel counts the commits to nftables
//! (NFT_MSG_GETGEN), and iptables-nft commits there too. Asking takes microseconds however many rules there are.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use crate::netns;

/// How often the kernel is asked: a change is seen so much late at most, and as a rule half of it.
pub const INTERVAL: Duration = Duration::from_micros(100);

/// Subsystem NFNL_SUBSYS_NFTABLES, message NFT_MSG_GETGEN.
const GET_GENERATION: u16 = 10 << 8 | 16;
/// The only flag: NLM_F_REQUEST.
const REQUEST: u16 = 1;
/// `struct nlmsghdr` and `struct nfgenmsg`.
const HEADERS: usize = 20;
/// NFTA_GEN_ID.
const GENERATION_ID: u16 = 1;

/// Asks the kernel for the generation of the rules of the namespace that it was opened in.
struct Question(Socket);

impl Question {
    fn open() -> Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER).context("open a netfilter socket")?;
        socket.bind_auto().context("bind a netfilter socket")?;
        socket.connect(&SocketAddr::new(0, 0)).context("connect a netfilter socket")?;
        Ok(Self(socket))
    }

    fn ask(&self) -> Result<u32> {
        self.0.send(&request(), 0).context("ask for the rules' generation")?;
        let mut datagram = Vec::with_capacity(4096);
        // The kernel answers before it returns from what was sent.
        match self.0.recv(&mut datagram, libc::MSG_DONTWAIT) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                Err(anyhow!("the kernel does not say its rules' generation"))
            }
            received => {
                received.context("hear the rules' generation")?;
                generation(&datagram).context("the kernel's answer has no generation of the rules")
            }
        }
    }
}

fn request() -> [u8; HEADERS] {
    let mut bytes = [0; HEADERS];
    bytes[0] = HEADERS as u8;
    bytes[4..6].copy_from_slice(&GET_GENERATION.to_ne_bytes());
    bytes[6..8].copy_from_slice(&REQUEST.to_ne_bytes());
    bytes
}

/// The number in an answer: attributes of a length and a type, each padded to four bytes.
fn generation(answer: &[u8]) -> Option<u32> {
    let mut rest = answer.get(HEADERS..)?;
    loop {
        let length = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?);
        let value = rest.get(4..length)?;
        if kind == GENERATION_ID {
            return Some(u32::from_be_bytes(value.try_into().ok()?));
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
}

/// Watches a namespace from a thread inside it, until dropped.
#[derive(Debug)]
pub struct GenerationWatch {
    seen: Arc<Mutex<Vec<(Instant, u32)>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl GenerationWatch {
    /// Watches from now on.
    ///
    /// # Errors
    /// When the namespace cannot be entered or the kernel does not say.
    pub fn start(netns: PathBuf) -> Result<Self> {
        let (seen, stop) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicBool>::default());
        let (ready, started) = channel();
        let (to, until) = (seen.clone(), stop.clone());
        let thread = thread::spawn(move || {
            netns::enter(&netns)?;
            watch(&to, &until, &ready)
        });
        if started.recv().is_err() {
            let ended = thread.join().map_err(|_| anyhow!("the watch of the rules panicked"))?;
            return Err(ended.err().unwrap_or_else(|| anyhow!("the watch of the rules has ended")));
        }
        Ok(Self { seen, stop, thread: Some(thread) })
    }

    /// When each commit since a moment was seen. Several within [`INTERVAL`] are seen as one.
    pub fn since(&self, moment: Instant) -> Vec<Instant> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let from = seen.partition_point(|(at, _)| *at < moment);
        seen[from..].iter().map(|(at, _)| *at).collect()
    }

    /// The generation that was seen last, and how many commits there have been since a generation.
    ///
    /// # Errors
    /// When the watch has ended.
    pub fn current(&self) -> Result<u32> {
        let ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        anyhow::ensure!(!ended, "the watch of the rules has ended: the kernel did not answer");
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.last().map(|(_, generation)| *generation).context("nothing was seen of the rules")
    }
}

impl Drop for GenerationWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Ok(Err(error))) = self.thread.take().map(JoinHandle::join) {
            eprintln!("{error:#}");
        }
    }
}

fn watch(seen: &Mutex<Vec<(Instant, u32)>>, stop: &AtomicBool, ready: &Sender<()>) -> Result<()> {
    // The kernel may otherwise wake a sleeper 50 µs late.
    nix::sys::prctl::set_timerslack(1000).context("ask for exact timers")?;
    let question = Question::open()?;
    let mut last = None;
    while !stop.load(Ordering::Relaxed) {
        let generation = question.ask()?;
        if last.replace(generation) != Some(generation) {
            seen.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), generation));
            // Who started this may be gone already.
            let _ = ready.send(());
        }
        thread::sleep(INTERVAL);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generation_is_found_among_attributes() {
        let mut answer = vec![0; HEADERS];
        answer.extend([8, 0, 2, 0, 0, 0, 0, 9, 6, 0, 3, 0, b'x', 0, 0, 0, 8, 0, 1, 0, 0, 0, 1, 2]);
        assert_eq!(generation(&answer), Some(258));
        assert_eq!(generation(&answer[..40]), None);
        assert_eq!(generation(&[]), None);
        assert_eq!(generation(&[0; 64]), None);
    }

    #[test]
    fn the_request_is_a_header_and_nothing() {
        assert_eq!(request()[..8], [20, 0, 0, 0, 16, 10, 1, 0]);
    }
}
