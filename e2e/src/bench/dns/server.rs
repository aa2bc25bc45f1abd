//! The servers that are measured: each on one processor, the clients on another.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::dns_oracle::question::Setting;
use crate::dns_oracle::servers::{Programs, configuration, corefile};
use crate::process::{Ledger, Process, Sandbox, Spec};

/// Where the server runs.
const SERVER_CPU: &str = "0";
/// Where dnsperf runs.
pub(super) const CLIENTS_CPU: &str = "1";

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Penstock,
    CoreDns,
}

/// What the servers have in common.
#[derive(Debug)]
pub(super) struct Site<'a> {
    pub(super) programs: &'a Programs,
    pub(super) ledger: &'a Ledger,
    pub(super) dir: &'a Path,
    pub(super) kubeconfig: PathBuf,
}

/// A program on one processor.
pub(super) fn pinned(cpu: &str, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", cpu]).arg(program);
    command
}

impl Subject {
    pub(super) const ALL: [Self; 2] = [Self::Penstock, Self::CoreDns];

    pub(super) fn address(self) -> SocketAddr {
        let port = match self {
            Self::Penstock => 5353,
            Self::CoreDns => 5354,
        };
        (Ipv4Addr::LOCALHOST, port).into()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Penstock => "penstock-dns",
            Self::CoreDns => "coredns",
        }
    }

    /// Starts it with the settings that kubeadm gives CoreDNS.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(self, site: &Site<'_>, run: u16) -> Result<Process> {
        let setting = Setting { domains: vec!["cluster.local"], pods: "insecure" };
        let (address, config) = (self.address(), site.dir.join(self.name()));
        let (program, args, text) = match self {
            Self::Penstock => {
                let args = ["--listen", &address.to_string(), "--http-address", "127.0.0.1:9783", "--config"];
                (&site.programs.penstock, args.map(str::to_owned).to_vec(), configuration(&setting))
            }
            Self::CoreDns => {
                let text = corefile(&setting, &site.kubeconfig, address.port());
                (&site.programs.coredns, vec!["-conf".to_owned()], text)
            }
        };
        fs::write(&config, text).with_context(|| format!("write {}", config.display()))?;
        let pinned = pinned(SERVER_CPU, program);
        let taskset = pinned.get_args().map(|arg| arg.to_string_lossy().into_owned());
        site.ledger.spawn(&Spec {
            name: format!("{}-{run}", self.name()),
            program: "/usr/bin/taskset".into(),
            args: taskset.chain(args).chain([config.display().to_string()]).collect(),
            env: vec![("KUBECONFIG".into(), site.kubeconfig.display().to_string())],
            sandbox: Sandbox { die_with_parent: true, ..Sandbox::default() },
        })
    }
}
