//! The JSON of the API: what it answers, and what it is asked. Fields that we do not know are left alone.

use std::{collections::BTreeSet, net::IpAddr};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    failure::Failure,
    observed::{Balancer, Network, OwnCertificate},
    spec::{
        Algorithm, BalancerSpec, CheckProtocol, HealthCheck, HttpCheck, HttpSpec, Place, Protocol,
        ServiceSpec, TargetSpec,
    },
};
use crate::{polling::State, reading::Pairs};

/// A page of balancers.
#[derive(Deserialize)]
pub(super) struct Page {
    pub(super) load_balancers: Vec<WireBalancer>,
    #[serde(default)]
    meta: Meta,
}

#[derive(Default, Deserialize)]
struct Meta {
    #[serde(default)]
    pagination: Pagination,
}

#[derive(Default, Deserialize)]
struct Pagination {
    next_page: Option<u32>,
}

impl Page {
    pub(super) fn next(&self) -> Option<u32> {
        self.meta.pagination.next_page
    }
}

/// A page of certificates.
#[derive(Deserialize)]
pub(super) struct CertificatePage {
    pub(super) certificates: Vec<OwnCertificate>,
    #[serde(default)]
    meta: Meta,
}

impl CertificatePage {
    pub(super) fn next(&self) -> Option<u32> {
        self.meta.pagination.next_page
    }
}

/// One balancer.
#[derive(Deserialize)]
pub(super) struct One {
    pub(super) load_balancer: WireBalancer,
}

/// What a call that changes something is answered.
#[derive(Deserialize)]
pub(super) struct Begun {
    pub(super) load_balancer: Option<WireBalancer>,
    pub(super) action: Option<WireAction>,
}

/// Actions that were asked for.
#[derive(Deserialize)]
pub(super) struct Actions {
    pub(super) actions: Vec<WireAction>,
}

/// Something that takes its time.
#[derive(Deserialize)]
pub(super) struct WireAction {
    pub(super) id: u64,
    status: String,
    error: Option<Failure>,
}

impl WireAction {
    pub(super) fn state(self) -> State<Failure> {
        match (self.status.as_str(), self.error) {
            ("success", _) => State::Done,
            ("error", error) => State::Failed(error.unwrap_or_else(Failure::without_reason)),
            _ => State::Running,
        }
    }
}

#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(default)]
    network_zone: String,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: Algorithm,
}

#[derive(Deserialize)]
struct Address {
    ip: Option<IpAddr>,
}

#[derive(Deserialize)]
struct Public {
    enabled: bool,
    ipv4: Option<Address>,
    ipv6: Option<Address>,
}

#[derive(Deserialize)]
struct Private {
    network: u64,
    ip: Option<IpAddr>,
}

#[derive(Default, Deserialize)]
struct Protection {
    #[serde(default)]
    delete: bool,
}

#[derive(Deserialize)]
struct WireService {
    protocol: Protocol,
    listen_port: u16,
    destination_port: u16,
    #[serde(default)]
    proxyprotocol: bool,
    http: Option<WireHttp>,
    health_check: WireCheck,
}

#[derive(Deserialize)]
struct WireHttp {
    #[serde(default)]
    certificates: Option<BTreeSet<u64>>,
    #[serde(default)]
    redirect_http: bool,
    #[serde(default)]
    sticky_sessions: bool,
}

#[derive(Deserialize)]
struct WireCheck {
    protocol: CheckProtocol,
    port: u16,
    interval: u16,
    timeout: u16,
    retries: u16,
    http: Option<WireHttpCheck>,
}

#[derive(Deserialize)]
struct WireHttpCheck {
    domain: Option<String>,
    #[serde(default)]
    path: String,
    #[serde(default)]
    tls: bool,
}

#[derive(Deserialize)]
struct Id {
    id: u64,
}

#[derive(Deserialize)]
struct Selector {
    selector: String,
}

#[derive(Deserialize)]
struct Ip {
    ip: IpAddr,
}

/// The servers that a selector found stand below it, and are not looked at.
#[derive(Deserialize)]
struct WireTarget {
    server: Option<Id>,
    label_selector: Option<Selector>,
    ip: Option<Ip>,
    #[serde(default)]
    use_private_ip: Option<bool>,
}

/// A balancer as the API shows it.
#[derive(Deserialize)]
pub(super) struct WireBalancer {
    id: u64,
    name: String,
    #[serde(default)]
    labels: Pairs,
    load_balancer_type: Named,
    location: Named,
    algorithm: Kind,
    public_net: Public,
    #[serde(default)]
    private_net: Vec<Private>,
    #[serde(default)]
    protection: Protection,
    services: Vec<WireService>,
    targets: Vec<WireTarget>,
}

impl From<WireBalancer> for Balancer {
    fn from(wire: WireBalancer) -> Self {
        let public = wire.public_net;
        let addresses = [public.ipv4, public.ipv6].into_iter().flatten().filter_map(|address| address.ip);
        let mut services: Vec<ServiceSpec> = wire.services.into_iter().map(ServiceSpec::from).collect();
        services.sort_by_key(|service| service.listen_port);
        Self {
            id: wire.id,
            name: wire.name,
            labels: wire.labels,
            load_balancer_type: wire.load_balancer_type.name,
            location: wire.location.name,
            network_zone: wire.location.network_zone,
            algorithm: wire.algorithm.kind,
            public_interface: public.enabled,
            addresses: addresses.collect(),
            networks: wire.private_net.into_iter().map(|n| Network { id: n.network, ip: n.ip }).collect(),
            protected: wire.protection.delete,
            services,
            targets: wire.targets.into_iter().filter_map(WireTarget::spec).collect(),
        }
    }
}

/// What means nothing for the protocol is as if it were not there.
impl From<WireService> for ServiceSpec {
    fn from(wire: WireService) -> Self {
        let http = wire.http.map(|http| HttpSpec {
            certificates: http.certificates.unwrap_or_default(),
            redirect_http: http.redirect_http,
            sticky_sessions: http.sticky_sessions,
        });
        let check = wire.health_check;
        let request = check.http.map(|http| HttpCheck {
            domain: http.domain.filter(|domain| !domain.is_empty()),
            path: http.path,
            tls: http.tls,
        });
        Self {
            protocol: wire.protocol,
            listen_port: wire.listen_port,
            destination_port: wire.destination_port,
            proxyprotocol: wire.proxyprotocol,
            http: if wire.protocol == Protocol::Tcp {
                None
            } else {
                http.or_else(|| Some(HttpSpec::default()))
            },
            health_check: HealthCheck {
                protocol: check.protocol,
                port: check.port,
                interval: check.interval,
                timeout: check.timeout,
                retries: check.retries,
                http: request.filter(|_| check.protocol == CheckProtocol::Http),
            },
        }
    }
}

impl WireTarget {
    fn spec(self) -> Option<TargetSpec> {
        let use_private_ip = self.use_private_ip.unwrap_or_default();
        match (self.server, self.label_selector, self.ip) {
            (Some(Id { id }), _, _) => Some(TargetSpec::Server { id, use_private_ip }),
            (_, Some(Selector { selector }), _) => {
                Some(TargetSpec::LabelSelector { selector, use_private_ip })
            }
            (_, _, Some(Ip { ip })) => Some(TargetSpec::Ip { ip }),
            _ => None,
        }
    }
}

/// The body that adds a target.
pub(super) fn target(target: &TargetSpec) -> Value {
    match target {
        TargetSpec::Server { id, use_private_ip } => {
            json!({"type": "server", "server": {"id": id}, "use_private_ip": use_private_ip})
        }
        TargetSpec::LabelSelector { selector, use_private_ip } => json!({
            "type": "label_selector", "label_selector": {"selector": selector}, "use_private_ip": use_private_ip
        }),
        TargetSpec::Ip { ip } => json!({"type": "ip", "ip": {"ip": ip}}),
    }
}

/// The body that removes a target.
pub(super) fn target_to_remove(spec: &TargetSpec) -> Value {
    let mut body = target(spec);
    if let Some(fields) = body.as_object_mut() {
        fields.remove("use_private_ip");
    }
    body
}

/// The body that adds or changes a service.
pub(super) fn service(service: &ServiceSpec) -> Value {
    let mut body = json!(service);
    // With anything but https the API takes no certificates at all.
    if service.protocol != Protocol::Https
        && let Some(http) = body.get_mut("http").and_then(Value::as_object_mut)
    {
        http.remove("certificates");
        http.remove("redirect_http");
    }
    body
}

/// The body that creates a balancer.
#[derive(Serialize)]
struct Creation<'a> {
    name: &'a str,
    load_balancer_type: &'a str,
    #[serde(flatten)]
    place: &'a Place,
    labels: &'a Pairs,
    algorithm: Value,
    public_interface: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<u64>,
    services: Vec<Value>,
    targets: Vec<Value>,
}

pub(super) fn creation(spec: &BalancerSpec) -> impl Serialize {
    Creation {
        name: &spec.name,
        load_balancer_type: &spec.load_balancer_type,
        place: &spec.place,
        labels: &spec.labels,
        algorithm: algorithm(spec.algorithm),
        public_interface: spec.public_interface,
        network: spec.network,
        services: spec.services.iter().map(service).collect(),
        targets: spec.targets.iter().map(target).collect(),
    }
}

/// The body that changes the algorithm.
pub(super) fn algorithm(kind: Algorithm) -> Value {
    json!({"type": kind})
}
