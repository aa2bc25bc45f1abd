//! A node that dies, an announcer that stops, and a node that was cut off and comes back.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use penstock_announcer::mac::Mac;
use penstock_e2e::bench::table::Table;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::{
    INTERVAL,
    lab::{LIMIT, Lab, VICTIM},
    push,
    questions::{Question, Questions},
    traffic::{self, Answer},
};

/// How long nobody but one node may answer to call it settled.
const SETTLED: Duration = Duration::from_secs(1);
/// How long the segment can be back before the API server is: TCP tries a lost packet again rarely.
const LATER: Duration = Duration::from_secs(5);
const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];

/// Seconds, per family.
type Figures = [Vec<f64>; 2];

/// What was measured, in seconds.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    killed: Figures,
    stopped_traffic: Figures,
    stopped_questions: Figures,
    both_answered: Figures,
    both_answered_later: Figures,
}

impl Failures {
    pub(crate) fn table(&self) -> Table {
        let runs = self.killed[0].len();
        let mut table =
            Table::new(format!("Two nodes, one address of each family; {runs} runs, seconds"), "");
        let rows = [
            ("node dies (SIGKILL, nothing forwarded): traffic is back after", &self.killed, Some(2.0)),
            ("clean stop (SIGTERM): longest silence of traffic", &self.stopped_traffic, Some(0.2)),
            ("clean stop (SIGTERM): longest silence of ARP or NDP", &self.stopped_questions, Some(0.2)),
            ("healed partition: both answer for", &self.both_answered, Some(1.0)),
            (
                "… the segment 5 s before the API server: both answer for",
                &self.both_answered_later,
                Some(1.0),
            ),
        ];
        for (what, figures, aim) in rows {
            for (family, figures) in FAMILIES.iter().zip(figures) {
                push(&mut table, &format!("{what}, {family}"), figures, aim);
            }
        }
        table
    }
}

pub(crate) async fn measure(lab: &mut Lab, runs: u16) -> Result<Failures> {
    let mut failures = Failures::default();
    for _ in 0..runs {
        settle(lab).await?;
        kill(lab, &mut failures).await?;
        settle(lab).await?;
        stop(lab, &mut failures).await?;
        settle(lab).await?;
        partition(lab, Duration::ZERO, &mut failures.both_answered).await?;
        settle(lab).await?;
        partition(lab, LATER, &mut failures.both_answered_later).await?;
    }
    Ok(failures)
}

/// Waits until only the victim answers for both addresses, for a second on end.
async fn settle(lab: &Lab) -> Result<()> {
    let [mut v4, mut v6] = both_questions(lab).await?;
    let owner = lab.nodes[0].mac;
    tokio::try_join!(settled(lab, &mut v4, owner), settled(lab, &mut v6, owner)).map(drop)
}

async fn settled(lab: &Lab, questions: &mut Questions, owner: Mac) -> Result<()> {
    let start = Instant::now();
    let wanted = (SETTLED.as_millis() / INTERVAL.as_millis()) as usize;
    loop {
        questions.run_for(INTERVAL * 5).await?;
        // The last ones may be on their way.
        let asked = questions.asked();
        let known = &asked[..asked.len().saturating_sub(2)];
        let alone = |question: &&Question| question.answers.len() == 1 && question.answers.contains(&owner);
        if known.iter().rev().take_while(alone).count() >= wanted {
            return Ok(());
        }
        ensure!(start.elapsed() < LIMIT, "{owner} does not become the only one to answer\n{}", lab.logs());
    }
}

/// The node is gone at once: its announcer, and what it forwards.
async fn kill(lab: &mut Lab, failures: &mut Failures) -> Result<()> {
    let mut traffic = traffic::start(&lab.client, &lab.addresses)?;
    first_by(&mut traffic, lab.addresses, VICTIM).await.context("before a node is killed")?;
    lab.nodes[0].forwarding.set_alive(false);
    let killed = Instant::now();
    lab.nodes[0].process()?.signal(Signal::SIGKILL)?;
    let back = first_by(&mut traffic, lab.addresses, VICTIM + 1).await.with_context(|| lab.logs())?;
    for (figures, at) in failures.killed.iter_mut().zip(back) {
        figures.push((at - killed).as_secs_f64());
    }
    lab.nodes[0].process()?.kill()?;
    lab.nodes[0].forwarding.set_alive(true);
    restart(lab)
}

fn restart(lab: &mut Lab) -> Result<()> {
    let ledger = lab.ledger.clone();
    lab.nodes[0].start(&ledger)
}

/// When a node first answered for each address.
async fn first_by(traffic: &mut UnboundedReceiver<Answer>, of: [IpAddr; 2], by: u8) -> Result<[Instant; 2]> {
    let mut first = [None; 2];
    let search = async {
        while let Some(answer) = traffic.recv().await {
            for (address, first) in of.iter().zip(&mut first) {
                if answer.address == *address && answer.by == by {
                    first.get_or_insert(answer.at);
                }
            }
            if let [Some(a), Some(b)] = first {
                return Some([a, b]);
            }
        }
        None
    };
    let found = tokio::time::timeout(LIMIT, search).await;
    found.ok().flatten().with_context(|| format!("node {by} does not answer"))
}

/// The announcer ends, the node goes on to forward: an upgrade.
async fn stop(lab: &mut Lab, failures: &mut Failures) -> Result<()> {
    let mut traffic = traffic::start(&lab.client, &lab.addresses)?;
    first_by(&mut traffic, lab.addresses, VICTIM).await.context("before an announcer is stopped")?;
    let mut questions = both_questions(lab).await?;
    ask_for(&mut questions, INTERVAL * 10).await?;
    lab.nodes[0].process()?.signal(Signal::SIGTERM)?;
    let start = Instant::now();
    while lab.nodes[0].process()?.is_alive() {
        ensure!(start.elapsed() < LIMIT, "the announcer does not stop\n{}", lab.logs());
        ask_for(&mut questions, INTERVAL * 5).await?;
    }
    ask_for(&mut questions, SETTLED).await?;
    for (figures, questions) in failures.stopped_questions.iter_mut().zip(&questions) {
        let answered = questions.asked().iter().filter(|question| !question.answers.is_empty());
        figures.push(longest_gap(answered.map(|question| question.at)));
    }
    let mut answers = Vec::new();
    while let Ok(answer) = traffic.try_recv() {
        answers.push(answer);
    }
    for (figures, address) in failures.stopped_traffic.iter_mut().zip(lab.addresses) {
        let of = answers.iter().filter(|answer| answer.address == address);
        figures.push(longest_gap(of.map(|answer| answer.at)));
    }
    restart(lab)
}

async fn both_questions(lab: &Lab) -> Result<[Questions; 2]> {
    let [v4, v6] = lab.addresses;
    Ok([Questions::start(&lab.client, v4).await?, Questions::start(&lab.client, v6).await?])
}

async fn ask_for(questions: &mut [Questions; 2], time: Duration) -> Result<()> {
    let [v4, v6] = questions;
    tokio::try_join!(v4.run_for(time), v6.run_for(time)).map(drop)
}

/// In seconds; the last ones may be on their way, and are left out by not being there.
fn longest_gap(times: impl Iterator<Item = Instant>) -> f64 {
    let times: Vec<Instant> = times.collect();
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    gaps.max().unwrap_or(LIMIT).as_secs_f64()
}

/// The node loses the segment and the API server, the other one takes over, and then it has the segment back, and the API
/// server at once or later.
async fn partition(lab: &Lab, later: Duration, both_answered: &mut Figures) -> Result<()> {
    lab.set_on_segment(false)?;
    lab.set_reaches_api(false);
    let mut questions = both_questions(lab).await?;
    for questions in &mut questions {
        settled(lab, questions, lab.nodes[1].mac).await?;
        questions.forget();
    }
    lab.set_on_segment(true)?;
    let healed = Instant::now();
    ask_for(&mut questions, later).await?;
    lab.set_reaches_api(true);
    for round in 0.. {
        ask_for(&mut questions, SETTLED).await?;
        if round >= 2 && is_settled(&questions, lab.nodes[0].mac) {
            break;
        }
        ensure!(healed.elapsed() < LIMIT, "a healed partition does not settle\n{}", lab.logs());
    }
    for (figures, questions) in both_answered.iter_mut().zip(&questions) {
        let both = questions.asked().iter().filter(|question| question.answers.len() > 1).count();
        figures.push(both as f64 * INTERVAL.as_secs_f64());
    }
    Ok(())
}

/// Whether of the last second's questions all but those on their way were answered by one alone.
fn is_settled(questions: &[Questions; 2], owner: Mac) -> bool {
    questions.iter().all(|questions| {
        let asked = questions.asked();
        let last = asked.len().saturating_sub(2);
        asked[last.saturating_sub(40)..last]
            .iter()
            .all(|q| q.answers.len() == 1 && q.answers.contains(&owner))
    })
}
