//! What is answered to a question.

use std::{collections::HashSet, net::IpAddr};

use hickory_proto::rr::{
    Name, RData, Record, RecordType,
    rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT},
};

use super::{
    RecordIndex,
    find::{Found, Host, Missing, Owner},
    request::Request,
    reverse,
    zone::ZoneKind,
};

/// A chain of aliases ends after so many; CoreDNS adds one to a list that has this many.
const LONGEST_CHAIN: usize = 10;
/// The version of the scheme does not change while a server runs; 8 hours, as CoreDNS has it.
const VERSION_TTL: u32 = 28_800;
/// The longest that a negative answer's SOA may itself be kept.
const SOA_TTL: u32 = 300;

/// What kind of answer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There are records.
    Records,
    /// The name exists, without records of this type.
    NoData,
    /// There is no such name.
    NxDomain,
    /// There is no such name as yet: not all objects have been seen (SERVFAIL).
    NotSynced,
    /// Transfers are refused.
    Refused,
    /// The name of an address that is nobody's here; others may know it. The SOA is that of NXDOMAIN.
    FallThrough,
    /// No name of a domain of ours.
    Elsewhere,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Its kind.
    pub outcome: Outcome,
    /// The answer section.
    pub answers: Vec<Record>,
    /// The authority section: the SOA, where there is no answer.
    pub authorities: Vec<Record>,
    /// The additional section.
    pub additionals: Vec<Record>,
    /// Where the chain of aliases leaves the domain: the same type is to be asked of it, and what comes to be appended.
    pub outside: Option<Name>,
}

impl Answer {
    fn without_records(outcome: Outcome) -> Self {
        let none = Vec::new;
        Self { outcome, answers: none(), authorities: none(), additionals: none(), outside: None }
    }
}

/// A question below one of our zones.
struct Asked<'a> {
    /// As it was asked.
    name: &'a Name,
    /// As it stands in the question, which is how CoreDNS repeats it.
    zone: Name,
    kind: ZoneKind,
    /// The labels left of the zone, in lower case.
    labels: Vec<String>,
}

/// The records of an answer.
#[derive(Default)]
struct Sections {
    answers: Vec<Record>,
    additionals: Vec<Record>,
    outside: Option<Name>,
}

impl From<Vec<Record>> for Sections {
    fn from(answers: Vec<Record>) -> Self {
        Self { answers, ..Self::default() }
    }
}

impl RecordIndex {
    /// Answers a question of class IN. The question's case is kept.
    #[must_use]
    pub fn answer(&self, name: &Name, record_type: RecordType) -> Answer {
        let Some(asked) = self.locate(name) else { return Answer::without_records(Outcome::Elsewhere) };
        if matches!(record_type, RecordType::AXFR | RecordType::IXFR) {
            return Answer::without_records(Outcome::Refused);
        }
        match self.sections(&asked, record_type) {
            Ok(found) if !found.answers.is_empty() => Answer {
                outcome: Outcome::Records,
                answers: found.answers,
                authorities: Vec::new(),
                additionals: found.additionals,
                outside: found.outside,
            },
            Ok(_) => self.negative(&asked, Outcome::NoData),
            Err(Missing) => self.negative(&asked, self.missing(&asked)),
        }
    }

    fn missing(&self, asked: &Asked<'_>) -> Outcome {
        match asked.kind {
            _ if !self.is_synced() => Outcome::NotSynced,
            ZoneKind::Reverse => Outcome::FallThrough,
            ZoneKind::Cluster => Outcome::NxDomain,
        }
    }

    fn negative(&self, asked: &Asked<'_>, outcome: Outcome) -> Answer {
        Answer { authorities: vec![self.soa(&asked.zone)], ..Answer::without_records(outcome) }
    }

    fn locate<'a>(&self, name: &'a Name) -> Option<Asked<'a>> {
        let (kind, zone_labels) = self.config.zones.matching(name)?;
        let own = usize::from(name.num_labels()).saturating_sub(zone_labels);
        let lower = |label: &[u8]| String::from_utf8_lossy(label).to_ascii_lowercase();
        let labels = name.iter().take(own).map(lower).collect();
        Some(Asked { name, zone: name.trim_to(zone_labels), kind, labels })
    }

    fn sections(&self, asked: &Asked<'_>, record_type: RecordType) -> Result<Sections, Missing> {
        let at_apex = asked.labels.is_empty();
        match record_type {
            RecordType::A => self.addresses(asked, |ip| ip.is_ipv4()),
            RecordType::AAAA => self.addresses(asked, |ip| ip.is_ipv6()),
            RecordType::PTR if asked.kind == ZoneKind::Reverse => self.owners(asked).map(Sections::from),
            // As in CoreDNS: it has addresses alone.
            RecordType::SRV if asked.labels != ["ns", "dns"] => self.services(asked),
            RecordType::CNAME => self.alias(asked).map(Sections::from),
            RecordType::TXT if asked.labels == ["dns-version"] => Ok(vec![version(asked.name)].into()),
            RecordType::SOA if at_apex => Ok(vec![self.soa(&asked.zone)].into()),
            RecordType::NS if at_apex => Ok(self.name_server_records(asked.name, &asked.zone)),
            _ => self.found(asked, |_| ()).map(|()| Sections::default()),
        }
    }

    /// Looks a name up and hands over what is found.
    fn found<T>(&self, asked: &Asked<'_>, then: impl FnOnce(Vec<Found<'_>>) -> T) -> Result<T, Missing> {
        let request = match asked.kind {
            ZoneKind::Cluster => Request::parse(asked.labels.clone()),
            ZoneKind::Reverse if asked.labels.is_empty() => Request::Node,
            ZoneKind::Reverse => Request::Unknown,
        };
        self.find(&request).map(then)
    }

    /// Addresses of a family, and the aliases that lead to them. An alias that leads to none here is no answer.
    fn addresses(&self, asked: &Asked<'_>, wanted: fn(IpAddr) -> bool) -> Result<Sections, Missing> {
        let mut chain = Vec::new();
        let mut step = self.step(asked, wanted)?;
        loop {
            match step {
                Step::Addresses(records) if records.is_empty() => return Ok(Sections::default()),
                Step::Addresses(records) => {
                    chain.extend(records);
                    return Ok(chain.into());
                }
                Step::Alias { record, .. } if !is_new(&record, &chain) => return Ok(Sections::default()),
                Step::Alias { record, target } => {
                    chain.push(*record);
                    if !asked.zone.zone_of(&target) {
                        return Ok(Sections { outside: Some(target), ..chain.into() });
                    }
                    let Some(next) = self.locate(&target) else { return Ok(Sections::default()) };
                    let Ok(found) = self.step(&next, wanted) else { return Ok(Sections::default()) };
                    step = found;
                }
            }
        }
    }

    fn step(&self, asked: &Asked<'_>, wanted: fn(IpAddr) -> bool) -> Result<Step, Missing> {
        self.found(asked, |found| {
            if let Some(target) = alias_of(&found) {
                let record = Box::new(self.alias_record(asked.name, target));
                return Step::Alias { record, target: target.clone() };
            }
            let mut seen = HashSet::new();
            let all = found.iter().filter_map(Found::address).filter(|ip| wanted(*ip) && seen.insert(*ip));
            Step::Addresses(all.map(|ip| self.address_record(asked.name.clone(), ip)).collect())
        })
    }

    /// The alias alone, not followed.
    fn alias(&self, asked: &Asked<'_>) -> Result<Vec<Record>, Missing> {
        self.found(asked, |found| alias_of(&found).map(|target| self.alias_record(asked.name, target)))
            .map(|record| record.into_iter().collect())
    }

    /// SRV records, with the addresses of their targets. The weights share out 100 among all, before those that
    /// differ in the address alone become one.
    fn services(&self, asked: &Asked<'_>) -> Result<Sections, Missing> {
        self.found(asked, |found| {
            let weight = weight(found.len());
            let (mut sections, mut named, mut placed) = (Sections::default(), HashSet::new(), HashSet::new());
            for one in &found {
                let (Some(ip), Some(port)) = (one.address(), one.port) else { continue };
                let Some(target) = name_below(&one.owner, &asked.zone) else { continue };
                if named.insert((target.clone(), port)) {
                    let data = SRV::new(0, weight, port, target.clone());
                    sections.answers.push(self.record(asked.name.clone(), RData::SRV(data)));
                }
                if placed.insert((target.clone(), ip)) {
                    sections.additionals.push(self.address_record(target, ip));
                }
            }
            sections
        })
    }

    fn owners(&self, asked: &Asked<'_>) -> Result<Vec<Record>, Missing> {
        if asked.labels.is_empty() {
            return Ok(Vec::new());
        }
        let zone = asked.zone.to_lowercase().to_ascii();
        let ip = reverse::address_of(&asked.labels, &zone).ok_or(Missing)?;
        let owners = self.find_owners(ip)?;
        let names = owners.iter().filter_map(|owner| name_below(owner, self.primary_domain()));
        let mut seen = HashSet::new();
        let distinct = names.filter(|name| seen.insert(name.clone()));
        Ok(distinct.map(|name| self.record(asked.name.clone(), RData::PTR(PTR(name)))).collect())
    }

    /// The name servers of a zone, and their addresses.
    pub(super) fn name_servers_of(&self, zone: &Name) -> Vec<Record> {
        let sections = self.name_server_records(zone, zone);
        sections.answers.into_iter().chain(sections.additionals).collect()
    }

    fn name_server_records(&self, name: &Name, zone: &Name) -> Sections {
        let (mut sections, mut seen, mut placed) = (Sections::default(), HashSet::new(), HashSet::new());
        for one in self.name_servers() {
            let (Some(ip), Some(server)) = (one.address(), name_below(&one.owner, zone)) else {
                continue;
            };
            if seen.insert(server.clone()) {
                let data = RData::NS(NS(server.clone()));
                sections.answers.push(self.record(name.clone(), data));
            }
            if placed.insert((server.clone(), ip)) {
                sections.additionals.push(self.address_record(server, ip));
            }
        }
        sections
    }

    pub(super) fn soa(&self, zone: &Name) -> Record {
        let below = |labels: &str| Name::from_ascii(labels).and_then(|n| n.append_domain(zone));
        let (server, mailbox) = (below("ns.dns"), below("hostmaster"));
        // A zone so long that nothing fits below it has no names at all.
        let or_zone = |name: Result<Name, _>| name.unwrap_or_else(|_| zone.clone());
        let (server, mailbox) = (or_zone(server), or_zone(mailbox));
        let data = SOA::new(server, mailbox, self.serial, 7200, 1800, 86400, self.config.ttl);
        Record::from_rdata(zone.clone(), self.config.ttl.min(SOA_TTL), RData::SOA(data))
    }

    pub(super) fn alias_record(&self, owner: &Name, target: &Name) -> Record {
        self.record(owner.clone(), RData::CNAME(CNAME(target.clone())))
    }

    pub(super) fn address_record(&self, owner: Name, ip: IpAddr) -> Record {
        let data = match ip {
            IpAddr::V4(v4) => RData::A(A(v4)),
            IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
        };
        self.record(owner, data)
    }

    fn record(&self, owner: Name, data: RData) -> Record {
        Record::from_rdata(owner, self.config.ttl, data)
    }
}

/// One step along a chain of aliases.
enum Step {
    Alias { record: Box<Record>, target: Name },
    Addresses(Vec<Record>),
}

impl Found<'_> {
    fn address(&self) -> Option<IpAddr> {
        if let Host::Address(ip) = self.host { Some(ip) } else { None }
    }
}

fn alias_of<'a>(found: &[Found<'a>]) -> Option<&'a Name> {
    found.iter().find_map(|one| if let Host::Alias(target) = one.host { Some(target) } else { None })
}

/// Not a loop, and not one alias too many.
fn is_new(record: &Record, chain: &[Record]) -> bool {
    let RData::CNAME(CNAME(target)) = &record.data else { return false };
    let leads_there = |known: &Record| matches!(&known.data, RData::CNAME(CNAME(t)) if t == target);
    *target != record.name && chain.len() <= LONGEST_CHAIN && !chain.iter().any(leads_there)
}

/// 100 shared out among so many, and at least 1.
fn weight(among: usize) -> u16 {
    u16::try_from(100 / among.max(1)).unwrap_or(100).max(1)
}

pub(super) fn version(owner: &Name) -> Record {
    Record::from_rdata(owner.clone(), VERSION_TTL, RData::TXT(TXT::new(vec!["1.1.0".into()])))
}

/// `None` where the name would be too long.
pub(super) fn name_below(owner: &Owner<'_>, zone: &Name) -> Option<Name> {
    let labels = owner.labels();
    let name = Name::from_labels(labels.iter().map(String::as_bytes)).ok()?;
    name.append_domain(zone).ok()
}
