//! From the API server's answer to a change of endpoints to the first connection that meets the new endpoint, while
//! endpoints of other Services change too.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use futures::stream::{FuturesUnordered, TryStreamExt};

use super::ground::Ground;
use super::inside::{self, ask_name};
use super::objects::Objects;
use super::population::{Kind, Service, Side, newcomer};
use super::size::Size;
use super::subject::Running;
use crate::bench::spread::Spread;
use crate::netns;
use crate::topology::netns_file;

/// Changes in a second.
pub const RATE: u32 = 20;

/// Every so manieth change moves the only endpoint of a Service, which is then asked until the new one answers.
const MOVES: usize = 4;

/// How long a move may take to be seen; what is not seen by then counts as that.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long one attempt waits.
const ATTEMPT: Duration = Duration::from_millis(50);

/// What is changed, and when after the begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// An endpoint of a Service of the crowd is replaced by the newcomer of this number.
    Replace(Service, usize),
    /// The only endpoint moves to this side.
    Move(Service, Side),
}

/// What moves took.
#[derive(Debug, Clone)]
pub struct ChangeToPacket {
    /// Milliseconds.
    pub times: Spread,
    /// How many were not seen within the limit.
    pub unseen: usize,
}

/// A move that the API server has taken.
struct Moved {
    service: Service,
    to: Side,
    acknowledged: Instant,
}

/// Changes endpoints for `span`.
///
/// # Errors
/// When the API server refuses, with the end of the program's log when it has ended.
pub async fn measure(
    ground: &Ground,
    running: &Running,
    size: Size,
    span: Duration,
) -> Result<ChangeToPacket> {
    let plan = plan(size, span);
    let kubeconfig = ground.kubeconfig();
    let (sender, moves) = channel();
    let client = ground.client();
    let probes = thread::spawn(move || probe_all(&client, &moves));
    let changed = plan.clone();
    inside::run(&ground.node(), move || async move {
        let objects = Objects::connect(&kubeconfig).await?;
        carry_out(&objects, size, &changed, &sender).await
    })
    .await?;
    let probed = tokio::task::spawn_blocking(move || probes.join()).await.context("wait for the probes")?;
    let times = probed.map_err(|_| anyhow!("a probe panicked"))??;
    running.check()?;
    move_back(ground, size, plan).await?;
    let unseen = times.iter().filter(|time| time.is_none()).count();
    let limit = PATIENCE.as_secs_f64() * 1e3;
    let times = times.into_iter().map(|time| time.map_or(limit, |time| time.as_secs_f64() * 1e3)).collect();
    Ok(ChangeToPacket { times, unseen })
}

/// The changes in their order, [`RATE`] in a second. Moves go round all Services that can be moved, there and back.
fn plan(size: Size, span: Duration) -> Vec<Change> {
    let (crowd, movers) = (Service::of(size, Kind::Crowd), Service::of(size, Kind::Mover));
    let mut random = fastrand::Rng::with_seed(7);
    let count = usize::try_from(span.as_secs() * u64::from(RATE)).unwrap_or_default();
    let change = |number: usize| match number % MOVES {
        0 if !movers.is_empty() => {
            let nth = number / MOVES;
            let side = if (nth / movers.len()).is_multiple_of(2) { Side::B } else { Side::A };
            Some(Change::Move(movers[nth % movers.len()], side))
        }
        _ => random.choice(&crowd).map(|service| Change::Replace(*service, number)),
    };
    (0..count).filter_map(change).collect()
}

/// Changes at their times, however long each takes.
async fn carry_out(objects: &Objects, size: Size, plan: &[Change], moved: &Sender<Moved>) -> Result<()> {
    let begin = tokio::time::Instant::now();
    let all: FuturesUnordered<_> = plan
        .iter()
        .zip(0..)
        .map(|(change, number)| async move {
            tokio::time::sleep_until(begin + Duration::from_secs(1) * number / RATE).await;
            one(objects, size, *change, moved).await
        })
        .collect();
    all.try_collect::<()>().await?;
    Ok(())
}

/// The next subject finds them where they were created.
async fn move_back(ground: &Ground, size: Size, plan: Vec<Change>) -> Result<()> {
    let kubeconfig = ground.kubeconfig();
    inside::run(&ground.node(), move || async move {
        let objects = Objects::connect(&kubeconfig).await?;
        for change in plan {
            if let Change::Move(service, Side::B) = change {
                objects.set_endpoints(service, &service.endpoints(size)).await?;
            }
        }
        Ok(())
    })
    .await
}

async fn one(objects: &Objects, size: Size, change: Change, moved: &Sender<Moved>) -> Result<()> {
    match change {
        Change::Replace(service, number) => {
            let mut endpoints = service.endpoints(size);
            endpoints.pop();
            endpoints.push(newcomer(number));
            objects.set_endpoints(service, &endpoints).await?;
        }
        Change::Move(service, to) => {
            let written = objects.set_endpoints(service, &[to.address(service.0)]).await?;
            let acknowledged = written.acknowledged;
            moved.send(Moved { service, to, acknowledged }).context("the probes have ended")?;
        }
    }
    Ok(())
}

/// Asks for each move on a thread of its own. The times are in no order; none is one that was not seen.
fn probe_all(client: &str, moves: &Receiver<Moved>) -> Result<Vec<Option<Duration>>> {
    let netns = netns_file(client);
    let threads: Vec<_> = moves
        .iter()
        .map(|moved| {
            let netns = netns.clone();
            thread::spawn(move || {
                netns::enter(&netns)?;
                Ok(probe(&moved))
            })
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a probe panicked"))?).collect()
}

/// Asks at first every millisecond, then ever more seldom, so that what is slow is not slowed by being asked.
fn probe(moved: &Moved) -> Option<Duration> {
    loop {
        let answer = ask_name(moved.service.address(), ATTEMPT);
        let elapsed = moved.acknowledged.elapsed();
        match answer {
            Ok(name) if name == moved.to.name() => return Some(elapsed),
            _ if elapsed > PATIENCE => return None,
            _ => thread::sleep((elapsed / 50).max(Duration::from_millis(1))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fourth_change_is_a_move_and_no_move_stays_where_it_is() {
        let plan = plan(Size::new(100, 5), Duration::from_secs(5));
        assert_eq!(plan.len(), 100);
        let moves: Vec<_> = plan.iter().filter(|change| matches!(change, Change::Move(..))).collect();
        assert_eq!(moves.len(), 25);
        // Five Services: there, back, there.
        assert_eq!(moves[0], &Change::Move(Service(10), Side::B));
        assert_eq!(moves[5], &Change::Move(Service(10), Side::A));
        assert_eq!(moves[10], &Change::Move(Service(10), Side::B));
        assert!(plan.iter().all(|change| match change {
            Change::Replace(service, _) => service.kind() == Kind::Crowd,
            Change::Move(service, _) => service.kind() == Kind::Mover,
        }));
    }
}
