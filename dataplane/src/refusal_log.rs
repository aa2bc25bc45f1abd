//! Says once what a Service asks for and does not get.

use std::collections::{BTreeSet, HashMap};

use penstock_model::{ObjectKey, Refusal, ServiceIndex};

/// What has been said of which Service.
#[derive(Debug, Default)]
pub(crate) struct RefusalLog(HashMap<ObjectKey, BTreeSet<String>>);

impl RefusalLog {
    /// Takes the Service's refusals as of now and returns those that are new.
    pub(crate) fn news(&mut self, index: &ServiceIndex, key: &ObjectKey) -> Vec<Refusal> {
        let before = self.0.remove(key).unwrap_or_default();
        let refusals = index.refusals(key);
        if !refusals.is_empty() {
            self.0.insert(key.clone(), refusals.iter().map(ToString::to_string).collect());
        }
        refusals.into_iter().filter(|refusal| !before.contains(&refusal.to_string())).collect()
    }
}
