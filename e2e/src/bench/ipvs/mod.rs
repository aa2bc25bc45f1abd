//! How often each program calls the kernel's IPVS in its mode ipvs: for an endpoint that comes or goes, and while nothing
//! happens. In a user-mode Linux where the machine's own kernel has no IPVS; nothing here is a time.

mod monitor;

use std::fmt;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::api::{Api, PostParams};

use super::Flags;
use super::dataplane::markdown::Markdown;
use crate::flows::flow::{Case, Numbered, numbered};
use crate::flows::frontend::{Addresses, Frontend};
use crate::flows::lab::Lab;
use crate::flows::objects;
use crate::flows::place::{Family, Pod};
use crate::flows::program::{Mode, Program};
use crate::flows::service::{NAMESPACE, Service};
use crate::instance_lock::only_one;
use crate::interruption::interrupted;
use crate::netns;
use crate::packages;
use crate::process::Process;
use crate::progress::step_async;
use crate::teardown;
use crate::tools::{self, Tools};
use crate::topology::{Place, Topology};
use crate::uml::{self, Kernel, Order};
use crate::wait::{Look, until};

use monitor::Monitor;

/// The lab; two of the same name cannot be up at once.
const NAME: &str = "penstock-bench-ipvs";
/// How long all of it may take in a user-mode Linux.
const INSIDE: Duration = Duration::from_secs(30 * 60);
/// Whom.
const PROGRAMS: [Program; 2] = [Program::PenstockNode, Program::KubeProxy];
/// The node where is counted.
const NODE: Place = Place::Node1;
/// How many Services there are. Each has 24 virtual servers on a node, 12 of each family.
const SERVICES: usize = 10;
/// Who comes and goes.
const COMING: Pod = Pod::A2;
/// How long nothing is asked before all of a change is carried out. Less than any program's period.
const QUIET: Duration = Duration::from_secs(6);
/// How long nothing happens: two periods of each program, and a little.
const IDLE: Duration = Duration::from_secs(65);
/// How long an endpoint may take to come or go. kube-proxy looks for those that have drained once a minute.
const CHANGED: Duration = Duration::from_secs(300);

/// What one program did.
#[derive(Debug)]
struct Calls {
    program: Program,
    servers: usize,
    idle: u64,
    added: Vec<u64>,
    removed: Vec<u64>,
}

/// Counts and prints.
///
/// # Errors
/// When the kernel cannot be had, or a program does not do what it is told.
pub(super) async fn run(flags: &Flags) -> Result<()> {
    packages::ensure()?;
    let topology = Topology::new(NAME)?;
    let _lock = only_one(&topology)?;
    Tools::build()?;
    PROGRAMS.iter().try_for_each(|program| program.path().map(drop))?;
    if !uml::has_ipvs() {
        let args = ["bench", "ipvs", "--runs", &flags.runs.to_string()].map(str::to_owned);
        let quick = flags.quick.then(|| "--quick".to_owned());
        let order = Order::new(NAME, args.into_iter().chain(quick).collect())?;
        let code = uml::boot(&Kernel::build()?, &order, INSIDE)?;
        ensure!(code == 0, "it did not end well in the user-mode Linux");
        return Ok(());
    }
    let outcome = tokio::select! {
        outcome = all(flags, &topology) => outcome,
        interrupted = interrupted() => interrupted,
    };
    let removed = teardown::down(&topology);
    print!("{}", table(&outcome?));
    removed
}

async fn all(flags: &Flags, topology: &Topology) -> Result<Vec<Calls>> {
    let mut all = Vec::new();
    for program in PROGRAMS {
        let lab = Lab::bring_up(topology).await?;
        let counted = count(program, flags, &lab).await;
        all.push(counted.with_context(|| program.to_string())?);
        teardown::down(topology)?;
    }
    Ok(all)
}

async fn count(program: Program, flags: &Flags, lab: &Lab) -> Result<Calls> {
    let netns = lab.cluster.topology().netns(NODE);
    let cases = cases()?;
    // On this node alone: where two network namespaces have servers, /proc/net/ip_vs leaves some out.
    let processes = vec![program.install(lab, Mode::Ipvs).await?.start(lab, NODE)?];
    let monitor = Monitor::start(&netns)?;
    let counting = Counting { lab, netns, processes, monitor };
    step_async(format!("{program}: {SERVICES} Services"), async {
        objects::create_cases(&lab.foundation.client, &cases).await?;
        counting.until_settled(|text| cases.iter().all(|case| text.contains(&hex(case.addresses)))).await
    })
    .await?;
    let calls =
        step_async(format!("{program}: count calls"), counting.calls(program, flags, &cases[0])).await?;
    counting.monitor.end()?;
    Ok(calls)
}

fn cases() -> Result<Vec<Numbered>> {
    let case = |_| Case::new("bench", Service::ready(&[Pod::A1, Pod::B1]));
    numbered((0..SERVICES).map(case).collect())
}

/// A program at work.
struct Counting<'a> {
    lab: &'a Lab,
    netns: String,
    processes: Vec<Process>,
    monitor: Monitor,
}

impl Counting<'_> {
    async fn calls(&self, program: Program, flags: &Flags, case: &Numbered) -> Result<Calls> {
        let before = self.monitor.calls();
        tokio::time::sleep(if flags.quick { IDLE / 13 } else { IDLE }).await;
        let idle = self.monitor.calls() - before;
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        for _ in 0..flags.runs {
            added.push(self.change(case, true).await?);
            removed.push(self.change(case, false).await?);
        }
        let servers = self.servers()?;
        let servers =
            servers.lines().filter(|line| line.starts_with("TCP") || line.starts_with("UDP")).count();
        Ok(Calls { program, servers, idle, added, removed })
    }

    /// The calls from a change of one slice until the kernel has all of it.
    async fn change(&self, case: &Numbered, comes: bool) -> Result<u64> {
        let before = self.monitor.calls();
        let name = format!("{}-0-ipv4", case.case.object_name(case.addresses));
        let slices: Api<EndpointSlice> = Api::namespaced(self.lab.foundation.client.clone(), NAMESPACE);
        let mut slice = slices.get(&name).await.with_context(|| format!("read {name}"))?;
        let coming = COMING.addresses().v4.to_string();
        let endpoints = slice.endpoints.get_or_insert_default();
        match comes {
            true => endpoints.push(Endpoint { addresses: vec![coming], ..endpoints[0].clone() }),
            false => endpoints.retain(|endpoint| !endpoint.addresses.contains(&coming)),
        }
        slices.replace(&name, &PostParams::default(), &slice).await.context("change a slice")?;
        let there = format!("-> {:08X}:", u32::from(COMING.addresses().v4));
        self.until_settled(|text| text.contains(&there) == comes).await?;
        Ok(self.monitor.calls() - before)
    }

    /// Waits until the kernel has something, and nothing more is asked of it.
    async fn until_settled(&self, has: impl Fn(&str) -> bool) -> Result<()> {
        until("what was asked for, and then no call", CHANGED, || async {
            self.processes.iter().try_for_each(Process::check)?;
            Ok(match (has(&self.servers()?), self.monitor.quiet() >= QUIET) {
                (true, true) => Look::Ready(()),
                (there, _) => {
                    Look::NotYet(format!("the kernel has it: {there}; calls: {}", self.monitor.calls()))
                }
            })
        })
        .await
        .with_context(|| self.processes.iter().map(Process::log_tail).collect::<String>())
    }

    /// All virtual servers of the node.
    fn servers(&self) -> Result<String> {
        netns::within(&self.netns, || {
            fs::read_to_string("/proc/thread-self/net/ip_vs").context("read the virtual servers")
        })
    }
}

/// Its ClusterIP by TCP, as the kernel lists it.
fn hex(addresses: Addresses) -> String {
    match addresses.socket(Frontend::ClusterIp, Family::V4, 80, 0) {
        std::net::SocketAddr::V4(at) => format!("TCP  {:08X}:{:04X}", u32::from(*at.ip()), at.port()),
        std::net::SocketAddr::V6(at) => at.to_string(),
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.program)
    }
}

fn table(all: &[Calls]) -> Markdown {
    let head =
        ["calls of IPVS by netlink", "an endpoint comes", "an endpoint goes, until it is gone", "idle"];
    let mut table = Markdown::new("Mode ipvs", &head);
    for calls in all {
        let Calls { added, removed, idle, servers, .. } = calls;
        let version = match calls.program {
            Program::KubeProxy => format!("{calls} {}", tools::kube_proxy_version()),
            Program::PenstockNode => calls.to_string(),
        };
        let who = format!("{version}, {servers} virtual servers");
        table.row([who, spread(added), spread(removed), idle.to_string()]);
    }
    table.note(format!(
        "A call is what one system call sends, with however many messages, as nlmon shows it on one node. An endpoint comes and \
         goes in the IPv4 slice of one of {SERVICES} Services, which has 12 virtual servers of this family. It has gone when nothing of it is in \
         /proc/net/ip_vs; nobody had connections. Idle: for {} s. What nftables and ipset are told is not in it.",
        IDLE.as_secs()
    ));
    table
}

fn spread(counts: &[u64]) -> String {
    let mut sorted = counts.to_vec();
    sorted.sort_unstable();
    match sorted.as_slice() {
        [] => "–".to_owned(),
        [first, .., last] if first != last => format!("{} ({first}–{last})", sorted[(sorted.len() - 1) / 2]),
        [first, ..] => first.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_found_as_the_kernel_lists_it() {
        assert_eq!(hex(Addresses(3)), "TCP  0A600103:0050");
    }

    #[test]
    fn figures_are_median_and_range() {
        assert_eq!(
            (spread(&[2, 2]).as_str(), spread(&[5, 1, 3]).as_str(), spread(&[]).as_str()),
            ("2", "3 (1–5)", "–")
        );
    }
}
