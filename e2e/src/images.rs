//! Container images without a registry: Debian packages, unpacked into a directory, packed as one layer of a
//! docker-archive that `ctr images import` reads.
//!
//! apt resolves the packages as if nothing were installed, from the machine's own sources, and `dpkg-deb` unpacks
//! them. Their maintainer scripts do not run; what they would have done is in [`Recipe::files`].

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::packages::apt;
use crate::progress::step;
use crate::tools::{cache_dir, fill, fingerprint};

/// Changes when the way that images are made changes, so that cached ones are made anew.
const FORMAT: &str = "1";

/// What an image is made from.
struct Recipe {
    /// The name of the archive in the cache.
    name: &'static str,
    /// The name that containerd and the kubelet know it by.
    tag: &'static str,
    packages: &'static [&'static str],
    /// Path and text of files that are added.
    files: &'static [(&'static str, &'static str)],
    /// Path and target of links that are added.
    links: &'static [(&'static str, &'static str)],
    command: &'static [&'static str],
}

/// The image that holds a Pod's namespaces. containerd is told its name; it is never pulled.
pub const PAUSE: &str = "registry.k8s.io/pause:3.10.2";

/// `image: nginx`, as the kubelet resolves it.
pub const NGINX: &str = "docker.io/library/nginx:latest";

const PAUSE_RECIPE: Recipe = Recipe {
    name: "pause",
    tag: PAUSE,
    packages: &["busybox-static"],
    files: &[],
    links: &[],
    command: &["/bin/busybox", "sleep", "infinity"],
};

/// Debian's nginx. Every answer names the Pod, and the address that the request came from as nginx saw it.
const NGINX_RECIPE: Recipe = Recipe {
    name: "nginx",
    tag: NGINX,
    packages: &["nginx-light", "curl", "busybox-static"],
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

/// The archives of all images.
#[derive(Debug, Clone)]
pub struct Images {
    archives: Vec<PathBuf>,
}

impl Images {
    /// Makes what the cache does not have.
    ///
    /// # Errors
    /// When a package cannot be had or a program that packs fails.
    pub fn build() -> Result<Self> {
        let cache = cache_dir()?;
        let archives = [PAUSE_RECIPE, NGINX_RECIPE].iter().map(|recipe| recipe.archive(&cache));
        Ok(Self { archives: archives.collect::<Result<_>>()? })
    }

    /// The archives, for `ctr images import`.
    pub fn archives(&self) -> &[PathBuf] {
        &self.archives
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
        (self.tag, self.packages, self.files, self.links, self.command)
    }

    fn make(&self, archive: &Path) -> Result<()> {
        let work = tempfile::tempdir().context("make a directory for an image")?;
        let root = work.path().join("root");
        fs::create_dir(&root).context("make a root directory")?;
        unpack(self.packages, &work.path().join("apt"), &root)?;
        self.add_files(&root)?;
        let layout = work.path().join("layout");
        fs::create_dir(&layout).context("make a layout directory")?;
        pack(&root, &layout.join("layer.tar"))?;
        let digest = sha256(&layout.join("layer.tar"))?;
        write_json(&layout.join("config.json"), &config(&digest, self.command))?;
        write_json(&layout.join("manifest.json"), &manifest(self.tag))?;
        pack(&layout, archive)
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

/// Links the applets of busybox, among them the shell, where no package has put a program.
fn link_busybox(root: &Path) -> Result<()> {
    let busybox = root.join("bin/busybox");
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

/// The same directory always gives the same archive.
fn pack(directory: &Path, archive: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.args([
        "--create",
        "--sort=name",
        "--mtime=@0",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--file",
    ]);
    run(tar.arg(archive).arg("--directory").arg(directory).arg("."))
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("run {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} failed: {}", said.trim());
    Ok(())
}

fn sha256(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
    Ok(digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    fs::write(path, value.to_string()).with_context(|| format!("write {}", path.display()))
}

/// The image's configuration (OCI image specification, `config.md`).
fn config(layer_sha256: &str, command: &[&str]) -> Value {
    json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Cmd": command,
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer_sha256}")] },
    })
}

/// Go's names for processor architectures, which images use.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn manifest(tag: &str) -> Value {
    json!([{ "Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"] }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_names_its_image_and_its_layer() {
        let digest = sha256(Path::new("/dev/null")).unwrap();
        let config = config(&digest, &["/bin/true"]);
        assert_eq!(
            config["rootfs"]["diff_ids"][0],
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(config["config"]["Cmd"][0], "/bin/true");
        assert_eq!(manifest(NGINX)[0]["RepoTags"][0], "docker.io/library/nginx:latest");
    }

    #[test]
    fn packing_twice_gives_the_same_bytes() {
        let (root, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(root.path().join("b"), "b").unwrap();
        fs::write(root.path().join("a"), "a").unwrap();
        let digest = |name: &str| {
            pack(root.path(), &out.path().join(name)).unwrap();
            sha256(&out.path().join(name)).unwrap()
        };
        assert_eq!(digest("first.tar"), digest("second.tar"));
    }
}
