//! A file in which a process keeps what it knows, for its next start. There is always one that is whole: a new one takes
//! the old one's place when it is on disk.
//!
//! A line names its format and version, then come the SHA-256 of the rest, and the rest in postcard: its format is
//! written down and kept, and is small. Bincode has no maintainer any longer (RUSTSEC-2025-0141), and JSON would be
//! several times the size.

mod schedule;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

pub use schedule::WriteSchedule;

const CHECKSUM: usize = 32;

/// Where a process keeps what it knows.
#[derive(Clone, Debug)]
pub struct StateFile {
    path: PathBuf,
    format: &'static str,
}

/// Why there is no state, or why it was not written.
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    /// The operating system refused.
    #[error(
        "cannot {verb} the state file {path}: let this process {verb} it, or choose another --state-file"
    )]
    Io {
        /// What was tried: `read`, `write` or `remove`.
        verb: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What stands there cannot be used.
    #[error("the state file {path} is left aside until it is written anew")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Unreadable,
    },
    /// It cannot be encoded.
    #[error("the state cannot be encoded")]
    Encode(#[source] postcard::Error),
}

/// Why a file says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is none of ours, or of another version.
    #[error("it is not a state file of this version")]
    Format,
    /// It is not as it was written.
    #[error("it is damaged")]
    Damaged,
    /// It is of another node, as on a disk that was copied.
    #[error("it is another node's")]
    OtherNode,
}

/// The octets of a file of the format, whose line must name another version for any change of what `content` holds,
/// however deep.
///
/// # Errors
/// When the content cannot be encoded.
pub fn encode_state<T: Serialize>(format: &str, content: &T) -> Result<Vec<u8>, postcard::Error> {
    let octets = postcard::to_stdvec(content)?;
    Ok([format.as_bytes(), b"\n", Sha256::digest(&octets).as_slice(), &octets].concat())
}

/// What was written.
///
/// # Errors
/// When the octets are not exactly what [`encode_state`] made with this format.
pub fn decode_state<T: DeserializeOwned>(format: &str, octets: &[u8]) -> Result<T, Unreadable> {
    let rest = octets.strip_prefix(format.as_bytes()).and_then(|rest| rest.strip_prefix(b"\n"));
    let (checksum, content) =
        rest.ok_or(Unreadable::Format)?.split_at_checked(CHECKSUM).ok_or(Unreadable::Damaged)?;
    if Sha256::digest(content).as_slice() != checksum {
        return Err(Unreadable::Damaged);
    }
    // As it was written, so that this is another version's after all.
    postcard::from_bytes(content).map_err(|_| Unreadable::Format)
}

impl StateFile {
    /// A file of a format, such as `penstock-node state 2`.
    #[must_use]
    pub fn new(path: &Path, format: &'static str) -> Self {
        Self { path: path.to_owned(), format }
    }

    /// What stands in it; `None` if there is no file.
    ///
    /// # Errors
    /// When it cannot be read or says nothing.
    pub fn read<T: DeserializeOwned>(&self) -> Result<Option<T>, StateFileError> {
        let octets = match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(|error| self.io("read", error))?,
        };
        decode_state(self.format, &octets).map(Some).map_err(|source| self.unreadable(source))
    }

    /// That what stands in it cannot be used.
    #[must_use]
    pub fn unreadable(&self, source: Unreadable) -> StateFileError {
        StateFileError::Unreadable { path: self.path.clone(), source }
    }

    /// Takes the place of what stands in it, at once and for good.
    ///
    /// # Errors
    /// When it cannot be written; what stood there stands then.
    pub fn write<T: Serialize>(&self, content: &T) -> Result<(), StateFileError> {
        let octets = encode_state(self.format, content).map_err(StateFileError::Encode)?;
        self.replace(&octets).map_err(|error| self.io("write", error))
    }

    fn replace(&self, octets: &[u8]) -> io::Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let beside = self.beside();
        // Another's would keep its mode: who may reach what is for the process' user only.
        remove(&beside)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(octets)?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        File::open(directory)?.sync_all()
    }

    /// Leaves nothing; it is no error if there is nothing.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self) -> Result<(), StateFileError> {
        let removed = remove(&self.beside()).and_then(|()| remove(&self.path));
        removed.map_err(|error| self.io("remove", error))
    }

    fn beside(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".new");
        name.into()
    }

    fn io(&self, verb: &'static str, source: io::Error) -> StateFileError {
        StateFileError::Io { verb, path: self.path.clone(), source }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests;
