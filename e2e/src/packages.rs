//! What has to be on the machine: root, Go, and packages of the distribution, which are installed when missing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::progress::step;

/// The packages, by their names in Debian 12.
const PACKAGES: [&str; 9] = [
    "arping",
    "busybox-static",
    "containerd",
    "containernetworking-plugins",
    "curl",
    "iproute2",
    "iptables",
    "nftables",
    "runc",
];

/// What the flows of mode ipvs need besides: to build a kernel, kube-proxy's programs, and what somebody else
/// would change IPVS with.
const UML_PACKAGES: [&str; 11] = [
    "bc",
    "bison",
    "flex",
    "gcc",
    "ipset",
    "iptables",
    "ipvsadm",
    "libc6-dev",
    "linux-source-6.1",
    "make",
    "xz-utils",
];

/// What virtual environments of Python are made with.
const PYTHON_PACKAGES: [&str; 2] = ["python3", "python3-venv"];

/// Routers that the announcer's tests speak BGP and BFD with.
const ROUTER_PACKAGES: [&str; 2] = ["bird2", "frr"];

/// What the cluster's DNS is measured with.
const DNS_BENCH_PACKAGES: [&str; 2] = ["dnsperf", "util-linux"];

/// What decides whether a package's services are started on installation (invoke-rc.d(8)).
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// What [`POLICY`] is while packages are installed.
const OWN_POLICY: &str = "#!/bin/sh\n# penstock-e2e wrote this and removes it\nexit 101\n";

/// What tells it from an administrator's own.
const MARK: &str = "# penstock-e2e wrote this";

/// The oldest Go that builds the cluster's programs (their go.mod files say so).
const GO: (u32, u32) = (1, 26);

/// Makes sure that everything is there.
///
/// # Errors
/// One sentence about the first thing that is missing and cannot be had.
pub fn ensure() -> Result<()> {
    ensure_root()?;
    ensure_go()?;
    restore_service_policy()?;
    ensure_packages(&PACKAGES)
}

/// Makes sure that a user-mode Linux can be built and used.
///
/// # Errors
/// As [`ensure`].
pub fn ensure_for_uml() -> Result<()> {
    ensure_packages(&UML_PACKAGES)
}

/// Makes sure that virtual environments of Python can be made.
///
/// # Errors
/// As [`ensure`].
pub fn ensure_for_python() -> Result<()> {
    ensure_packages(&PYTHON_PACKAGES)
}

/// Makes sure that the cluster's DNS can be measured.
///
/// # Errors
/// As [`ensure`].
pub fn ensure_for_dns_bench() -> Result<()> {
    ensure_root()?;
    restore_service_policy()?;
    ensure_packages(&DNS_BENCH_PACKAGES)
}

/// Makes sure that bird and frr can be run.
///
/// # Errors
/// As [`ensure`].
pub fn ensure_for_routers() -> Result<()> {
    ensure_root()?;
    // Tests run side by side, and apt-get refuses to run twice.
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _alone = INSTALLING.lock().map_err(|_| anyhow!("an installation of packages panicked"))?;
    restore_service_policy()?;
    ensure_packages(&ROUTER_PACKAGES)
}

fn ensure_packages(wanted: &[&'static str]) -> Result<()> {
    let missing = missing(wanted)?;
    if missing.is_empty() {
        return Ok(());
    }
    step(format!("install {}", missing.join(" ")), || install(&missing))
}

/// Refuses to go on without root.
///
/// # Errors
/// When the user is not root.
pub fn ensure_root() -> Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "network namespaces need root; run this as root");
    Ok(())
}

/// Debian's own Go refuses today's go.mod files in words that do not say what to do.
fn ensure_go() -> Result<()> {
    let output = Command::new("go").arg("version").stdin(Stdio::null()).output();
    let output = output.ok().filter(|output| output.status.success());
    let output = output.context("go was not found; install Go 1.26 or later and put it on the PATH")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        go_release(&said).is_some_and(|release| release >= GO),
        "the go on the PATH is too old ({}); install Go 1.26 or later and put it first on the PATH",
        said.trim()
    );
    Ok(())
}

/// The release in what `go version` prints: `go version go1.26.8 linux/amd64`.
fn go_release(said: &str) -> Option<(u32, u32)> {
    let digits = |part: &str| part.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    said.split_whitespace().find_map(|word| {
        let (major, minor) = word.strip_prefix("go")?.split_once('.')?;
        Some((digits(major)?, digits(minor)?))
    })
}

/// Removes what a run that was killed while it installed packages has left.
///
/// # Errors
/// When the file is ours and cannot be removed.
pub fn restore_service_policy() -> Result<()> {
    remove_own_policy(Path::new(POLICY))
}

fn remove_own_policy(path: &Path) -> Result<()> {
    match fs::read(path) {
        Ok(text) if String::from_utf8_lossy(&text).contains(MARK) => {
            fs::remove_file(path).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn missing(wanted: &[&'static str]) -> Result<Vec<&'static str>> {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat", "${db:Status-Status} ${Package}\n"]).args(wanted);
    let output = query.output();
    let output = output.context("run dpkg-query; this needs Debian 12 or a distribution made from it")?;
    Ok(absent(&String::from_utf8_lossy(&output.stdout), wanted))
}

fn absent(installed: &str, wanted: &[&'static str]) -> Vec<&'static str> {
    let present = |package: &str| installed.lines().any(|line| line == format!("installed {package}"));
    wanted.iter().copied().filter(|package| !present(package)).collect()
}

fn install(missing: &[&str]) -> Result<()> {
    let _policy = ServicePolicy::deny()?;
    apt(&["update"])?;
    apt(&[&["install", "--yes", "--no-install-recommends"], missing].concat())
}

/// Runs apt-get without questions.
///
/// # Errors
/// With the end of what it said.
pub fn apt(args: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.arg("--quiet").args(args).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    let output =
        command.output().context("run apt-get; this needs Debian 12 or a distribution made from it")?;
    if !output.status.success() {
        bail!("apt-get {} failed: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// While it exists, packages start no services: the harness runs its own containerd, inside its namespaces.
struct ServicePolicy(Option<PathBuf>);

impl ServicePolicy {
    fn deny() -> Result<Self> {
        let path = Path::new(POLICY);
        if path.exists() {
            return Ok(Self(None));
        }
        fs::write(path, OWN_POLICY).with_context(|| format!("write {POLICY}"))?;
        let policy = Self(Some(path.to_owned()));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("chmod {POLICY}"))?;
        Ok(policy)
    }
}

impl Drop for ServicePolicy {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.0.as_ref().map(fs::remove_file) {
            eprintln!(
                "{POLICY} could not be removed ({error}); remove it, or no package starts its services"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_of_go_is_read_from_its_words() {
        assert_eq!(go_release("go version go1.26.8 linux/amd64"), Some((1, 26)));
        assert_eq!(go_release("go version go1.19 linux/amd64"), Some((1, 19)));
        assert_eq!(go_release("go version devel go1.27-2fd1f4 linux/amd64"), Some((1, 27)));
        assert_eq!(go_release("gcc 12.2"), None);
    }

    #[test]
    fn only_our_own_policy_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy-rc.d");
        remove_own_policy(&path).unwrap();
        fs::write(&path, "#!/bin/sh\nexit 101\n").unwrap();
        remove_own_policy(&path).unwrap();
        assert!(path.exists(), "an administrator's");
        fs::write(&path, OWN_POLICY).unwrap();
        remove_own_policy(&path).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_package_that_was_removed_but_left_its_configuration_is_absent() {
        let mut text = String::new();
        for package in PACKAGES {
            text += &format!("{} {package}\n", if package == "runc" { "config-files" } else { "installed" });
        }
        assert_eq!(absent(&text, &PACKAGES), ["runc"]);
        assert_eq!(absent("", &PACKAGES).len(), PACKAGES.len());
    }
}
