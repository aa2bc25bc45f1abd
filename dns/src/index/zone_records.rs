//! All records of a domain, for another name server.

use std::{
    collections::{BTreeSet, HashSet},
    iter,
};

use hickory_proto::rr::{Name, Record, RecordType};
use penstock_model::{ObjectKey, Protocol};

use super::{
    RecordIndex,
    answer::{name_below, version},
    find::{Host, Owner},
    request::Part,
    service::{RecordPort, ServiceKind, ServiceRecord},
    zone::ZoneKind,
};

impl RecordIndex {
    /// The serial of a cluster's domain and its SOA; `None` for other names.
    #[must_use]
    pub fn domain_soa(&self, name: &Name) -> Option<(u32, Record)> {
        let (kind, labels) = self.config.zones.matching(name)?;
        let is_domain = kind == ZoneKind::Cluster && labels == usize::from(name.num_labels());
        is_domain.then(|| (self.serial, self.soa(name)))
    }

    /// The records of a cluster's domain, each as a question for it would be answered, with the SOA before and after
    /// them (RFC 5936 §2.2). As in CoreDNS names of Pods are not among them, nor are those of a ClusterIP's endpoints.
    pub fn domain_records<'a>(&'a self, domain: &'a Name) -> impl Iterator<Item = Record> + 'a {
        let mut keys: Vec<_> = self.services.iter().collect();
        keys.sort_unstable_by_key(|(key, _)| *key);
        let of_services =
            keys.into_iter().flat_map(|(key, record)| self.service_records(key, record, domain));
        let version_name = Name::from_ascii("dns-version").and_then(|name| name.append_domain(domain));
        iter::once(self.soa(domain))
            .chain(self.name_servers_of(domain))
            .chain(version_name.ok().as_ref().map(version))
            .chain(of_services)
            .chain(iter::once_with(|| self.soa(domain)))
    }

    fn service_records(&self, key: &ObjectKey, service: &ServiceRecord, domain: &Name) -> Vec<Record> {
        let Some(name) = name_below(&Owner::Service(key), domain) else { return Vec::new() };
        match &service.kind {
            ServiceKind::Alias(target) => {
                target.iter().map(|target| self.alias_record(&name, target)).collect()
            }
            ServiceKind::ClusterIps(_) => self.named_records(&name, service.ports.iter()),
            ServiceKind::Headless => {
                let ports = self.slices_of(key).flat_map(|slice| &slice.ports);
                let mut records = self.named_records(&name, ports);
                records.extend(self.endpoint_records(key, domain));
                records
            }
        }
    }

    /// Those of a Service's own name and of its ports.
    fn named_records<'a>(&self, name: &Name, ports: impl Iterator<Item = &'a RecordPort>) -> Vec<Record> {
        let named: BTreeSet<(&str, Protocol)> = ports
            .filter_map(|port| Some((&*port.name, port.protocol?)))
            .filter(|(n, _)| !n.is_empty())
            .collect();
        let of_ports = named.iter().filter_map(|(port, protocol)| {
            let labels = [format!("_{port}"), format!("_{}", protocol.lower())];
            let label = Name::from_labels(labels.iter().map(String::as_bytes)).ok()?;
            Some((label.append_domain(name).ok()?, RecordType::SRV))
        });
        let of_name = [RecordType::A, RecordType::AAAA, RecordType::SRV].map(|kind| (name.clone(), kind));
        of_name
            .into_iter()
            .chain(of_ports)
            .flat_map(|(name, kind)| self.answer(&name, kind).answers)
            .collect()
    }

    fn endpoint_records(&self, key: &ObjectKey, domain: &Name) -> Vec<Record> {
        let mut seen = HashSet::new();
        let found = self.find_endpoints(key, &Part::Whole).into_iter();
        found
            .filter_map(|one| match one.host {
                Host::Address(ip) => Some((name_below(&one.owner, domain)?, ip)),
                Host::Alias(_) => None,
            })
            .filter(|one| seen.insert(one.clone()))
            .map(|(name, ip)| self.address_record(name, ip))
            .collect()
    }
}
