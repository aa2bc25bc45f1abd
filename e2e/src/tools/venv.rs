//! Python programs: a virtual environment with exactly what a requirements file pins, by hash.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow};

use super::cache::{fill, fingerprint};
use crate::progress::step;

/// The distribution's own, for which its package of `venv` is.
const PYTHON: &str = "/usr/bin/python3";

/// A set of pinned packages.
pub(super) struct Venv {
    /// The first part of the cache entry's name, and the package whose version counts.
    pub(super) name: &'static str,
    /// A requirements file with versions and hashes of everything.
    pub(super) requirements: &'static str,
}

impl Venv {
    /// Makes it unless the cache has it; returns its Python. Its other programs name the directory that it was made in
    /// and do not run: run modules (`-m`).
    ///
    /// # Errors
    /// When Python or its venv is missing, or a package cannot be had; pip's words are in the message.
    pub(super) fn build(&self, cache: &Path) -> Result<PathBuf> {
        let version = version_of(self.requirements, self.name)
            .with_context(|| format!("{} is not among the requirements of itself", self.name))?;
        // A virtual environment is bound to the Python that made it.
        let python = output(Command::new(PYTHON).arg("--version"))?;
        let key = fingerprint(&[self.requirements, &python]);
        let place = cache.join(format!("{}-{version}-{key}", self.name));
        fill(&place, |staging| step(format!("install {} {version}", self.name), || self.install(staging)))?;
        Ok(place.join("bin/python3"))
    }

    fn install(&self, staging: &Path) -> Result<()> {
        output(Command::new(PYTHON).args(["-m", "venv"]).arg(staging))?;
        let list = tempfile::NamedTempFile::new().context("make a requirements file")?;
        std::fs::write(list.path(), self.requirements).context("write a requirements file")?;
        let mut pip = Command::new(staging.join("bin/python3"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]);
        output(pip.args(["--require-hashes", "--only-binary", ":all:", "--requirement"]).arg(list.path()))?;
        Ok(())
    }
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| {
        format!("run {}; it comes with the package python3", command.get_program().display())
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(anyhow!("{command:?} failed: {said}"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The version that a requirements file pins of a package.
pub(super) fn version_of<'a>(requirements: &'a str, package: &str) -> Option<&'a str> {
    requirements.lines().find_map(|line| {
        let (name, rest) = line.split_once("==")?;
        (name.trim() == package).then(|| rest.split_whitespace().next())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_that_of_its_own_line() {
        let requirements =
            "# moto==1\nboto3==1.0 \\\n    --hash=sha256:00\nmoto==5.2.5 \\\n    --hash=sha256:00\n";
        assert_eq!(version_of(requirements, "moto"), Some("5.2.5"));
        assert_eq!(version_of(requirements, "flask"), None);
    }
}
