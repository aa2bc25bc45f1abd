//! The provider `digitalocean` against an endpoint that stands for its API.

use anyhow::Result;
use penstock_crds::{DIGITALOCEAN_ADOPT, DIGITALOCEAN_PREFIX, DigitalOceanParameters};
use penstock_model::{Family, Protocol};
use penstock_providers::{
    Desired, FamilyNeed, Frontend, Owner, Request, Target, Timeouts,
    digitalocean::{DigitalOceanAccount, DigitalOceanProvider},
};
use penstock_tests::{
    digitalocean_endpoint::{Balancer, DigitalOceanEndpoint, Fault, REGION, TOKEN, Wish},
    provider_contract::{Call, Damages, Foreign, Rig, Thing, Trouble, Which, settle},
};
use serde_json::Value;

pub(crate) struct DigitalOceanRig(DigitalOceanEndpoint);

const ELSEWHERE: &str = "balancer under our name in another region";

fn port(protocol: Protocol, port: u16, node_port: u16) -> Frontend {
    Frontend { protocol, port, node_port: Some(node_port) }
}

fn node(number: u8) -> Target {
    let provider_id = Some(format!("digitalocean://{number}"));
    Target { node: format!("n{number}"), provider_id, addresses: vec![] }
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
    desired.options.insert(format!("{DIGITALOCEAN_PREFIX}{key}"), value.into());
}

fn asking(key: &str, value: &str) -> Desired {
    let mut wanted = desired();
    asks(&mut wanted, key, value);
    wanted
}

/// The UID that the mark in a name tells.
fn uid(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.rsplit('.').collect();
    (parts.get(2) == Some(&"penstock")).then(|| parts[0].to_owned())
}

impl DigitalOceanRig {
    fn provider_of(&self, token: &str, allow_adoption: bool) -> DigitalOceanProvider {
        let parameters = DigitalOceanParameters {
            region: REGION.into(),
            cluster_name: "blue".into(),
            token_secret: "token".into(),
            endpoint_url: Some(self.0.url()),
            allow_adoption,
            ..DigitalOceanParameters::default()
        };
        let account = DigitalOceanAccount::without_limits(&parameters, token, Timeouts::default()).unwrap();
        DigitalOceanProvider::new(&parameters, &account)
    }

    fn wish(&self, name: &str) -> Wish {
        let rule = serde_json::json!({"entry_port": 1, "entry_protocol": "tcp", "target_port": 1, "target_protocol": "tcp"});
        let wish = serde_json::json!({"name": name, "region": REGION, "forwarding_rules": [rule], "droplet_ids": []});
        serde_json::from_value(wish).unwrap()
    }

    fn any(&self, change: impl FnOnce(&mut Balancer)) {
        change(self.0.store().balancers.values_mut().next().unwrap());
    }
}

impl super::vendor_types::Sends for DigitalOceanRig {
    fn sent(&self) -> Vec<(String, Value)> {
        let store = self.0.store();
        let kind = |path: &str| {
            let parts: Vec<&str> = path.split('?').next().unwrap().split('/').collect();
            if parts.last() == Some(&"droplets") { "droplets".to_owned() } else { parts[2].to_owned() }
        };
        let calls = store.calls.iter().filter_map(|call| Some((call, call.body.clone()?)));
        calls
            .map(|(call, body)| (format!("digitalocean {} {}", call.method, kind(&call.path)), body))
            .collect()
    }
}

impl Rig for DigitalOceanRig {
    type Provider = DigitalOceanProvider;
    const REMEMBERS: bool = true;

    async fn start() -> Result<Self> {
        Ok(Self(DigitalOceanEndpoint::start().await?))
    }

    async fn provider(&self) -> DigitalOceanProvider {
        self.provider_of(TOKEN, true)
    }

    async fn without_adoption(&self) -> Result<DigitalOceanProvider> {
        Ok(self.provider_of(TOKEN, false))
    }

    async fn intruder(&self) -> Result<(DigitalOceanProvider, &'static str)> {
        let secret = "dop_v1_wrong";
        Ok((self.provider_of(secret, true), secret))
    }

    fn standing(&self) -> Vec<Thing> {
        let store = self.0.store();
        let thing = |b: &Balancer| {
            let mut wish = b.wish.clone();
            wish.name.clear();
            wish.forwarding_rules.sort_unstable();
            // What stands elsewhere is another's, whatever it is named.
            let owner = uid(&b.wish.name).filter(|_| wish.region == REGION);
            Thing { what: serde_json::to_string(&wish).unwrap(), owner }
        };
        store.balancers.values().map(thing).collect()
    }

    fn calls(&self) -> Vec<Call> {
        let store = self.0.store();
        let lines = store.since(0).into_iter().zip(&store.calls);
        lines.map(|(name, call)| Call { name, changes: !call.reads() }).collect()
    }

    fn life() -> Vec<(&'static str, Desired)> {
        let nodes = Desired { targets: vec![node(2), node(3)], ..desired() };
        let mut ports = nodes.clone();
        ports.frontends.push(port(Protocol::Udp, 53, 30053));
        asks(&mut ports, "name", "the.front-door");
        asks(&mut ports, "deny-rules", "ip:198.51.100.7");
        let mut moved = ports.clone();
        moved.frontends[0].node_port = Some(30090);
        moved.source_ranges = vec!["198.51.100.0/24".parse().unwrap()];
        asks(&mut moved, "healthcheck-check-interval-seconds", "30");
        asks(&mut moved, "enable-proxy-protocol", "true");
        let mut http = moved.clone();
        http.frontends = vec![port(Protocol::Tcp, 80, 30090), port(Protocol::Tcp, 443, 30443)];
        http.source_ranges.clear();
        asks(&mut http, "protocol", "http");
        asks(&mut http, "tls-passthrough", "true");
        asks(&mut http, "redirect-http-to-https", "true");
        asks(&mut http, "size-unit", "3");
        asks(&mut http, "sticky-sessions-type", "cookies");
        asks(&mut http, "sticky-sessions-cookie-name", "DO-LB");
        asks(&mut http, "sticky-sessions-cookie-ttl", "300");
        vec![
            ("nothing yet", desired()),
            ("other nodes", nodes),
            ("another port, name and rule", ports),
            ("another NodePort, sources, health check and PROXY protocol", moved),
            ("HTTP, with TLS passed on, and a port less", http),
        ]
    }

    fn unsupported() -> Vec<(&'static str, Desired)> {
        let pool = Some("front".to_owned());
        let sctp = vec![port(Protocol::Sctp, 80, 30080)];
        let udp = vec![port(Protocol::Udp, 53, 30053)];
        let v6 = vec![FamilyNeed { family: Family::IPv6, required: true }];
        vec![
            ("SCTP", Desired { frontends: sctp, ..desired() }),
            ("nothing to ask for health", Desired { frontends: udp, ..desired() }),
            ("IPv6", Desired { families: v6, ..desired() }),
            ("affinity", Desired { affinity_seconds: Some(10_800), ..desired() }),
            ("a pool", Desired { request: Request { pool, ..Request::default() }, ..desired() }),
            ("an unknown annotation", asking("protcol", "tcp")),
            ("one that is not supported", asking("algorithm", "round_robin")),
            ("a malformed annotation", asking("size-unit", "many")),
            ("TLS that nobody ends", asking("protocol", "https")),
            ("TLS on a port that is not there", asking("certificate-id", "cert-1")),
            ("a malformed rule", asking("allow-rules", "198.51.100.7")),
            ("half of sticky sessions", asking("sticky-sessions-type", "cookies")),
            ("a redirect to nowhere", asking("redirect-http-to-https", "true")),
        ]
    }

    fn go_wrong(&self, nth: usize, which: Which, trouble: Trouble) {
        let fault = match trouble {
            Trouble::Lost => Fault::Broken,
            Trouble::LostAfter => Fault::BrokenAfter,
            Trouble::Unavailable => Fault::Status(503),
            Trouble::UnavailableAfter => Fault::StatusAfter(503),
            Trouble::Throttled => Fault::Status(429),
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
        self.0.store().limit = if exhausted { 0 } else { 100 };
    }

    fn foreign_kinds() -> &'static [&'static str] {
        &[ELSEWHERE]
    }

    async fn put_foreign(&self, _kind: &str, owner: &Owner) -> Result<()> {
        settle(&self.provider().await, owner, Some(&desired())).await?;
        self.any(|balancer| balancer.wish.region = "nyc1".into());
        Ok(())
    }

    async fn adoptable(&self, whose: Foreign) -> Result<Desired> {
        let name = if whose == Foreign::Others { "x.penstock.0123456789ab.another" } else { "by-hand" };
        let id = self.0.store().put_by_hand(self.wish(name));
        let mut wanted = desired();
        wanted.options.insert(DIGITALOCEAN_ADOPT.to_owned(), id);
        Ok(wanted)
    }

    fn damages() -> Damages<Self> {
        vec![
            ("the balancer is gone", |rig| rig.0.store().balancers.clear()),
            ("it is renamed", |rig| rig.any(|balancer| balancer.wish.name = "by-hand".into())),
            ("a Droplet is gone", |rig| {
                rig.any(|balancer| {
                    assert!(balancer.wish.droplet_ids.as_mut().unwrap().pop_first().is_some())
                });
            }),
            ("a port is another", |rig| {
                rig.any(|balancer| balancer.wish.forwarding_rules[0].entry_port = 81)
            }),
            ("clients are kept out", |rig| {
                rig.any(|balancer| balancer.wish.firewall.deny.push("cidr:0.0.0.0/0".into()));
            }),
        ]
    }
}

penstock_tests::provider_contract!(DigitalOceanRig);
