//! The images of the tests' Pods, without a registry: programs from Kubernetes' own module on Debian packages, under all
//! names that the tests ask for (kubernetes `test/utils/image/manifest.go`).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::archive::{Archive, pack};
use crate::cluster::Cluster;
use crate::images::{NGINX, Recipe};
use crate::penstock_image::ctr;
use crate::progress::step;
use crate::tools::{E2eTest, cache_dir, fill, fingerprint};
use crate::topology::Place;

/// One set of files serves for all of them. Only agnhost's own entry point matters: the others' Pods say what to run.
const AGNHOST: &[&str] = &[
    "registry.k8s.io/e2e-test-images/agnhost:2.63.0",
    "registry.k8s.io/e2e-test-images/busybox:1.37.0-1",
    "registry.k8s.io/e2e-test-images/glibc-dns-testing:2.0.0",
    "registry.k8s.io/build-image/distroless-iptables:v0.9.6",
];

/// Its Pods are endpoints that nobody asks for anything: any nginx does.
const TEST_NGINX: &str = "registry.k8s.io/e2e-test-images/nginx:1.15-4";

const REGRESSION_ISSUE_74839: &[&str] = &["registry.k8s.io/e2e-test-images/regression-issue-74839:1.4"];

/// What the tests call in their Pods. dash for `/bin/sh`: busybox's shell prefers its own `nc`, which lacks `-v -t -u`.
const BASE: Recipe = Recipe {
    name: "e2e-test-base",
    tag: "",
    packages: &[
        "bind9-dnsutils",
        "busybox-static",
        "conntrack",
        "curl",
        "dash",
        "iproute2",
        "libc-bin",
        "netcat-openbsd",
        "wget",
    ],
    authorities: false,
    files: &[
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nuser-defined-in-image:x:1000:1000::/:/bin/sh\n"),
        ("etc/group", "root:x:0:\ngroup-defined-in-image:x:50000:user-defined-in-image\n"),
        ("etc/nsswitch.conf", "hosts: files dns\n"),
        ("uploads/README", "netexec puts here what is sent to it.\n"),
    ],
    links: &[("bin/nc", "nc.openbsd")],
    command: &[],
};

/// The archives of the tests' images.
#[derive(Debug, Clone)]
pub struct TestImages {
    archives: Vec<PathBuf>,
}

impl TestImages {
    /// Makes what the cache does not have.
    ///
    /// # Errors
    /// When a package cannot be had or a program that packs fails.
    pub fn build(suite: &E2eTest) -> Result<Self> {
        let cache = cache_dir()?;
        let base = BASE.layer(&cache)?;
        let agnhost = Image {
            name: "agnhost",
            tags: AGNHOST,
            base: Some(&base),
            programs: &[suite.agnhost(), suite.coredns()],
            command: &["pause"],
        };
        let regression = Image {
            name: "regression-issue-74839",
            tags: REGRESSION_ISSUE_74839,
            base: None,
            programs: &[suite.regression_issue_74839()],
            command: &[],
        };
        Ok(Self { archives: vec![agnhost.archive(&cache)?, regression.archive(&cache)?] })
    }

    /// Gives them to every node's containerd.
    ///
    /// # Errors
    /// With what `ctr` said.
    pub async fn import(&self, cluster: &Cluster) -> Result<()> {
        for place in Place::NODES {
            for archive in &self.archives {
                let archive = archive.to_str().context("the cache's path is not UTF-8")?;
                ctr(cluster, place, &["import", archive]).await?;
            }
            ctr(cluster, place, &["tag", NGINX, TEST_NGINX]).await?;
        }
        Ok(())
    }
}

/// Programs at the root of an image; the first is its entry point.
struct Image<'a> {
    name: &'a str,
    tags: &'a [&'a str],
    base: Option<&'a Path>,
    programs: &'a [PathBuf],
    command: &'a [&'a str],
}

impl Image<'_> {
    fn archive(&self, cache: &Path) -> Result<PathBuf> {
        let parts = format!("{:?}", (self.tags, self.base, self.programs, self.command));
        let place = cache.join(format!("image-{}-{}", self.name, fingerprint(&[&parts])));
        fill(&place, |staging| {
            step(format!("make the image {}", self.name), || self.make(&staging.join("image.tar")))
        })?;
        Ok(place.join("image.tar"))
    }

    fn make(&self, archive: &Path) -> Result<()> {
        let work = tempfile::tempdir().context("make a directory for an image")?;
        let root = work.path().join("root");
        fs::create_dir(&root).context("make a root directory")?;
        let mut entrypoint = Vec::new();
        for program in self.programs {
            let name = program.file_name().context("a program without a name")?.to_string_lossy();
            let copy = root.join(&*name);
            fs::copy(program, &copy).with_context(|| format!("copy {}", program.display()))?;
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))
                .with_context(|| format!("chmod {}", copy.display()))?;
            entrypoint.push(format!("/{name}"));
        }
        let programs = work.path().join("programs.tar");
        pack(&root, &programs)?;
        let layers: Vec<&Path> = self.base.into_iter().chain([programs.as_path()]).collect();
        let entrypoint: Vec<&str> = entrypoint.iter().take(1).map(String::as_str).collect();
        Archive { tags: self.tags, layers: &layers, entrypoint: &entrypoint, command: self.command }
            .write(archive)
    }
}
