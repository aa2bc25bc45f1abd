//! From the start of a process on a node without rules to the first answers through it, and to the last commit.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail, ensure};
use tokio::task::JoinHandle;

use super::generation::GenerationWatch;
use super::ground::Ground;
use super::inside::{self, ask_name};
use super::population::{Kind, Service, Side, spread_over};
use super::size::Size;
use super::subject::{Running, waits_for_program};
use crate::flows::probe::Stop;
use crate::flows::program::Installed;

/// How long one attempt waits. What is not programmed does not answer, so that figures are so much too long at most.
const ATTEMPT: Duration = Duration::from_millis(20);

/// How many Services are asked.
const SAMPLE: usize = 20;

/// Without a commit for so long the rules are complete.
const REST: Duration = Duration::from_secs(2);

/// Where both programs say whether they are healthy.
const HEALTH: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 10256);

/// What one start took; seconds from the process's start.
#[derive(Debug, Clone, Copy)]
pub struct ColdStart {
    /// Until all of the sample had answered through their ClusterIPs.
    pub answered: f64,
    /// Until the last commit.
    pub rest: f64,
    /// Until the program said that it is healthy; NaN when it did not before the rules were complete.
    pub healthy: f64,
    /// Processor time of the process (not of programs that it runs) until then, seconds.
    pub cpu: f64,
}

/// Starts a subject on cleared ground and waits until it has programmed everything.
///
/// # Errors
/// When it does not within `patience`, with the end of its log.
pub async fn measure(
    ground: &Ground,
    installed: &Installed,
    size: Size,
    patience: Duration,
) -> Result<(Running, ColdStart)> {
    let watch = GenerationWatch::start(ground.node_file())?;
    let start = Start { begin: Instant::now(), patience };
    let running = Running::start(installed, ground)?;
    let outcome = observe(ground, &running, &watch, size, start).await;
    let figures =
        outcome.map_err(|error| anyhow!("{error:#}; the end of its log:\n{}", running.log_tail()))?;
    Ok((running, figures))
}

/// When it began, and how long it may take.
#[derive(Debug, Clone, Copy)]
struct Start {
    begin: Instant,
    patience: Duration,
}

impl Start {
    fn is_over_time(self) -> bool {
        self.begin.elapsed() > self.patience
    }
}

async fn observe(
    ground: &Ground,
    running: &Running,
    watch: &GenerationWatch,
    size: Size,
    start: Start,
) -> Result<ColdStart> {
    // Also where this is given up halfway.
    let stop = Stop::default();
    let (done, asked) = (stop.0.clone(), stop.0.clone());
    let health = healthy(ground.node(), done);
    let sample = spread_over(&Service::of(size, Kind::Named), SAMPLE);
    let answered = inside::run_blocking(&ground.client(), move || all_answer(&sample, start, &asked)).await;
    let rest = match answered {
        Ok(_) => rested(running, watch, start).await,
        Err(_) => Ok(start.begin),
    };
    drop(stop);
    let healthy = health.await??;
    let seconds = |moment: Instant| (moment - start.begin).as_secs_f64();
    Ok(ColdStart {
        answered: seconds(answered?),
        rest: seconds(rest?),
        healthy: healthy.map_or(f64::NAN, seconds),
        cpu: running.usage()?.cpu.as_secs_f64(),
    })
}

/// Asks each until it answers. The rules of most programs come at once, so that waiting for the first is most of it.
fn all_answer(sample: &[Service], start: Start, stop: &AtomicBool) -> Result<Instant> {
    let mut last = Instant::now();
    for service in sample {
        loop {
            if ask_name(service.address(), ATTEMPT).is_ok_and(|name| name == Side::A.name()) {
                last = Instant::now();
                break;
            }
            ensure!(!stop.load(Ordering::Relaxed), "interrupted");
            if start.is_over_time() {
                bail!("Service {} did not answer within {} s", service.name(), start.patience.as_secs());
            }
            // A refusal comes at once.
            thread::sleep(Duration::from_millis(2));
        }
    }
    Ok(last)
}

/// When the last commit was, once there was none for a while.
async fn rested(running: &Running, watch: &GenerationWatch, start: Start) -> Result<Instant> {
    loop {
        running.check()?;
        let last = watch.since(start.begin).last().copied().unwrap_or(start.begin);
        if last.elapsed() >= REST && !waits_for_program(running.pid()) {
            return Ok(last);
        }
        if start.is_over_time() {
            bail!("it commits to nftables without end");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Asks for its health until it is well or this is over.
fn healthy(node: String, done: Arc<AtomicBool>) -> JoinHandle<Result<Option<Instant>>> {
    tokio::spawn(async move {
        inside::run_blocking(&node, move || {
            while !done.load(Ordering::Relaxed) {
                if is_healthy().unwrap_or_default() {
                    return Ok(Some(Instant::now()));
                }
                thread::sleep(Duration::from_millis(20));
            }
            Ok(None)
        })
        .await
    })
}

fn is_healthy() -> std::io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&HEALTH, ATTEMPT)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    Ok(&answer[8..] == b" 200")
}
