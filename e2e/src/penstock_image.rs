//! The image of our four programs. Below is a cached layer of Debian packages; the programs above it differ with every
//! build, and so does the image's tag: Pods are replaced when, and only when, a program is another.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use anyhow::{Context, Result, ensure};

use crate::archive::{Archive, digest, pack, run};
use crate::cluster::{Cluster, harness_program};
use crate::images::Images;
use crate::node::SOCKET;
use crate::tools::fingerprint;
use crate::topology::Place;

/// The name under which the chart looks for it.
pub const REPOSITORY: &str = "docker.io/library/penstock";

/// What a registry may have to keep of it, and a node to load, in octets.
pub const LIMIT: u64 = 40_000_000;

/// The programs in it.
const PROGRAMS: [&str; 4] = ["penstock-operator", "penstock-announcer", "penstock-node", "penstock-dns"];

/// The image of the programs that were built beside the harness.
#[derive(Debug, Clone)]
pub struct PenstockImage {
    tag: String,
    archive: PathBuf,
}

impl PenstockImage {
    /// Makes it in `directory`, unless that has it.
    ///
    /// # Errors
    /// When a program is not built or a file cannot be written.
    pub fn build(images: &Images, directory: &Path) -> Result<Self> {
        let programs = PROGRAMS.map(program).into_iter().collect::<Result<Vec<_>>>()?;
        let mut parts = vec![images.penstock_base().display().to_string()];
        for program in &programs {
            parts.push(digest(program)?);
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let tag = format!("dev-{}", fingerprint(&parts));
        let archive = directory.join(format!("penstock-{tag}.tar"));
        if !archive.exists() {
            fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
            write(&format!("{REPOSITORY}:{tag}"), images.penstock_base(), &programs, &archive)?;
        }
        Ok(Self { tag, archive })
    }

    /// How many octets a registry keeps of it: it compresses layers as gzip does.
    ///
    /// # Errors
    /// When gzip fails.
    pub fn compressed_size(&self) -> Result<u64> {
        let mut gzip = Command::new("gzip");
        gzip.arg("--stdout").arg(&self.archive).stdout(Stdio::piped());
        let mut child = gzip.spawn().context("run gzip")?;
        let mut stdout = child.stdout.take().context("gzip has no output")?;
        let size = io::copy(&mut stdout, &mut io::sink()).context("read what gzip wrote")?;
        ensure!(child.wait().context("wait for gzip")?.success(), "gzip failed");
        Ok(size)
    }

    /// What comes after the colon.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Gives it to a node's containerd, unless that has it.
    ///
    /// # Errors
    /// With what `ctr` said.
    pub async fn import(&self, cluster: &Cluster, place: Place) -> Result<()> {
        let name = format!("name=={REPOSITORY}:{}", self.tag);
        if !ctr(cluster, place, &["list", "--quiet", &name]).await?.trim().is_empty() {
            return Ok(());
        }
        let archive = self.archive.to_str().context("the state directory is not UTF-8")?;
        ctr(cluster, place, &["import", archive]).await.map(|_| ())
    }
}

/// Runs `ctr images` on a node.
///
/// # Errors
/// With what it said.
pub(crate) async fn ctr(cluster: &Cluster, place: Place, args: &[&str]) -> Result<String> {
    let command = [&["ctr", "--address", SOCKET, "--namespace", "k8s.io", "images"], args].concat();
    let output = cluster.run_in(place, &command).await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} on {} failed: {}", command.join(" "), place.name(), said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whole or not at all: an archive that is there is used.
fn write(tag: &str, base: &Path, programs: &[PathBuf], archive: &Path) -> Result<()> {
    let work = tempfile::tempdir().context("make a directory for an image")?;
    let bin = work.path().join("root/usr/local/bin");
    fs::create_dir_all(&bin).context("make a directory for programs")?;
    for program in programs {
        let name = program.file_name().context("a program without a name")?;
        // Every node stores the image twice, packed and unpacked, and of a debug build most is debug information.
        run(Command::new("strip").arg("--strip-debug").arg("-o").arg(bin.join(name)).arg(program))?;
    }
    let layer = work.path().join("programs.tar");
    pack(&work.path().join("root"), &layer)?;
    let fresh = archive.with_extension("fresh");
    Archive { tags: &[tag], layers: &[base, &layer], entrypoint: &[], command: &[] }.write(&fresh)?;
    fs::rename(&fresh, archive).with_context(|| format!("write {}", archive.display()))
}

/// Our programs are built beside the harness.
fn program(name: &str) -> Result<PathBuf> {
    let path = harness_program()?.with_file_name(name);
    ensure!(path.is_file(), "{} is not built; run: cargo build --workspace --bins", path.display());
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::{AUTHORITIES, PENSTOCK_BASE, REMOVE_UNUSED};

    const DOCKERFILE: &str = include_str!("../../Dockerfile");

    /// A registry is needed to build by it, so that nobody here does.
    #[test]
    fn the_dockerfile_makes_the_same_image() {
        for package in PENSTOCK_BASE.packages {
            assert!(DOCKERFILE.contains(&format!(" {package}")), "{package}");
        }
        for program in PROGRAMS {
            assert!(DOCKERFILE.contains(&format!(" -p {program}")), "{program} is not built");
            assert!(DOCKERFILE.contains(&format!("/target/release/{program}")), "{program} is not copied");
        }
        for (_, text) in PENSTOCK_BASE.files {
            for line in text.lines() {
                assert!(DOCKERFILE.contains(line), "{line}");
            }
        }
        assert!(DOCKERFILE.contains(AUTHORITIES) && DOCKERFILE.contains(REMOVE_UNUSED));
    }
}
