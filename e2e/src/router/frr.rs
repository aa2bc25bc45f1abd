//! FRR: zebra, which has the routes, bgpd and bfdd.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::unistd::User;

use super::{START, said, spawn};
use crate::packages;
use crate::process::{Ledger, Process};
use crate::wait::{Look, until_blocking};

/// The user that the package makes.
const USER: &str = "frr";

/// What the daemons do. They are started as their user: whoever changes it later loses the signal by which the kernel
/// ends a child with its parent (prctl(2), PR_SET_PDEATHSIG).
const CAPABILITIES: &str =
    "-all,+net_admin,+net_raw,+net_bind_service,+sys_admin,+sys_rawio,+ipc_lock,+setuid,+setgid";

/// A daemon of FRR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Daemon {
    /// Interfaces, addresses and routes; the others ask it.
    Zebra,
    /// BGP.
    Bgpd,
    /// BFD.
    Bfdd,
}

impl Daemon {
    const ALL: [Self; 3] = [Self::Zebra, Self::Bgpd, Self::Bfdd];

    fn name(self) -> &'static str {
        match self {
            Self::Zebra => "zebra",
            Self::Bgpd => "bgpd",
            Self::Bfdd => "bfdd",
        }
    }
}

/// The running daemons. They end with the value, and with this program however that ends.
#[derive(Debug)]
pub struct Frr {
    netns: PathBuf,
    /// In the order of [`Daemon::ALL`].
    processes: Vec<Process>,
    directory: tempfile::TempDir,
}

impl Frr {
    /// Installs it where it is missing, and starts its daemons in a namespace with the whole text of an `frr.conf`.
    /// Blocks until all of them answer.
    ///
    /// # Errors
    /// When the configuration is wrong or a daemon ends; with the end of its log.
    pub fn start(netns: &Path, configuration: &str) -> Result<Self> {
        packages::ensure_for_routers()?;
        let directory = tempfile::tempdir().context("make a directory for frr")?;
        let user = User::from_name(USER).context("look the user frr up")?.context("there is no user frr")?;
        chown(directory.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw()))
            .with_context(|| format!("give {} to {USER}", directory.path().display()))?;
        let mut this = Self { netns: netns.to_owned(), processes: Vec::new(), directory };
        for daemon in Daemon::ALL {
            let process = this.run(daemon)?;
            this.processes.push(process);
            this.ready(daemon)?;
        }
        this.load(configuration)?;
        Ok(this)
    }

    /// What `vtysh` prints to a command, such as `show bfd peers json`.
    ///
    /// # Errors
    /// When a daemon does not answer, or none knows the command.
    pub fn ask(&self, command: &str) -> Result<String> {
        said(self.vtysh().arg("-c").arg(command))
    }

    /// Adds commands of the configuration, as they would stand in `frr.conf`; `no …` takes away.
    ///
    /// # Errors
    /// With what vtysh says to a line that nobody knows.
    pub fn configure(&self, lines: &str) -> Result<()> {
        self.load(lines)
    }

    /// A daemon's process, to be frozen or killed.
    pub fn daemon(&self, daemon: Daemon) -> &Process {
        &self.processes[daemon as usize]
    }

    /// Starts a daemon again, after its end, with nothing configured. Blocks until it answers.
    ///
    /// # Errors
    /// When it still runs, or cannot be started.
    pub fn restart(&mut self, daemon: Daemon) -> Result<()> {
        self.processes[daemon as usize] = self.run(daemon)?;
        self.ready(daemon)
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn vtysh(&self) -> Command {
        let mut command = Command::new("/usr/bin/vtysh");
        command.arg("--vty_socket").arg(self.directory.path());
        command
    }

    fn run(&self, daemon: Daemon) -> Result<Process> {
        let name = daemon.name();
        let config = self.path(&format!("{name}.conf"));
        fs::write(&config, "").with_context(|| format!("write {config}"))?;
        let mut args: Vec<String> =
            ["--reuid", USER, "--regid", USER, "--init-groups"].map(Into::into).into();
        args.extend([format!("--inh-caps={CAPABILITIES}"), format!("--ambient-caps={CAPABILITIES}")]);
        args.extend(["--pdeathsig", "KILL"].map(Into::into));
        args.extend([
            format!("/usr/lib/frr/{name}"),
            "--vty_port=0".into(),
            format!("--config_file={config}"),
        ]);
        args.extend([
            format!("--vty_socket={}", self.directory.path().display()),
            format!("--socket={}", self.path("zserv.api")),
            format!("--pid_file={}", self.path(&format!("{name}.frr-pid"))),
            "--log=stdout".into(),
        ]);
        if daemon == Daemon::Bfdd {
            args.push(format!("--bfdctl={}", self.path("bfdd.sock")));
        }
        spawn(&Ledger::open(self.directory.path())?, &self.netns, name, "/usr/bin/setpriv", args)
    }

    fn ready(&self, daemon: Daemon) -> Result<()> {
        let name = daemon.name();
        until_blocking(&format!("the start of frr's {name}"), START, || {
            self.daemon(daemon).check()?;
            let question = said(self.vtysh().args(["-d", name, "-c", "show version"]));
            Ok(match question {
                Ok(answer) if answer.contains("FRRouting") => Look::Ready(()),
                Ok(answer) => Look::NotYet(answer),
                Err(error) => Look::NotYet(format!("{error:#}")),
            })
        })
    }

    /// vtysh gives each line to the daemons that know it.
    fn load(&self, text: &str) -> Result<()> {
        let path = self.path("frr.conf");
        fs::write(&path, text).with_context(|| format!("write {path}"))?;
        let answer = said(self.vtysh().arg("-f").arg(&path))?;
        // It goes on after a line that it does not know, and its exit code is not of any use.
        if let Some(line) = answer.lines().find(|line| line.contains('%')) {
            bail!("frr did not take its configuration: {line}");
        }
        Ok(())
    }
}

impl Drop for Frr {
    fn drop(&mut self) {
        for process in self.processes.iter().rev() {
            if let Err(error) = process.kill() {
                eprintln!("{error:#}");
            }
        }
    }
}
