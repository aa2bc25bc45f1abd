//! The place where the table is run: two nodes without kubelets, their Pods, a client outside, and an API server.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::cgroup::Cgroup;
use crate::cluster::{Cluster, harness_program};
use crate::flows::echo::Echo;
use crate::flows::network;
use crate::flows::objects;
use crate::flows::place::Pod;
use crate::flows::service::{Host, OTHER_TARGET, TARGET};
use crate::foundation::Foundation;
use crate::node::wait_for_file;
use crate::process::{Process, Sandbox, Spec};
use crate::progress::step;
use crate::teardown;
use crate::tools::Tools;
use crate::topology::{Place, Topology, netns_file};

/// A lab that is up. [`teardown::down`] removes it.
pub struct Lab {
    /// The API server and where processes are recorded.
    pub(crate) cluster: Cluster,
    pub(crate) foundation: Foundation,
}

impl Lab {
    /// Brings it up with its nodes and without Services. What an earlier one left is removed first.
    ///
    /// # Errors
    /// When the kernel refuses something or a process does not start.
    pub async fn bring_up(topology: &Topology) -> Result<Self> {
        if !teardown::leftovers(topology)?.is_empty() {
            teardown::down(topology)?;
        }
        let cluster = Cluster::of(topology.clone(), Tools::build()?)?;
        let harness = harness_program()?;
        let foundation = Foundation::lay(&cluster, &harness).await?;
        let lab = Self { cluster, foundation };
        step("make Pods", || {
            network::create(topology)?;
            lab.start_servers(&harness)
        })?;
        lab.foundation.start_api_server(&lab.cluster).await?;
        lab.foundation.save_admin(topology)?;
        objects::create_ground(&lab.foundation.client).await?;
        Ok(lab)
    }

    /// Where a node's processes run. They end with this program, however it ends.
    ///
    /// # Errors
    /// When there are no cgroups.
    pub fn sandbox(&self, place: Place) -> Result<Sandbox> {
        self.sandbox_in(place, &self.cluster.topology().netns(place))
    }

    /// The same in a Pod's namespace.
    pub(crate) fn sandbox_in(&self, place: Place, netns: &str) -> Result<Sandbox> {
        let cgroup = Cgroup::at(self.cluster.topology().cgroup())?.child(place.name());
        Ok(Sandbox {
            netns: Some(netns_file(netns)),
            cgroup: Some(cgroup),
            die_with_parent: true,
            ..Sandbox::default()
        })
    }

    /// All servers at once, and then waits for each.
    fn start_servers(&self, harness: &Path) -> Result<()> {
        let topology = self.cluster.topology();
        let pods = Pod::ALL.iter().map(|pod| {
            (
                Host::Pod(*pod),
                self.sandbox_in(pod.node(), &topology.pod_netns(pod.name())),
                vec![TARGET, OTHER_TARGET],
            )
        });
        let others = [
            (Host::Node1, self.sandbox(Place::Node1), vec![TARGET]),
            // Also on the Services' own port: it answers where a packet was let through that must not be.
            (Host::Outside, self.sandbox(Place::Client), vec![80, TARGET]),
        ];
        let started: Vec<(Process, PathBuf)> = pods
            .chain(others)
            .map(|(host, sandbox, ports)| self.start_server(harness, host, sandbox?, ports))
            .collect::<Result<_>>()?;
        started.iter().try_for_each(|(process, ready_file)| wait_for_file(process, ready_file))
    }

    fn start_server(
        &self,
        harness: &Path,
        host: Host,
        sandbox: Sandbox,
        ports: Vec<u16>,
    ) -> Result<(Process, PathBuf)> {
        let name = format!("echo-{}", host.name());
        let ready_file = self.cluster.topology().state_dir().join(&name);
        let echo = Echo { name: host.name().into(), ports, ready_file: ready_file.clone() };
        let spec = Spec { name, program: harness.to_owned(), args: echo.args(), env: Vec::new(), sandbox };
        Ok((self.cluster.ledger().spawn(&spec)?, ready_file))
    }
}
