//! The bytes of the file: a line that names the format and its version, the SHA-256 of the rest, and the rest in postcard.
//!
//! Postcard because its format is written down and kept, and is small; bincode has no maintainer any longer
//! (RUSTSEC-2025-0141), and JSON would be several times the size.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use penstock_model::{Change, ObjectKey, PortKey, Protocol, ServicePort};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Another number for any change of what [`Content`] holds, however deep: a file of another version is not read.
const FORMAT: &[u8] = b"penstock-node state 2\n";
const CHECKSUM: usize = 32;

/// What one node was to do for all Services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeState(BTreeMap<PortKey, Arc<ServicePort>>);

/// Why a file says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is none of ours, or of another version.
    #[error("it is not a state file of this version of penstock-node")]
    Format,
    /// It is not as it was written.
    #[error("it is damaged")]
    Damaged,
    /// It is of another node, as on a disk that was copied.
    #[error("it is another node's")]
    OtherNode,
}

#[derive(Serialize, Deserialize)]
struct Content<P> {
    node: String,
    written: i64,
    ports: Vec<P>,
}

type Written<'a> = (&'a ObjectKey, u16, Protocol, &'a ServicePort);
type Read = (ObjectKey, u16, Protocol, ServicePort);

impl NodeState {
    /// Takes what was programmed.
    pub fn apply(&mut self, changes: Vec<Change>) {
        for Change { key, desired } in changes {
            match desired {
                Some(desired) => self.0.insert(key, desired),
                None => self.0.remove(&key),
            };
        }
    }

    /// All of it, for a backend that starts over.
    #[must_use]
    pub fn into_changes(self) -> Vec<Change> {
        self.0.into_iter().map(|(key, desired)| Change { key, desired: Some(desired) }).collect()
    }

    /// The bytes for a node's file.
    ///
    /// # Errors
    /// When it cannot be encoded, which none can be.
    pub fn encode(&self, node: &str, now: Timestamp) -> Result<Vec<u8>, postcard::Error> {
        let ports = self.0.iter().map(|(key, port)| (&*key.service, key.port, key.protocol, &**port));
        let ports: Vec<Written<'_>> = ports.collect();
        let content = Content { node: node.to_owned(), written: now.as_second(), ports };
        let bytes = postcard::to_stdvec(&content)?;
        Ok([FORMAT, Sha256::digest(&bytes).as_slice(), &bytes].concat())
    }

    /// What was written for the node, and when.
    ///
    /// # Errors
    /// When the bytes are not exactly what [`NodeState::encode`] of this version wrote for this node.
    pub fn decode(bytes: &[u8], node: &str) -> Result<(Self, Timestamp), Unreadable> {
        let rest = bytes.strip_prefix(FORMAT).ok_or(Unreadable::Format)?;
        let (checksum, bytes) = rest.split_at_checked(CHECKSUM).ok_or(Unreadable::Damaged)?;
        if Sha256::digest(bytes).as_slice() != checksum {
            return Err(Unreadable::Damaged);
        }
        // As it was written, so that this is another version's after all.
        let content: Content<Read> = postcard::from_bytes(bytes).map_err(|_| Unreadable::Format)?;
        let written = Timestamp::from_second(content.written).map_err(|_| Unreadable::Format)?;
        if content.node != node {
            return Err(Unreadable::OtherNode);
        }
        let ports = content.ports.into_iter().map(|(service, port, protocol, desired)| {
            (PortKey { service: Arc::new(service), port, protocol }, Arc::new(desired))
        });
        Ok((Self(ports.collect()), written))
    }
}

#[cfg(test)]
mod tests;
