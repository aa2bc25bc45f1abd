//! A Go module that pins programs, and how they are built from it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow};

use super::cache::{fill, fingerprint};
use crate::progress::step;

/// A Go module that pins a program and its dependencies.
pub(super) struct Module {
    /// The first part of the cache entry's name.
    pub(super) name: &'static str,
    /// The required module whose version counts.
    pub(super) pinned: &'static str,
    pub(super) go_mod: &'static str,
    pub(super) go_sum: &'static str,
    /// A program of the module itself, besides those that it pins.
    pub(super) source: Option<&'static str>,
    /// Package to build, and the program's file name.
    pub(super) programs: &'static [(&'static str, &'static str)],
    /// Packages whose tests are built into a program (`go test -c`), and the program's file name.
    pub(super) tests: &'static [(&'static str, &'static str)],
    /// Folders of the pinned module that are kept beside the programs, under the same path.
    pub(super) folders: &'static [&'static str],
}

impl Module {
    /// Builds what it pins unless the cache has it; returns the directory with the programs.
    ///
    /// # Errors
    /// When Go is missing or a build fails; the compiler's words are in the message.
    pub(super) fn build(&self, cache: &Path) -> Result<PathBuf> {
        let version = version_of(self.go_mod, self.pinned)
            .with_context(|| format!("{} is not required by the go.mod of {}", self.pinned, self.name))?;
        let ldflags = linker_flags(self.pinned, version);
        let parts = [self.go_mod, self.go_sum, &ldflags].into_iter().chain(self.source);
        let key = fingerprint(&parts.collect::<Vec<_>>());
        let place = cache.join(format!("{}-{version}-{key}", self.name));
        fill(&place, |staging| {
            step(format!("build {} {version} (minutes the first time)", self.name), || {
                self.compile(staging, &ldflags)
            })
        })?;
        Ok(place)
    }

    fn compile(&self, staging: &Path, ldflags: &str) -> Result<()> {
        let source = tempfile::tempdir().context("make a directory for go.mod")?;
        fs::write(source.path().join("go.mod"), self.go_mod).context("write go.mod")?;
        fs::write(source.path().join("go.sum"), self.go_sum).context("write go.sum")?;
        if let Some(text) = self.source {
            fs::write(source.path().join("main.go"), text).context("write main.go")?;
        }
        self.build_programs(source.path(), staging, ldflags)?;
        for (package, program) in self.tests {
            let mut command = go(source.path());
            command.args(["test", "-c", "-trimpath", "-ldflags", ldflags, "-o"]);
            finish(command.arg(staging.join(program)).arg(package))?;
        }
        self.folders.iter().try_for_each(|folder| self.copy_folder(source.path(), folder, staging))
    }

    /// All at once: with a directory to write to, go compiles and links what it can in parallel.
    fn build_programs(&self, source: &Path, staging: &Path, ldflags: &str) -> Result<()> {
        let packages = self.programs.iter().map(|(package, _)| *package);
        let mut command = go(source);
        command.args(["build", "-trimpath", "-ldflags", ldflags, "-o"]).arg(staging.join("")).args(packages);
        finish(&mut command)?;
        self.programs.iter().try_for_each(|(package, program)| {
            let built = staging.join(built_name(package));
            fs::rename(&built, staging.join(program)).with_context(|| format!("rename {}", built.display()))
        })
    }

    /// Copies the files of one folder of the pinned module out of Go's module cache.
    fn copy_folder(&self, source: &Path, folder: &str, staging: &Path) -> Result<()> {
        let mut command = go(source);
        command.args(["list", "-m", "-f", "{{.Dir}}", self.pinned]);
        let output = command.output().context("run go")?;
        let module = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        let (from, to) = (module.join(folder), staging.join(folder));
        fs::create_dir_all(&to).with_context(|| format!("make {}", to.display()))?;
        for entry in fs::read_dir(&from).with_context(|| format!("list {}", from.display()))? {
            let file = entry.context("list a module's folder")?.path();
            let copy = to.join(file.file_name().unwrap_or_default());
            // Not fs::copy: Go's cache is read-only, and what cannot be removed again would stay for ever.
            let bytes = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
            fs::write(&copy, bytes).with_context(|| format!("write {}", copy.display()))?;
        }
        Ok(())
    }
}

/// One setting for all programs, so that Go's build cache is shared.
fn go(source: &Path) -> Command {
    let mut command = Command::new("go");
    command.env("CGO_ENABLED", "0").current_dir(source).stdin(Stdio::null());
    command
}

fn finish(command: &mut Command) -> Result<()> {
    let output = command.output().context("run go; install Go 1.26 or later and put it on the PATH")?;
    if output.status.success() {
        return Ok(());
    }
    Err(anyhow!("{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr)))
}

/// What go names a program: the last part of its package's path that is not a major version.
fn built_name(package: &str) -> &str {
    let is_version = |part: &&str| part.strip_prefix('v').is_some_and(|rest| rest.parse::<u32>().is_ok());
    package.rsplit('/').find(|part| !is_version(part)).unwrap_or(package)
}

const HELM: &str = "helm.sh/helm/v4";
const KUBERNETES: &str = "k8s.io/kubernetes";

/// Kubernetes programs and helm take their version from the linker; without it kubelets register as v0.0.0-master.
fn linker_flags(pinned: &str, version: &str) -> String {
    let mut flags = "-s -w".to_owned();
    if pinned == HELM {
        return flags + &format!(" -X helm.sh/helm/v4/internal/version.version={version}");
    }
    if pinned != KUBERNETES {
        return flags;
    }
    let mut parts = version.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    for (variable, value) in
        [("gitVersion", version), ("gitMajor", major), ("gitMinor", minor), ("gitTreeState", "clean")]
    {
        flags += &format!(" -X k8s.io/component-base/version.{variable}={value}");
    }
    flags
}

/// The version that a go.mod requires of a module.
pub(super) fn version_of<'a>(go_mod: &'a str, module: &str) -> Option<&'a str> {
    go_mod.lines().find_map(|line| {
        let mut words = line.trim().trim_start_matches("require ").split_whitespace();
        (words.next() == Some(module)).then(|| words.next())?.filter(|word| word.starts_with('v'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_and_helm_get_their_version_from_the_linker() {
        let flags = linker_flags(KUBERNETES, "v1.36.3");
        assert!(flags.contains("version.gitVersion=v1.36.3 "), "{flags}");
        assert!(flags.contains("version.gitMinor=36 "), "{flags}");
        assert!(linker_flags(HELM, "v4.3.1").ends_with("version.version=v4.3.1"));
        assert_eq!(linker_flags("go.etcd.io/etcd/server/v3", "v3.7.3"), "-s -w");
    }

    #[test]
    fn programs_are_found_under_the_name_that_go_gives_them() {
        assert_eq!(built_name("go.etcd.io/etcd/server/v3"), "server");
        assert_eq!(built_name("k8s.io/kubernetes/cmd/kubelet"), "kubelet");
    }

    #[test]
    fn a_version_is_that_of_a_requirement() {
        assert_eq!(version_of("require a.b/c v1.2.3 // indirect\n", "a.b/c"), Some("v1.2.3"));
        assert_eq!(version_of("replace a.b/c => a.b/c v1\n", "a.b/c"), None);
    }
}
