//! Container images without a registry: Debian packages, unpacked into a directory, packed as one layer of a
//! [docker-archive](crate::archive) that `ctr images import` reads.
//!
//! apt resolves the packages as if nothing were installed, from the machine's own sources, and `dpkg-deb` unpacks
//! them. Their maintainer scripts do not run; what they would have done is in [`Recipe::files`].

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::archive::{Archive, pack, run};
use crate::packages::apt;
use crate::progress::step;
use crate::tools::{cache_dir, fill, fingerprint};

/// Changes when the way that images are made changes, so that cached ones are made anew.
const FORMAT: &str = "3";

/// Takes out what packages bring and no program here opens: manuals, and the tables of iconv(3), half of what the C library
/// takes. Of the documentation the licences stay.
pub(crate) const REMOVE_UNUSED: &str = "rm -rf usr/lib/*/gconv usr/share/man usr/share/lintian
find usr/share/doc -type f ! -name copyright -delete";

/// Where Debian has all certificate authorities in one file, and where TLS libraries look for them.
pub(crate) const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";

/// What an image is made from.
pub(crate) struct Recipe {
    /// The name of the archive in the cache.
    pub(crate) name: &'static str,
    /// The name that containerd and the kubelet know it by.
    pub(crate) tag: &'static str,
    pub(crate) packages: &'static [&'static str],
    /// Whether public certificate authorities are in it, for programs that speak to the world by TLS.
    pub(crate) authorities: bool,
    /// Path and text of files that are added.
    pub(crate) files: &'static [(&'static str, &'static str)],
    /// Path and target of links that are added.
    pub(crate) links: &'static [(&'static str, &'static str)],
    pub(crate) command: &'static [&'static str],
}

/// The image that holds a Pod's namespaces. containerd is told its name; it is never pulled.
pub const PAUSE: &str = "registry.k8s.io/pause:3.10.2";

/// `image: nginx`, as the kubelet resolves it.
pub const NGINX: &str = "docker.io/library/nginx:latest";

const PAUSE_RECIPE: Recipe = Recipe {
    name: "pause",
    tag: PAUSE,
    packages: &["busybox-static"],
    authorities: false,
    files: &[],
    links: &[],
    command: &["/bin/busybox", "sleep", "infinity"],
};

/// Debian's nginx. Every answer names the Pod, and the address that the request came from as nginx saw it.
const NGINX_RECIPE: Recipe = Recipe {
    name: "nginx",
    tag: NGINX,
    packages: &["nginx-light", "curl", "busybox-static"],
    authorities: false,
    files: &[
        (
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n",
        ),
        ("etc/group", "root:x:0:\nwww-data:x:33:\n"),
        (
            "etc/nginx/conf.d/answer.conf",
            "server {\n\
             \x20   listen 80 default_server;\n    listen [::]:80 default_server;\n\
             \x20   listen 8080 default_server;\n    listen [::]:8080 default_server;\n\
             \x20   default_type text/plain;\n\
             \x20   add_header X-Pod $hostname;\n\
             \x20   add_header X-Client $remote_addr;\n\
             \x20   location / { return 200 \"$hostname\\n\"; }\n\
             }\n",
        ),
    ],
    links: &[("var/log/nginx/access.log", "/dev/stdout"), ("var/log/nginx/error.log", "/dev/stderr")],
    command: &["/usr/sbin/nginx", "-g", "daemon off;"],
};

/// What our own programs need beside themselves: the C library that they are linked with, nft and iptables, and whom to
/// believe that it is a cloud. No shell. The repository's `Dockerfile` has the same.
pub(crate) const PENSTOCK_BASE: Recipe = Recipe {
    name: "penstock-base",
    tag: "",
    packages: &["libc6", "nftables", "iptables"],
    authorities: true,
    files: &[
        (
            "etc/passwd",
            "root:x:0:0:root:/root:/usr/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/usr/sbin/nologin\n",
        ),
        ("etc/group", "root:x:0:\nnonroot:x:65532:\n"),
    ],
    links: &[],
    command: &[],
};

/// The archives of all images but our own, which differs with every build, and the lower layer of that.
#[derive(Debug, Clone)]
pub struct Images {
    archives: Vec<PathBuf>,
    penstock_base: PathBuf,
}

impl Images {
    /// Makes what the cache does not have.
    ///
    /// # Errors
    /// When a package cannot be had or a program that packs fails.
    pub fn build() -> Result<Self> {
        let cache = cache_dir()?;
        let archives = [PAUSE_RECIPE, NGINX_RECIPE].iter().map(|recipe| recipe.archive(&cache));
        let archives = archives.collect::<Result<_>>()?;
        Ok(Self { archives, penstock_base: PENSTOCK_BASE.layer(&cache)? })
    }

    /// The archives, for `ctr images import`.
    pub fn archives(&self) -> &[PathBuf] {
        &self.archives
    }

    /// The lower layer of [our own image](crate::penstock_image).
    pub fn penstock_base(&self) -> &Path {
        &self.penstock_base
    }
}

impl Recipe {
    fn archive(&self, cache: &Path) -> Result<PathBuf> {
        let key = fingerprint(&[FORMAT, &format!("{:?}", self.parts())]);
        let place = cache.join(format!("image-{}-{key}", self.name));
        fill(&place, |staging| {
            step(format!("make the image {}", self.tag), || self.make(&staging.join("image.tar")))
        })?;
        Ok(place.join("image.tar"))
    }

    /// Everything that the result depends on, but for the packages' versions.
    fn parts(&self) -> impl std::fmt::Debug {
        (self.tag, self.packages, self.authorities, self.files, self.links, self.command)
    }

    /// The layer alone, for images that have more on it.
    ///
    /// # Errors
    /// When a package cannot be had or a program that packs fails.
    pub(crate) fn layer(&self, cache: &Path) -> Result<PathBuf> {
        let key = fingerprint(&[FORMAT, &format!("{:?}", self.parts())]);
        let place = cache.join(format!("layer-{}-{key}", self.name));
        fill(&place, |staging| {
            let made = || self.make_layer(&staging.join("layer.tar"));
            step(format!("make the layer {}", self.name), made)
        })?;
        Ok(place.join("layer.tar"))
    }

    fn make(&self, archive: &Path) -> Result<()> {
        let work = tempfile::tempdir().context("make a directory for an image")?;
        let layer = work.path().join("layer.tar");
        self.make_layer(&layer)?;
        Archive { tags: &[self.tag], layers: &[&layer], entrypoint: &[], command: self.command }
            .write(archive)
    }

    fn make_layer(&self, layer: &Path) -> Result<()> {
        let work = tempfile::tempdir().context("make a directory for an image")?;
        let root = work.path().join("root");
        fs::create_dir(&root).context("make a root directory")?;
        unpack(self.packages, &work.path().join("apt"), &root)?;
        run(Command::new("/bin/sh").args(["-e", "-c", REMOVE_UNUSED]).current_dir(&root))?;
        if self.authorities {
            add_authorities(work.path(), &root)?;
        }
        self.add_files(&root)?;
        pack(&root, layer)
    }

    fn add_files(&self, root: &Path) -> Result<()> {
        for directory in ["dev", "proc", "sys", "run", "tmp", "etc", "bin", "root"] {
            fs::create_dir_all(root.join(directory)).with_context(|| format!("make /{directory}"))?;
        }
        for (path, text) in self.files {
            let path = parent_made(root, path)?;
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        }
        for (path, target) in self.links {
            let path = parent_made(root, path)?;
            symlink(target, &path).with_context(|| format!("link {}", path.display()))?;
        }
        link_busybox(root)
    }
}

fn parent_made(root: &Path, path: &str) -> Result<PathBuf> {
    let path = root.join(path);
    let parent = path.parent().unwrap_or(root);
    fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    Ok(path)
}

/// Downloads packages with all that they depend on, and unpacks them into `root`.
fn unpack(packages: &[&str], work: &Path, root: &Path) -> Result<()> {
    fs::create_dir_all(work.join("archives/partial")).context("make a directory for packages")?;
    fs::write(work.join("status"), "").context("write an empty package status")?;
    let work_display = work.display();
    let options = [
        format!("-oDir::State::status={work_display}/status"),
        format!("-oDir::Cache={work_display}"),
        "-oDebug::NoLocking=1".into(),
        "-oAPT::Sandbox::User=root".into(),
    ];
    let flags = ["--yes", "--download-only", "--no-install-recommends", "install"];
    let install: Vec<&str> =
        options.iter().map(String::as_str).chain(flags).chain(packages.iter().copied()).collect();
    // The index may name versions that the archive no longer has, or there may be none.
    if apt(&install).is_err() {
        apt(&["update"])?;
        apt(&install)?;
    }
    for entry in fs::read_dir(work.join("archives")).context("list the packages")? {
        let package = entry.context("list the packages")?.path();
        if package.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(root))?;
        }
    }
    Ok(())
}

/// Debian's certificate authorities, in one file, as its maintainer script would put them: that alone needs the packages that
/// this one depends on.
fn add_authorities(work: &Path, root: &Path) -> Result<()> {
    let package = work.join("ca");
    fs::create_dir(&package).context("make a directory for a package")?;
    let download =
        || run(Command::new("apt-get").args(["download", "ca-certificates"]).current_dir(&package));
    if download().is_err() {
        apt(&["update"])?;
        download()?;
    }
    let unpacked = work.join("ca-unpacked");
    for package in files(&package)? {
        run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&unpacked))?;
    }
    let mut bundle = String::new();
    for certificate in files(&unpacked.join("usr/share/ca-certificates/mozilla"))? {
        bundle +=
            &fs::read_to_string(&certificate).with_context(|| format!("read {}", certificate.display()))?;
    }
    ensure!(bundle.contains("BEGIN CERTIFICATE"), "the package ca-certificates has no certificates");
    let path = parent_made(root, AUTHORITIES)?;
    fs::write(&path, bundle).with_context(|| format!("write {}", path.display()))
}

/// The files of a directory, by name.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))?;
    let mut paths =
        entries.map(|entry| Ok(entry.context("list files")?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// Links the applets of busybox, where it is there, and among them the shell, where no package has put a program.
fn link_busybox(root: &Path) -> Result<()> {
    let busybox = root.join("bin/busybox");
    if !busybox.exists() {
        return Ok(());
    }
    let output = Command::new(&busybox).arg("--list").output().context("ask busybox for its applets")?;
    for applet in String::from_utf8_lossy(&output.stdout).lines() {
        let taken =
            ["bin", "sbin", "usr/bin", "usr/sbin"].iter().any(|dir| root.join(dir).join(applet).exists());
        if !taken && applet != "busybox" {
            symlink("busybox", root.join("bin").join(applet)).with_context(|| format!("link {applet}"))?;
        }
    }
    Ok(())
}
