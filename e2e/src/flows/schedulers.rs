//! What each scheduler of IPVS does with real connections, and whether what somebody else changes is put back. All of it on
//! the first node: what a scheduler remembers belongs to one node.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::flows::echo::parse;
use crate::flows::flow::{Case, Numbered};
use crate::flows::frontend::{Addresses, Frontend};
use crate::flows::lab::Lab;
use crate::flows::objects;
use crate::flows::place::{Family, Pod, Sender};
use crate::flows::service::{Service, TARGET};
use crate::netns;
use crate::topology::{Place, Topology};
use crate::wait::{Look, until};

/// The annotation that names it.
const ANNOTATION: &str = "penstock.dev/ipvs-scheduler";
/// Their places in the table of addresses, behind all cases and before the canaries.
const FIRST: u8 = 230;
const NAMES: [&str; 10] = ["rr", "wrr", "lc", "wlc", "lblc", "dh", "sh", "sed", "nq", "mh"];
const FOUR: [Pod; 4] = [Pod::A1, Pod::A2, Pod::B1, Pod::B2];
/// How many connections are made one after the other, and how many are kept open at a time.
const ASKED: usize = 40;
const HELD: usize = 12;
/// By how many connections an endpoint may differ from its share.
const TOLERANCE: usize = 1;
/// How long a repair may take: the agent looks every 30 s.
const REPAIR: Duration = Duration::from_secs(90);
const PATIENCE: Duration = Duration::from_secs(5);

/// Something that has to be so.
#[derive(Debug)]
pub struct Check {
    /// What.
    pub name: String,
    /// Why it is not.
    pub failure: Option<String>,
}

/// An open connection, and who answers it.
type Held = (TcpStream, String);

/// Makes a Service for each scheduler and looks at what becomes of connections.
///
/// # Errors
/// When a Service cannot be made or does not answer at all.
pub async fn checks(lab: &Lab) -> Result<Vec<Check>> {
    let topology = lab.cluster.topology();
    objects::create_cases(&lab.foundation.client, &cases()).await?;
    for number in 0..NAMES.len() {
        answers(topology, address(number)).await?;
    }
    let mut checks: Vec<Check> = NAMES
        .iter()
        .enumerate()
        .map(|(number, name)| check(format!("scheduler {name}"), behaves(topology, name, address(number))))
        .collect();
    checks.push(check("scheduler sed weighs".into(), sed_weighs(topology)));
    checks.push(check("a changed weight is put back".into(), weight_returns(topology).await));
    checks.push(check("ipvsadm -C is repaired".into(), servers_return(topology).await));
    checks.push(check("an address that is taken is put back".into(), address_returns(topology).await));
    checks.push(check("addresses that are flushed are put back".into(), addresses_return(topology).await));
    checks.push(check("a table that is deleted is put back".into(), table_returns(topology).await));
    Ok(checks)
}

/// What came of it.
pub(crate) fn check(name: String, outcome: Result<()>) -> Check {
    Check { name, failure: outcome.err().map(|error| format!("{error:#}")) }
}

fn cases() -> Vec<Numbered> {
    let case = |(number, name): (u8, &&'static str)| Numbered {
        addresses: Addresses(FIRST + number),
        case: Case::new(name, Service { annotations: vec![(ANNOTATION, name)], ..Service::ready(&FOUR) }),
    };
    (0..).zip(&NAMES).map(case).collect()
}

fn address(number: usize) -> SocketAddr {
    place(number).socket(Frontend::ClusterIp, Family::V4, 80, 0)
}

fn place(number: usize) -> Addresses {
    Addresses(FIRST + u8::try_from(number).unwrap_or_default())
}

fn number_of(name: &str) -> usize {
    NAMES.iter().position(|known| *known == name).unwrap_or_default()
}

fn named(name: &str) -> SocketAddr {
    address(number_of(name))
}

/// Where the Service of this scheduler is by TCP.
pub(crate) fn frontend_of(name: &str, frontend: Frontend, family: Family) -> SocketAddr {
    let place = place(number_of(name));
    place.socket(frontend, family, 80, place.node_port(0))
}

fn behaves(topology: &Topology, name: &str, to: SocketAddr) -> Result<()> {
    match name {
        "rr" | "wrr" => {
            let answers = ask(topology, Sender::Pod(Pod::C1), to, ASKED)?;
            ensure!(is_even(&answers, FOUR.len()), "{ASKED} connections went to {answers:?}");
            Ok(())
        }
        "dh" | "lblc" => {
            let mut answers = ask(topology, Sender::Pod(Pod::C1), to, ASKED / 2)?;
            answers.extend(ask(topology, Sender::Node(Place::Node1), to, ASKED / 4)?);
            ensure!(are_same(&answers), "one address led to {:?}", counts(&answers));
            Ok(())
        }
        "sh" | "mh" => {
            for sender in [Sender::Pod(Pod::C1), Sender::Node(Place::Node1), Sender::Client] {
                let answers = ask(topology, sender, to, ASKED / 4)?;
                ensure!(are_same(&answers), "{sender} came to {:?}", counts(&answers));
            }
            Ok(())
        }
        _ => follows_open_connections(topology, to),
    }
}

/// Open connections are spread evenly, and where some were closed new ones go.
fn follows_open_connections(topology: &Topology, to: SocketAddr) -> Result<()> {
    let mut held = hold(topology, to, HELD)?;
    let who = names(&held);
    ensure!(is_even(&who, FOUR.len()), "{HELD} open connections went to {:?}", counts(&who));
    let freed = held[0].1.clone();
    let before = held.len();
    held.retain(|(_, name)| *name != freed);
    let closed = before - held.len();
    let new = names(&hold(topology, to, closed)?);
    let back = new.iter().filter(|name| **name == freed).count();
    ensure!(
        back + TOLERANCE >= closed,
        "{closed} connections of {freed} were closed, and new ones went to {new:?}"
    );
    Ok(())
}

/// One endpoint with weight 3 among three with weight 1 has half of twelve.
fn sed_weighs(topology: &Topology) -> Result<()> {
    let to = named("sed");
    set_weight(topology, to, Pod::A1, 3)?;
    let who = names(&hold(topology, to, HELD)?);
    let counts = counts(&who);
    let of = |name: &str| counts.get(name).copied().unwrap_or_default();
    ensure!(of("a1").abs_diff(HELD / 2) <= TOLERANCE, "{HELD} open connections went to {counts:?}");
    Ok(())
}

async fn weight_returns(topology: &Topology) -> Result<()> {
    let to = named("sed");
    set_weight(topology, to, Pod::A2, 7)?;
    until("the weight of before", REPAIR, || async {
        let listed = ipvsadm(topology, &["-L", "-n", "-t", &to.to_string()])?;
        let weights: BTreeSet<&str> = listed
            .lines()
            .filter(|line| line.contains("Masq"))
            .filter_map(|line| line.split_whitespace().nth(3))
            .collect();
        Ok(if weights == BTreeSet::from(["1"]) { Look::Ready(()) } else { Look::NotYet(listed) })
    })
    .await
}

async fn servers_return(topology: &Topology) -> Result<()> {
    ipvsadm(topology, &["-C"])?;
    answers(topology, named("rr")).await
}

async fn address_returns(topology: &Topology) -> Result<()> {
    let to = named("rr");
    let taken = format!("address del {}/32 dev penstock-ipvs\n", to.ip());
    netns::batch(&topology.netns(Place::Node1), &taken)?;
    answers(topology, to).await
}

async fn addresses_return(topology: &Topology) -> Result<()> {
    let node = topology.netns(Place::Node1);
    let there = addresses(&node)?;
    netns::batch(&node, "address flush dev penstock-ipvs\n")?;
    until("all addresses", REPAIR, || async {
        let missing: Vec<String> = there.difference(&addresses(&node)?).cloned().collect();
        Ok(if missing.is_empty() { Look::Ready(()) } else { Look::NotYet(missing.join(" ")) })
    })
    .await
}

/// Those of the device, with their prefixes. The kernel's own stay away once they are taken.
fn addresses(node: &str) -> Result<BTreeSet<String>> {
    let listed =
        Command::new("ip").args(["-n", node, "-brief", "address", "show", "dev", "penstock-ipvs"]).output();
    let listed = String::from_utf8_lossy(&listed.context("run ip")?.stdout).into_owned();
    let words = listed.split_whitespace().skip(2).filter(|address| !address.starts_with("fe80:"));
    let addresses: BTreeSet<String> = words.map(str::to_owned).collect();
    Ok(addresses)
}

/// Without it nobody is masqueraded, so that a client outside gets no answer.
async fn table_returns(topology: &Topology) -> Result<()> {
    netns::nft(&topology.netns(Place::Node1), "delete table inet penstock-ipvs\n")?;
    until("the table", REPAIR, || async {
        let netns = topology.netns(Place::Node1);
        let listed = Command::new("ip").args(["netns", "exec", &netns, "nft", "list", "tables"]).output();
        let listed = listed.context("run nft")?;
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        Ok(match listed.contains("inet penstock-ipvs") {
            true => Look::Ready(()),
            false => Look::NotYet(listed),
        })
    })
    .await?;
    ask(topology, Sender::Client, named("rr"), 1).map(drop)
}

/// Waits until somebody answers a pod on the first node.
async fn answers(topology: &Topology, to: SocketAddr) -> Result<()> {
    until("an answer", REPAIR, || async {
        Ok(match ask(topology, Sender::Pod(Pod::C1), to, 1) {
            Ok(_) => Look::Ready(()),
            Err(error) => Look::NotYet(format!("{to}: {error:#}")),
        })
    })
    .await
}

fn set_weight(topology: &Topology, to: SocketAddr, pod: Pod, weight: u32) -> Result<()> {
    let (server, endpoint) = (to.to_string(), format!("{}:{TARGET}", pod.addresses().v4));
    ipvsadm(topology, &["-e", "-t", &server, "-r", &endpoint, "-m", "-w", &weight.to_string()]).map(drop)
}

fn ipvsadm(topology: &Topology, args: &[&str]) -> Result<String> {
    let netns = topology.netns(Place::Node1);
    let output = Command::new("ip").args(["netns", "exec", &netns, "ipvsadm"]).args(args).output();
    let output = output.context("run ipvsadm")?;
    ensure!(output.status.success(), "ipvsadm {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Connections one after the other, each closed before the next.
fn ask(topology: &Topology, from: Sender, to: SocketAddr, count: usize) -> Result<Vec<String>> {
    netns::within(&from.netns(topology), || (0..count).map(|_| Ok(connect(to)?.1)).collect())
}

/// Connections that stay open.
fn hold(topology: &Topology, to: SocketAddr, count: usize) -> Result<Vec<Held>> {
    netns::within(&Sender::Pod(Pod::C1).netns(topology), || (0..count).map(|_| connect(to)).collect())
}

fn connect(to: SocketAddr) -> Result<Held> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).with_context(|| format!("connect to {to}"))?;
    stream.set_read_timeout(Some(PATIENCE)).context("set a time-out")?;
    stream.write_all(b"?\n").context("ask")?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).context("read the answer")?;
    let answer = parse(&line).with_context(|| format!("{to} answered {line:?}"))?;
    Ok((stream, answer.by))
}

fn names(held: &[Held]) -> Vec<String> {
    held.iter().map(|(_, name)| name.clone()).collect()
}

fn counts(names: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name.as_str()).or_default() += 1;
    }
    counts
}

fn is_even(names: &[String], among: usize) -> bool {
    let counts = counts(names);
    let share = names.len() / among;
    counts.len() == among && counts.values().all(|count| count.abs_diff(share) <= TOLERANCE)
}

fn are_same(names: &[String]) -> bool {
    counts(names).len() == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn shares_may_differ_by_one() {
        assert!(is_even(&named("a b a b a"), 2));
        assert!(!is_even(&named("a b a a a a"), 2));
        assert!(!is_even(&named("a a"), 2), "one has none");
        assert!(are_same(&named("a a")) && !are_same(&named("a b")));
    }

    #[test]
    fn every_scheduler_has_an_address_before_the_canaries() {
        assert!(usize::from(FIRST) + NAMES.len() <= 250);
        assert_eq!(cases().len(), NAMES.len());
    }
}
