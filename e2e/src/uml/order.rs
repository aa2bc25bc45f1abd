//! What is run inside, as a file: a kernel's command line has no quotes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use ring::rand::SecureRandom as _;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::tools::cache_dir;

/// The variables that mean the same inside.
const VARIABLES: [&str; 4] = ["PATH", "HOME", "PENSTOCK_CACHE", "XDG_CACHE_HOME"];

/// Arguments of this program, and where its exit code goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The arguments.
    pub args: Vec<String>,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// Random bytes of the machine outside.
    pub entropy: Vec<u8>,
    outcome: PathBuf,
}

impl Order {
    /// With this program's environment as far as it counts. Two with the same name cannot be under way at once.
    ///
    /// # Errors
    /// When there is no place for the outcome.
    pub fn new(name: &str, args: Vec<String>) -> Result<Self> {
        let cache = cache_dir()?;
        fs::create_dir_all(&cache).context("make the cache directory")?;
        let outcome = cache.join(format!("uml-{name}.outcome"));
        match fs::remove_file(&outcome) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("remove {}", outcome.display()));
            }
            _ => {}
        }
        let env = VARIABLES.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
        let mut entropy = vec![0; 256];
        let random = ring::rand::SystemRandom::new();
        random.fill(&mut entropy).map_err(|_| anyhow!("the machine has no random numbers"))?;
        Ok(Self { args, env: env.collect(), entropy, outcome })
    }

    /// Writes it for the guest.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self) -> Result<NamedTempFile> {
        let file = NamedTempFile::new_in(cache_dir()?).context("make a file for the guest")?;
        fs::write(file.path(), serde_json::to_vec(self)?).context("write the guest's order")?;
        Ok(file)
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_slice(&bytes).with_context(|| format!("parse {}", path.display()))
    }

    /// Says how it ended.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn end(&self, code: u8) -> Result<()> {
        fs::write(&self.outcome, code.to_string())
            .with_context(|| format!("write {}", self.outcome.display()))
    }

    /// How it ended.
    ///
    /// # Errors
    /// When it did not end by itself.
    pub fn outcome(&self) -> Result<u8> {
        let code = fs::read_to_string(&self.outcome).context("there is no outcome")?;
        code.trim().parse().context("the outcome is not a number")
    }
}
