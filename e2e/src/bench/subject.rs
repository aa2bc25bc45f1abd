//! Who is measured: a process that gives addresses, under its own ServiceAccount.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kube::Client;

use crate::chart::apply_rbac;
use crate::cluster::harness_program;
use crate::control_plane::{ControlPlane, free_ports};
use crate::process::{Ledger, Process, Sandbox, Spec};
use crate::tools::MetalLb;
use crate::wait::{Look, until};

use super::load::NAMESPACE;
use super::resources::Usage;

/// How long a start may take; it bounds the wait for a broken one.
const READY: Duration = Duration::from_secs(120);

/// The range that all addresses come from: RFC 2544's for benchmarks. It is only data here, nothing is sent to it.
pub const POOL: &str = "198.18.0.0/15";

/// A program that can be started and stopped on one control plane.
#[derive(Debug)]
pub struct Subject {
    spec: Spec,
    ledger: Ledger,
    /// Where it serves metrics and readiness, if it can be told to do so on loopback only.
    http: Option<u16>,
    process: Option<Process>,
}

impl Subject {
    /// The release-built operator beside this program, with its definitions, RBAC, a default class and one pool.
    ///
    /// # Errors
    /// When it is not built, or the API server refuses an object.
    pub async fn penstock(control_plane: &ControlPlane, dir: &Path) -> Result<Self> {
        let program = harness_program()?.with_file_name("penstock-operator");
        ensure!(program.is_file(), "{} is not built; run: make bench", program.display());
        apply(control_plane, &Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/yaml"))?;
        apply_rbac(control_plane, "operator")?;
        established(control_plane)?;
        apply_text(control_plane, dir, "pool", &penstock_pool())?;
        let kubeconfig =
            control_plane.service_account_kubeconfig("penstock-system", "penstock-operator").await?;
        let [port] = free_ports()?;
        let args = vec![format!("--http-address=127.0.0.1:{port}")];
        // The name stays over a restart, as a container's does in its Pod: the Lease is continued at once.
        let env =
            vec![environment("POD_NAME", "penstock-operator-0"), environment("KUBECONFIG", &kubeconfig)];
        Self::new("penstock-operator", program, args, env, dir, Some(port))
    }

    /// MetalLB's controller, without its webhooks: nothing of it may listen outside of loopback, and its port cannot
    /// be bound to an address, so that it gets one that does not exist.
    ///
    /// # Errors
    /// When it cannot be built, or the API server refuses an object.
    pub async fn metallb(control_plane: &ControlPlane, dir: &Path) -> Result<Self> {
        let built = tokio::task::spawn_blocking(MetalLb::build).await.context("build MetalLB")??;
        apply(control_plane, &built.definitions())?;
        apply_text(control_plane, dir, "namespace", &namespace("metallb-system"))?;
        let rbac = dir.join("rbac");
        copy_kustomization(&built.rbac(), &rbac)?;
        control_plane.run_kubectl(&["apply", "--server-side", "-k", text(&rbac)?])?;
        established(control_plane)?;
        apply_text(control_plane, dir, "pool", &metallb_pool())?;
        let kubeconfig = control_plane.service_account_kubeconfig("metallb-system", "controller").await?;
        let args =
            ["--port=-1", "--webhook-mode=disabled", "--namespace=metallb-system", "--log-level=error"];
        let args = args.map(str::to_owned).to_vec();
        let env = vec![environment("KUBECONFIG", &kubeconfig)];
        Self::new("metallb-controller", built.controller(), args, env, dir, None)
    }

    fn new(
        name: &str,
        program: PathBuf,
        args: Vec<String>,
        env: Vec<(String, String)>,
        dir: &Path,
        http: Option<u16>,
    ) -> Result<Self> {
        let sandbox = Sandbox { die_with_parent: true, ..Sandbox::default() };
        let spec = Spec { name: name.to_owned(), program, args, env, sandbox };
        Ok(Self { spec, ledger: Ledger::open(dir.join("subject"))?, http, process: None })
    }

    /// Starts it and waits until it is ready, where it says so. Returns how long that took.
    ///
    /// # Errors
    /// When it ends; with the end of its log.
    pub async fn start(&mut self) -> Result<Option<Duration>> {
        let begin = Instant::now();
        let process = self.ledger.spawn(&self.spec)?;
        self.process = Some(process.clone());
        if self.http.is_none() {
            return Ok(None);
        }
        until(&format!("readiness of {}", self.spec.name), READY, || async {
            process.check()?;
            Ok(match self.get("/readyz").await {
                Ok(_) => Look::Ready(()),
                Err(error) => Look::NotYet(format!("{error:#}")),
            })
        })
        .await?;
        Ok(Some(begin.elapsed()))
    }

    /// Ends it with SIGTERM; returns how long that took.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&mut self) -> Result<Duration> {
        let begin = Instant::now();
        self.process.take().with_context(|| format!("{} does not run", self.spec.name))?.stop()?;
        Ok(begin.elapsed())
    }

    /// What it uses by now.
    ///
    /// # Errors
    /// When it has ended; with the end of its log.
    pub fn usage(&self) -> Result<Usage> {
        let process = self.process.as_ref().with_context(|| format!("{} does not run", self.spec.name))?;
        process.check()?;
        Usage::of(process.pid())
    }

    /// How many calls it made to providers outside of the cluster, where it counts them.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn provider_calls(&self) -> Result<Option<u64>> {
        Ok(provider_calls(&self.get("/metrics").await?))
    }

    /// The end of its log, for a failure's message.
    pub fn log_tail(&self) -> String {
        self.process.as_ref().map(Process::log_tail).unwrap_or_default()
    }

    async fn get(&self, path: &str) -> Result<String> {
        let port = self.http.with_context(|| format!("{} serves no metrics", self.spec.name))?;
        let url = format!("http://{}:{port}", Ipv4Addr::LOCALHOST).parse().context("make a URL")?;
        let client = Client::try_from(kube::Config::new(url)).context("make a client")?;
        let request = http::Request::get(path).body(Vec::new()).context("make a request")?;
        client.request_text(request).await.with_context(|| format!("ask {} for {path}", self.spec.name))
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.process.take().map(|process| process.kill()) {
            eprintln!("{error:#}");
        }
    }
}

/// The sum of all counters of provider calls; none where there is no such metric.
fn provider_calls(metrics: &str) -> Option<u64> {
    let ours = |line: &&str| {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        name.contains("provider_call") && (name.ends_with("_total") || name.ends_with("_count"))
    };
    let lines: Vec<&str> = metrics.lines().filter(|line| !line.starts_with('#')).filter(ours).collect();
    let value = |line: &&str| line.rsplit_once(' ').and_then(|(_, value)| value.parse::<u64>().ok());
    (!lines.is_empty()).then(|| lines.iter().filter_map(value).sum())
}

fn environment(name: &str, value: impl AsRef<Path>) -> (String, String) {
    (name.to_owned(), value.as_ref().display().to_string())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

fn apply(control_plane: &ControlPlane, path: &Path) -> Result<()> {
    control_plane.run_kubectl(&["apply", "--server-side", "-f", text(path)?]).map(|_| ())
}

/// Makes the namespace of all Services.
///
/// # Errors
/// What the API server says.
pub fn make_namespace(control_plane: &ControlPlane, dir: &Path) -> Result<()> {
    apply_text(control_plane, dir, NAMESPACE, &namespace(NAMESPACE))
}

fn apply_text(control_plane: &ControlPlane, dir: &Path, name: &str, yaml: &str) -> Result<()> {
    let path = dir.join(format!("{name}.yaml"));
    std::fs::write(&path, yaml).with_context(|| format!("write {}", path.display()))?;
    apply(control_plane, &path)
}

fn established(control_plane: &ControlPlane) -> Result<()> {
    let wait = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
    control_plane.run_kubectl(&wait).map(|_| ())
}

/// Copies a folder and puts all of it into MetalLB's namespace, which its files leave open.
fn copy_kustomization(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("make {}", to.display()))?;
    for entry in std::fs::read_dir(from).with_context(|| format!("list {}", from.display()))? {
        let file = entry.context("list a folder")?.path();
        std::fs::copy(&file, to.join(file.file_name().unwrap_or_default())).context("copy a file")?;
    }
    let path = to.join("kustomization.yaml");
    let own = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    std::fs::write(&path, format!("{own}\nnamespace: metallb-system\n"))
        .with_context(|| format!("write {}", path.display()))
}

fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{ name: {name} }}\n")
}

fn penstock_pool() -> String {
    format!(
        "apiVersion: penstock.dev/v1alpha1\nkind: LoadBalancerClass\nmetadata: {{ name: bench }}\n\
         spec: {{ provider: pool, default: true }}\n---\n\
         apiVersion: penstock.dev/v1alpha1\nkind: IPAddressPool\n\
         metadata: {{ name: bench, namespace: penstock-system }}\nspec: {{ addresses: [{POOL}] }}\n"
    )
}

fn metallb_pool() -> String {
    format!(
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\n\
         metadata: {{ name: bench, namespace: metallb-system }}\nspec: {{ addresses: [{POOL}] }}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn provider_calls_are_summed_where_they_are_counted() {
        let metrics = "# HELP penstock_operator_provider_calls_total x\n\
                       penstock_operator_provider_calls_total{outcome=\"ok\"} 3\n\
                       penstock_operator_provider_calls_total{outcome=\"error\"} 2\n\
                       penstock_operator_reconciles_total 9\n";
        assert_eq!(provider_calls(metrics), Some(5));
        assert_eq!(provider_calls("penstock_operator_reconciles_total 9\n"), None);
    }
}
