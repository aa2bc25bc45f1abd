//! Runs the programs of iptables.

use std::{io, process::Stdio, time::Duration};

use penstock_model::Family;
use tokio::{process::Command, time::timeout};

use super::variant::Variant;
use crate::{
    NetworkNamespace,
    child::{complaint, feed},
};

/// How long a program may take. Loading tens of thousands of Services takes tens of seconds on a busy machine; one that
/// hangs would keep the agent from everything else for ever.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long another program may hold the lock of the legacy variant (in seconds).
const LOCK: &str = "--wait=60";

/// Why a program did not do what it was told. iptables carries out all of a table's part or nothing of it.
#[derive(Debug, thiserror::Error)]
pub enum IptablesError {
    /// There is no such program.
    #[error("cannot run {program}: install the package iptables")]
    Start {
        /// What was to be run.
        program: String,
        /// Why it could not.
        #[source]
        source: io::Error,
    },
    /// The connection to the program broke.
    #[error("cannot talk to {program}")]
    Io {
        /// What was run.
        program: String,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// It did not end. The kernel may have taken the rules just before.
    #[error(
        "{program} did not end within {PATIENCE:?} and was killed: look for another program that holds its lock or the CPUs"
    )]
    TimedOut {
        /// What was run.
        program: String,
    },
    /// The program or the kernel refused.
    #[error("{program} refused: {complaint}")]
    Refused {
        /// What was run.
        program: String,
        /// What it says.
        complaint: String,
    },
    /// No program was asked.
    #[error("no iptables was looked for")]
    Unasked,
}

/// The programs of a variant, in a network namespace.
#[derive(Clone, Debug)]
pub struct Programs {
    variant: Variant,
    namespace: NetworkNamespace,
}

impl Programs {
    /// Of a variant, in a namespace.
    #[must_use]
    pub fn new(variant: Variant, namespace: NetworkNamespace) -> Self {
        Self { variant, namespace }
    }

    /// Carries out the input of `iptables-restore`, chains that it does not name apart.
    pub(super) async fn restore(&self, family: Family, input: &str) -> Result<(), IptablesError> {
        let program = self.variant.program(family, "restore");
        self.run(&program, &["--noflush", LOCK], input).await.map(drop)
    }

    /// All rules of a table, as `iptables-save` prints them.
    pub(super) async fn save(&self, family: Family, table: &str) -> Result<String, IptablesError> {
        let program = self.variant.program(family, "save");
        self.run(&program, &["-t", table], "").await
    }

    /// The rules of one chain.
    pub(super) async fn list(
        &self,
        family: Family,
        table: &str,
        chain: &str,
    ) -> Result<String, IptablesError> {
        let program = self.variant.program(family, "");
        self.run(&program, &[LOCK, "-t", table, "-S", chain], "").await
    }

    async fn run(&self, program: &str, arguments: &[&str], input: &str) -> Result<String, IptablesError> {
        let name = || program.to_owned();
        let mut command = self.command(program);
        command.args(arguments).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|source| IptablesError::Start { program: name(), source })?;
        let fed = timeout(PATIENCE, feed(child, input)).await;
        let (written, output) = fed.map_err(|_| IptablesError::TimedOut { program: name() })?;
        let output = output.map_err(|source| IptablesError::Io { program: name(), source })?;
        if !output.status.success() {
            return Err(IptablesError::Refused { program: name(), complaint: complaint(&output.stderr) });
        }
        written.map_err(|source| IptablesError::Io { program: name(), source })?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn command(&self, program: &str) -> Command {
        match &self.namespace {
            NetworkNamespace::Own => Command::new(program),
            NetworkNamespace::Named(name) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", name, program]);
                command
            }
        }
    }
}
