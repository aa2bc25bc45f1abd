//! The kernel, built from Debian's sources and cached.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::packages;
use crate::progress::step;
use crate::tools::{cache_dir, fill, fingerprint};

/// The package with the sources, and where it puts them.
const SOURCE: &str = "linux-source-6.1";
const ARCHIVE: &str = "/usr/src/linux-source-6.1.tar.xz";
/// What is built in.
const CONFIG: &str = include_str!("../../tools/uml/config");

/// A kernel that can be run as a program.
#[derive(Debug, Clone)]
pub struct Kernel(PathBuf);

impl Kernel {
    /// Builds it unless the cache has it: some ten minutes on two cores.
    ///
    /// # Errors
    /// When a package cannot be had or the build fails; the compiler's last words are in the message.
    pub fn build() -> Result<Self> {
        packages::ensure_for_uml()?;
        let place = cache_dir()?.join(format!("uml-6.1-{}", fingerprint(&[CONFIG])));
        fill(&place, |staging| {
            step("build a user-mode Linux (ten minutes the first time)", || compile(staging))
        })?;
        Ok(Self(place.join("linux")))
    }

    /// The program.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

fn compile(staging: &Path) -> Result<()> {
    let work = tempfile::tempdir_in(staging).context("make a directory for the sources")?;
    let config = work.path().join("penstock.config");
    fs::write(&config, CONFIG).context("write the kernel's configuration")?;
    run(Command::new("tar").args(["-xf", ARCHIVE, "-C"]).arg(work.path()))?;
    let source = work.path().join(SOURCE);
    let make = |target: &str| {
        let mut command = Command::new("make");
        command.current_dir(&source).args(["ARCH=um", "SUBARCH=x86_64", target]);
        command.env("KCONFIG_ALLCONFIG", &config);
        command
    };
    run(&mut make("allnoconfig"))?;
    check(&fs::read_to_string(source.join(".config")).context("read the kernel's configuration")?)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    run(make("linux").arg(format!("-j{cores}")))?;
    fs::copy(source.join("linux"), staging.join("linux")).context("keep the kernel")?;
    Ok(())
}

/// Whether everything was taken: what lacks something else is left out without a word.
fn check(made: &str) -> Result<()> {
    let wanted = CONFIG.lines().filter(|line| line.starts_with("CONFIG_"));
    let missing: Vec<&str> = wanted.filter(|line| !made.lines().any(|made| made == *line)).collect();
    ensure!(missing.is_empty(), "these sources do not have {}", missing.join(", "));
    Ok(())
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let tail: Vec<&str> = said.lines().rev().take(20).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    ensure!(output.status.success(), "{command:?} failed:\n{}", tail.join("\n"));
    Ok(())
}
