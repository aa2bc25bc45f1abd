//! The file. There is always one that is whole: a new one takes the old one's place when it is on disk.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::{NodeState, Unreadable};

/// Where a node's state is kept.
#[derive(Clone, Debug)]
pub struct StateFile {
    path: PathBuf,
    node: String,
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

impl StateFile {
    /// A node's.
    #[must_use]
    pub fn new(path: &Path, node: &str) -> Self {
        Self { path: path.to_owned(), node: node.to_owned() }
    }

    /// What stands in it, and since when; `None` if there is no file.
    ///
    /// # Errors
    /// When it cannot be read or says nothing.
    pub fn read(&self) -> Result<Option<(NodeState, Timestamp)>, StateFileError> {
        let bytes = match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(|error| self.io("read", error))?,
        };
        let read = NodeState::decode(&bytes, &self.node);
        read.map(Some).map_err(|source| StateFileError::Unreadable { path: self.path.clone(), source })
    }

    /// Takes the place of what stands in it, at once and for good.
    ///
    /// # Errors
    /// When it cannot be written; what stood there stands then.
    pub fn write(&self, state: &NodeState, now: Timestamp) -> Result<(), StateFileError> {
        let bytes = state.encode(&self.node, now).map_err(StateFileError::Encode)?;
        self.replace(&bytes).map_err(|error| self.io("write", error))
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let beside = self.beside();
        // Another's would keep its mode: who may reach what is for root only.
        remove(&beside)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
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
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn now() -> Timestamp {
        "2026-11-23T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn what_was_written_is_read_and_nothing_else_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/node.state");
        let file = StateFile::new(&path, "n1");
        assert!(file.read().unwrap().is_none());
        file.write(&NodeState::default(), now()).unwrap();
        // One that a power cut left.
        fs::write(file.beside(), "half").unwrap();
        file.write(&NodeState::default(), now()).unwrap();
        assert_eq!(file.read().unwrap(), Some((NodeState::default(), now())));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        file.remove().unwrap();
        file.remove().unwrap();
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
    }

    #[test]
    fn what_cannot_be_used_is_one_sentence_with_a_reason() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.state");
        let file = StateFile::new(&path, "n1");
        fs::write(&path, "{}").unwrap();
        let error = anyhow::Error::from(file.read().unwrap_err());
        assert!(format!("{error:#}").ends_with("is left aside until it is written anew: it is not a state file of this version of penstock-node"), "{error:#}");
        file.write(&NodeState::default(), now()).unwrap();
        let error = StateFile::new(&path, "n2").read().unwrap_err();
        assert!(matches!(error, StateFileError::Unreadable { source: Unreadable::OtherNode, .. }));
        let error = StateFile::new(&path.join("x"), "n1").write(&NodeState::default(), now()).unwrap_err();
        assert!(error.to_string().contains("choose another --state-file"), "{error}");
    }
}
