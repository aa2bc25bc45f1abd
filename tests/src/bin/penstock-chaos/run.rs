//! One story with at most one fault, and whether it ended as it does without.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use penstock_tests::fault_proxy::{Call, CallFault, Entry, EventFault, FaultProxy, Plan, WatchEvent};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    end_state::{self, Addresses, difference},
    lab::{LIMIT, Lab},
    scenario::Scenario,
};

/// A silent watch is noticed by the client's time-out of 40 s.
const SILENCE: Duration = Duration::from_secs(45);
/// How often the state is looked at.
const INTERVAL: Duration = Duration::from_millis(200);
/// The fault-free run may write up to this long after the story: what it records has to be complete.
const RECORDING: Duration = Duration::from_secs(6);

/// For the API server and for the provider.
type Plans = (Plan, Plan);

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// A call to the API server.
    Call(Call, CallFault),
    /// A call to the provider.
    Provider(Call, CallFault),
    Event(WatchEvent, EventFault),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(call, fault) | Self::Provider(call, fault) => write!(f, "{call}/{fault}"),
            Self::Event(event, fault) => write!(f, "{event}/{fault}"),
        }
    }
}

impl Trouble {
    /// What the proxy before the API server does, and that before the provider.
    fn plans(&self) -> Plans {
        match self.clone() {
            Self::Call(call, fault) => (Plan::OneCall(call, fault), Plan::Nothing),
            Self::Provider(call, fault) => (Plan::Nothing, Plan::OneCall(call, fault)),
            Self::Event(event, fault) => (Plan::OneEvent(event, fault), Plan::Nothing),
        }
    }

    /// How long after the fault everything has to be as without.
    fn limit(&self) -> Duration {
        match self {
            Self::Event(_, EventFault::Silence) => SILENCE + LIMIT,
            _ => LIMIT,
        }
    }
}

/// What a story without faults showed.
#[derive(Clone, Debug)]
pub(crate) struct Recording {
    /// The mutating calls without events, which nothing depends on.
    pub(crate) calls: Vec<Call>,
    /// The mutating calls to the provider.
    pub(crate) provider_calls: Vec<Call>,
    pub(crate) events: Vec<WatchEvent>,
    pub(crate) end: Value,
}

/// Plays a story without faults.
pub(crate) async fn record(lab: &Lab, scenario: &Scenario, quiet: Duration) -> Result<Recording> {
    begin(lab, scenario, Plans::default()).await?;
    scenario.play(&lab.user).await?;
    lab.at_rest(quiet.max(RECORDING)).await?;
    let end = lab.end_state(scenario.addresses).await?;
    let clouds = end["clouds"].as_object().into_iter().flat_map(|clouds| clouds.values());
    for outside in clouds.chain([&end["outside"]]) {
        ensure!(outside["orphans"] == json!([]), "balancers without a Service: {outside}");
    }
    let calls = writes(&lab.proxy);
    let mut events = lab.proxy.events();
    events.retain(|event| event.collection != "leases");
    let provider_calls = lab.user.outside().into_iter().flat_map(writes).collect();
    conclude(lab, None).await?;
    Ok(Recording { calls, provider_calls, events, end })
}

/// What was refused changed nothing, and came only because two were in a race: it is not in every run.
fn writes(proxy: &FaultProxy) -> Vec<Call> {
    let log = proxy.log();
    let changes = |e: &&Entry| e.is_write() && !e.is_event() && e.status.is_some_and(|status| status < 400);
    log.iter().filter(changes).map(|e| e.call.clone()).collect()
}

/// Plays a story with a fault. Returns whether the fault happened at all.
pub(crate) async fn play(
    lab: &Lab,
    scenario: &Scenario,
    trouble: &Trouble,
    end: &Value,
    quiet: Duration,
) -> Result<bool> {
    let mut user = lab.user.clone();
    user.limit = trouble.limit();
    begin(lab, scenario, trouble.plans()).await?;
    scenario.play(&user).await?;
    settle(lab, Some(end), scenario.addresses, quiet, trouble.limit()).await?;
    let proxies = lab.user.outside().into_iter().chain([&lab.proxy]);
    let fired = proxies.map(FaultProxy::fired).sum::<usize>() > 0;
    conclude(lab, Some(user.limit)).await?;
    Ok(fired)
}

async fn begin(lab: &Lab, scenario: &Scenario, plans: Plans) -> Result<()> {
    lab.clear().await?;
    if scenario.prepared {
        lab.prepare(scenario).await.context("prepare")?;
    }
    lab.proxy.begin(plans.0);
    // What is called of one is not of the other.
    for proxy in lab.user.outside() {
        proxy.begin(plans.1.clone());
    }
    if scenario.prepared { Ok(()) } else { lab.operator.start() }
}

/// Waits until the state is `end` (or any, where none is given) and then nothing is written, and the provider not called,
/// for `quiet`. The quiet has
/// to begin within the limit.
pub(crate) async fn settle(
    lab: &Lab,
    end: Option<&Value>,
    addresses: Addresses,
    quiet: Duration,
    limit: Duration,
) -> Result<()> {
    let begin = Instant::now();
    if let Some(end) = end {
        reach(lab, end, addresses, limit).await?;
    }
    loop {
        let last = lab.last_activity().unwrap_or(begin).max(begin);
        ensure!(
            last <= begin + limit,
            "it still writes or calls {} s after the end of the story",
            limit.as_secs()
        );
        match quiet.checked_sub(last.elapsed()) {
            Some(left) if !left.is_zero() => sleep(left.min(Duration::from_secs(1))).await,
            _ => break,
        }
    }
    let Some(end) = end else { return Ok(()) };
    let found = difference(end, &lab.end_state(addresses).await?);
    ensure!(found.is_empty(), "the end state was there and is not any longer: {}", found.join("; "));
    Ok(())
}

async fn reach(lab: &Lab, end: &Value, addresses: Addresses, limit: Duration) -> Result<()> {
    let begin = Instant::now();
    loop {
        let found = difference(end, &lab.end_state(addresses).await?);
        if found.is_empty() {
            return Ok(());
        }
        if begin.elapsed() > limit {
            bail!("the end state is not reached within {} s: {}", limit.as_secs(), found.join("; "));
        }
        sleep(INTERVAL).await;
    }
}

/// What has to hold after every run: no address was ever doubled, the operator never ended by itself, and every Service
/// can be deleted and leaves nothing behind.
pub(crate) async fn conclude(lab: &Lab, limit: Option<Duration>) -> Result<()> {
    no_doubles(lab)?;
    let surprises = lab.operator.surprises();
    ensure!(surprises.is_empty(), "the operator ended by itself:\n{}", surprises.join("\n"));
    let mut user = lab.user.clone();
    user.limit = limit.unwrap_or(LIMIT);
    let services = end_state::list(&user.client, "", "Service", "services").await?;
    let names = services.iter().filter_map(|service| service.metadata.name.clone());
    let names: Vec<String> = names.filter(|name| name != "kubernetes").collect();
    for name in &names {
        user.delete(name).await?;
    }
    for name in &names {
        user.gone(name).await.map_err(|error| anyhow!("a finalizer leaks: {error:#}"))?;
    }
    user.appliance.is_empty(&user).await.context("a balancer leaks")?;
    for cloud in user.clouds.all() {
        cloud.is_empty(&user).await.context("something leaks in a cloud")?;
    }
    let records = end_state::records(&user.client).await?;
    ensure!(records.is_empty(), "a record leaks: {records:?}");
    Ok(())
}

/// No address was two Services' at once since the last call.
pub(crate) fn no_doubles(lab: &Lab) -> Result<()> {
    let doubled = lab.doubles.take();
    ensure!(doubled.is_empty(), "{}", doubled.join("; "));
    Ok(())
}

/// What is printed of a run that failed, besides why.
pub(crate) fn evidence(lab: &Lab) -> String {
    const LINES: usize = 40;
    let log = lab.proxy.log();
    let writes: Vec<String> = log.iter().filter(|e| e.is_write()).map(|e| format!("    {e}")).collect();
    let outside = lab.user.outside();
    let calls: Vec<String> =
        outside.iter().flat_map(|proxy| proxy.log()).map(|e| format!("    {e}")).collect();
    let words = lab.operator.log();
    let lines: Vec<&str> = words.lines().collect();
    let last = lines.iter().skip(lines.len().saturating_sub(LINES)).map(|line| format!("    {line}"));
    let writes = writes.iter().skip(writes.len().saturating_sub(LINES)).cloned().collect::<Vec<_>>();
    format!(
        "  writes:\n{}\n  calls of the provider:\n{}\n  the operator's log:\n{}",
        writes.join("\n"),
        calls.join("\n"),
        last.collect::<Vec<_>>().join("\n")
    )
}
