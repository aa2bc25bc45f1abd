//! Runs the `nft` program.

use std::{ffi::OsString, process::Stdio};

use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
};

/// How much of nft's complaint is kept: it repeats the line at fault, which may be megabytes.
const COMPLAINT: usize = 400;

/// Why a script was not carried out. nft applies all of it or nothing.
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
    /// The program or the kernel refused.
    #[error("nft refused: {0}")]
    Refused(String),
}

/// The `nft` program.
#[derive(Clone, Debug)]
pub struct Nft {
    program: OsString,
    arguments: Vec<OsString>,
}

impl Default for Nft {
    fn default() -> Self {
        Self { program: "nft".into(), arguments: Vec::new() }
    }
}

impl Nft {
    /// `nft` in a named network namespace instead of the process's own.
    #[must_use]
    pub fn in_namespace(name: &str) -> Self {
        let arguments = ["netns", "exec", name, "nft"].map(OsString::from).into();
        Self { program: "ip".into(), arguments }
    }

    /// Finds out whether there is an `nft` that may read the kernel's tables.
    ///
    /// # Errors
    /// When it cannot be run, or lacks the right (CAP_NET_ADMIN).
    pub async fn check(&self) -> Result<(), NftError> {
        self.run("list tables\n").await
    }

    /// Carries out a script as one transaction.
    ///
    /// # Errors
    /// When the program cannot be run or refuses; nothing has changed then.
    pub async fn run(&self, script: &str) -> Result<(), NftError> {
        let child = self.spawn()?;
        let (written, output) = feed(child, script).await;
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
        command.spawn().map_err(|source| {
            let program = self.program.to_string_lossy().into_owned();
            NftError::Start { program, source }
        })
    }
}

/// Writes and reads at the same time: nft may complain before it has read everything.
async fn feed(
    mut child: Child,
    script: &str,
) -> (std::io::Result<()>, std::io::Result<std::process::Output>) {
    let stdin = child.stdin.take();
    let write = async {
        if let Some(mut stdin) = stdin {
            stdin.write_all(script.as_bytes()).await?;
            stdin.shutdown().await?;
        }
        Ok(())
    };
    tokio::join!(write, child.wait_with_output())
}

fn complaint(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let text: String = text.trim().chars().take(COMPLAINT).collect();
    text.replace('\n', " ")
}
