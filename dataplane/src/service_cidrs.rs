//! The Service ranges as the API server has them.

use std::collections::BTreeMap;

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use penstock_runtime::Update;

/// All ServiceCIDRs, by name.
#[derive(Debug, Default)]
pub(crate) struct ServiceCidrs(BTreeMap<String, Vec<IpNet>>);

impl ServiceCidrs {
    /// Takes what the watch says. Returns all ranges if they differ from those before.
    pub(crate) fn take(&mut self, update: Update<ServiceCIDR>) -> Option<Vec<IpNet>> {
        let before = self.all();
        match update {
            Update::Reset(all) => {
                self.0.clear();
                all.into_iter().for_each(|object| self.put(object));
            }
            Update::Apply(object) => self.put(object),
            Update::Delete(object) => {
                self.0.remove(object.metadata.name.as_deref().unwrap_or_default());
            }
        }
        Some(self.all()).filter(|all| *all != before)
    }

    /// A range that cannot be read harms only itself; no API server lets one through.
    fn put(&mut self, object: ServiceCIDR) {
        let texts = object.spec.and_then(|spec| spec.cidrs).unwrap_or_default();
        let nets = texts.iter().filter_map(|text| text.parse().ok()).collect();
        self.0.insert(object.metadata.name.unwrap_or_default(), nets);
    }

    fn all(&self) -> Vec<IpNet> {
        self.0.values().flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str, cidrs: &[&str]) -> ServiceCIDR {
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"cidrs": cidrs}})).unwrap()
    }

    fn nets(texts: &[&str]) -> Option<Vec<IpNet>> {
        Some(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn ranges_add_up_and_only_news_are_told() {
        let mut cidrs = ServiceCidrs::default();
        assert_eq!(cidrs.take(Update::Reset(vec![])), None);
        let first = object("a", &["10.96.0.0/16", "2001:db8:96::/112"]);
        let both = nets(&["10.96.0.0/16", "2001:db8:96::/112"]);
        assert_eq!(cidrs.take(Update::Reset(vec![first.clone()])), both);
        assert_eq!(cidrs.take(Update::Apply(first.clone())), None);
        let all = nets(&["10.96.0.0/16", "2001:db8:96::/112", "10.97.0.0/24"]);
        assert_eq!(cidrs.take(Update::Apply(object("b", &["10.97.0.0/24", "garbage"]))), all);
        assert_eq!(cidrs.take(Update::Delete(first)), nets(&["10.97.0.0/24"]));
    }
}
