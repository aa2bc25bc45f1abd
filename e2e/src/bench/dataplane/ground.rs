//! The lab of the packet flows, made ready for measuring: two Pods of the first node answer at many addresses, a third
//! is the client, and what one subject leaves is cleared away before the next.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::endpoint::Endpoint;
use super::population::{BLOCK, Side};
use super::quiet;
use crate::cluster::{harness_program, server};
use crate::control_plane::admin_kubeconfig;
use crate::flows::lab::Lab;
use crate::flows::place::Pod;
use crate::flows::program::Mode;
use crate::netns;
use crate::node::wait_for_file;
use crate::process::Spec;
use crate::topology::{Place, Topology, netns_file};

/// The node that subjects run on.
pub const NODE: Place = Place::Node1;

/// The Pod on it that sends.
const CLIENT: Pod = Pod::C1;

/// For how long the machine may take to calm down.
const CALM: Duration = Duration::from_secs(10);

/// Unanswered and closed connections are forgotten soon, so that a measurement does not meet those of the one before.
const CONNTRACK: &[(&str, &str)] = &[
    ("netfilter/nf_conntrack_tcp_timeout_time_wait", "1"),
    ("netfilter/nf_conntrack_tcp_timeout_close", "1"),
    ("netfilter/nf_conntrack_tcp_timeout_syn_sent", "1"),
];

/// A lab without a subject.
pub struct Ground {
    lab: Lab,
    kubeconfig: String,
}

impl Ground {
    /// Brings the lab up, without Services.
    ///
    /// # Errors
    /// When it does not come up, or iptables is not the one that is made of nftables.
    pub async fn bring_up(topology: &Topology) -> Result<Self> {
        check_iptables()?;
        let lab = Lab::bring_up(topology).await?;
        let kubeconfig = admin_kubeconfig(&lab.foundation.authority, &server())?;
        let ground = Self { lab, kubeconfig };
        for (pod, side) in [(Pod::A1, Side::A), (Pod::A2, Side::B)] {
            ground.add_block(pod, side)?;
        }
        netns::sysctl(&ground.node(), CONNTRACK)?;
        Ok(ground)
    }

    /// The lab.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The namespace of the node that subjects run on.
    pub fn node(&self) -> String {
        self.lab.cluster.topology().netns(NODE)
    }

    /// The same as a file.
    pub fn node_file(&self) -> PathBuf {
        netns_file(&self.node())
    }

    /// The namespace of the Pod that sends.
    pub fn client(&self) -> String {
        self.lab.cluster.topology().pod_netns(CLIENT.name())
    }

    /// The administrator's kubeconfig as the node reaches the API server.
    pub fn kubeconfig(&self) -> String {
        self.kubeconfig.clone()
    }

    /// A Pod that answers at a whole block of addresses.
    fn add_block(&self, pod: Pod, side: Side) -> Result<()> {
        let topology = self.lab.cluster.topology();
        let (netns, name) = (topology.pod_netns(pod.name()), pod.name());
        let block = format!("{}/{}", side.address(0), 32 - BLOCK.ilog2());
        netns::batch(&netns, &format!("route add local {block} dev lo\n"))?;
        let route = format!("route add {block} via {} dev pod-{name}\n", pod.addresses().v4);
        netns::batch(&self.node(), &route)?;
        let ready_file = topology.state_dir().join(format!("endpoint-{name}"));
        let endpoint = Endpoint { name: side.name(), ready_file: ready_file.clone() };
        let process = self.lab.cluster.ledger().spawn(&Spec {
            name: format!("endpoint-{name}"),
            program: harness_program()?,
            args: endpoint.args(),
            env: Vec::new(),
            sandbox: self.lab.sandbox_in(NODE, &netns)?,
        })?;
        wait_for_file(&process, &ready_file)
    }

    /// Removes all rules from the node, and waits until the machine has nothing else to do. Returns whether it calmed
    /// down.
    ///
    /// # Errors
    /// When rules are left.
    pub async fn clear(&self) -> Result<bool> {
        let node = self.node();
        tokio::task::spawn_blocking(move || {
            netns::nft(&node, "flush ruleset\n")?;
            let tables = dump(&node, &["nft", "list", "tables"])?;
            ensure!(tables.trim().is_empty(), "tables are left in {node}: {tables}");
            Ok(())
        })
        .await
        .context("wait for nft")??;
        quiet::wait(CALM).await
    }
}

/// What a command inside a namespace prints.
fn dump(netns: &str, command: &[&str]) -> Result<String> {
    let mut all = Command::new("timeout");
    all.args(["60", "ip", "netns", "exec", netns]).args(command).stdin(Stdio::null());
    let output = all.output().with_context(|| format!("run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed within {netns}: {}", said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether the rules of a namespace name an address, as their own tool lists them.
///
/// # Errors
/// When they cannot be listed within a minute.
pub fn mentions(netns: &str, mode: Mode, address: Ipv4Addr) -> Result<bool> {
    let text = match mode {
        Mode::Nftables => dump(netns, &["nft", "--numeric", "list", "ruleset"])?,
        // Not all of these are shown by nft.
        Mode::Iptables | Mode::Ipvs => dump(netns, &["iptables-save", "-t", "nat"])?,
    };
    Ok(names(&text, &address.to_string()))
}

/// Whether an address stands in a text, and not only as a part of a longer one.
fn names(text: &str, address: &str) -> bool {
    let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    text.match_indices(address).any(|(at, _)| {
        !digit(text[..at].chars().next_back()) && !digit(text[at + address.len()..].chars().next())
    })
}

/// The other iptables does not commit where commits are counted.
fn check_iptables() -> Result<()> {
    let output = Command::new("iptables").arg("--version").stdin(Stdio::null()).output();
    let said = output.context("run iptables; install it: apt-get install iptables")?.stdout;
    let said = String::from_utf8_lossy(&said);
    ensure!(
        said.contains("nf_tables"),
        "{} is not made of nftables; run: update-alternatives --set iptables /usr/sbin/iptables-nft",
        said.trim()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_within_a_longer_one_is_another() {
        assert!(names("dnat to 198.19.255.1:8000", "198.19.255.1"));
        assert!(!names("198.19.255.12 . 8000, 8198.19.255.1", "198.19.255.1"));
    }
}
