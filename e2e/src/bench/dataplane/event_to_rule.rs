//! From an endpoint's coming or going, as the harness's own watch sees it, to the kernel's rules.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::unistd::Pid;

use super::generation::GenerationWatch;
use super::ground::{Ground, mentions};
use super::inside;
use super::objects::{Objects, SliceWatch};
use super::population::{Kind, Service, newcomer};
use super::size::Size;
use super::subject::{Running, Subject, waits_for_program};
use crate::bench::spread::Spread;
use crate::progress::say;

/// How long one change may take; it bounds the wait for a broken program.
const PATIENCE: Duration = Duration::from_secs(60);

/// So many changes are enough.
const ENOUGH: usize = 200;

/// What changes took.
#[derive(Debug, Clone)]
pub struct EventToRule {
    /// From the watch's event to the last commit, milliseconds.
    pub from_event: Spread,
    /// From the API server's answer to the writer, milliseconds. The watch may be faster than that.
    pub from_answer: Spread,
    /// From the moment at which the writer sent the change, milliseconds: with the API server's own time, never negative.
    pub from_write: Spread,
    /// The most commits for one change.
    pub commits: usize,
}

/// One change, when everything of it was.
struct Change {
    sent: Instant,
    seen: Instant,
    acknowledged: Instant,
    commits: Vec<Instant>,
}

/// How long nothing may be committed after a change before the next: kube-proxy programs at most once a second
/// (`minSyncPeriod`), and a change is not to wait for the one before. It also shows whether one commit was all.
pub fn rest(subject: Subject) -> Duration {
    match subject {
        Subject::Penstock | Subject::PenstockIptables => Duration::from_millis(250),
        Subject::KubeProxyNftables | Subject::KubeProxyIptables => Duration::from_millis(1250),
    }
}

/// Which commit completes a change: of ours the last, whatever it was for. kube-proxy needs one in nftables mode, and one
/// for each of two tables in iptables mode; what comes later is its periodic pass, which is not held against it.
fn end(subject: Subject, commits: &[Instant]) -> Option<Instant> {
    let needed = match subject {
        Subject::Penstock | Subject::PenstockIptables => usize::MAX,
        Subject::KubeProxyNftables => 1,
        Subject::KubeProxyIptables => 2,
    };
    commits.get(needed.min(commits.len()).checked_sub(1)?).copied()
}

/// Removes and adds endpoints, one at a time, for at most `limit`.
///
/// # Errors
/// When a change does not reach the kernel, with the end of the program's log.
pub async fn measure(
    ground: &Ground,
    running: &Running,
    subject: Subject,
    size: Size,
    limit: Duration,
) -> Result<EventToRule> {
    let (kubeconfig, node, watched) = (ground.kubeconfig(), ground.node(), ground.node_file());
    let (inside, pid) = (ground.node(), running.pid());
    let changes = inside::run(&inside, move || async move {
        let objects = Objects::connect(&kubeconfig).await?;
        let mut watch = SliceWatch::start(&objects).await?;
        let rules = GenerationWatch::start(watched)?;
        let mut round = Round { objects: &objects, watch: &mut watch, rules: &rules, subject, pid };
        round.many(&node, size, limit).await
    });
    let changes = changes.await.map_err(|error| anyhow!("{error:#}; its log:\n{}", running.log_tail()))?;
    let since = |start: fn(&Change) -> Instant| -> Spread {
        changes.iter().filter_map(|c| Some(milliseconds(start(c), end(subject, &c.commits)?))).collect()
    };
    Ok(EventToRule {
        from_event: since(|change| change.seen),
        from_answer: since(|change| change.acknowledged),
        from_write: since(|change| change.sent),
        commits: changes.iter().map(|change| change.commits.len()).max().unwrap_or_default(),
    })
}

/// Negative where the kernel was changed before the harness had decoded the event.
fn milliseconds(from: Instant, to: Instant) -> f64 {
    match to.checked_duration_since(from) {
        Some(later) => later.as_secs_f64() * 1e3,
        None => -((from - to).as_secs_f64() * 1e3),
    }
}

struct Round<'a> {
    objects: &'a Objects,
    watch: &'a mut SliceWatch,
    rules: &'a GenerationWatch,
    subject: Subject,
    pid: Pid,
}

impl Round<'_> {
    /// An endpoint goes, and another comes in its place; then the next Service.
    async fn many(&mut self, node: &str, size: Size, limit: Duration) -> Result<Vec<Change>> {
        let crowd = Service::of(size, Kind::Crowd);
        let mut random = fastrand::Rng::with_seed(size.services as u64);
        let (begin, mut changes) = (Instant::now(), Vec::new());
        while changes.len() < ENOUGH && begin.elapsed() < limit {
            let service = *random.choice(&crowd).context("there are no Services")?;
            let mut endpoints = service.endpoints(size);
            endpoints.pop();
            changes.push(self.one(service, &endpoints).await?);
            endpoints.push(newcomer(changes.len()));
            changes.push(self.one(service, &endpoints).await?);
        }
        // Once, by the listed rules: what was counted is what was asked for.
        let (node, mode, last) = (node.to_owned(), self.subject.mode(), newcomer(changes.len() - 1));
        match tokio::task::spawn_blocking(move || mentions(&node, mode, last)).await? {
            Ok(true) => {}
            Ok(false) => bail!("no rule has {last}, which was added last"),
            Err(error) => say(&format!("whether the rules have {last} is not known: {error:#}")),
        }
        Ok(changes)
    }

    async fn one(&mut self, service: Service, endpoints: &[std::net::Ipv4Addr]) -> Result<Change> {
        let begin = Instant::now();
        let written = self.objects.set_endpoints(service, endpoints).await?;
        let seen = self.watch.saw(&written, begin + PATIENCE).await?;
        let commits = self.commits(begin).await?;
        Ok(Change { sent: begin, seen, acknowledged: written.acknowledged, commits })
    }

    /// All commits since a moment, when there was at least one and then none for a while.
    async fn commits(&self, begin: Instant) -> Result<Vec<Instant>> {
        loop {
            self.rules.current()?;
            let commits = self.rules.since(begin);
            match commits.last() {
                Some(last) if last.elapsed() >= rest(self.subject) && !waits_for_program(self.pid) => {
                    return Ok(commits);
                }
                None if begin.elapsed() > PATIENCE => bail!("a change did not reach the kernel"),
                _ if begin.elapsed() > 2 * PATIENCE => bail!("it commits to nftables without end"),
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_periodic_pass_of_the_peer_is_not_held_against_it_and_all_of_ours_counts() {
        let begin = Instant::now();
        let commits = [10, 20, 1000].map(|after| begin + Duration::from_millis(after));
        assert_eq!(end(Subject::Penstock, &commits), Some(commits[2]));
        assert_eq!(end(Subject::KubeProxyNftables, &commits), Some(commits[0]));
        assert_eq!(end(Subject::KubeProxyIptables, &commits), Some(commits[1]));
        assert_eq!(end(Subject::KubeProxyIptables, &commits[..1]), Some(commits[0]));
        assert_eq!(end(Subject::Penstock, &[]), None);
    }

    #[test]
    fn a_commit_before_the_harness_saw_the_event_is_negative() {
        let now = Instant::now();
        let later = now + Duration::from_micros(1500);
        assert_eq!(milliseconds(now, later), 1.5);
        assert_eq!(milliseconds(later, now), -1.5);
    }
}
