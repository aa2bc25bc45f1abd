//! A docker-archive: layers, the configuration that names them, and a manifest, as `ctr images import` reads it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// What an archive holds.
#[derive(Debug, Clone, Copy)]
pub struct Archive<'a> {
    /// The image's names, with registry and tag.
    pub tags: &'a [&'a str],
    /// Tar files with different names, the lowest layer first.
    pub layers: &'a [&'a Path],
    /// What runs, and what a Pod's `args` are given to.
    pub entrypoint: &'a [&'a str],
    /// What runs, or is given to the entry point, where a Pod does not say.
    pub command: &'a [&'a str],
}

impl Archive<'_> {
    /// Writes it to `place`.
    ///
    /// # Errors
    /// When a layer cannot be read or the archive not be written.
    pub fn write(&self, place: &Path) -> Result<()> {
        let digests: Vec<String> = self.layers.iter().map(|layer| digest(layer)).collect::<Result<_>>()?;
        let names: Vec<String> = self.layers.iter().map(|layer| file_name(layer)).collect::<Result<_>>()?;
        let layout = tempfile::tempdir().context("make a directory for an image")?;
        write_json(&layout.path().join("config.json"), &config(&digests, self.entrypoint, self.command))?;
        write_json(&layout.path().join("manifest.json"), &manifest(self.tags, &names))?;
        let mut tar = tar_to(place);
        tar.arg("--directory").arg(layout.path()).args(["config.json", "manifest.json"]);
        for (layer, name) in self.layers.iter().zip(&names) {
            tar.arg("--directory").arg(layer.parent().context("a layer without a directory")?).arg(name);
        }
        run(&mut tar)
    }
}

fn file_name(layer: &Path) -> Result<String> {
    let name = layer.file_name().with_context(|| format!("{} is no file", layer.display()))?;
    Ok(name.to_string_lossy().into_owned())
}

/// Packs what is in `directory`. The same files always give the same archive.
///
/// # Errors
/// With what tar said.
pub fn pack(directory: &Path, archive: &Path) -> Result<()> {
    run(tar_to(archive).arg("--directory").arg(directory).arg("."))
}

fn tar_to(archive: &Path) -> Command {
    let mut tar = Command::new("tar");
    let same = ["--create", "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"];
    tar.args(same).arg("--file").arg(std::path::absolute(archive).unwrap_or_else(|_| archive.to_owned()));
    tar
}

/// Runs a program to its end.
///
/// # Errors
/// When it fails, with what it said.
pub fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("run {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} failed: {}", said.trim());
    Ok(())
}

/// The SHA-256 of a file, in hexadecimal digits.
///
/// # Errors
/// When it cannot be read.
pub fn digest(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
    Ok(digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    fs::write(path, value.to_string()).with_context(|| format!("write {}", path.display()))
}

/// The image's configuration (OCI image specification, `config.md`).
fn config(digests: &[String], entrypoint: &[&str], command: &[&str]) -> Value {
    let layers: Vec<String> = digests.iter().map(|digest| format!("sha256:{digest}")).collect();
    json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Entrypoint": entrypoint,
            "Cmd": command,
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        },
        "rootfs": { "type": "layers", "diff_ids": layers },
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

fn manifest(tags: &[&str], layers: &[String]) -> Value {
    json!([{ "Config": "config.json", "RepoTags": tags, "Layers": layers }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_names_its_image_and_its_layers() {
        let digest = digest(Path::new("/dev/null")).unwrap();
        let config = config(&[digest, "1f".into()], &["/bin/sh"], &["/bin/true"]);
        assert_eq!(
            config["rootfs"]["diff_ids"][0],
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(config["rootfs"]["diff_ids"][1], "sha256:1f");
        assert_eq!(config["config"]["Cmd"][0], "/bin/true");
        assert_eq!(config["config"]["Entrypoint"][0], "/bin/sh");
        let manifest = manifest(&["docker.io/library/nginx:latest"], &["layer.tar".into()]);
        assert_eq!(manifest[0]["RepoTags"][0], "docker.io/library/nginx:latest");
        assert_eq!(manifest[0]["Layers"][0], "layer.tar");
    }

    #[test]
    fn packing_twice_gives_the_same_bytes() {
        let (root, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(root.path().join("b"), "b").unwrap();
        fs::write(root.path().join("a"), "a").unwrap();
        let packed = |name: &str| {
            pack(root.path(), &out.path().join(name)).unwrap();
            digest(&out.path().join(name)).unwrap()
        };
        assert_eq!(packed("first.tar"), packed("second.tar"));
    }

    #[test]
    fn layers_of_different_directories_are_in_one_archive() {
        let (lower, upper) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let layers = [lower.path().join("layer.tar"), upper.path().join("programs.tar")];
        layers.iter().for_each(|layer| fs::write(layer, "layer").unwrap());
        let layers: Vec<&Path> = layers.iter().map(std::path::PathBuf::as_path).collect();
        let place = upper.path().join("image.tar");
        Archive { tags: &["a:b"], layers: &layers, entrypoint: &[], command: &[] }.write(&place).unwrap();
        let listed = Command::new("tar").arg("--list").arg("--file").arg(&place).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert_eq!(
            listed.lines().collect::<Vec<_>>(),
            ["config.json", "manifest.json", "layer.tar", "programs.tar"]
        );
    }
}
