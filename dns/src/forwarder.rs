//! Names of others: upstream resolvers are asked, and what they say is kept for a while.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, Record, RecordType},
};
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError, NoRecords, runtime::TokioRuntimeProvider},
};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::wire::Reply;

/// What is known of other names is kept for so long at most, as CoreDNS' usual `cache 30` does.
const LONGEST_KEPT: Duration = Duration::from_secs(30);
/// How many answers of others are kept.
const KEPT: u64 = 10_000;
/// A resolver that is silent for so long is asked again, or the next one is.
const PATIENCE: Duration = Duration::from_secs(2);
/// So many questions wait for others at a time; further ones are refused at once.
const WAITING: usize = 1000;

/// Why other names cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum ForwarderError {
    /// The resolver could not be made.
    #[error("the upstream resolvers cannot be used")]
    Resolver(#[source] Box<NetError>),
}

/// Which resolvers know which names.
#[derive(Clone, Debug, Default)]
pub struct Upstreams {
    /// For all names that no domain below has.
    pub default: Vec<SocketAddr>,
    /// For the names of a domain.
    pub domains: BTreeMap<Name, Vec<SocketAddr>>,
}

/// Asks upstream resolvers.
pub struct Forwarder {
    default: Option<TokioResolver>,
    /// The innermost domain first.
    domains: Vec<(Name, TokioResolver)>,
    waiting: Semaphore,
}

impl Forwarder {
    /// A forwarder to these resolvers.
    ///
    /// # Errors
    /// When the resolver cannot be made.
    pub fn new(upstreams: &Upstreams) -> Result<Arc<Self>, ForwarderError> {
        let to =
            |servers: &[SocketAddr]| resolver(servers).map_err(|e| ForwarderError::Resolver(Box::new(e)));
        let default = (!upstreams.default.is_empty()).then(|| to(&upstreams.default)).transpose()?;
        let made = upstreams.domains.iter().map(|(name, servers)| Ok((name.clone(), to(servers)?)));
        let mut domains = made.collect::<Result<Vec<_>, ForwarderError>>()?;
        domains.sort_by_key(|(name, _)| std::cmp::Reverse(name.num_labels()));
        Ok(Arc::new(Self { default, domains, waiting: Semaphore::new(WAITING) }))
    }

    /// Whether somebody is asked for this name.
    #[must_use]
    pub fn knows(&self, name: &Name) -> bool {
        self.resolver(name).is_some()
    }

    fn resolver(&self, name: &Name) -> Option<&TokioResolver> {
        let of_domain = self.domains.iter().find(|(domain, _)| domain.zone_of(name));
        of_domain.map(|(_, resolver)| resolver).or(self.default.as_ref())
    }

    /// A place among those that wait, if there is one.
    pub fn enter(&self) -> Option<SemaphorePermit<'_>> {
        self.waiting.try_acquire().ok()
    }

    /// Asks for a name.
    pub async fn ask(&self, name: &Name, record_type: RecordType) -> Reply {
        let Some(resolver) = self.resolver(name) else { return Reply::of_code(ResponseCode::Refused) };
        let reply = match resolver.lookup(name.clone(), record_type).await {
            Ok(lookup) => Reply {
                answers: lookup.answers().to_vec(),
                authorities: lookup.authorities().to_vec(),
                additionals: lookup.additionals().to_vec(),
                ..Reply::default()
            },
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => negative(none),
            Err(NetError::Dns(DnsError::ResponseCode(code))) => Reply::of_code(code),
            Err(error) => {
                tracing::debug!(%name, %error, "no upstream resolver answers");
                Reply::of_code(ResponseCode::ServFail)
            }
        };
        Reply { recursion_available: true, ..reply }
    }
}

fn negative(none: NoRecords) -> Reply {
    let soa = none.soa.map(|soa| Record::into_record_of_rdata(*soa));
    Reply { code: none.response_code, authorities: soa.into_iter().collect(), ..Reply::default() }
}

fn resolver(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let config = ResolverConfig::from_name_servers(servers.iter().map(name_server).collect());
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options();
    builder.build()
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let at_port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(at_port);
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn options() -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = PATIENCE;
    options.attempts = 1;
    options.edns0 = true;
    options.cache_size = KEPT;
    options.use_hosts_file = ResolveHosts::Never;
    options.positive_max_ttl = Some(LONGEST_KEPT);
    options.negative_max_ttl = Some(LONGEST_KEPT);
    options.num_concurrent_reqs = 1;
    options.preserve_intermediates = true;
    options
}

/// The resolvers that this machine uses (`/etc/resolv.conf`); none where it names none.
#[must_use]
pub fn system_resolvers() -> Vec<SocketAddr> {
    const PORT: u16 = 53;
    let Ok((config, _)) = hickory_resolver::system_conf::read_system_conf() else { return Vec::new() };
    let mut found: Vec<IpAddr> = Vec::new();
    for server in config.name_servers() {
        if !found.contains(&server.ip) {
            found.push(server.ip);
        }
    }
    found.into_iter().map(|ip| SocketAddr::new(ip, PORT)).collect()
}
