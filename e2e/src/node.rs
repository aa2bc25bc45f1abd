//! A node: containerd and a kubelet on a [machine](crate::machine) of their own.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use serde_json::{Value, json};

use crate::cgroup::Cgroup;
use crate::images::{Images, PAUSE};
use crate::kubeconfig::{self, Credential};
use crate::machine::Machine;
use crate::pki::Authority;
use crate::process::{Ledger, Process, Sandbox, Spec};
use crate::topology::{CLIENT, CLUSTER_DNS, Place};
use crate::wait::{Look, until_blocking};

/// How long containerd and the machine may take to be ready; it bounds the wait for a broken one.
const READY: Duration = Duration::from_secs(120);

/// containerd's socket, as the node sees it.
pub(crate) const SOCKET: &str = "/run/containerd/containerd.sock";

/// Where Debian's containernetworking-plugins are.
const CNI_PLUGINS: &str = "/usr/lib/cni";

/// A node that is being brought up.
#[derive(Debug, Clone)]
pub struct Node {
    /// Which one.
    pub place: Place,
    /// Its directory below the instance's.
    pub root: PathBuf,
    /// The network namespace and the cgroup for containerd and the kubelet; no machine yet.
    pub sandbox: Sandbox,
    /// The cgroup of the whole node, in which the machine makes the others.
    pub cgroup: Cgroup,
    /// Where pid files and logs go.
    pub ledger: Ledger,
}

impl Node {
    /// The name of the process that is this node's machine.
    pub fn machine_name(place: Place) -> String {
        format!("{}-machine", place.name())
    }

    /// Starts the machine and containerd on it, and imports the images. Returns the sandbox with the machine.
    ///
    /// # Errors
    /// When one of them ends early; the message has the end of its log.
    pub fn start_runtime(&self, harness: &Path, keep: Vec<PathBuf>, images: &Images) -> Result<Sandbox> {
        fs::create_dir_all(self.cni_conf_dir()).context("make the CNI configuration directory")?;
        let machine = Machine { hostname: self.place.name().into(), root: self.root.clone(), keep };
        let process = self.ledger.spawn(&Spec {
            name: Self::machine_name(self.place),
            program: harness.to_owned(),
            args: machine.args(),
            env: Vec::new(),
            sandbox: Sandbox { cgroup: Some(self.cgroup.clone()), ..self.sandbox.clone() },
        })?;
        wait_for_file(&process, &machine.ready_file())?;
        let sandbox = Sandbox { machine: Some(process.pid()), ..self.sandbox.clone() };
        let containerd = self.start_containerd(&sandbox)?;
        until_blocking("readiness of containerd", READY, || {
            containerd.check()?;
            Ok(match self.ctr(&sandbox, &["version"]) {
                Ok(()) => Look::Ready(()),
                Err(error) => Look::NotYet(error.to_string()),
            })
        })?;
        for archive in images.archives() {
            let archive = archive.display().to_string();
            self.ctr(&sandbox, &["-n", "k8s.io", "images", "import", &archive])?;
        }
        Ok(sandbox)
    }

    fn start_containerd(&self, sandbox: &Sandbox) -> Result<Process> {
        let config = self.root.join("containerd.toml");
        fs::write(&config, containerd_config(&self.cni_conf_dir()))
            .context("write containerd's configuration")?;
        self.spawn("containerd", Path::new("containerd"), vec!["--config".into(), path(&config)], sandbox)
    }

    /// Starts the kubelet. `sandbox` is what [`Node::start_runtime`] returned.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_kubelet(
        &self,
        kubelet: &Path,
        server: &str,
        authority: &Authority,
        sandbox: &Sandbox,
    ) -> Result<()> {
        let name = self.place.name();
        let user = format!("system:node:{name}");
        let client = Credential::Certificate(authority.client(&user, Some("system:nodes"))?);
        let kubeconfig = self.root.join("kubelet.kubeconfig");
        kubeconfig::write(&kubeconfig, server, authority.certificate(), &client)?;
        authority.server(&user, &[name], &self.place.addresses().both())?.save(&self.root, "kubelet")?;
        fs::write(self.root.join("ca.crt"), authority.certificate()).context("write the CA's certificate")?;
        fs::write(self.root.join("resolv.conf"), format!("nameserver {}\n", CLIENT.v4))
            .context("write resolv.conf")?;
        let config = self.root.join("kubelet.json");
        let text = kubelet_config(&self.root).to_string();
        fs::write(&config, text).context("write the kubelet's configuration")?;
        let args = vec![
            format!("--config={}", config.display()),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--node-ip={}", self.place.addresses().both().map(|ip: IpAddr| ip.to_string()).join(",")),
        ];
        self.spawn("kubelet", kubelet, args, sandbox)?;
        Ok(())
    }

    /// Gives Pods their network: addresses from the node's part of the Pod CIDRs. The node is ready soon after.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn configure_pod_network(&self, cidrs: &[IpNet]) -> Result<()> {
        let place = self.cni_conf_dir().join("10-pods.conflist");
        // containerd reloads for a name that goes away or is written, not for one that appears (go-cni's users skip
        // Create): the first name has to be in the same directory.
        let fresh = self.cni_conf_dir().join("pods.fresh");
        fs::write(&fresh, cni_config(cidrs).to_string()).context("write the CNI configuration")?;
        fs::rename(&fresh, &place).with_context(|| format!("write {}", place.display()))
    }

    fn cni_conf_dir(&self) -> PathBuf {
        self.root.join("cni")
    }

    fn spawn(&self, what: &str, program: &Path, args: Vec<String>, sandbox: &Sandbox) -> Result<Process> {
        let name = format!("{}-{what}", self.place.name());
        let spec =
            Spec { name, program: program.to_owned(), args, env: Vec::new(), sandbox: sandbox.clone() };
        self.ledger.spawn(&spec)
    }

    fn ctr(&self, sandbox: &Sandbox, args: &[&str]) -> Result<()> {
        let mut command = Command::new("ctr");
        command.args(["--address", SOCKET]).args(args);
        sandbox.apply(&mut command)?;
        let output = command.output().context("run ctr")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "ctr {} on {} failed: {}",
            args.join(" "),
            self.place.name(),
            said.trim()
        );
        Ok(())
    }
}

/// Waits until a process has made a file.
///
/// # Errors
/// When the process has ended, or does not make it in time.
pub fn wait_for_file(process: &Process, file: &Path) -> Result<()> {
    until_blocking(&format!("readiness of {}", process.name()), READY, || {
        if file.exists() {
            return Ok(Look::Ready(()));
        }
        process.check()?;
        Ok(Look::NotYet(format!("{} is not there", file.display())))
    })
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

/// All paths are the node's own ([`crate::machine`]). `opt` would otherwise make `/opt/containerd` on the machine.
fn containerd_config(cni_conf_dir: &Path) -> String {
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  stream_server_address = "127.0.0.1"
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{CNI_PLUGINS}"
  conf_dir = "{}"
"#,
        cni_conf_dir.display()
    )
}

/// Cgroups without a hierarchy of quality-of-service classes; no OOM score below zero, which needs a capability that
/// root in a virtual machine may lack (CAP_SYS_RESOURCE); no eviction and no
/// image collection, since the disk is shared with everything else; no change of the machine's kernel parameters and
/// no iptables rules (`KUBE-KUBELET-CANARY`).
fn kubelet_config(root: &Path) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": path(&root.join("ca.crt")) },
        },
        "authorization": { "mode": "Webhook" },
        "tlsCertFile": path(&root.join("kubelet.crt")),
        "tlsPrivateKeyFile": path(&root.join("kubelet.key")),
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": false,
        "enforceNodeAllocatable": [],
        "oomScoreAdj": 0,
        "failCgroupV1": false,
        "failSwapOn": false,
        "localStorageCapacityIsolation": false,
        "protectKernelDefaults": true,
        "makeIPTablesUtilChains": false,
        "evictionHard": {
            "imagefs.available": "0%", "imagefs.inodesFree": "0%", "memory.available": "0%",
            "nodefs.available": "0%", "nodefs.inodesFree": "0%",
        },
        "imageGCHighThresholdPercent": 100,
        "clusterDNS": [CLUSTER_DNS.to_string()],
        "clusterDomain": "cluster.local",
        "resolvConf": path(&root.join("resolv.conf")),
        "volumePluginDir": "/var/lib/kubelet/volumeplugins",
    })
}

/// `ptp`, not `bridge`: Pods of one node then reach each other through the node's routing, where a Service's answer is
/// translated back. Across a bridge that only happens with br_netfilter, a module that would have to be loaded into
/// the whole machine.
fn cni_config(cidrs: &[IpNet]) -> Value {
    let ranges: Vec<Value> = cidrs.iter().map(|cidr| json!([{ "subnet": cidr.to_string() }])).collect();
    json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [{
            "type": "ptp",
            "ipMasq": false,
            "ipam": {
                "type": "host-local",
                "dataDir": "/var/lib/cni/networks",
                "ranges": ranges,
                "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }],
            },
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_get_an_address_of_each_family() {
        let cidrs = ["10.244.1.0/24".parse().unwrap(), "2001:db8:244:1::/64".parse().unwrap()];
        let config = cni_config(&cidrs);
        let ranges = &config["plugins"][0]["ipam"]["ranges"];
        assert_eq!(ranges[0][0]["subnet"], "10.244.1.0/24");
        assert_eq!(ranges[1][0]["subnet"], "2001:db8:244:1::/64");
    }

    #[test]
    fn the_kubelet_stays_off_the_machines_settings() {
        let config = kubelet_config(Path::new("/state/n1"));
        assert_eq!(config["protectKernelDefaults"], true);
        assert_eq!(config["makeIPTablesUtilChains"], false);
    }
}
