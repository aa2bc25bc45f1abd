//! Who is measured: a program in a mode, on the lab's first node.

use std::fmt;
use std::fs;
use std::io;

use anyhow::{Context, Result};
use nix::unistd::Pid;

use super::ground::Ground;
use crate::bench::resources::Usage;
use crate::flows::program::{Installed, Mode, Program, state_file};
use crate::process::Process;
use crate::tools;

use super::ground::NODE;

/// A program and its mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Subject {
    /// penstock-node, nftables.
    Penstock,
    /// kube-proxy, nftables.
    KubeProxyNftables,
    /// kube-proxy, iptables.
    KubeProxyIptables,
    /// penstock-node, iptables. Only when asked for.
    PenstockIptables,
}

impl Subject {
    /// Those that are measured unless others are named, ours first.
    pub const ALL: [Self; 3] = [Self::Penstock, Self::KubeProxyNftables, Self::KubeProxyIptables];

    /// The program.
    pub fn program(self) -> Program {
        match self {
            Self::Penstock | Self::PenstockIptables => Program::PenstockNode,
            Self::KubeProxyNftables | Self::KubeProxyIptables => Program::KubeProxy,
        }
    }

    /// Its mode.
    pub fn mode(self) -> Mode {
        match self {
            Self::Penstock | Self::KubeProxyNftables => Mode::Nftables,
            Self::KubeProxyIptables | Self::PenstockIptables => Mode::Iptables,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Penstock => f.write_str("penstock-node"),
            Self::PenstockIptables => f.write_str("penstock-node iptables"),
            _ => write!(f, "{} {} {}", self.program(), tools::kube_proxy_version(), self.mode()),
        }
    }
}

/// A subject that runs. It is killed when dropped; its rules stay until the ground is cleared.
#[derive(Debug)]
pub struct Running(Process);

impl Running {
    /// Starts it with nothing kept from before.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(installed: &Installed, ground: &Ground) -> Result<Self> {
        let kept = state_file(ground.lab(), NODE);
        match fs::remove_file(&kept) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("remove {}", kept.display()));
            }
            _ => {}
        }
        installed.start(ground.lab(), NODE).map(Self)
    }

    /// An error when it has ended, with the end of its log.
    ///
    /// # Errors
    /// When it has ended.
    pub fn check(&self) -> Result<()> {
        self.0.check()
    }

    /// What it uses by now.
    ///
    /// # Errors
    /// When it has ended; with the end of its log.
    pub fn usage(&self) -> Result<Usage> {
        self.check()?;
        Usage::of(self.0.pid())
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        self.0.pid()
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        self.0.log_tail()
    }
}

/// Whether a process waits for a program that it has started (`nft`, `iptables-restore`): then more commits may come, and
/// between those of iptables-restore to its tables seconds can pass.
pub fn waits_for_program(pid: Pid) -> bool {
    // A thread that ends meanwhile has no children any longer.
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads
        .map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default())
        .any(|children| !children.is_empty())
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.0.kill() {
            eprintln!("{error:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_program_is_waited_for_until_it_has_ended() {
        // A shell of its own: other tests start programs from this process.
        let mut shell = Command::new("sh");
        shell.args(["-c", "cat; exec cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = shell.spawn().unwrap();
        let pid = Pid::from_raw(shell.id().cast_signed());
        while !waits_for_program(pid) {
            std::thread::yield_now();
        }
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert!(!waits_for_program(pid));
    }
}
