//! Who holds which address, as the API server says: what makes a figure worthless when it is wrong. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Result, ensure};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Service;

/// What one Service's object said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Tells it from another object of the same name.
    pub uid: String,
    /// Changes with every write.
    pub resource_version: String,
    /// The addresses in its status.
    pub addresses: Vec<IpAddr>,
}

/// All Services by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census(BTreeMap<String, Entry>);

/// What became of the Services of an earlier census.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Difference {
    /// How many show other addresses, or are gone.
    pub moved: usize,
    /// How many were written to.
    pub rewritten: usize,
}

/// The addresses in a Service's status. What is no address counts as none.
pub fn addresses(service: &Service) -> Vec<IpAddr> {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default();
    ingress.iter().filter_map(|entry| entry.ip.as_deref()?.parse().ok()).collect()
}

impl Census {
    /// Counts the Services of one namespace.
    pub fn of(services: &[Service]) -> Self {
        let entry = |service: &Service| Entry {
            uid: service.metadata.uid.clone().unwrap_or_default(),
            resource_version: service.metadata.resource_version.clone().unwrap_or_default(),
            addresses: addresses(service),
        };
        let name = |service: &Service| service.metadata.name.clone().unwrap_or_default();
        Self(services.iter().map(|service| (name(service), entry(service))).collect())
    }

    /// How many Services there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks that there are `services` Services, each with exactly one address of `pool`, and none twice.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, services: usize, pool: IpNet) -> Result<()> {
        ensure!(self.len() == services, "{} Services are there instead of {services}", self.len());
        let mut holders = BTreeMap::new();
        for (name, entry) in &self.0 {
            let [ip] = entry.addresses.as_slice() else {
                anyhow::bail!("Service {name} has {:?} instead of one address", entry.addresses);
            };
            ensure!(pool.contains(ip), "Service {name} has {ip}, which is not in the pool {pool}");
            if let Some(other) = holders.insert(ip, name) {
                anyhow::bail!("{ip} was given twice: to Services {other} and {name}");
            }
        }
        Ok(())
    }

    /// What became of these Services until `later`; new ones do not count.
    pub fn difference(&self, later: &Self) -> Difference {
        let mut difference = Difference::default();
        for (name, before) in &self.0 {
            let after = later.0.get(name).filter(|after| after.uid == before.uid);
            let same = |what: fn(&Entry, &Entry) -> bool| after.is_some_and(|after| what(before, after));
            difference.moved += usize::from(!same(|a, b| a.addresses == b.addresses));
            difference.rewritten += usize::from(!same(|a, b| a.resource_version == b.resource_version));
        }
        difference
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn census(entries: &[(&str, &str, &[&str])]) -> Census {
        let service = |(name, version, ips): &(&str, &str, &[&str])| {
            let ingress: Vec<_> = ips.iter().map(|ip| json!({"ip": ip})).collect();
            serde_json::from_value(json!({
                "metadata": {"name": name, "uid": name, "resourceVersion": version},
                "status": {"loadBalancer": {"ingress": ingress}}
            }))
            .unwrap()
        };
        Census::of(&entries.iter().map(service).collect::<Vec<_>>())
    }

    #[test]
    fn wrong_results_are_refused() {
        let pool = "198.18.0.0/15".parse().unwrap();
        let good = census(&[("a", "1", &["198.18.0.0"]), ("b", "2", &["198.19.255.255"])]);
        good.check(2, pool).unwrap();
        let refusal = |census: Census| census.check(2, pool).unwrap_err().to_string();
        assert!(refusal(census(&[])).contains("0 Services"));
        assert!(
            refusal(census(&[("a", "1", &["198.18.0.1"]), ("b", "2", &[])])).contains("Service b has []")
        );
        let twice = census(&[("a", "1", &["198.18.0.1"]), ("b", "2", &["198.18.0.1"])]);
        assert!(refusal(twice).contains("given twice: to Services a and b"));
        let outside = census(&[("a", "1", &["198.18.0.1"]), ("b", "2", &["203.0.113.1"])]);
        assert!(refusal(outside).contains("not in the pool"));
    }

    #[test]
    fn moves_and_writes_are_told_apart_and_newcomers_do_not_count() {
        let before = census(&[("a", "1", &["198.18.0.1"]), ("b", "2", &["198.18.0.2"]), ("c", "3", &[])]);
        let after = census(&[("a", "1", &["198.18.0.1"]), ("b", "9", &["198.18.0.9"]), ("d", "9", &[])]);
        assert_eq!(before.difference(&before), Difference::default());
        assert_eq!(before.difference(&after), Difference { moved: 2, rewritten: 2 });
    }
}
