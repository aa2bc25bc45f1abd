//! The Go programs of a cluster, built from pinned modules and cached outside the checkout.
//!
//! A cache entry is a directory named after the version and a hash of what it was built from. It is filled beside its
//! place and moved there in one step: what is there is whole.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow};
use nix::fcntl::{Flock, FlockArg};

use crate::progress::step;

/// Where builds and images are kept: `$PENSTOCK_CACHE`, else `$XDG_CACHE_HOME/penstock`, else `~/.cache/penstock`.
///
/// # Errors
/// When none of the three variables is set.
pub fn cache_dir() -> Result<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("PENSTOCK_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|base| base.join("penstock")))
        .or_else(|| variable("HOME").map(|base| base.join(".cache/penstock")))
        .context("none of PENSTOCK_CACHE, XDG_CACHE_HOME and HOME is set; set PENSTOCK_CACHE to a directory")
}

/// A Go module that pins a program and its dependencies.
struct Module {
    /// The first part of the cache entry's name.
    name: &'static str,
    /// The required module whose version counts.
    pinned: &'static str,
    go_mod: &'static str,
    go_sum: &'static str,
    /// Package to build, and the program's file name.
    programs: &'static [(&'static str, &'static str)],
    /// Folders of the pinned module that are kept beside the programs, under the same path.
    folders: &'static [&'static str],
}

const KUBERNETES: Module = Module {
    name: "kubernetes",
    pinned: "k8s.io/kubernetes",
    go_mod: include_str!("../tools/kubernetes/go.mod"),
    go_sum: include_str!("../tools/kubernetes/go.sum"),
    programs: &[
        ("k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver"),
        ("k8s.io/kubernetes/cmd/kube-controller-manager", "kube-controller-manager"),
        ("k8s.io/kubernetes/cmd/kube-scheduler", "kube-scheduler"),
        ("k8s.io/kubernetes/cmd/kubelet", "kubelet"),
        ("k8s.io/kubernetes/cmd/kubectl", "kubectl"),
    ],
    folders: &[],
};

/// The oracle and peer of the node agent. Not among the others: only `make flows` and the benchmarks need it.
const KUBE_PROXY: Module = Module {
    name: "kube-proxy",
    pinned: "k8s.io/kubernetes",
    go_mod: include_str!("../tools/kube-proxy/go.mod"),
    go_sum: include_str!("../tools/kube-proxy/go.sum"),
    programs: &[("k8s.io/kubernetes/cmd/kube-proxy", "kube-proxy")],
    folders: &[],
};

const ETCD: Module = Module {
    name: "etcd",
    pinned: "go.etcd.io/etcd/server/v3",
    go_mod: include_str!("../tools/etcd/go.mod"),
    go_sum: include_str!("../tools/etcd/go.sum"),
    programs: &[("go.etcd.io/etcd/server/v3", "etcd")],
    folders: &[],
};

/// The peer that the benchmarks compare with.
const METALLB: Module = Module {
    name: "metallb",
    pinned: "go.universe.tf/metallb",
    go_mod: include_str!("../tools/metallb/go.mod"),
    go_sum: include_str!("../tools/metallb/go.sum"),
    programs: &[("go.universe.tf/metallb/controller", "controller")],
    folders: &["config/crd/bases", "config/rbac"],
};

const HELM: Module = Module {
    name: "helm",
    pinned: "helm.sh/helm/v4",
    go_mod: include_str!("../tools/helm/go.mod"),
    go_sum: include_str!("../tools/helm/go.sum"),
    programs: &[("helm.sh/helm/v4/cmd/helm", "helm")],
    folders: &[],
};

/// The built programs.
#[derive(Debug, Clone)]
pub struct Tools {
    kubernetes: PathBuf,
    etcd: PathBuf,
    helm: PathBuf,
}

impl Tools {
    /// Builds what the cache does not have. The first time takes minutes; afterwards nothing is done.
    ///
    /// # Errors
    /// When Go is missing or a build fails; the compiler's words are in the message.
    pub fn build() -> Result<Self> {
        let cache = cache_dir()?;
        Ok(Self {
            kubernetes: KUBERNETES.build(&cache)?,
            etcd: ETCD.build(&cache)?,
            helm: HELM.build(&cache)?,
        })
    }

    /// A program of Kubernetes: kube-apiserver, kube-controller-manager, kube-scheduler, kubelet or kubectl.
    pub fn kubernetes(&self, program: &str) -> PathBuf {
        self.kubernetes.join(program)
    }

    /// kubectl.
    pub fn kubectl(&self) -> PathBuf {
        self.kubernetes("kubectl")
    }

    /// etcd.
    pub fn etcd(&self) -> PathBuf {
        self.etcd.join("etcd")
    }

    /// helm.
    pub fn helm(&self) -> PathBuf {
        self.helm.join("helm")
    }
}

/// Builds kube-proxy unless the cache has it; returns the program.
///
/// # Errors
/// As [`Tools::build`].
pub fn kube_proxy() -> Result<PathBuf> {
    KUBE_PROXY.build(&cache_dir()?).map(|place| place.join("kube-proxy"))
}

/// Its version, as in its go.mod.
pub fn kube_proxy_version() -> &'static str {
    version_of(KUBE_PROXY.go_mod, KUBE_PROXY.pinned).unwrap_or_default()
}

/// MetalLB's controller, built from its module, with its own definitions and RBAC.
#[derive(Debug, Clone)]
pub struct MetalLb {
    place: PathBuf,
}

impl MetalLb {
    /// Builds it unless the cache has it.
    ///
    /// # Errors
    /// As [`Tools::build`].
    pub fn build() -> Result<Self> {
        METALLB.build(&cache_dir()?).map(|place| Self { place })
    }

    /// Its version, as in its go.mod.
    pub fn version() -> &'static str {
        version_of(METALLB.go_mod, METALLB.pinned).unwrap_or_default()
    }

    /// The controller.
    pub fn controller(&self) -> PathBuf {
        self.place.join("controller")
    }

    /// The folder with its definitions.
    pub fn definitions(&self) -> PathBuf {
        self.place.join("config/crd/bases")
    }

    /// The folder with its ServiceAccounts and RBAC.
    pub fn rbac(&self) -> PathBuf {
        self.place.join("config/rbac")
    }
}

impl Module {
    fn build(&self, cache: &Path) -> Result<PathBuf> {
        let version = version_of(self.go_mod, self.pinned)
            .with_context(|| format!("{} is not required by the go.mod of {}", self.pinned, self.name))?;
        let ldflags = linker_flags(self.pinned, version);
        let key = fingerprint(&[self.go_mod, self.go_sum, &ldflags]);
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
        // All at once: with a directory to write to, go compiles and links what it can in parallel.
        let packages = self.programs.iter().map(|(package, _)| *package);
        let mut command = Command::new("go");
        command.args(["build", "-trimpath", "-ldflags", ldflags, "-o"]).arg(staging.join("")).args(packages);
        command.env("CGO_ENABLED", "0").current_dir(source.path()).stdin(Stdio::null());
        let output = command.output().context("run go; install Go 1.26 or later and put it on the PATH")?;
        if !output.status.success() {
            return Err(anyhow!("go build failed:\n{}", String::from_utf8_lossy(&output.stderr)));
        }
        self.programs.iter().try_for_each(|(package, program)| {
            let built = staging.join(built_name(package));
            fs::rename(&built, staging.join(program)).with_context(|| format!("rename {}", built.display()))
        })?;
        self.folders.iter().try_for_each(|folder| self.copy_folder(source.path(), folder, staging))
    }

    /// Copies the files of one folder of the pinned module out of Go's module cache.
    fn copy_folder(&self, source: &Path, folder: &str, staging: &Path) -> Result<()> {
        let mut command = Command::new("go");
        command.args(["list", "-m", "-f", "{{.Dir}}", self.pinned]).current_dir(source);
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

/// What go names a program: the last part of its package's path that is not a major version.
fn built_name(package: &str) -> &str {
    let is_version = |part: &&str| part.strip_prefix('v').is_some_and(|rest| rest.parse::<u32>().is_ok());
    package.rsplit('/').find(|part| !is_version(part)).unwrap_or(package)
}

/// Kubernetes programs and helm take their version from the linker; without it kubelets register as v0.0.0-master.
fn linker_flags(pinned: &str, version: &str) -> String {
    let mut flags = "-s -w".to_owned();
    if pinned == HELM.pinned {
        return flags + &format!(" -X helm.sh/helm/v4/internal/version.version={version}");
    }
    if pinned != KUBERNETES.pinned {
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
fn version_of<'a>(go_mod: &'a str, module: &str) -> Option<&'a str> {
    go_mod.lines().find_map(|line| {
        let mut words = line.trim().trim_start_matches("require ").split_whitespace();
        (words.next() == Some(module)).then(|| words.next())?.filter(|word| word.starts_with('v'))
    })
}

/// The first 16 hexadecimal digits of the SHA-256 of the texts.
pub fn fingerprint(texts: &[&str]) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for text in texts {
        context.update(&text.len().to_le_bytes());
        context.update(text.as_bytes());
    }
    context.finish().as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Makes sure that the cache entry `place` exists: when it does not, `make` fills a directory beside it, which then
/// moves there. Two programs that want the same entry wait for each other.
///
/// # Errors
/// Those of `make`, or when the cache cannot be written.
pub fn fill(place: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if place.exists() {
        return Ok(());
    }
    let parent = place.parent().with_context(|| format!("{} has no parent directory", place.display()))?;
    fs::create_dir_all(parent).with_context(|| format!("make the cache directory {}", parent.display()))?;
    let _lock = lock(&place.with_file_name(lock_name(place)))?;
    if place.exists() {
        return Ok(());
    }
    let staging = tempfile::Builder::new()
        .prefix(".staging-")
        .tempdir_in(parent)
        .context("make a staging directory")?;
    make(staging.path())?;
    let staging = staging.keep();
    fs::rename(&staging, place).with_context(|| format!("move {} to {}", staging.display(), place.display()))
}

fn lock_name(place: &Path) -> String {
    format!("{}.lock", place.file_name().unwrap_or_default().to_string_lossy())
}

fn lock(path: &Path) -> Result<Flock<File>> {
    let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, errno)| anyhow!("lock {}: {errno}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_versions_are_found() {
        assert!(version_of(KUBERNETES.go_mod, KUBERNETES.pinned).unwrap().starts_with("v1.36."));
        let of_kubernetes = |module: &Module| version_of(module.go_mod, module.pinned).map(str::to_owned);
        assert_eq!(of_kubernetes(&KUBE_PROXY), of_kubernetes(&KUBERNETES));
        assert!(version_of(ETCD.go_mod, ETCD.pinned).unwrap().starts_with("v3."));
        assert!(MetalLb::version().starts_with("v0.15."));
        assert!(version_of(HELM.go_mod, HELM.pinned).unwrap().starts_with("v4."));
        assert_eq!(version_of("replace a.b/c => a.b/c v1\n", "a.b/c"), None);
    }

    #[test]
    fn kubernetes_and_helm_get_their_version_from_the_linker() {
        let flags = linker_flags(KUBERNETES.pinned, "v1.36.3");
        assert!(flags.contains("version.gitVersion=v1.36.3 "), "{flags}");
        assert!(flags.contains("version.gitMinor=36 "), "{flags}");
        assert!(linker_flags(HELM.pinned, "v4.3.1").ends_with("version.version=v4.3.1"));
        assert_eq!(linker_flags(ETCD.pinned, "v3.7.3"), "-s -w");
    }

    #[test]
    fn programs_are_found_under_the_name_that_go_gives_them() {
        assert_eq!(built_name("go.etcd.io/etcd/server/v3"), "server");
        assert_eq!(built_name("k8s.io/kubernetes/cmd/kubelet"), "kubelet");
    }

    #[test]
    fn a_failed_build_leaves_no_entry() {
        let cache = tempfile::tempdir().unwrap();
        let place = cache.path().join("thing-1");
        fill(&place, |staging| {
            fs::write(staging.join("half"), "").unwrap();
            Err(anyhow!("interrupted"))
        })
        .unwrap_err();
        assert!(!place.exists());
        fill(&place, |staging| Ok(fs::write(staging.join("whole"), "")?)).unwrap();
        assert!(place.join("whole").exists());
        fill(&place, |_| panic!("an entry is made once")).unwrap();
    }

    #[test]
    fn texts_are_told_apart_by_their_borders() {
        assert_ne!(fingerprint(&["ab", "c"]), fingerprint(&["a", "bc"]));
        assert_eq!(fingerprint(&["ab"]).len(), 16);
    }
}
