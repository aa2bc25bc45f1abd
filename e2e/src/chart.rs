//! Our Helm chart, through the harness's own helm.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};

use crate::control_plane::ControlPlane;
use crate::tools::{Tools, cache_dir};

/// The release's name.
const RELEASE: &str = "penstock";

/// The namespace that the harness installs into.
pub const NAMESPACE: &str = "penstock-system";

/// The namespace of the chart's DNS, where others look for it.
pub const DNS_NAMESPACE: &str = "kube-system";

/// A chart: `charts/penstock` of this checkout, or a copy.
#[derive(Debug, Clone)]
pub struct Chart {
    helm: PathBuf,
    directory: PathBuf,
}

impl Chart {
    /// The chart, for this helm.
    pub fn new(tools: &Tools) -> Self {
        Self::at(tools, Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/penstock"))
    }

    /// A chart in another directory.
    pub fn at(tools: &Tools, directory: PathBuf) -> Self {
        Self { helm: tools.helm(), directory }
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What `helm lint --strict` says.
    ///
    /// # Errors
    /// When it finds fault.
    pub fn lint(&self, arguments: &[&str]) -> Result<String> {
        let mut lint = self.helm(&["lint", "--strict"])?;
        finish(lint.arg(&self.directory).args(arguments))
    }

    /// The objects that the chart is made into, as YAML documents. `arguments` are those of `helm template`: values,
    /// `--show-only`.
    ///
    /// # Errors
    /// With what helm says.
    pub fn render(&self, arguments: &[&str]) -> Result<String> {
        let mut template = self.helm(&["template", RELEASE])?;
        finish(template.arg(&self.directory).args(["--namespace", NAMESPACE]).args(arguments))
    }

    /// The ServiceAccount of a component (operator, announcer, node or dns) and all that it may do.
    ///
    /// # Errors
    /// With what helm says.
    pub fn render_rbac(&self, component: &str) -> Result<String> {
        self.render(&["--show-only", &format!("templates/{component}/rbac.yaml")])
    }

    /// The command that installs it, or makes it what it is now, and waits until its Pods are ready.
    ///
    /// # Errors
    /// When helm's directories cannot be made.
    pub fn upgrade(&self, kubeconfig: &Path, values: &Path) -> Result<Command> {
        let mut upgrade = self.helm(&["upgrade", "--install", RELEASE])?;
        upgrade.arg(&self.directory).args(["--namespace", NAMESPACE, "--create-namespace"]);
        upgrade.args(["--wait", "--timeout=100s", "--values"]).arg(values).env("KUBECONFIG", kubeconfig);
        Ok(upgrade)
    }

    /// The command that makes the installation what it was before its last change, and waits until its Pods are ready.
    ///
    /// # Errors
    /// When helm's directories cannot be made.
    pub fn rollback(&self, kubeconfig: &Path) -> Result<Command> {
        let mut rollback = self.helm(&["rollback", RELEASE, "--namespace", NAMESPACE])?;
        rollback.args(["--wait", "--timeout=100s"]).env("KUBECONFIG", kubeconfig);
        Ok(rollback)
    }

    /// The command that removes it, and waits until its objects are gone.
    ///
    /// # Errors
    /// When helm's directories cannot be made.
    pub fn uninstall(&self, kubeconfig: &Path) -> Result<Command> {
        let mut uninstall = self.helm(&["uninstall", RELEASE, "--namespace", NAMESPACE])?;
        uninstall.args(["--wait", "--timeout=100s"]).env("KUBECONFIG", kubeconfig);
        Ok(uninstall)
    }

    /// The command that asks whether what is installed is at work, `helm test`.
    ///
    /// # Errors
    /// When helm's directories cannot be made.
    pub fn test(&self, kubeconfig: &Path) -> Result<Command> {
        let mut test = self.helm(&["test", RELEASE, "--namespace", NAMESPACE, "--timeout=100s"])?;
        test.env("KUBECONFIG", kubeconfig);
        Ok(test)
    }

    /// helm with directories of its own: it does not see, and does not change, what a user of this machine has set up.
    fn helm(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(&self.helm);
        command.args(arguments).stdin(Stdio::null());
        let home = cache_dir()?.join("helm-home");
        for (variable, name) in
            [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data")]
        {
            let directory = home.join(name);
            fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
            command.env(variable, directory);
        }
        Ok(command)
    }
}

fn finish(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } = command.output().context("run helm")?;
    let (printed, said) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    ensure!(status.success(), "helm failed: {}{}", said.trim(), printed.trim());
    Ok(printed.into_owned())
}

/// Gives a control plane what the chart gives a component (operator, announcer, node or dns): the namespace, the
/// ServiceAccount and all that it may do. Tests thus run under exactly that.
///
/// # Errors
/// With what helm or kubectl says.
pub fn apply_rbac(control_plane: &ControlPlane, component: &str) -> Result<()> {
    let namespace = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{ name: {NAMESPACE} }}\n");
    let objects = namespace + &Chart::new(control_plane.tools()).render_rbac(component)?;
    let file = tempfile::NamedTempFile::new().context("make a file")?;
    fs::write(file.path(), objects).context("write the objects")?;
    let path = file.path().to_str().context("the directory of temporary files is not UTF-8")?;
    control_plane.run_kubectl(&["apply", "--server-side", "-f", path]).map(|_| ())
}
