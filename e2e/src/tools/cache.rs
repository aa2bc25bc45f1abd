//! What is built once and kept outside the checkout.
//!
//! A cache entry is a directory named after the version and a hash of what it was built from. It is filled beside its
//! place and moved there in one step: what is there is whole.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use nix::fcntl::{Flock, FlockArg};

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
