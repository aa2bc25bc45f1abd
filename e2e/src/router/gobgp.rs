//! GoBGP.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{START, said, spawn};
use crate::process::{Ledger, Process};
use crate::tools;
use crate::wait::{Look, until_blocking};

/// A running gobgpd. It ends with the value, and with this program however that ends.
#[derive(Debug)]
pub struct Gobgp {
    programs: PathBuf,
    process: Process,
    directory: tempfile::TempDir,
}

impl Gobgp {
    /// Builds it where the cache has none, and starts it in a namespace with the whole text of a configuration in TOML.
    /// Blocks until it answers.
    ///
    /// # Errors
    /// When the configuration is wrong; with the end of its log.
    pub fn start(netns: &Path, configuration: &str) -> Result<Self> {
        let programs = tools::gobgp()?;
        let directory = tempfile::tempdir().context("make a directory for gobgpd")?;
        let path = directory.path().join("gobgpd.toml");
        fs::write(&path, configuration).with_context(|| format!("write {}", path.display()))?;
        let args = vec![
            "--config-file".into(),
            path.display().to_string(),
            "--api-hosts".into(),
            socket(directory.path()),
            "--pprof-disable".into(),
        ];
        let program = programs.join("gobgpd").display().to_string();
        let process = spawn(&Ledger::open(directory.path())?, netns, "gobgpd", &program, args)?;
        let this = Self { programs, process, directory };
        this.ready()?;
        Ok(this)
    }

    /// What `gobgp` prints to a command, such as `neighbor`; `-j` among the words makes it JSON.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn ask(&self, command: &str) -> Result<String> {
        let mut program = Command::new(self.programs.join("gobgp"));
        said(program.arg("--target").arg(socket(self.directory.path())).args(command.split_whitespace()))
    }

    fn ready(&self) -> Result<()> {
        until_blocking("the start of gobgpd", START, || {
            self.process.check()?;
            Ok(match self.ask("global") {
                Ok(answer) if answer.contains("AS:") => Look::Ready(()),
                Ok(answer) => Look::NotYet(answer),
                Err(error) => Look::NotYet(format!("{error:#}")),
            })
        })
    }
}

impl Drop for Gobgp {
    fn drop(&mut self) {
        if let Err(error) = self.process.kill() {
            eprintln!("{error:#}");
        }
    }
}

fn socket(directory: &Path) -> String {
    format!("unix://{}", directory.join("api.sock").display())
}
