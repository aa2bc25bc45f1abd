//! BIRD 2.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{START, said, spawn};
use crate::packages;
use crate::process::{Ledger, Process};
use crate::wait::{Look, until_blocking};

/// A running bird. It ends with the value, and with this program however that ends.
#[derive(Debug)]
pub struct Bird {
    netns: PathBuf,
    process: Process,
    directory: tempfile::TempDir,
}

impl Bird {
    /// Installs it where it is missing, and starts it in a namespace with the whole text of a `bird.conf`. It has no
    /// address to choose a router id from, so that the text needs one. Blocks until it answers.
    ///
    /// # Errors
    /// When the configuration is wrong; with the end of its log.
    pub fn start(netns: &Path, configuration: &str) -> Result<Self> {
        packages::ensure_for_routers()?;
        let directory = tempfile::tempdir().context("make a directory for bird")?;
        write_configuration(directory.path(), configuration)?;
        let process = run(directory.path(), netns)?;
        let this = Self { netns: netns.to_owned(), process, directory };
        this.ready()?;
        Ok(this)
    }

    /// What `birdc` prints to a command, such as `show bfd sessions`.
    ///
    /// # Errors
    /// When bird does not answer.
    pub fn ask(&self, command: &str) -> Result<String> {
        let socket = self.directory.path().join("bird.ctl");
        said(Command::new("/usr/sbin/birdc").arg("-s").arg(socket).args(command.split_whitespace()))
    }

    /// Makes it follow another configuration without being started anew.
    ///
    /// # Errors
    /// When it refuses, with what it says.
    pub fn configure(&self, configuration: &str) -> Result<()> {
        write_configuration(self.directory.path(), configuration)?;
        let answer = self.ask("configure")?;
        ensure!(answer.contains("Reconfigur"), "bird did not take its configuration: {answer}");
        Ok(())
    }

    /// Its process, to be frozen or killed.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Starts it again with the same configuration, after its end. Blocks until it answers.
    ///
    /// # Errors
    /// When it still runs, or cannot be started.
    pub fn restart(&mut self) -> Result<()> {
        self.process = run(self.directory.path(), &self.netns)?;
        self.ready()
    }

    fn ready(&self) -> Result<()> {
        until_blocking("the start of bird", START, || {
            self.process.check()?;
            Ok(match self.ask("show status") {
                Ok(answer) if answer.contains("Daemon is up and running") => Look::Ready(()),
                Ok(answer) => Look::NotYet(answer),
                Err(error) => Look::NotYet(format!("{error:#}")),
            })
        })
    }
}

impl Drop for Bird {
    fn drop(&mut self) {
        if let Err(error) = self.process.kill() {
            eprintln!("{error:#}");
        }
    }
}

fn run(directory: &Path, netns: &Path) -> Result<Process> {
    let path = |name: &str| directory.join(name).display().to_string();
    let args = vec!["-f".into(), "-c".into(), path("bird.conf"), "-s".into(), path("bird.ctl")];
    spawn(&Ledger::open(directory)?, netns, "bird", "/usr/sbin/bird", args)
}

fn write_configuration(directory: &Path, text: &str) -> Result<()> {
    let path = directory.join("bird.conf");
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}
