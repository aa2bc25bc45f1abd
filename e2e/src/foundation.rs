//! What every instance starts with: its namespaces and cgroups, etcd and the API server in the control plane's, and the
//! door to them.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cgroup::Cgroup;
use crate::cluster::{Cluster, admin_kubeconfig, pki_dir, place_cgroup, place_sandbox};
use crate::control_plane::{self, Endpoints, Files};
use crate::forward::Forward;
use crate::kubeconfig::{self, Credential};
use crate::node::wait_for_file;
use crate::pki::{Authority, write_private};
use crate::process::{Process, Sandbox, Spec};
use crate::progress::{Step, step};
use crate::segment;
use crate::topology::{API_PORT, CONTROL_PLANE, Place, Topology, netns_file};

/// In its own namespace the control plane can have the usual ports.
const ENDPOINTS: Endpoints = Endpoints {
    etcd: 2379,
    etcd_peer: 2380,
    bind: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    port: API_PORT,
    reconcile_endpoints: true,
};

/// The namespaces of an instance, its certificates, and a client of its API server to be.
pub(crate) struct Foundation {
    /// Certificates and keys.
    pub(crate) files: Files,
    /// Who signs for the API server's clients.
    pub(crate) authority: Authority,
    /// The administrator's, through the door.
    pub(crate) client: kube::Client,
    admin: String,
}

impl Foundation {
    /// Makes namespaces, cgroups, certificates, and the door. Nothing of the instance may be there.
    ///
    /// # Errors
    /// When the kernel refuses something or the forwarder does not start.
    pub(crate) async fn lay(cluster: &Cluster, harness: &Path) -> Result<Self> {
        let topology = cluster.topology();
        step("make namespaces and cgroups", || {
            make_cgroups(topology)?;
            segment::create(topology)
        })?;
        let files = Files::in_directory(pki_dir(topology));
        let authority = files.create(&api_addresses())?;
        let admin = control_plane::admin_kubeconfig(&authority, &forward(cluster, harness)?)?;
        let client = kubeconfig::client(&admin).await?;
        Ok(Self { files, authority, client, admin })
    }

    /// Starts etcd and the API server, and waits until it is ready.
    ///
    /// # Errors
    /// When one of them ends early; the message has the end of its log.
    pub(crate) async fn start_api_server(&self, cluster: &Cluster) -> Result<()> {
        let all = Step::start("start etcd and kube-apiserver");
        let tools = cluster.tools();
        let data = cluster.topology().state_dir().join("etcd");
        let etcd = spawn_on_control_plane(
            cluster,
            "etcd",
            tools.etcd(),
            control_plane::etcd_args(&ENDPOINTS, &data),
        )?;
        let args = control_plane::api_server_args(&ENDPOINTS, &self.files);
        let program = tools.kubernetes("kube-apiserver");
        let api_server = spawn_on_control_plane(cluster, "kube-apiserver", program, args)?;
        let alive = || etcd.check().and_then(|()| api_server.check());
        control_plane::wait_until_ready(&self.client, alive).await?;
        all.done();
        Ok(())
    }

    /// Writes a kubeconfig with a certificate for a component of Kubernetes, which reaches the API server as `server`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn component_kubeconfig(&self, name: &str, server: &str) -> Result<PathBuf> {
        let identity = self.authority.client(&format!("system:{name}"), None)?;
        let path = self.files.path(&format!("{name}.kubeconfig"));
        kubeconfig::write(&path, server, self.authority.certificate(), &Credential::Certificate(identity))?;
        Ok(path)
    }

    /// Writes the administrator's kubeconfig, which says that the instance came up.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn save_admin(&self, topology: &Topology) -> Result<()> {
        write_private(&admin_kubeconfig(topology), &self.admin)
    }
}

/// Starts a process on the control plane's machine.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn spawn_on_control_plane(
    cluster: &Cluster,
    name: &str,
    program: PathBuf,
    args: Vec<String>,
) -> Result<Process> {
    let sandbox = place_sandbox(cluster.topology(), Place::ControlPlane)?;
    cluster.ledger().spawn(&Spec { name: format!("cp-{name}"), program, args, env: Vec::new(), sandbox })
}

/// Starts the forwarder and returns the address under which this machine reaches the API server.
fn forward(cluster: &Cluster, harness: &Path) -> Result<String> {
    let topology = cluster.topology();
    let forward = Forward {
        netns: netns_file(&topology.netns(Place::ControlPlane)),
        target: SocketAddr::from((Ipv4Addr::LOCALHOST, API_PORT)),
        port_file: topology.state_dir().join("api-port"),
    };
    let cgroup = Some(place_cgroup(topology, Place::ControlPlane)?);
    let process = cluster.ledger().spawn(&Spec {
        name: "cp-forward".into(),
        program: harness.to_owned(),
        args: forward.args(),
        env: Vec::new(),
        sandbox: Sandbox { cgroup, ..Sandbox::default() },
    })?;
    wait_for_file(&process, &forward.port_file)?;
    let port = fs::read_to_string(&forward.port_file).context("read the forwarder's port")?;
    Ok(format!("https://127.0.0.1:{port}"))
}

/// Under which addresses the API server is reached: from this machine, on the segment, and as the first address of the
/// Service CIDRs.
fn api_addresses() -> Vec<IpAddr> {
    let own = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1))];
    let service_v6 = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x96, 0, 0, 0, 0, 1));
    own.into_iter().chain([service_v6]).chain(CONTROL_PLANE.both()).collect()
}

/// The nodes' machines make the groups inside the nodes' own.
fn make_cgroups(topology: &Topology) -> Result<()> {
    Place::ALL.iter().try_for_each(|place| Cgroup::at(topology.cgroup())?.child(place.name()).create())
}
