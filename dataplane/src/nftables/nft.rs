//! Runs the `nft` program.

use std::{ffi::OsString, process::Stdio, time::Duration};

use tokio::{
    process::{Child, Command},
    time::timeout,
};

use crate::{
    child::{complaint, feed},
    netfilter::NetworkNamespace,
};

/// How long nft may take. Loading 5000 Services with 50 endpoints each takes seconds; an nft that hangs would
/// keep the agent from everything else for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a script was not carried out, as far as is known. nft applies all of it or nothing.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// There is no such program.
    #[error("cannot run {program}: install the package nftables")]
    Start {
        /// What was to be run.
        program: String,
        /// Why it could not.
        #[source]
        source: std::io::Error,
    },
    /// The connection to the program broke.
    #[error("cannot talk to nft")]
    Io(#[source] std::io::Error),
    /// It did not end. The kernel may have taken the script just before.
    #[error(
        "nft did not end within {0:?} and was killed: look for another program that holds nftables or the CPUs"
    )]
    TimedOut(Duration),
    /// The program or the kernel refused.
    #[error("nft refused: {0}")]
    Refused(String),
}

/// The `nft` program.
#[derive(Clone, Debug)]
pub struct Nft {
    program: OsString,
    arguments: Vec<OsString>,
    patience: Duration,
    namespace: NetworkNamespace,
}

impl Default for Nft {
    fn default() -> Self {
        let namespace = NetworkNamespace::Own;
        Self { program: "nft".into(), arguments: Vec::new(), patience: PATIENCE, namespace }
    }
}

impl Nft {
    /// `nft` in a named network namespace instead of the process's own.
    #[must_use]
    pub fn in_namespace(name: &str) -> Self {
        let arguments = ["netns", "exec", name, "nft"].map(OsString::from).into();
        let namespace = NetworkNamespace::Named(name.to_owned());
        Self { program: "ip".into(), arguments, patience: PATIENCE, namespace }
    }

    /// `nft` in a network namespace.
    #[must_use]
    pub fn inside(namespace: &NetworkNamespace) -> Self {
        match namespace {
            NetworkNamespace::Own => Self::default(),
            NetworkNamespace::Named(name) => Self::in_namespace(name),
        }
    }

    /// Where it works.
    #[must_use]
    pub fn namespace(&self) -> &NetworkNamespace {
        &self.namespace
    }

    /// Asks the kernel whether it would carry out a script, and changes nothing.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn check(&self, script: &str) -> Result<(), NftError> {
        let mut checking = self.clone();
        checking.arguments.push("--check".into());
        checking.run(script).await
    }

    /// Carries out a script as one transaction.
    ///
    /// # Errors
    /// When the program cannot be run or refuses, and nothing has changed; or when it takes too long.
    pub async fn run(&self, script: &str) -> Result<(), NftError> {
        let child = self.spawn()?;
        let fed = timeout(self.patience, feed(child, script)).await;
        let (written, output) = fed.map_err(|_| NftError::TimedOut(self.patience))?;
        let output = output.map_err(NftError::Io)?;
        if !output.status.success() {
            return Err(NftError::Refused(complaint(&output.stderr)));
        }
        written.map_err(NftError::Io)
    }

    fn spawn(&self) -> Result<Child, NftError> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).args(["-f", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        command.spawn().map_err(|source| {
            let program = self.program.to_string_lossy().into_owned();
            NftError::Start { program, source }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read, sync::mpsc, thread};

    use nix::unistd::pipe;

    use super::*;

    #[tokio::test]
    async fn a_program_that_hangs_is_killed() {
        // The program inherits the writing end: that it is closed shows that the program is gone.
        let (reader, writer) = pipe().unwrap();
        let arguments = ["-c", "exec sleep 600"].map(OsString::from).into();
        let nft =
            Nft { program: "sh".into(), arguments, patience: Duration::from_millis(20), ..Nft::default() };
        let error = nft.run("").await.unwrap_err();
        assert!(matches!(error, NftError::TimedOut(_)), "{error}");
        drop(writer);
        let (closed, is_closed) = mpsc::channel();
        thread::spawn(move || closed.send(File::from(reader).read(&mut [0]).unwrap()));
        assert_eq!(is_closed.recv_timeout(Duration::from_secs(30)), Ok(0), "it still runs");
    }
}
