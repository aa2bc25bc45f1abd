//! The configuration file.

use std::{
    collections::BTreeMap,
    fs, io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use hickory_proto::rr::Name;
use ipnet::IpNet;
use serde::Deserialize;

use crate::{
    forwarder::{Upstreams, system_resolvers},
    index::{PodNames, RecordConfig, Zones, ZonesError},
};

/// The longest that an answer may be kept, in seconds, as in CoreDNS.
const LONGEST_TTL: u32 = 3600;
/// Where DNS is answered, unless an address names another port.
const PORT: u16 = 53;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// It is not what it should be; the source names line and column.
    #[error("the configuration {} cannot be used", .0.display())]
    Parse(PathBuf, #[source] yaml_serde::Error),
    /// A domain.
    #[error(transparent)]
    Zones(#[from] ZonesError),
    /// An address of a resolver.
    #[error(
        "{0:?} is not a resolver's address: write an IP address, or one with a port such as 192.0.2.1:53"
    )]
    Resolver(String),
    /// A network.
    #[error(
        "{0:?} is no address that may have transfers: write an IP address, or a network such as 192.0.2.0/24"
    )]
    Network(String),
    /// The time.
    #[error("ttl is {0} seconds: write 0 to {LONGEST_TTL}")]
    Ttl(u32),
}

/// What the file says; all of it may be left out.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// The cluster's domains; names of addresses lie in the first.
    pub cluster_domains: Vec<String>,
    /// How long answers may be kept, in seconds.
    pub ttl: u32,
    /// Which names of Pods have an address.
    pub pod_names: PodNamesText,
    /// Who is asked for other names. Those of `/etc/resolv.conf` where this is left out; nobody where it is empty.
    pub upstreams: Option<Vec<String>>,
    /// Who is asked for the names of a domain.
    pub stub_domains: BTreeMap<String, Vec<String>>,
    /// Who may have whole domains (AXFR): addresses and networks.
    pub transfers_to: Vec<String>,
    /// For how long questions are answered once the process is asked to end, in seconds.
    pub lame_duck_seconds: u64,
}

/// [`PodNames`] as the file spells them.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum PodNamesText {
    /// None.
    #[default]
    Disabled,
    /// All addresses, where the namespace exists.
    Insecure,
    /// Addresses of Pods.
    Verified,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cluster_domains: vec!["cluster.local".into()],
            ttl: 5,
            pod_names: PodNamesText::Disabled,
            upstreams: None,
            stub_domains: BTreeMap::new(),
            transfers_to: Vec::new(),
            lame_duck_seconds: 5,
        }
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or has a key or a value that is unknown: with its line and column.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|error| ConfigError::Read(path.into(), error))?;
        Self::parse(&text).map_err(|error| ConfigError::Parse(path.into(), error))
    }

    fn parse(text: &str) -> Result<Self, yaml_serde::Error> {
        let config: Option<Self> = yaml_serde::from_str(text)?;
        Ok(config.unwrap_or_default())
    }

    /// What is the same for all answers.
    ///
    /// # Errors
    /// When a domain is none, or the time is too long.
    pub fn records(&self, own_addresses: Vec<IpAddr>) -> Result<RecordConfig, ConfigError> {
        if self.ttl > LONGEST_TTL {
            return Err(ConfigError::Ttl(self.ttl));
        }
        let pod_names = match self.pod_names {
            PodNamesText::Disabled => PodNames::Disabled,
            PodNamesText::Insecure => PodNames::Insecure,
            PodNamesText::Verified => PodNames::Verified,
        };
        Ok(RecordConfig {
            zones: Zones::new(&self.cluster_domains)?,
            ttl: self.ttl,
            pod_names,
            own_addresses,
        })
    }

    /// Who may have whole domains.
    ///
    /// # Errors
    /// When one is neither an address nor a network.
    pub fn transfers_to(&self) -> Result<Vec<IpNet>, ConfigError> {
        let read = |text: &String| network(text).ok_or_else(|| ConfigError::Network(text.clone()));
        self.transfers_to.iter().map(read).collect()
    }

    /// Who is asked for other names.
    ///
    /// # Errors
    /// When an address or a domain is none.
    pub fn upstreams(&self) -> Result<Upstreams, ConfigError> {
        let default = self.upstreams.as_deref().map_or_else(|| Ok(system_resolvers()), resolvers)?;
        let domains = self.stub_domains.iter().map(|(domain, servers)| {
            let mut name = Name::from_ascii(domain).map_err(|_| ZonesError::Name(domain.clone()))?;
            name.set_fqdn(true);
            Ok((name, resolvers(servers)?))
        });
        Ok(Upstreams { default, domains: domains.collect::<Result<_, ConfigError>>()? })
    }
}

fn resolvers(texts: &[String]) -> Result<Vec<SocketAddr>, ConfigError> {
    texts.iter().map(|text| resolver(text).ok_or_else(|| ConfigError::Resolver(text.clone()))).collect()
}

fn resolver(text: &str) -> Option<SocketAddr> {
    text.parse().ok().or_else(|| text.parse().ok().map(|ip| SocketAddr::new(ip, PORT)))
}

fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(Config::parse("").unwrap(), Config::default());
        assert_eq!(Config::parse("# nothing\n").unwrap(), Config::default());
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place() {
        let error = Config::parse("ttl: 30\npodName: verified\n").unwrap_err().to_string();
        assert!(error.contains("podName") && error.contains("line 2 column 1"), "{error}");
        let error = Config::parse("podNames: all\n").unwrap_err().to_string();
        assert!(error.contains("all") && error.contains("line 1"), "{error}");
    }

    #[test]
    fn all_keys_are_read() {
        let text = "clusterDomains: [a.test, b.test.]\nttl: 30\npodNames: verified\nupstreams: [192.0.2.1, '[2001:db8::1]:5353']\n\
                    stubDomains: {corp.test: [192.0.2.2]}\nlameDuckSeconds: 1\n\
                    transfersTo: [192.0.2.7, '2001:db8::/64']\n";
        let config = Config::parse(text).unwrap();
        let upstreams = config.upstreams().unwrap();
        assert_eq!(
            upstreams.default,
            ["192.0.2.1:53".parse().unwrap(), "[2001:db8::1]:5353".parse().unwrap()]
        );
        assert_eq!(upstreams.domains.len(), 1);
        let allowed = ["192.0.2.7/32".parse().unwrap(), "2001:db8::/64".parse().unwrap()];
        assert_eq!(config.transfers_to().unwrap(), allowed);
        let records = config.records(Vec::new()).unwrap();
        assert_eq!((records.ttl, records.pod_names), (30, PodNames::Verified));
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        let records = |text: &str| Config::parse(text).unwrap().records(Vec::new()).unwrap_err().to_string();
        assert!(records("ttl: 3601").contains("write 0 to 3600"));
        assert!(records("clusterDomains: []").contains("name one"));
        assert!(records("clusterDomains: ['a..b']").contains("\"a..b\" is not a domain's name"));
        let transfers = Config::parse("transfersTo: ['*']").unwrap().transfers_to().unwrap_err().to_string();
        assert!(transfers.contains("write an IP address, or a network"), "{transfers}");
        let upstreams =
            Config::parse("upstreams: [dns.example]").unwrap().upstreams().unwrap_err().to_string();
        assert!(upstreams.contains("\"dns.example\" is not a resolver's address"), "{upstreams}");
    }
}
