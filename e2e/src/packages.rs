//! What has to be on the machine: root, Go, and packages of the distribution, which are installed when missing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::progress::step;

/// The packages, by their names in Debian 12.
const PACKAGES: [&str; 10] = [
    "arping",
    "busybox-static",
    "conntrack",
    "containerd",
    "containernetworking-plugins",
    "curl",
    "iproute2",
    "nftables",
    "runc",
    "tcpdump",
];

/// What decides whether a package's services are started on installation (invoke-rc.d(8)).
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Makes sure that everything is there.
///
/// # Errors
/// One sentence about the first thing that is missing and cannot be had.
pub fn ensure() -> Result<()> {
    ensure_root()?;
    ensure!(
        Command::new("go").arg("version").stdout(Stdio::null()).status().is_ok_and(|status| status.success()),
        "go was not found; install Go 1.26 or later and put it on the PATH"
    );
    let missing = missing()?;
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

fn missing() -> Result<Vec<&'static str>> {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat", "${db:Status-Status} ${Package}\n"]).args(PACKAGES);
    let output = query.output();
    let output = output.context("run dpkg-query; this needs Debian 12 or a distribution made from it")?;
    Ok(absent(&String::from_utf8_lossy(&output.stdout)))
}

fn absent(installed: &str) -> Vec<&'static str> {
    let present = |package: &str| installed.lines().any(|line| line == format!("installed {package}"));
    PACKAGES.into_iter().filter(|package| !present(package)).collect()
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
        fs::write(path, "#!/bin/sh\nexit 101\n").with_context(|| format!("write {POLICY}"))?;
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
    fn a_package_that_was_removed_but_left_its_configuration_is_absent() {
        let mut text = String::new();
        for package in PACKAGES {
            text += &format!("{} {package}\n", if package == "runc" { "config-files" } else { "installed" });
        }
        assert_eq!(absent(&text), ["runc"]);
        assert_eq!(absent("").len(), PACKAGES.len());
    }
}
