//! What an operator is put through, on a control plane of its own, and what came of it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use tempfile::TempDir;

use super::api_requests::Writes;
use super::floor::Floor;
use super::load::{Bulk, Load, name};
use super::resources::Usage;
use super::sightings::Sightings;
use super::spread::Spread;
use super::subject::{POOL, Subject, make_namespace};
use crate::control_plane::ControlPlane;
use crate::progress::step_async;

/// For how long an operator with nothing to do is watched.
pub const IDLE: Duration = Duration::from_secs(60);

/// How many Services there are at which point.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Created at once at first.
    pub small: usize,
    /// There when the operator is started again.
    pub restart: usize,
    /// Created at once after that; none where that takes too long.
    pub large: Option<usize>,
    /// Created one after the other when `small` and when `large` are there.
    pub samples: usize,
    /// Whether to watch it doing nothing.
    pub idle: bool,
}

/// What happens to so many Services.
#[derive(Debug, Clone)]
pub struct Round {
    /// How many were created at once.
    pub services: usize,
    /// How long that took.
    pub bulk: Bulk,
    /// What the operator used by then; none for the floor.
    pub usage: Option<Usage>,
    /// Processor time that the creation at once cost it.
    pub cpu: Option<Duration>,
    /// One more at so many, milliseconds.
    pub one: Spread,
}

/// A restart while nothing changes.
#[derive(Debug, Clone)]
pub struct Restart {
    /// How many Services had addresses.
    pub services: usize,
    /// From SIGTERM to its end.
    pub stopped: Duration,
    /// From its start to ready; none where it does not say.
    pub ready: Option<Duration>,
    /// From its start to the address of a Service that was created while it was away.
    pub healed: Duration,
    /// Of the Services that had addresses: how many were written to.
    pub rewritten: usize,
    /// Writes of all kinds, with those for the two Services that were created meanwhile.
    pub writes: Writes,
}

/// A minute with nothing to do.
#[derive(Debug, Clone)]
pub struct Idle {
    /// All that was written in the cluster.
    pub writes: Writes,
    /// Processor time.
    pub cpu: Duration,
    /// Calls to providers; none where they are not counted.
    pub provider_calls: Option<u64>,
}

/// What came of one run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Many at once, and one by one: for `small` and, where asked for, for `large`.
    pub rounds: Vec<Round>,
    /// The restart.
    pub restart: Restart,
    /// How long it took to release the addresses of all Services at the restart's size.
    pub released: Duration,
    /// What a fresh process uses that has found all Services of the large round.
    pub fresh: Option<Usage>,
    /// The idle minute.
    pub idle: Option<Idle>,
}

/// A control plane with an empty namespace.
pub struct Stage {
    control_plane: ControlPlane,
    load: Load,
    dir: TempDir,
}

impl Stage {
    /// Starts it; `creators` is how many Services are created at the same time, `patience` how long one address may
    /// take.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn start(creators: u16, patience: Duration) -> Result<Self> {
        let dir = tempfile::tempdir().context("make a directory")?;
        let control_plane = ControlPlane::start_on_loopback(dir.path()).await?;
        make_namespace(&control_plane, dir.path())?;
        let pool: IpNet = POOL.parse().context("parse the pool")?;
        let client = control_plane.client().await?;
        let load = Load { client, pool, creators: creators.into(), patience };
        Ok(Self { control_plane, load, dir })
    }

    /// The API server's own floor for the rounds of `sizes`; leaves nothing behind.
    ///
    /// # Errors
    /// When it cannot be measured.
    pub async fn floor(&self, sizes: &Sizes) -> Result<Vec<Round>> {
        let mut rounds = Vec::new();
        for services in std::iter::once(sizes.small).chain(sizes.large) {
            let floor = Floor::start(&self.load).await?;
            rounds.push(self.round(services, sizes.samples, None).await?);
            drop(floor);
            self.load.delete_all().await?;
        }
        Ok(rounds)
    }

    /// Penstock on this control plane, not started yet.
    ///
    /// # Errors
    /// As [`Subject::penstock`].
    pub async fn penstock(&self) -> Result<Subject> {
        Subject::penstock(&self.control_plane, self.dir.path()).await
    }

    /// MetalLB on this control plane, not started yet.
    ///
    /// # Errors
    /// As [`Subject::metallb`].
    pub async fn metallb(&self) -> Result<Subject> {
        Subject::metallb(&self.control_plane, self.dir.path()).await
    }

    /// Puts an operator through everything.
    ///
    /// # Errors
    /// When a result is wrong, with the end of its log.
    pub async fn run(&self, subject: &mut Subject, sizes: &Sizes) -> Result<Outcome> {
        let outcome = self.phases(subject, sizes).await;
        outcome.with_context(|| format!("the end of the operator's log:\n{}", subject.log_tail()))
    }

    async fn phases(&self, subject: &mut Subject, sizes: &Sizes) -> Result<Outcome> {
        subject.start().await?;
        let rounds = vec![self.round(sizes.small, sizes.samples, Some(subject)).await?];
        let restart = self.restart(subject, sizes).await?;
        let released = step_async("delete all Services", self.load.delete_all()).await?;
        let mut outcome = Outcome { rounds, restart, released, fresh: None, idle: None };
        let Some(large) = sizes.large else { return Ok(outcome) };
        outcome.rounds.push(self.round(large, sizes.samples, Some(subject)).await?);
        let services = large + sizes.samples;
        if sizes.idle {
            outcome.idle = Some(self.idle(subject, services).await?);
        }
        outcome.fresh = Some(self.fresh(subject, services).await?);
        Ok(outcome)
    }

    /// What a process uses that finds all these Services when it starts.
    async fn fresh(&self, subject: &mut Subject, services: usize) -> Result<Usage> {
        subject.stop()?;
        subject.start().await?;
        self.load.bulk(services..services + 1).await?;
        Writes::settled(&self.load.client).await?;
        self.load.census(services + 1).await?;
        subject.usage()
    }

    async fn round(&self, services: usize, samples: usize, subject: Option<&Subject>) -> Result<Round> {
        let before = subject.map(Subject::usage).transpose()?;
        let bulk = step_async(format!("create {services} Services"), self.load.bulk(0..services)).await?;
        Writes::settled(&self.load.client).await?;
        let usage = subject.map(Subject::usage).transpose()?;
        self.load.census(services).await?;
        let range = services..services + samples;
        let what = format!("create {samples} more, one after the other");
        let one = step_async(what, self.load.one_by_one(range)).await?;
        self.load.census(services + samples).await?;
        let cpu = before.zip(usage).map(|(before, after)| after.cpu - before.cpu);
        Ok(Round { services, bulk, usage, cpu, one })
    }

    /// Stops it, creates one Service, starts it, and creates another: when that one has its address, the others have
    /// been looked at.
    async fn restart(&self, subject: &mut Subject, sizes: &Sizes) -> Result<Restart> {
        let (there, services) = (sizes.small + sizes.samples, sizes.restart.max(sizes.small + sizes.samples));
        let fill = format!("create {} more Services", services - there);
        step_async(fill, self.load.bulk(there..services)).await?;
        let writes = Writes::settled(&self.load.client).await?;
        let before = self.load.census(services).await?;
        let stopped = subject.stop()?;
        let patience = self.load.patience;
        let mut sightings = Sightings::start(self.load.api()).await?;
        self.load.create(services).await?;
        let begin = Instant::now();
        let ready = subject.start().await?;
        let deadline = Instant::now() + patience;
        let healed = sightings.assigned(&name(services), deadline).await? - begin;
        self.load.bulk(services + 1..services + 2).await?;
        let writes = Writes::settled(&self.load.client).await?.since(&writes);
        let difference = before.difference(&self.load.census(services + 2).await?);
        ensure!(difference.moved == 0, "the restart changed the addresses of {} Services", difference.moved);
        Ok(Restart { services, stopped, ready, healed, rewritten: difference.rewritten, writes })
    }

    async fn idle(&self, subject: &Subject, services: usize) -> Result<Idle> {
        let begin = Writes::settled(&self.load.client).await?;
        let before = self.load.census(services).await?;
        let (cpu, calls) = (subject.usage()?.cpu, subject.provider_calls().await?);
        step_async("watch it doing nothing for a minute", async {
            tokio::time::sleep(IDLE).await;
            Ok(())
        })
        .await?;
        let writes = Writes::read(&self.load.client).await?.since(&begin);
        let difference = before.difference(&self.load.census(services).await?);
        ensure!(difference.moved == 0, "{} Services changed while nothing happened", difference.moved);
        let provider_calls = subject.provider_calls().await?.zip(calls).map(|(after, before)| after - before);
        Ok(Idle { writes, cpu: subject.usage()?.cpu - cpu, provider_calls })
    }
}
