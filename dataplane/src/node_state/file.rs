//! The file of a node.

use std::path::Path;

use jiff::Timestamp;
use penstock_runtime::{StateFile as File, StateFileError};

use super::{
    NodeState,
    content::{Content, FORMAT},
};

/// Where a node's state is kept.
#[derive(Clone, Debug)]
pub struct StateFile {
    file: File,
    node: String,
}

impl StateFile {
    /// A node's.
    #[must_use]
    pub fn new(path: &Path, node: &str) -> Self {
        Self { file: File::new(path, FORMAT), node: node.to_owned() }
    }

    /// What stands in it, and since when; `None` if there is no file.
    ///
    /// # Errors
    /// When it cannot be read or says nothing of this node.
    pub fn read(&self) -> Result<Option<(NodeState, Timestamp)>, StateFileError> {
        let Some(content) = self.file.read::<Content>()? else { return Ok(None) };
        content.into_state(&self.node).map(Some).map_err(|reason| self.file.unreadable(reason))
    }

    /// Takes the place of what stands in it, at once and for good.
    ///
    /// # Errors
    /// When it cannot be written; what stood there stands then.
    pub fn write(&self, state: &NodeState, now: Timestamp) -> Result<(), StateFileError> {
        self.file.write(&state.content(&self.node, now))
    }

    /// Leaves nothing; it is no error if there is nothing.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self) -> Result<(), StateFileError> {
        self.file.remove()
    }
}

#[cfg(test)]
mod tests {
    use penstock_runtime::Unreadable;

    use super::*;

    #[test]
    fn another_nodes_state_is_left_aside() {
        let directory = tempfile::tempdir().unwrap();
        let (path, now) = (directory.path().join("node.state"), "2026-11-23T12:00:00Z".parse().unwrap());
        let file = StateFile::new(&path, "n1");
        file.write(&NodeState::default(), now).unwrap();
        assert_eq!(file.read().unwrap(), Some((NodeState::default(), now)));
        let error = StateFile::new(&path, "n2").read().unwrap_err();
        assert!(matches!(error, StateFileError::Unreadable { source: Unreadable::OtherNode, .. }));
    }
}
