//! The provider `hetzner` against the endpoint that stands for Hetzner Cloud. Every action takes two questions to end.

use anyhow::Result;
use penstock_crds::{HETZNER_ADOPT, HETZNER_PREFIX, HetznerParameters};
use penstock_model::{Family, Protocol, TrafficPolicy};
use penstock_providers::{
    Desired, FamilyNeed, Frontend, Owner, Target,
    hetzner::{HetznerAccount, HetznerProvider},
};
use penstock_tests::{
    hetzner_endpoint::{Balancer, Fault, HetznerEndpoint},
    provider_contract::{Call, Damages, Foreign, Rig, Thing, Trouble, Which, owner, settle},
};
use serde_json::Value;

pub(crate) struct HetznerRig(HetznerEndpoint);

const UID: &str = "penstock.dev/service-uid";
const OTHERS: &str = "balancer of another Service under our name";
const NOBODYS: &str = "balancer of nobody under our name";

fn port(protocol: Protocol, port: u16, node_port: u16) -> Frontend {
    Frontend { protocol, port, node_port: Some(node_port) }
}

fn node(number: u64) -> Target {
    Target { node: format!("n{number}"), provider_id: Some(format!("hcloud://{number}")), addresses: vec![] }
}

fn desired() -> Desired {
    Desired {
        families: vec![FamilyNeed { family: Family::IPv4, required: true }],
        frontends: vec![port(Protocol::Tcp, 80, 30080)],
        targets: vec![node(1), node(2)],
        ..Desired::default()
    }
}

fn asks(desired: &mut Desired, key: &str, value: &str) {
    desired.options.insert(format!("{HETZNER_PREFIX}{key}"), value.into());
}

fn asking(options: &[(&str, &str)]) -> Desired {
    let mut wanted = desired();
    options.iter().for_each(|(key, value)| asks(&mut wanted, key, value));
    wanted
}

impl HetznerRig {
    fn provider_of(&self, token: &str, allow_adoption: bool) -> HetznerProvider {
        let parameters = HetznerParameters {
            cluster_name: "blue".into(),
            token_secret: "hetzner".into(),
            network_id: Some(7),
            endpoint_url: Some(self.0.url()),
            defaults: [("location".to_owned(), "fsn1".to_owned())].into(),
            labels: [("team".to_owned(), "shop".to_owned())].into(),
            allow_adoption,
            ..HetznerParameters::default()
        };
        let account = HetznerAccount::without_limits(&parameters, Some(token)).unwrap();
        HetznerProvider::new(&parameters, &account)
    }

    /// The only balancer is somebody's, or nobody's; returns its identity.
    fn relabel(&self, whose: Foreign) -> u64 {
        let mut store = self.0.store();
        let balancer = store.balancers.values_mut().next().unwrap();
        match whose {
            Foreign::Others => drop(balancer.labels.insert(UID.to_owned(), "another".to_owned())),
            Foreign::Nobodys => balancer.labels.clear(),
        }
        balancer.id
    }
}

impl HetznerRig {
    pub(crate) fn lose_service(&self) {
        damage(self, |balancer| balancer.services.clear());
    }
}

/// Changes the only balancer behind our back.
fn damage(rig: &HetznerRig, change: impl FnOnce(&mut Balancer)) {
    change(rig.0.store().balancers.values_mut().next().unwrap());
}

impl super::vendor_types::Sends for HetznerRig {
    fn sent(&self) -> Vec<(String, Value)> {
        let store = self.0.store();
        let calls = store.calls.iter().filter(|call| !call.body.is_null());
        calls.map(|call| (format!("hetzner {}", call.name), call.body.clone())).collect()
    }
}

impl Rig for HetznerRig {
    type Provider = HetznerProvider;
    const REMEMBERS: bool = true;

    async fn start() -> Result<Self> {
        let endpoint = HetznerEndpoint::start().await?;
        endpoint.store().unfinished = 2;
        Ok(Self(endpoint))
    }

    async fn provider(&self) -> HetznerProvider {
        self.provider_of(HetznerEndpoint::TOKEN, true)
    }

    async fn without_adoption(&self) -> Result<HetznerProvider> {
        Ok(self.provider_of(HetznerEndpoint::TOKEN, false))
    }

    async fn intruder(&self) -> Result<(HetznerProvider, &'static str)> {
        let secret = "wrong-token";
        Ok((self.provider_of(secret, true), secret))
    }

    fn standing(&self) -> Vec<Thing> {
        let store = self.0.store();
        let thing = |balancer: &Balancer| {
            // Targets are a set, and the hash in a name is the owner's.
            let mut shown = Balancer { id: 0, name: String::new(), ..balancer.clone() };
            shown.targets.sort();
            shown.services.sort_by_key(|service| service.listen_port);
            Thing { what: format!("{shown:?}"), owner: balancer.labels.get(UID).cloned() }
        };
        store.balancers.values().map(thing).collect()
    }

    fn calls(&self) -> Vec<Call> {
        let store = self.0.store();
        let names = store.calls.iter().map(|call| call.name.clone());
        names.map(|name| Call { changes: !name.starts_with("GET"), name }).collect()
    }

    fn life() -> Vec<(&'static str, Desired)> {
        let nodes = Desired { targets: vec![node(2), node(3)], ..desired() };
        let mut ports = nodes.clone();
        ports.frontends = vec![port(Protocol::Tcp, 80, 30090), port(Protocol::Tcp, 8080, 30091)];
        let mut options = ports.clone();
        asks(&mut options, "algorithm-type", "least_connections");
        asks(&mut options, "uses-proxyprotocol", "true");
        asks(&mut options, "health-check-interval", "5s");
        asks(&mut options, "name", "front-door");
        let mut larger = options.clone();
        asks(&mut larger, "type", "lb21");
        asks(&mut larger, "use-private-ip", "true");
        larger.frontends.extend((1..=5).map(|n| port(Protocol::Tcp, 9000 + n, 31000 + n)));
        let mut smaller = larger.clone();
        smaller.frontends = vec![port(Protocol::Tcp, 443, 30443)];
        asks(&mut smaller, "type", "lb11");
        asks(&mut smaller, "disable-public-network", "true");
        asks(&mut smaller, "protocol", "https");
        asks(&mut smaller, "http-certificates", "1,2");
        asks(&mut smaller, "http-redirect-http", "true");
        let mut local = smaller.clone();
        local.options.remove(&format!("{HETZNER_PREFIX}disable-public-network"));
        local.traffic_policy = TrafficPolicy::Local;
        local.health_check_node_port = Some(31999);
        asks(&mut local, "hostname", "shop.example.com");
        vec![
            ("nothing yet", desired()),
            ("other nodes", nodes),
            ("another NodePort, and a port more", ports),
            ("algorithm, proxy protocol, health check and name", options),
            ("a larger type, more ports than the smaller has, the private network", larger),
            ("a smaller type, no public network, https with a redirect", smaller),
            ("the public network again, policy Local, a hostname", local),
        ]
    }

    fn unsupported() -> Vec<(&'static str, Desired)> {
        let of = |protocol| Desired { frontends: vec![port(protocol, 80, 30080)], ..desired() };
        let six = (1..=6).map(|n| port(Protocol::Tcp, n, 30000 + n)).collect();
        let ranges = vec!["198.51.100.0/24".parse().unwrap()];
        vec![
            ("UDP", of(Protocol::Udp)),
            ("SCTP", of(Protocol::Sctp)),
            ("six ports of the smallest type", Desired { frontends: six, ..desired() }),
            ("26 nodes of the smallest type", Desired { targets: (1..=26).map(node).collect(), ..desired() }),
            ("source ranges", Desired { source_ranges: ranges, ..desired() }),
            ("affinity by address", Desired { affinity_seconds: Some(600), ..desired() }),
            ("an unknown annotation", asking(&[("lokation", "fsn1")])),
            ("an annotation of the other controller", asking(&[("http-cookie-name", "a")])),
            ("a malformed annotation", asking(&[("health-check-interval", "soon")])),
            ("two places", asking(&[("location", "fsn1"), ("network-zone", "us-east")])),
            ("https without a certificate", asking(&[("protocol", "https")])),
            ("a certificate without https", asking(&[("http-certificates", "1")])),
            ("certificates by name", asking(&[("protocol", "https"), ("http-certificates", "front")])),
            (
                "a redirect on a port that the Service has",
                asking(&[("protocol", "https"), ("http-certificates", "1"), ("http-redirect-http", "true")]),
            ),
            ("no way to the nodes", asking(&[("disable-public-network", "true")])),
        ]
    }

    fn go_wrong(&self, nth: usize, which: Which, trouble: Trouble) {
        let fault = match trouble {
            Trouble::Lost => Fault::BrokenBefore,
            Trouble::LostAfter => Fault::BrokenAfter,
            Trouble::Unavailable => Fault::Refused(503, "unavailable".into()),
            Trouble::UnavailableAfter => Fault::Committed(504, "timeout".into()),
            Trouble::Throttled => Fault::Refused(429, "rate_limit_exceeded".into()),
        };
        match which {
            Which::Any => self.0.store().fail_any(nth, fault),
            Which::Changes => self.0.store().fail_change(nth, fault),
        }
    }

    fn is_trouble_ahead(&self) -> bool {
        self.0.store().faults_left()
    }

    fn exhaust(&self, exhausted: bool) {
        self.0.store().quota = exhausted.then_some(0);
    }

    fn foreign_kinds() -> &'static [&'static str] {
        &[OTHERS, NOBODYS]
    }

    async fn put_foreign(&self, kind: &str, owner: &Owner) -> Result<()> {
        settle(&self.provider().await, owner, Some(&desired())).await?;
        self.relabel(if kind == OTHERS { Foreign::Others } else { Foreign::Nobodys });
        Ok(())
    }

    async fn adoptable(&self, whose: Foreign) -> Result<Desired> {
        settle(
            &self.provider().await,
            &owner("donor"),
            Some(&asking(&[("algorithm-type", "least_connections")])),
        )
        .await?;
        let id = self.relabel(whose);
        let mut wanted = desired();
        wanted.options.insert(HETZNER_ADOPT.to_owned(), id.to_string());
        Ok(wanted)
    }

    fn damages() -> Damages<Self> {
        vec![
            ("the balancer is gone", |rig| rig.0.store().balancers.clear()),
            ("a service is gone", Self::lose_service),
            ("a target is gone", |rig| damage(rig, |b| drop(b.targets.pop()))),
            ("another NodePort", |rig| damage(rig, |b| b.services[0].destination_port = 1)),
            ("another size", |rig| damage(rig, |b| b.load_balancer_type = "lb21".into())),
            ("another algorithm", |rig| damage(rig, |b| b.algorithm = "least_connections".into())),
            ("another name", |rig| damage(rig, |b| b.name = "mine".into())),
            ("no private network", |rig| damage(rig, |b| b.networks.clear())),
            ("no public network", |rig| damage(rig, |b| b.public = false)),
        ]
    }
}

penstock_tests::provider_contract!(HetznerRig);
