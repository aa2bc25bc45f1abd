//! Services that are gone without a clean-up, because somebody removed their finalizer: pure.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::Service;
use kube::runtime::watcher::Event;
use penstock_model::ObjectKey;

/// Follows a watch. One that was cut off and lists anew (410 Gone) does not say who went meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Departures {
    /// Those of the list that is just arriving.
    listed: HashSet<ObjectKey>,
}

impl Departures {
    /// Who is gone by what the watch says; `holders` are those who hold anything.
    pub(crate) fn by(
        &mut self,
        event: &Event<Service>,
        holders: impl FnOnce() -> Vec<ObjectKey>,
    ) -> Vec<ObjectKey> {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(service) => {
                self.listed.insert(ObjectKey::of(&service.metadata));
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                return holders().into_iter().filter(|key| !listed.contains(key)).collect();
            }
            Event::Apply(_) => {}
            Event::Delete(service) => return vec![ObjectKey::of(&service.metadata)],
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn who_is_missing_from_a_list_is_gone_and_so_is_who_was_deleted() {
        let service = |name: &str| -> Service {
            serde_json::from_value(json!({"metadata": {"namespace": "d", "name": name}})).unwrap()
        };
        let key = |name: &str| ObjectKey::new("d", name);
        let holders = || vec![key("stays"), key("gone")];
        let mut departures = Departures::default();
        let mut by = |event| departures.by(&event, holders);
        assert_eq!(by(Event::Delete(service("deleted"))), [key("deleted")]);
        for _ in 0..2 {
            assert!(by(Event::Init).is_empty());
            // A list that is cut off is none.
            assert!(by(Event::InitApply(service("gone"))).is_empty());
            assert!(by(Event::Init).is_empty());
            assert!(by(Event::InitApply(service("stays"))).is_empty());
            assert!(by(Event::InitApply(service("holds-nothing"))).is_empty());
            assert_eq!(by(Event::InitDone), [key("gone")]);
        }
        assert!(by(Event::Apply(service("stays"))).is_empty());
    }
}
