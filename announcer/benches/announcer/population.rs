//! What many addresses cost: memory of an announcer, and writes to the API server.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use nix::sys::signal::Signal;
use penstock_e2e::bench::{
    api_requests::Writes,
    resources::Usage,
    table::{Row, Table},
};
use serde_json::json;

use crate::lab::{LIMIT, Lab, service, slice};

/// How many objects are written at the same time.
const WRITERS: usize = 16;
/// How long writes are counted with nothing to do.
const IDLE: Duration = Duration::from_secs(20);

/// What was measured.
#[derive(Debug)]
pub(crate) struct Population {
    addresses: u16,
    /// Of the announcers, MiB, when each owns its share.
    shared: [f64; 2],
    /// Of the one that owns all, MiB.
    alone: f64,
    /// Of that, what is not the program's file, whose pages all processes share and the kernel may drop.
    alone_anonymous: f64,
    idle: Writes,
    fail_over: Writes,
}

impl Population {
    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new(format!("{} addresses, two nodes", self.addresses), "");
        let memory = |what: &str, figures: &[f64]| Row {
            aim: Some(15.0),
            ..Row::new(what, figures.iter().copied().collect())
        };
        table.push(&memory("resident memory, each owns its share, MiB", &self.shared));
        table.push(&memory("resident memory, one owns all, MiB", &[self.alone]));
        table.push(&Row::new(
            "… of that without the pages of the program's file, MiB",
            [self.alone_anonymous].into_iter().collect(),
        ));
        let mut count =
            |what: &str, figure: u64| table.push(&Row::new(what, [figure as f64].into_iter().collect()));
        count(
            "writes to Leases in 20 s with nothing to do (all nodes, and the API server's own)",
            self.idle.of("leases"),
        );
        count("other writes in these 20 s", self.idle.without_leases().total());
        count("writes besides Leases when a node dies", self.fail_over.without_leases().total());
        println!("  with nothing to do: {}; when a node dies: {}", self.idle, self.fail_over);
        table
    }
}

pub(crate) async fn measure(lab: &mut Lab, addresses: u16) -> Result<Population> {
    stream::iter(0..addresses).map(Ok).try_for_each_concurrent(WRITERS, |number| create(lab, number)).await?;
    let owned = |log: &str| log.matches("taking an address over").count();
    takeovers(lab, "addresses of both nodes", |logs| owned(&logs.concat()) >= usize::from(addresses)).await?;
    let before = Writes::settled(&lab.api).await?;
    tokio::time::sleep(IDLE).await;
    let idle = Writes::read(&lab.api).await?.since(&before);
    let shared = [resident(lab, 0)?, resident(lab, 1)?];

    let before = Writes::settled(&lab.api).await?;
    lab.nodes[0].process()?.signal(Signal::SIGKILL)?;
    takeovers(lab, "addresses of the other node", |logs| owned(&logs[1]) >= usize::from(addresses)).await?;
    let fail_over = Writes::settled(&lab.api).await?.since(&before);
    let (alone, alone_anonymous) = (resident(lab, 1)?, anonymous(lab, 1)?);
    Ok(Population { addresses, shared, alone, alone_anonymous, idle, fail_over })
}

fn resident(lab: &Lab, node: usize) -> Result<f64> {
    Ok(Usage::of(lab.nodes[node].process()?.pid())?.resident)
}

/// Resident pages without a file (proc(5), `RssAnon`), MiB.
fn anonymous(lab: &Lab, node: usize) -> Result<f64> {
    let pid = lab.nodes[node].process()?.pid();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("read a process's status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix("kB")).context("no RssAnon")?;
    Ok(kibibytes.trim().parse::<f64>().context("read RssAnon")? / 1024.0)
}

async fn create(lab: &Lab, number: u16) -> Result<()> {
    let name = format!("many-{number}");
    let services: Api<Service> = Api::default_namespaced(lab.api.clone());
    let slices: Api<EndpointSlice> = Api::default_namespaced(lab.api.clone());
    let object = serde_json::from_value(service(&name)).context("make a Service")?;
    services.create(&PostParams::default(), &object).await.context("create a Service")?;
    let object = serde_json::from_value(slice(&name)).context("make a slice")?;
    slices.create(&PostParams::default(), &object).await.context("create a slice")?;
    let ip = Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 1, 0)) + u32::from(number));
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": ip}]}}});
    let written = services.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await;
    written.context("write a status").map(drop)
}

/// Waits until the announcers' logs say what is wanted.
async fn takeovers(lab: &Lab, what: &str, wanted: impl Fn(&[String; 2]) -> bool) -> Result<()> {
    let start = Instant::now();
    loop {
        let log = |name| std::fs::read_to_string(lab.ledger.log(name)).unwrap_or_default();
        if wanted(&crate::lab::NODES.map(log)) {
            return Ok(());
        }
        ensure!(start.elapsed() < LIMIT, "never: {what}\n{}", lab.logs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
