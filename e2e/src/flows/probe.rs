//! Real packets: one attempt, one flow until it is judged, and many flows at once.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::flows::echo::parse;
use crate::flows::flow::Row;
use crate::flows::judgement::{Next, Outcome, Trial, Verdict};
use crate::flows::place::Protocol;
use crate::netns;
use crate::topology::Topology;

/// How long one attempt may stay without an answer. Long enough for a SYN that got lost to be sent again (1 s).
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a flow may take in all. It never takes so long unless the machine stands still.
const DEADLINE: Duration = Duration::from_secs(120);

/// How many flows are under way at a time. Most of them wait for packets that never come.
const AT_ONCE: usize = 24;

/// Makes probes stop early when dropped: somebody pressed Ctrl-C.
#[derive(Debug, Default)]
pub struct Stop(pub(crate) Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Probes all rows, each from its sender's namespace; the verdicts are in the order of the rows.
///
/// # Errors
/// When a namespace cannot be entered, or when this was stopped.
pub async fn probe_all(topology: &Topology, rows: Arc<Vec<Row>>) -> Result<Vec<Verdict>> {
    let stop = Stop::default();
    let (stopped, topology) = (stop.0.clone(), topology.clone());
    let probed = tokio::task::spawn_blocking(move || {
        in_parallel(rows.len(), |place| probe(&topology, &rows[place], &stopped))
    });
    probed.await.context("wait for the probes")?
}

/// Makes one attempt for each row.
///
/// # Errors
/// As [`probe_all`].
pub async fn attempt_all(topology: &Topology, rows: Arc<Vec<Row>>) -> Result<Vec<Outcome>> {
    let topology = topology.clone();
    let attempted = tokio::task::spawn_blocking(move || {
        in_parallel(rows.len(), |place| {
            let row = &rows[place];
            let netns = row.flow.from.netns(&topology);
            netns::within(&netns, || {
                row.to.first().map_or(Ok(Outcome::Silent), |to| attempt(row.flow.protocol, *to))
            })
        })
    });
    attempted.await.context("wait for the attempts")?
}

/// Does `work` for every number below `count`, some at a time.
fn in_parallel<T: Send>(count: usize, work: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::with_capacity(count));
    let worker = || -> Result<()> {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            if place >= count {
                return Ok(());
            }
            let value = work(place)?;
            done.lock().map_err(|_| anyhow!("a probe panicked"))?.push((place, value));
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE.min(count)).map(|_| scope.spawn(worker)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a probe panicked"))?)
    })?;
    let mut done = done.into_inner().map_err(|_| anyhow!("a probe panicked"))?;
    done.sort_by_key(|(place, _)| *place);
    Ok(done.into_iter().map(|(_, value)| value).collect())
}

fn probe(topology: &Topology, row: &Row, stopped: &AtomicBool) -> Result<Verdict> {
    let flow = &row.flow;
    netns::within(&flow.from.netns(topology), || {
        let mut trial = Trial::new(&flow.expect, flow.from, flow.family);
        let begin = Instant::now();
        let mut last = begin;
        for to in row.to.iter().cycle() {
            if begin.elapsed() > DEADLINE {
                break;
            }
            anyhow::ensure!(!stopped.load(Ordering::Relaxed), "the probes were stopped");
            let gap = last.elapsed();
            let outcome = attempt(flow.protocol, *to)?;
            last = Instant::now();
            match trial.next(&outcome, gap) {
                Next::Again => {}
                // Affinity is a matter of time: there is nothing else to wait for.
                Next::After(pause) => thread::sleep(pause),
                Next::Done(verdict) => return Ok(verdict),
            }
        }
        Ok(trial.out_of_time())
    })
}

/// One attempt, with a socket of its own, in the namespace of the calling thread.
fn attempt(protocol: Protocol, to: SocketAddr) -> Result<Outcome> {
    let line = match protocol {
        Protocol::Tcp => ask_tcp(to),
        Protocol::Udp => ask_udp(to),
    };
    match line {
        Ok(line) => {
            let answer = parse(&line).with_context(|| format!("{to} answered {line:?}: not one of ours"))?;
            Ok(Outcome::Answered(answer))
        }
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused => Ok(Outcome::Refused),
            // Without a route the table itself is at fault.
            ErrorKind::NetworkUnreachable => Err(error).with_context(|| format!("send to {to}")),
            _ => Ok(Outcome::Silent),
        },
    }
}

fn ask_tcp(to: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"?\n")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    match line.is_empty() {
        true => Err(ErrorKind::UnexpectedEof.into()),
        false => Ok(line),
    }
}

fn ask_udp(to: SocketAddr) -> std::io::Result<String> {
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    match socket.send(b"?") {
        // What a rejected or dropped packet of the node itself returns; an ICMP error is still to be read.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
        sent => drop(sent?),
    }
    let mut buffer = [0; 128];
    let length = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_in_parallel_keeps_its_order() {
        let squares = in_parallel(100, |number| Ok(number * number)).unwrap();
        assert_eq!(squares[99], 99 * 99);
        assert_eq!(squares.len(), 100);
        assert_eq!(in_parallel::<()>(0, |_| unreachable!()).unwrap(), []);
        in_parallel::<()>(10, |_| Err(anyhow!("no"))).unwrap_err();
    }
}
