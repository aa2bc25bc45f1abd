//! The Go programs of a cluster, built from pinned modules and cached outside the checkout; and one of Python.

mod cache;
mod module;
mod venv;

use std::path::PathBuf;

use anyhow::Result;

pub use cache::{cache_dir, fill, fingerprint};
use module::{Module, version_of};
use venv::Venv;

/// The types of the clouds' own clients, which requests of ours are read by.
const VENDOR_TYPES: Module = Module {
    name: "vendor-types",
    pinned: "github.com/hetznercloud/hcloud-go/v2",
    go_mod: include_str!("../../tools/vendor-types/go.mod"),
    go_sum: include_str!("../../tools/vendor-types/go.sum"),
    source: Some(include_str!("../../tools/vendor-types/main.go")),
    programs: &[("penstock.dev/vendor-types", "vendor-types")],
    tests: &[],
    folders: &[],
};

const KUBERNETES: Module = Module {
    name: "kubernetes",
    pinned: "k8s.io/kubernetes",
    go_mod: include_str!("../../tools/kubernetes/go.mod"),
    go_sum: include_str!("../../tools/kubernetes/go.sum"),
    source: None,
    programs: &[
        ("k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver"),
        ("k8s.io/kubernetes/cmd/kube-controller-manager", "kube-controller-manager"),
        ("k8s.io/kubernetes/cmd/kube-scheduler", "kube-scheduler"),
        ("k8s.io/kubernetes/cmd/kubelet", "kubelet"),
        ("k8s.io/kubernetes/cmd/kubectl", "kubectl"),
    ],
    tests: &[],
    folders: &[],
};

/// The oracle and peer of the node agent. Not among the others: only `make flows` and the benchmarks need it.
const KUBE_PROXY: Module = Module {
    name: "kube-proxy",
    pinned: "k8s.io/kubernetes",
    go_mod: include_str!("../../tools/kube-proxy/go.mod"),
    go_sum: include_str!("../../tools/kube-proxy/go.sum"),
    source: None,
    programs: &[("k8s.io/kubernetes/cmd/kube-proxy", "kube-proxy")],
    tests: &[],
    folders: &[],
};

const ETCD: Module = Module {
    name: "etcd",
    pinned: "go.etcd.io/etcd/server/v3",
    go_mod: include_str!("../../tools/etcd/go.mod"),
    go_sum: include_str!("../../tools/etcd/go.sum"),
    source: None,
    programs: &[("go.etcd.io/etcd/server/v3", "etcd")],
    tests: &[],
    folders: &[],
};

/// The peer that the benchmarks compare with.
const METALLB: Module = Module {
    name: "metallb",
    pinned: "go.universe.tf/metallb",
    go_mod: include_str!("../../tools/metallb/go.mod"),
    go_sum: include_str!("../../tools/metallb/go.sum"),
    source: None,
    programs: &[("go.universe.tf/metallb/controller", "controller")],
    tests: &[],
    folders: &["config/crd/bases", "config/rbac"],
};

const HELM: Module = Module {
    name: "helm",
    pinned: "helm.sh/helm/v4",
    go_mod: include_str!("../../tools/helm/go.mod"),
    go_sum: include_str!("../../tools/helm/go.sum"),
    source: None,
    programs: &[("helm.sh/helm/v4/cmd/helm", "helm")],
    tests: &[],
    folders: &[],
};

/// Kubernetes' own tests, and what their Pods run. Only `make conformance` needs them.
const E2E_TEST: Module = Module {
    name: "e2e-test",
    pinned: "k8s.io/kubernetes",
    go_mod: include_str!("../../tools/e2e-test/go.mod"),
    go_sum: include_str!("../../tools/e2e-test/go.sum"),
    source: None,
    programs: &[
        ("github.com/onsi/ginkgo/v2/ginkgo", "ginkgo"),
        ("k8s.io/kubernetes/test/images/agnhost", "agnhost"),
        ("k8s.io/kubernetes/test/images/regression-issue-74839", "regression-issue-74839"),
    ],
    tests: &[("k8s.io/kubernetes/test/e2e", "e2e.test")],
    folders: &[],
};

/// The DNS of the cluster that those tests run on, and of some of their Pods; and the oracle of ours.
const COREDNS: Module = Module {
    name: "coredns",
    pinned: "github.com/coredns/coredns",
    go_mod: include_str!("../../tools/coredns/go.mod"),
    go_sum: include_str!("../../tools/coredns/go.sum"),
    source: None,
    programs: &[("github.com/coredns/coredns", "coredns")],
    tests: &[],
    folders: &[],
};

/// A router, as a peer of the announcer's tests and benchmarks.
const GOBGP: Module = Module {
    name: "gobgp",
    pinned: "github.com/osrg/gobgp/v4",
    go_mod: include_str!("../../tools/gobgp/go.mod"),
    go_sum: include_str!("../../tools/gobgp/go.sum"),
    source: None,
    programs: &[
        ("github.com/osrg/gobgp/v4/cmd/gobgp", "gobgp"),
        ("github.com/osrg/gobgp/v4/cmd/gobgpd", "gobgpd"),
    ],
    tests: &[],
    folders: &[],
};

/// The emulator of AWS that the provider of its load balancers is tried on, besides our own endpoint.
const MOTO: Venv = Venv { name: "moto", requirements: include_str!("../../tools/moto/requirements.txt") };

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

/// Builds CoreDNS unless the cache has it; returns the program.
///
/// # Errors
/// As [`Tools::build`].
pub fn coredns() -> Result<PathBuf> {
    COREDNS.build(&cache_dir()?).map(|place| place.join("coredns"))
}

/// CoreDNS' version, as in its go.mod.
pub fn coredns_version() -> &'static str {
    version_of(COREDNS.go_mod, COREDNS.pinned).unwrap_or_default()
}

/// Builds the reader of requests unless the cache has it; see [`crate::vendor_types`].
///
/// # Errors
/// As [`Tools::build`].
pub fn vendor_types() -> Result<PathBuf> {
    VENDOR_TYPES.build(&cache_dir()?).map(|place| place.join("vendor-types"))
}

/// Builds GoBGP unless the cache has it; returns the folder with `gobgpd` and `gobgp`.
///
/// # Errors
/// As [`Tools::build`].
pub fn gobgp() -> Result<PathBuf> {
    GOBGP.build(&cache_dir()?)
}

/// Installs moto unless the cache has it; returns the Python that has the module `moto.server`.
///
/// # Errors
/// When Python or its venv is missing, or a package cannot be had; pip's words are in the message.
pub fn moto() -> Result<PathBuf> {
    MOTO.build(&cache_dir()?)
}

/// kube-proxy's version, as in its go.mod.
pub fn kube_proxy_version() -> &'static str {
    version_of(KUBE_PROXY.go_mod, KUBE_PROXY.pinned).unwrap_or_default()
}

/// The suite of Kubernetes' end-to-end tests, built from its module, with what it needs.
#[derive(Debug, Clone)]
pub struct E2eTest {
    place: PathBuf,
    coredns: PathBuf,
}

impl E2eTest {
    /// Builds it unless the cache has it.
    ///
    /// # Errors
    /// As [`Tools::build`].
    pub fn build() -> Result<Self> {
        let cache = cache_dir()?;
        Ok(Self { place: E2E_TEST.build(&cache)?, coredns: coredns()? })
    }

    /// The version of Kubernetes that it is of.
    pub fn version() -> &'static str {
        version_of(E2E_TEST.go_mod, E2E_TEST.pinned).unwrap_or_default()
    }

    /// The tests, as one program.
    pub fn tests(&self) -> PathBuf {
        self.place.join("e2e.test")
    }

    /// What runs several processes of it side by side.
    pub fn ginkgo(&self) -> PathBuf {
        self.place.join("ginkgo")
    }

    /// The program behind most of the tests' Pods.
    pub fn agnhost(&self) -> PathBuf {
        self.place.join("agnhost")
    }

    /// The server that sends packets out of a connection's window (kubernetes/kubernetes#74839).
    pub fn regression_issue_74839(&self) -> PathBuf {
        self.place.join("regression-issue-74839")
    }

    /// CoreDNS.
    pub fn coredns(&self) -> PathBuf {
        self.coredns.clone()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_versions_are_found() {
        assert!(version_of(KUBERNETES.go_mod, KUBERNETES.pinned).unwrap().starts_with("v1.36."));
        let of_kubernetes = |module: &Module| version_of(module.go_mod, module.pinned).map(str::to_owned);
        assert_eq!(of_kubernetes(&KUBE_PROXY), of_kubernetes(&KUBERNETES));
        assert_eq!(of_kubernetes(&E2E_TEST), of_kubernetes(&KUBERNETES));
        assert!(version_of(COREDNS.go_mod, COREDNS.pinned).unwrap().starts_with("v1."));
        assert!(version_of(ETCD.go_mod, ETCD.pinned).unwrap().starts_with("v3."));
        assert!(MetalLb::version().starts_with("v0.15."));
        assert!(venv::version_of(MOTO.requirements, MOTO.name).unwrap().starts_with("5.2."));
        assert!(version_of(VENDOR_TYPES.go_mod, VENDOR_TYPES.pinned).unwrap().starts_with("v2."));
        assert!(version_of(HELM.go_mod, HELM.pinned).unwrap().starts_with("v4."));
    }
}
