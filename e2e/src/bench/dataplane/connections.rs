//! What connections through ClusterIPs cost: the first answer, the bytes of one stream, and how many in a second. All
//! from one Pod to another on the same node.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use super::inside::{ask_name, read_name};
use super::population::{Kind, NAME_PORT, SINK_PORT, Service, Side, spread_over};
use super::size::Size;
use crate::bench::spread::Spread;

/// How long one connection may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many connections say how long the first packet takes.
const LATENCIES: usize = 1000;

/// How many Services are asked.
const SAMPLE: usize = 200;

/// How many connect at a time when connections are counted.
const CLIENTS: usize = 4;

/// How long one stream, and one count of connections, takes.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// How often each is done.
    pub runs: u16,
    /// How long one of them takes.
    pub span: Duration,
}

/// Who is asked.
#[derive(Debug, Clone)]
pub struct Targets {
    names: Vec<SocketAddr>,
    sinks: Vec<SocketAddr>,
}

impl Targets {
    /// Services, spread over all.
    pub fn services(size: Size) -> Self {
        let of = |kind| spread_over(&Service::of(size, kind), SAMPLE).into_iter().map(Service::address);
        Self { names: of(Kind::Named).collect(), sinks: of(Kind::Sink).collect() }
    }

    /// The endpoints themselves.
    pub fn direct() -> Self {
        let at = |port| (0..16).map(|number| (Side::A.address(number), port).into()).collect();
        Self { names: at(NAME_PORT), sinks: at(SINK_PORT) }
    }
}

/// One value of each for each run.
#[derive(Debug, Clone)]
pub struct Connections {
    /// The median of the time of connect(2), µs.
    pub median: Spread,
    /// The 99th percentile, µs.
    pub p99: Spread,
    /// Gbit/s of one stream.
    pub throughput: Spread,
    /// Connections of all clients in a second, each with one byte of answer.
    pub rate: Spread,
}

/// Measures. Must run in the client's namespace; takes a few seconds for each run.
///
/// # Errors
/// When a connection fails: all of them have to be answered.
pub fn measure(targets: &Targets, effort: Effort) -> Result<Connections> {
    // The first of each kind finds neighbours and wakes the servers.
    latencies(&targets.names, targets.names.len())?;
    let (mut medians, mut tails, mut streams, mut rates) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for run in 0..usize::from(effort.runs) {
        let latencies = latencies(&targets.names, LATENCIES)?;
        medians.push(latencies.median());
        tails.push(latencies.percentile(99));
        let sink = targets.sinks.get(run % targets.sinks.len()).context("there is no Service to send to")?;
        streams.push(throughput(*sink, effort.span)?);
        rates.push(rate(&targets.names, effort.span)?);
    }
    let spread = |values: Vec<f64>| values.into_iter().collect();
    Ok(Connections {
        median: spread(medians),
        p99: spread(tails),
        throughput: spread(streams),
        rate: spread(rates),
    })
}

fn latencies(targets: &[SocketAddr], count: usize) -> Result<Spread> {
    let one = |target: &SocketAddr| {
        let begin = Instant::now();
        let stream = TcpStream::connect_timeout(target, PATIENCE);
        let took = begin.elapsed();
        let name = stream.and_then(|stream| read_name(stream, PATIENCE));
        ensure!(
            name.with_context(|| format!("connect to {target}"))? == Side::A.name(),
            "somebody else answered"
        );
        Ok(took.as_secs_f64() * 1e6)
    };
    targets.iter().cycle().take(count).map(one).collect()
}

fn throughput(target: SocketAddr, span: Duration) -> Result<f64> {
    let mut stream =
        TcpStream::connect_timeout(&target, PATIENCE).with_context(|| format!("connect to {target}"))?;
    stream.set_write_timeout(Some(PATIENCE)).context("limit a stream")?;
    let buffer = vec![0; 1 << 17];
    let (begin, mut bytes) = (Instant::now(), 0);
    while begin.elapsed() < span {
        bytes += stream.write(&buffer).with_context(|| format!("send to {target}"))?;
    }
    // What still waits in the sockets' buffers, a few MiB, was not transferred, and is below a percent.
    Ok(bytes as f64 * 8e-9 / begin.elapsed().as_secs_f64())
}

fn rate(targets: &[SocketAddr], span: Duration) -> Result<f64> {
    let (answered, begin) = (AtomicU64::new(0), Instant::now());
    let client = |first: usize| -> Result<()> {
        for target in targets.iter().cycle().skip(first) {
            if begin.elapsed() >= span {
                break;
            }
            ask_name(*target, PATIENCE).with_context(|| format!("connect to {target}"))?;
            answered.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| scope.spawn(move || client(number * targets.len() / CLIENTS)))
            .collect();
        clients.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a client panicked"))?)
    })?;
    Ok(answered.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64())
}
