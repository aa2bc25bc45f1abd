//! Who does what when: jobs in a queue, and workers with a laboratory each.

use std::{
    cell::RefCell,
    collections::VecDeque,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use futures::future::try_join_all;

use crate::{
    Flags,
    lab::Lab,
    report::{Report, Verdict},
    run::{self, Recording, Trouble},
    scenario::{self, Scenario},
    seed, sweep,
};

/// How often a run whose fault never came is tried again.
const ATTEMPTS: usize = 3;
/// A run that takes longer hangs.
const RUN: Duration = Duration::from_secs(600);
/// The sweep has the long quiet; a seed has three of them, and there are many seeds.
const SEED_QUIET: Duration = Duration::from_secs(6);
/// How often the progress is printed.
const PROGRESS: Duration = Duration::from_secs(20);

/// Something for a worker to do.
enum Job<'a> {
    Record(&'a Scenario),
    Run(&'a Scenario, Trouble),
    Seed(u64),
}

/// Everything that is to be done, and what came of it. All workers share one task.
pub(crate) struct Work {
    flags: Flags,
    operator: PathBuf,
    scenarios: Vec<Scenario>,
    recordings: RefCell<Vec<(&'static str, Recording)>>,
    report: RefCell<Report>,
    printed: RefCell<Instant>,
}

impl Work {
    pub(crate) fn new(flags: Flags) -> Result<Self> {
        let operator = flags.operator()?;
        let mut scenarios = scenario::all();
        for name in &flags.scenario {
            ensure!(scenarios.iter().any(|s| s.name == name), "there is no scenario {name}");
        }
        scenarios.retain(|scenario| flags.wants(scenario.name));
        Ok(Self {
            flags,
            operator,
            scenarios,
            recordings: RefCell::default(),
            report: RefCell::default(),
            printed: RefCell::new(Instant::now()),
        })
    }

    /// Does everything; returns whether nothing failed.
    pub(crate) async fn run(&self) -> Result<bool> {
        let workers = self.flags.workers.max(1);
        self.report.borrow_mut().expect(self.scenarios.iter().map(|scenario| scenario.name));
        println!(
            "starting {workers} API servers; a run is at rest after {} s without a write",
            self.flags.quiet
        );
        let labs = try_join_all((0..workers).map(|_| Lab::start(&self.operator))).await?;
        self.all(&labs, self.scenarios.iter().map(Job::Record).collect()).await?;
        let troubles = self.troubles();
        if let (Some(only), true) = (&self.flags.only, troubles.is_empty()) {
            bail!("there is no run {only}: name it SCENARIO/CALL/FAULT, as it was printed");
        }
        println!("{} scenarios recorded; {} runs with a fault each", self.scenarios.len(), troubles.len());
        self.all(&labs, troubles).await?;
        let seeds: VecDeque<Job<'_>> = self.flags.seeds().into_iter().map(Job::Seed).collect();
        println!("{} seeds", seeds.len());
        self.all(&labs, seeds).await?;
        drop(labs);
        Ok(self.report.borrow().print())
    }

    fn troubles(&self) -> VecDeque<Job<'_>> {
        let mut jobs = VecDeque::new();
        for (name, recording) in self.recordings.borrow().iter() {
            let calls = recording.calls.len() + recording.provider_calls.len();
            self.report.borrow_mut().recorded(name, calls, recording.events.len());
            let Some(scenario) = self.scenarios.iter().find(|s| s.name == *name) else { continue };
            let troubles = sweep::troubles(recording, scenario.outside.is_some()).into_iter();
            let wanted = |trouble: &Trouble| match &self.flags.only {
                Some(only) => run_name(scenario, trouble) == *only,
                None => !self.flags.provider || matches!(trouble, Trouble::Provider(..)),
            };
            jobs.extend(troubles.filter(wanted).map(|trouble| Job::Run(scenario, trouble)));
        }
        jobs
    }

    async fn all<'a>(&'a self, labs: &[Lab], jobs: VecDeque<Job<'a>>) -> Result<()> {
        let (total, jobs) = (jobs.len() + self.report.borrow().progress().0, RefCell::new(jobs));
        let workers = labs.iter().map(|lab| async {
            loop {
                let Some(job) = jobs.borrow_mut().pop_front() else { return Ok(()) };
                self.perform(lab, job).await?;
                self.progress(total);
            }
        });
        try_join_all(workers).await.map(|_: Vec<()>| ())
    }

    fn progress(&self, total: usize) {
        let (done, failed) = self.report.borrow().progress();
        if self.printed.borrow().elapsed() >= PROGRESS && done > 0 {
            *self.printed.borrow_mut() = Instant::now();
            println!("{done} of {total} runs, {failed} failed");
        }
    }

    async fn perform(&self, lab: &Lab, job: Job<'_>) -> Result<()> {
        match job {
            Job::Record(scenario) => {
                let recorded = run::record(lab, scenario, self.flags.quiet()).await;
                let verdict = verdict(lab, recorded.as_ref().map(|_| true));
                let (run, repeat) = (format!("{} without faults", scenario.name), scenario_flag(scenario));
                self.report.borrow_mut().count(scenario.name, &run, &repeat, &verdict);
                self.recordings.borrow_mut().extend(recorded.ok().map(|r| (scenario.name, r)));
            }
            Job::Seed(seed) => {
                let play = seed::play(lab, seed, self.flags.quiet().min(SEED_QUIET));
                let outcome = tokio::time::timeout(RUN, play).await.unwrap_or_else(|late| Err(late.into()));
                let verdict = verdict(lab, outcome.as_ref().map(|()| true));
                let repeat = format!("make chaos ARGS=\"--seed {seed}\"");
                self.report.borrow_mut().count("seeds", &format!("seed {seed}"), &repeat, &verdict);
            }
            Job::Run(scenario, trouble) => {
                let run = run_name(scenario, &trouble);
                let verdict = self.attempts(lab, scenario, &trouble).await;
                let repeat = format!("make chaos ARGS=\"--only '{run}'\"");
                self.report.borrow_mut().count(scenario.name, &run, &repeat, &verdict);
            }
        }
        Ok(())
    }

    async fn attempts(&self, lab: &Lab, scenario: &Scenario, trouble: &Trouble) -> Verdict {
        for _ in 0..ATTEMPTS {
            let end = self.recordings.borrow().iter().find(|r| r.0 == scenario.name).map(|r| r.1.end.clone());
            let Some(end) = end else { return Verdict::Missed };
            let run = run::play(lab, scenario, trouble, &end, self.flags.quiet());
            let outcome = tokio::time::timeout(RUN, run).await.unwrap_or_else(|late| Err(late.into()));
            match verdict(lab, outcome.as_ref().map(|fired| *fired)) {
                Verdict::Missed => {}
                verdict => return verdict,
            }
        }
        Verdict::Missed
    }
}

fn verdict(lab: &Lab, outcome: Result<bool, &anyhow::Error>) -> Verdict {
    match outcome {
        Ok(true) => Verdict::Passed,
        Ok(false) => Verdict::Missed,
        Err(error) => Verdict::Failed(format!("{error:#}\n{}", run::evidence(lab))),
    }
}

fn run_name(scenario: &Scenario, trouble: &Trouble) -> String {
    format!("{}/{trouble}", scenario.name)
}

fn scenario_flag(scenario: &Scenario) -> String {
    format!("make chaos ARGS=\"--scenario {}\"", scenario.name)
}
