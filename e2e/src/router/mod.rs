//! Real routers to speak BGP and BFD with: [`bird`] and [`frr`] of Debian, and [`gobgp`], as processes in a given network namespace, each
//! with the configuration that its test writes, in a directory of its own. They end with the value, and by pid.
//!
//! A namespace is given as a file: `/run/netns/NAME` ([`crate::topology::netns_file`]) or [`crate::namespace::Namespace::path`].

pub mod bird;
pub mod frr;
pub mod gobgp;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{Ledger, Process, Sandbox, Spec};

pub use bird::Bird;
pub use frr::Frr;
pub use gobgp::Gobgp;

/// How long a router may take to answer its first question; it bounds the wait for a broken one.
const START: Duration = Duration::from_secs(60);

/// Starts a daemon that stays in the foreground.
fn spawn(ledger: &Ledger, netns: &Path, name: &str, program: &str, args: Vec<String>) -> Result<Process> {
    let sandbox = Sandbox { netns: Some(netns.to_owned()), die_with_parent: true, ..Sandbox::default() };
    let program = PathBuf::from(program);
    ledger.spawn(&Spec { name: name.to_owned(), program, args, env: Vec::new(), sandbox })
}

/// What a program prints; it only talks to a local socket, so that it needs no namespace.
fn said(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("run {name}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{name} failed: {text}{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(text)
}
