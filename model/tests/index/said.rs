//! What an index has said, added up as a backend does.

use std::{collections::BTreeMap, sync::Arc};

use penstock_model::{Change, FrontendAddress, PortKey, ServiceIndex, ServicePort};

/// All ports said so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Said(BTreeMap<PortKey, Arc<ServicePort>>);

impl Said {
    /// Everything that the index has to say now.
    pub(crate) fn all(index: &mut ServiceIndex) -> Self {
        let mut said = Self::default();
        said.add(index.all());
        said
    }

    /// Adds a batch of changes. Each has to differ from what was said before, and no address may belong
    /// to two ports afterwards.
    pub(crate) fn add(&mut self, changes: Vec<Change>) {
        for Change { key, desired } in changes {
            assert_ne!(self.0.get(&key), desired.as_ref(), "{key} is said twice");
            match desired {
                Some(port) => self.0.insert(key, port),
                None => self.0.remove(&key),
            };
        }
        self.owners();
    }

    /// Which port has which address.
    pub(crate) fn owners(&self) -> BTreeMap<FrontendAddress, &PortKey> {
        let mut owners = BTreeMap::new();
        for (key, port) in &self.0 {
            for frontend in &port.frontends {
                let other = owners.insert(frontend.address, key);
                assert_eq!(other, None, "{} belongs to {key} too", frontend.address);
            }
        }
        owners
    }

    /// Which Service has which address, as text.
    pub(crate) fn owner(&self, address: &str) -> Option<String> {
        let owners = self.owners();
        let mut owner = owners.iter().filter(|(known, _)| known.to_string() == address);
        owner.next().map(|(_, key)| key.service.name.clone())
    }

    /// All addresses, as text.
    pub(crate) fn frontends(&self) -> Vec<String> {
        self.owners().keys().map(ToString::to_string).collect()
    }

    /// All ports.
    pub(crate) fn ports(&self) -> impl Iterator<Item = (&PortKey, &ServicePort)> {
        self.0.iter().map(|(key, port)| (key, port.as_ref()))
    }

    /// The endpoints of all ports for policy Cluster, as text.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.0.values().flat_map(|port| port.cluster.iter()).map(|e| e.to_string()).collect()
    }
}
