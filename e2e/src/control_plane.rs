//! The control plane: etcd, kube-apiserver, kube-controller-manager, kube-scheduler.
//!
//! For tests that need a real API server and nothing else:
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use penstock_e2e::control_plane::ControlPlane;
//! let dir = tempfile::tempdir()?; // keep it as long as the control plane
//! let control_plane = ControlPlane::start_on_loopback(dir.path()).await?; // about 5 s; built once and cached
//! let admin: kube::Client = control_plane.client().await?; // one per #[tokio::test]: it belongs to the runtime
//! let limited = control_plane
//!     .client_as("system:serviceaccount:penstock-system:penstock-operator", &["system:serviceaccounts"])
//!     .await?; // bound by RBAC as that user
//! let path = control_plane.kubeconfig(); // a file, for processes: KUBECONFIG=path
//! # let _ = (admin, limited, path); Ok(()) }
//! ```
//!
//! `start_on_loopback(dir: &Path) -> anyhow::Result<ControlPlane>` starts etcd and kube-apiserver on free ports of
//! 127.0.0.1; [`ControlPlane::start_controller_manager`] adds the controllers (EndpointSlices, garbage collection,
//! ServiceAccounts...). All of it ends when the value is dropped, and also when the test is killed. It needs no root.
//! Several can run at once. Service CIDRs, RBAC and admission are those of a whole cluster.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::kubeconfig::{self, Credential};
use crate::pki::{self, Authority};
use crate::process::{Ledger, Process, Sandbox, Spec};
use crate::tools::Tools;
use crate::topology;
use crate::wait::{Look, until};

/// How long an API server may take to be ready. It takes 4 s on an idle machine with two cores; the limit only bounds
/// how long a broken one is waited for.
const READY: Duration = Duration::from_secs(180);

/// How often a start is tried again: the ports were free a moment ago, but another program may have taken one.
const ATTEMPTS: usize = 3;

/// The user that the API server knows as the administrator.
const ADMIN: (&str, &str) = ("penstock-admin", "system:masters");

/// The files of a control plane, all in one directory.
#[derive(Debug, Clone)]
pub struct Files {
    directory: PathBuf,
}

impl Files {
    /// The files in `directory`.
    pub fn in_directory(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Makes the certificate authority, the keys and the certificates. `addresses` are those under which clients reach
    /// the API server.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn create(&self, addresses: &[IpAddr]) -> Result<Authority> {
        fs::create_dir_all(&self.directory).with_context(|| format!("make {}", self.directory.display()))?;
        let authority = Authority::create(&self.directory)?;
        let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
        authority.server("kube-apiserver", &names, addresses)?.save(&self.directory, "apiserver")?;
        authority
            .client("kube-apiserver", Some("system:masters"))?
            .save(&self.directory, "kubelet-client")?;
        pki::signing_key(&self.directory, "service-account")?;
        Ok(authority)
    }

    /// The file `name`, as an argument.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn arg(&self, flag: &str, name: &str) -> String {
        format!("--{flag}={}", self.path(name).display())
    }
}

/// Where etcd and the API server listen.
#[derive(Debug, Clone, Copy)]
pub struct Endpoints {
    /// etcd's port for clients, on 127.0.0.1.
    pub etcd: u16,
    /// etcd's port for peers (there are none), on 127.0.0.1.
    pub etcd_peer: u16,
    /// The address that the API server binds.
    pub bind: IpAddr,
    /// The port that the API server binds.
    pub port: u16,
    /// Whether the `kubernetes` Service gets the API server's advertised address as its endpoint.
    pub reconcile_endpoints: bool,
}

/// etcd's arguments. Nothing is synced to the disk: a cluster that lives for minutes need not survive a power cut.
pub fn etcd_args(endpoints: &Endpoints, data: &Path) -> Vec<String> {
    let client = format!("http://127.0.0.1:{}", endpoints.etcd);
    let peer = format!("http://127.0.0.1:{}", endpoints.etcd_peer);
    vec![
        "--name=default".into(),
        format!("--data-dir={}", data.display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--unsafe-no-fsync".into(),
        "--logger=zap".into(),
        "--log-level=warn".into(),
    ]
}

/// The API server's arguments.
pub fn api_server_args(endpoints: &Endpoints, files: &Files) -> Vec<String> {
    let mut args = vec![
        format!("--etcd-servers=http://127.0.0.1:{}", endpoints.etcd),
        format!("--bind-address={}", endpoints.bind),
        format!("--secure-port={}", endpoints.port),
        format!("--advertise-address={}", topology::CONTROL_PLANE.v4),
        format!("--service-cluster-ip-range={}", topology::service_cidrs()),
        "--service-node-port-range=30000-32767".into(),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
        files.arg("service-account-key-file", "service-account.pub"),
        files.arg("service-account-signing-key-file", "service-account.key"),
        files.arg("client-ca-file", "ca.crt"),
        files.arg("tls-cert-file", "apiserver.crt"),
        files.arg("tls-private-key-file", "apiserver.key"),
        files.arg("kubelet-certificate-authority", "ca.crt"),
        files.arg("kubelet-client-certificate", "kubelet-client.crt"),
        files.arg("kubelet-client-key", "kubelet-client.key"),
        // Nodes are known by address only; with host names first, exec and logs fail.
        "--kubelet-preferred-address-types=InternalIP".into(),
        "--authorization-mode=Node,RBAC".into(),
        "--enable-admission-plugins=NodeRestriction".into(),
        "--allow-privileged=true".into(),
    ];
    if !endpoints.reconcile_endpoints {
        args.push("--endpoint-reconciler-type=none".into());
    }
    args
}

/// The controller manager's arguments.
pub fn controller_manager_args(files: &Files, kubeconfig: &Path, port: u16) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        "--bind-address=127.0.0.1".into(),
        format!("--secure-port={port}"),
        files.arg("root-ca-file", "ca.crt"),
        files.arg("service-account-private-key-file", "service-account.key"),
        files.arg("cluster-signing-cert-file", "ca.crt"),
        files.arg("cluster-signing-key-file", "ca.key"),
        // The default is made when missing, in the machine's /usr/libexec.
        files.arg("flex-volume-plugin-dir", "volume-plugins"),
        "--use-service-account-credentials=true".into(),
        "--leader-elect=false".into(),
        "--allocate-node-cidrs=true".into(),
        format!("--cluster-cidr={}", topology::pod_cidrs()),
        "--node-cidr-mask-size-ipv4=24".into(),
        "--node-cidr-mask-size-ipv6=64".into(),
        format!("--service-cluster-ip-range={}", topology::service_cidrs()),
    ]
}

/// The scheduler's arguments.
pub fn scheduler_args(kubeconfig: &Path) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        "--bind-address=127.0.0.1".into(),
        "--leader-elect=false".into(),
    ]
}

/// The text of a kubeconfig for the administrator.
///
/// # Errors
/// When a certificate cannot be made.
pub fn admin_kubeconfig(authority: &Authority, server: &str) -> Result<String> {
    let identity = authority.client(ADMIN.0, Some(ADMIN.1))?;
    kubeconfig::render(server, authority.certificate(), &Credential::Certificate(identity))
}

/// Waits until the API server says that it is ready. `check` is asked first at every look: an error means that
/// waiting is pointless.
///
/// # Errors
/// That of `check`, or when time runs out.
pub async fn wait_until_ready(client: &kube::Client, check: impl Fn() -> Result<()>) -> Result<()> {
    until("readiness of the API server", READY, || async {
        check()?;
        let request = http::Request::get("/readyz").body(Vec::new()).context("make a request")?;
        Ok(match client.request_text(request).await {
            Ok(_) => Look::Ready(()),
            Err(error) => Look::NotYet(error.to_string()),
        })
    })
    .await
}

/// A real etcd and kube-apiserver on 127.0.0.1, for one test or one test binary. Ends when dropped.
#[derive(Debug)]
pub struct ControlPlane {
    tools: Tools,
    files: Files,
    ledger: Ledger,
    endpoints: Endpoints,
    admin: String,
    processes: Vec<Process>,
}

impl ControlPlane {
    /// Starts etcd and kube-apiserver with all their files in `dir` (logs in `dir/processes`), and waits until the API
    /// server is ready.
    ///
    /// # Errors
    /// When a program cannot be built or started or ends early; the message has the end of its log.
    pub async fn start_on_loopback(dir: &Path) -> Result<Self> {
        let tools = tokio::task::spawn_blocking(Tools::build).await.context("build the tools")??;
        let mut attempt = 1;
        loop {
            let place = dir.join(format!("attempt-{attempt}"));
            match Self::attempt(tools.clone(), &place).await {
                Err(error) if attempt < ATTEMPTS && error.to_string().contains("address already in use") => {
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn attempt(tools: Tools, dir: &Path) -> Result<Self> {
        let files = Files::in_directory(dir.join("pki"));
        let authority = files.create(&[IpAddr::V4(Ipv4Addr::LOCALHOST)])?;
        let endpoints = loopback_endpoints()?;
        let admin = admin_kubeconfig(&authority, &server(&endpoints))?;
        pki::write_private(&files.path("admin.kubeconfig"), &admin)?;
        let ledger = Ledger::open(dir.join("processes"))?;
        let mut this = Self { tools, files, ledger, endpoints, admin, processes: Vec::new() };
        this.spawn("etcd", this.tools.etcd(), etcd_args(&endpoints, &dir.join("etcd")))?;
        let api_server = this.tools.kubernetes("kube-apiserver");
        this.spawn("kube-apiserver", api_server, api_server_args(&endpoints, &this.files))?;
        wait_until_ready(&this.client().await?, || this.check()).await?;
        Ok(this)
    }

    /// Starts the controller manager: EndpointSlices for selectors, garbage collection, namespace deletion,
    /// ServiceAccounts. There are no nodes and no scheduler, so that no Pod ever runs.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_controller_manager(&mut self) -> Result<()> {
        let port = free_ports::<1>()?[0];
        let args = controller_manager_args(&self.files, &self.kubeconfig(), port);
        self.spawn("kube-controller-manager", self.tools.kubernetes("kube-controller-manager"), args)
    }

    /// An error when one of the processes has ended, with the end of its log.
    ///
    /// # Errors
    /// When one has ended.
    pub fn check(&self) -> Result<()> {
        self.processes.iter().try_for_each(Process::check)
    }

    /// The administrator's kubeconfig, a file.
    pub fn kubeconfig(&self) -> PathBuf {
        self.files.path("admin.kubeconfig")
    }

    /// The API server's address, `https://127.0.0.1:PORT`.
    pub fn server(&self) -> String {
        server(&self.endpoints)
    }

    /// kubectl, helm and the others.
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// kubectl, of the same version.
    pub fn kubectl(&self) -> PathBuf {
        self.tools.kubectl()
    }

    /// A new client of the administrator. It belongs to the runtime that it is made in.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn client(&self) -> Result<kube::Client> {
        kubeconfig::client(&self.admin).await
    }

    /// Writes a kubeconfig with a token for a ServiceAccount that exists, for a process; the token is valid for an
    /// hour. Returns the file.
    ///
    /// # Errors
    /// When the ServiceAccount does not exist or the file cannot be written.
    pub async fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let token = kubeconfig::service_account_token(&self.client().await?, namespace, name, 3600).await?;
        let path = self.files.path(&format!("{namespace}.{name}.kubeconfig"));
        let authority = fs::read_to_string(self.files.path("ca.crt")).context("read the CA")?;
        kubeconfig::write(&path, &self.server(), &authority, &Credential::Token(token))?;
        Ok(path)
    }

    /// Runs kubectl as the administrator; returns what it prints.
    ///
    /// # Errors
    /// With what it says on stderr.
    pub fn run_kubectl(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(self.kubectl());
        let output = command.arg("--kubeconfig").arg(self.kubeconfig()).args(args).output();
        let output = output.context("run kubectl")?;
        ensure!(output.status.success(), "kubectl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A new client that the API server takes for `user` in `groups` (by impersonation), and authorises as such. For a
    /// ServiceAccount: `system:serviceaccount:NAMESPACE:NAME`, groups `system:serviceaccounts` and
    /// `system:serviceaccounts:NAMESPACE`. `system:authenticated` is always added.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn client_as(&self, user: &str, groups: &[&str]) -> Result<kube::Client> {
        let parsed = Kubeconfig::from_yaml(&self.admin).context("parse the administrator's kubeconfig")?;
        let mut config = kube::Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default())
            .await
            .context("use the administrator's kubeconfig")?;
        config.auth_info.impersonate = Some(user.to_owned());
        let groups = groups.iter().copied().chain(["system:authenticated"]);
        config.auth_info.impersonate_groups = Some(groups.map(str::to_owned).collect());
        kube::Client::try_from(config).context("make an impersonating client")
    }

    fn spawn(&mut self, name: &str, program: PathBuf, args: Vec<String>) -> Result<()> {
        let sandbox = Sandbox { die_with_parent: true, ..Sandbox::default() };
        let spec = Spec { name: name.to_owned(), program, args, env: Vec::new(), sandbox };
        self.processes.push(self.ledger.spawn(&spec)?);
        Ok(())
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        // The API server before etcd, so that it does not spend its last moments complaining.
        for process in self.processes.iter().rev() {
            if let Err(error) = process.kill() {
                eprintln!("{error:#}");
            }
        }
    }
}

fn server(endpoints: &Endpoints) -> String {
    format!("https://127.0.0.1:{}", endpoints.port)
}

fn loopback_endpoints() -> Result<Endpoints> {
    let [etcd, etcd_peer, port] = free_ports()?;
    Ok(Endpoints { etcd, etcd_peer, bind: IpAddr::V4(Ipv4Addr::LOCALHOST), port, reconcile_endpoints: false })
}

/// Ports of 127.0.0.1 that nobody has bound at this moment.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut ports = [0; N];
    // All are held until all are known, so that they differ.
    let mut held = Vec::new();
    for port in &mut ports {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port on 127.0.0.1")?;
        *port = listener.local_addr().context("find a free port on 127.0.0.1")?.port();
        held.push(listener);
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_differ() {
        let [a, b, c] = free_ports().unwrap();
        assert!(a != b && b != c && a != c);
    }

    #[test]
    fn only_a_cluster_publishes_its_api_server() {
        let files = Files::in_directory("/pki");
        let mut endpoints = loopback_endpoints().unwrap();
        let none = "--endpoint-reconciler-type=none".to_owned();
        assert!(api_server_args(&endpoints, &files).contains(&none));
        endpoints.reconcile_endpoints = true;
        let args = api_server_args(&endpoints, &files);
        assert!(!args.contains(&none));
        assert!(
            args.contains(&"--service-cluster-ip-range=10.96.0.0/16,2001:db8:96::/112".to_owned()),
            "{args:?}"
        );
        assert!(args.contains(&"--client-ca-file=/pki/ca.crt".to_owned()), "{args:?}");
    }
}
