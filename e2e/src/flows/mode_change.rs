//! From mode ipvs to nftables on a live node, and back, while clients connect all the time: none of their connections may
//! fail. Between nftables and iptables it is looked at on the machine's own kernel (`dataplane/tests/packets/mode.rs`).

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use crate::flows::frontend::Frontend;
use crate::flows::lab::Lab;
use crate::flows::place::{Family, Pod, Sender};
use crate::flows::program::{Mode, Program};
use crate::flows::schedulers::{self, Check};
use crate::netns;
use crate::process::Process;
use crate::topology::{Place, Topology};
use crate::wait::{Look, until};

/// The node.
const NODE: Place = Place::Node1;
/// How long a change may take: the agent starts anew, in a machine that is many times slower than the one that it runs on.
const CHANGED: Duration = Duration::from_secs(300);
/// How long a client rests between two connections: without that nobody else would get anything done on the only processor of
/// a user-mode Linux.
const REST: Duration = Duration::from_millis(10);
/// What each mode has of nftables, and nothing else of ours.
const TABLES: [(Mode, &str); 2] =
    [(Mode::Nftables, "table inet penstock"), (Mode::Ipvs, "table inet penstock-ipvs")];

/// What a client does about a SYN without an answer.
#[derive(Debug, Clone, Copy)]
enum Manner {
    /// Tries another connection at once, so that no second passes in which nothing is seen.
    Hasty,
    /// Waits until it is sent again: somebody has to answer in the end.
    Patient,
}

/// Who connects, to where, how, and how often it did.
#[derive(Debug)]
struct Client {
    from: Sender,
    to: SocketAddr,
    manner: Manner,
    connections: AtomicUsize,
}

/// A client at work, and what it says at its end: what failed.
type AtWork = (Arc<Client>, JoinHandle<Result<Vec<String>>>);

/// Clients at work. They end when this is dropped.
struct Clients {
    done: Arc<AtomicBool>,
    all: Vec<AtWork>,
}

/// Changes the mode to nftables and back, and looks at the clients after each. The Services of [`schedulers`] have to be there.
///
/// # Errors
/// When an agent cannot be started.
pub async fn checks(lab: &Lab, processes: &mut [Process]) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    for mode in [Mode::Nftables, Mode::Ipvs] {
        let name = format!("no connection fails while the mode changes to {mode}");
        checks.push(schedulers::check(name, change(lab, processes, mode).await));
    }
    Ok(checks)
}

async fn change(lab: &Lab, processes: &mut [Process], mode: Mode) -> Result<()> {
    let topology = lab.cluster.topology();
    let installed = Program::PenstockNode.install(lab, mode).await?;
    let clients = Clients::start(topology);
    clients.all_connect().await?;
    let place =
        Place::NODES.iter().position(|place| *place == NODE).context("the node is none of the lab's")?;
    let process = processes.get_mut(place).context("no agent runs on the node")?;
    process.stop()?;
    *process = installed.start(lab, NODE)?;
    until("the rules of the mode, and none of another", CHANGED, || async {
        process.check()?;
        let standing = standing(topology)?;
        Ok(if standing == rules_of(mode) { Look::Ready(()) } else { Look::NotYet(standing.join(", ")) })
    })
    .await
    .with_context(|| format!("the agent says:\n{}", process.log_tail()))?;
    clients.all_connect().await?;
    clients.end()
}

/// Our tables, the device, and whether there are virtual servers.
fn standing(topology: &Topology) -> Result<Vec<String>> {
    let inside = |command: &[&str]| {
        let output = Command::new("ip").args(["netns", "exec", &topology.netns(NODE)]).args(command).output();
        let output = output.with_context(|| format!("run {command:?}"))?;
        ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let tables = inside(&["nft", "list", "tables"])?;
    let ours = tables.lines().map(str::trim).filter(|line| line.contains("penstock"));
    let mut standing: Vec<String> = ours.map(str::to_owned).collect();
    let device = inside(&["ip", "-brief", "link"])?.contains("penstock-ipvs");
    let servers = inside(&["ipvsadm", "-S", "-n"])?.contains("-A ");
    standing.extend(device.then(|| "device".to_owned()));
    standing.extend(servers.then(|| "servers".to_owned()));
    Ok(standing)
}

fn rules_of(mode: Mode) -> Vec<String> {
    let table = TABLES.iter().filter(|(of, _)| *of == mode).map(|(_, table)| *table);
    let more = if mode == Mode::Ipvs { ["device", "servers"].as_slice() } else { &[] };
    table.chain(more.iter().copied()).map(str::to_owned).collect()
}

impl Clients {
    /// One of each manner from a Pod, the node and outside.
    fn start(topology: &Topology) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let to = |frontend| schedulers::frontend_of("rr", frontend, Family::V4);
        let ways = [
            (Sender::Pod(Pod::C1), to(Frontend::ClusterIp)),
            (Sender::Node(NODE), to(Frontend::ClusterIp)),
            (Sender::Client, to(Frontend::NodePort(NODE))),
        ];
        let both = ways.into_iter().flat_map(|way| [(way, Manner::Hasty), (way, Manner::Patient)]);
        let all = both.map(|((from, to), manner)| {
            let client = Arc::new(Client { from, to, manner, connections: AtomicUsize::new(0) });
            let (netns, done, at_work) = (from.netns(topology), done.clone(), client.clone());
            (client, thread::spawn(move || netns::within(&netns, || at_work.connect(&done))))
        });
        Self { all: all.collect(), done }
    }

    /// Waits until each has connected once more.
    async fn all_connect(&self) -> Result<()> {
        let made = |client: &Client| client.connections.load(Ordering::Relaxed);
        let before: Vec<usize> = self.all.iter().map(|(client, _)| made(client)).collect();
        until("another connection of every client", CHANGED, || async {
            let mut all = self.all.iter().zip(&before);
            let silent = all.find(|((client, _), before)| made(client) == **before);
            Ok(silent.map_or(Look::Ready(()), |((client, _), _)| Look::NotYet(format!("{client:?}"))))
        })
        .await
    }

    fn end(mut self) -> Result<()> {
        self.done.store(true, Ordering::Relaxed);
        let mut failed = Vec::new();
        for (_, thread) in self.all.drain(..) {
            failed.extend(thread.join().map_err(|_| anyhow!("a client panicked"))??);
        }
        ensure!(failed.is_empty(), "{} connections failed: {}", failed.len(), failed.join("; "));
        Ok(())
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

impl Client {
    /// Connects again and again until told to end. Returns what failed.
    fn connect(&self, done: &AtomicBool) -> Result<Vec<String>> {
        let Self { from, to, manner, connections } = self;
        let patience = match manner {
            Manner::Hasty => Duration::from_millis(100),
            Manner::Patient => Duration::from_secs(10),
        };
        let mut failed = Vec::new();
        while !done.load(Ordering::Relaxed) {
            match (TcpStream::connect_timeout(to, patience), manner) {
                (Ok(stream), _) => {
                    reset(&stream)?;
                    connections.fetch_add(1, Ordering::Relaxed);
                }
                (Err(error), Manner::Hasty) if error.kind() == ErrorKind::TimedOut => {}
                (Err(error), _) => failed.push(format!("{from} to {to} ({manner:?}): {error}")),
            }
            thread::sleep(REST);
        }
        Ok(failed)
    }
}

/// It ends with a reset, so that no end keeps a socket in TIME_WAIT, of which thousands would use the ports up.
fn reset(stream: &TcpStream) -> Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    nix::sys::socket::setsockopt(stream, nix::sys::socket::sockopt::Linger, &linger).context("set linger")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mode_has_a_table_of_its_own() {
        assert_eq!(rules_of(Mode::Nftables), ["table inet penstock"]);
        assert_eq!(rules_of(Mode::Ipvs), ["table inet penstock-ipvs", "device", "servers"]);
    }
}
