//! What stands in the file.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use penstock_model::{Change, ObjectKey, PortKey, Protocol, ServicePort};
use penstock_runtime::Unreadable;
use serde::{Deserialize, Serialize};

/// Another number for any change of what the content holds, however deep: a file of another version is not read.
pub(super) const FORMAT: &str = "penstock-node state 2";

/// What one node was to do for all Services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeState(BTreeMap<PortKey, Arc<ServicePort>>);

/// The state of a node at a time, with its ports as [`Written`] or [`Read`].
#[derive(Serialize, Deserialize)]
pub(super) struct Content<P = Read> {
    node: String,
    written: i64,
    ports: Vec<P>,
}

type Written<'a> = (&'a ObjectKey, u16, Protocol, &'a ServicePort);
pub(super) type Read = (ObjectKey, u16, Protocol, ServicePort);

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

    /// What is written for a node.
    pub(super) fn content(&self, node: &str, now: Timestamp) -> Content<Written<'_>> {
        let ports = self.0.iter().map(|(key, port)| (&*key.service, key.port, key.protocol, &**port));
        Content { node: node.to_owned(), written: now.as_second(), ports: ports.collect() }
    }
}

impl Content {
    /// What was written for the node, and when.
    pub(super) fn into_state(self, node: &str) -> Result<(NodeState, Timestamp), Unreadable> {
        let written = Timestamp::from_second(self.written).map_err(|_| Unreadable::Format)?;
        if self.node != node {
            return Err(Unreadable::OtherNode);
        }
        let ports = self.ports.into_iter().map(|(service, port, protocol, desired)| {
            (PortKey { service: Arc::new(service), port, protocol }, Arc::new(desired))
        });
        Ok((NodeState(ports.collect()), written))
    }
}

#[cfg(test)]
mod tests;
