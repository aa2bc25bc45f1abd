//! The provider `webhook` against an endpoint that keeps the contract strictly.

use anyhow::Result;
use penstock_crds::WebhookParameters;
use penstock_model::{Family, Protocol};
use penstock_providers::{
    Desired, FamilyNeed, Frontend, Owner, Request, Target,
    webhook::{Timeouts, WebhookProvider},
};
use penstock_tests::{
    provider_contract::{Call, Case, Damages, Rig, Thing, Trouble, Which, settle},
    webhook_endpoint::{Fault, WebhookEndpoint},
};

struct WebhookRig(WebhookEndpoint);

const TOKEN: &str = "right-token";

fn node(name: &str) -> Target {
    let addresses = vec!["198.51.100.1".parse().unwrap()];
    Target { node: name.into(), provider_id: Some(format!("lab://{name}")), addresses }
}

fn port(protocol: Protocol, port: u16, node_port: u16) -> Frontend {
    Frontend { protocol, port, node_port: Some(node_port) }
}

fn desired() -> Desired {
    Desired {
        families: vec![FamilyNeed { family: Family::IPv4, required: true }],
        frontends: vec![port(Protocol::Tcp, 80, 30080)],
        targets: vec![node("a"), node("b")],
        ..Desired::default()
    }
}

impl WebhookRig {
    fn provider_of(&self, token: &str) -> WebhookProvider {
        let parameters = WebhookParameters { url: self.0.url(), token_secret: None };
        WebhookProvider::with_timeouts(&parameters, Some(token.to_owned()), Timeouts::default()).unwrap()
    }
}

impl Rig for WebhookRig {
    type Provider = WebhookProvider;
    const REMEMBERS: bool = false;

    fn except(case: Case) -> Option<&'static str> {
        let reason = "a balancer's id is the UID of its Service, so that none is there to be taken";
        (case == Case::Adopt).then_some(reason)
    }

    async fn start() -> Result<Self> {
        let endpoint = WebhookEndpoint::start().await?;
        endpoint.store().token = Some(TOKEN.into());
        Ok(Self(endpoint))
    }

    async fn provider(&self) -> WebhookProvider {
        self.provider_of(TOKEN)
    }

    fn standing(&self) -> Vec<Thing> {
        let store = self.0.store();
        let all = store.balancers.values();
        // Under our UID, and yet another's.
        let whose =
            |name: &str, uid: &str| if name == format!("web-{uid}") { uid } else { "another" }.to_owned();
        all.map(|b| Thing {
            what: format!("balancer {:?} {:?}", b.spec, b.targets),
            owner: Some(whose(&b.owner.name, &b.owner.uid)),
        })
        .collect()
    }

    fn calls(&self) -> Vec<Call> {
        let store = self.0.store();
        let call = |c: &penstock_tests::webhook_endpoint::Call| Call {
            name: format!("{} {} {}", c.method, c.path, c.status),
            changes: c.method != "GET",
        };
        store.calls.iter().map(call).collect()
    }

    fn life() -> Vec<(&'static str, Desired)> {
        let nodes = Desired { targets: vec![node("b"), node("c")], ..desired() };
        let mut ports = nodes.clone();
        ports.frontends.push(port(Protocol::Udp, 53, 30053));
        ports.affinity_seconds = Some(600);
        let moved = Desired { frontends: vec![port(Protocol::Tcp, 80, 30090)], ..ports.clone() };
        let closed = Desired { source_ranges: vec!["198.51.100.0/24".parse().unwrap()], ..moved.clone() };
        let addresses = vec!["203.0.113.9".parse().unwrap()];
        let asks = Desired { request: Request { addresses, ..Request::default() }, ..closed.clone() };
        vec![
            ("nothing yet", desired()),
            ("other nodes", nodes),
            ("another port", ports),
            ("another NodePort, and a port less", moved),
            ("source ranges", closed),
            ("another address", asks),
        ]
    }

    fn unsupported() -> Vec<(&'static str, Desired)> {
        let pool = Some("front".to_owned());
        let bare = Frontend { protocol: Protocol::Tcp, port: 80, node_port: None };
        vec![
            ("a pool", Desired { request: Request { pool, ..Request::default() }, ..desired() }),
            ("no NodePort", Desired { frontends: vec![bare], ..desired() }),
        ]
    }

    fn go_wrong(&self, nth: usize, which: Which, trouble: Trouble) {
        let fault = match trouble {
            Trouble::Lost => Fault::BrokenBefore,
            Trouble::LostAfter => Fault::BrokenAfter,
            Trouble::Unavailable => Fault::Status(503),
            Trouble::UnavailableAfter => Fault::StatusAfter(503),
            Trouble::Throttled => Fault::Status(429),
        };
        match which {
            Which::Any => self.0.store().fail(nth - 1, fault),
            Which::Changes => self.0.store().change_fault = Some((nth, fault)),
        }
    }

    fn is_trouble_ahead(&self) -> bool {
        let store = self.0.store();
        !store.faults.is_empty() || store.change_fault.is_some()
    }

    fn exhaust(&self, exhausted: bool) {
        self.0.store().quota = exhausted.then_some(0);
    }

    fn foreign_kinds() -> &'static [&'static str] {
        &["balancer under our UID"]
    }

    async fn put_foreign(&self, _kind: &str, owner: &Owner) -> Result<()> {
        settle(&self.provider().await, owner, Some(&desired())).await?;
        self.0.store().balancers.get_mut(&owner.uid).unwrap().owner.name = "stranger".into();
        Ok(())
    }

    async fn intruder(&self) -> Result<(WebhookProvider, &'static str)> {
        let secret = "wrong-token";
        Ok((self.provider_of(secret), secret))
    }

    fn damages() -> Damages<Self> {
        vec![
            ("the balancer is gone", |rig| rig.0.store().balancers.clear()),
            ("a node is gone", |rig| {
                drop(rig.0.store().balancers.get_mut("u1").unwrap().targets.pop());
            }),
            ("a port is another", |rig| {
                rig.0.store().balancers.get_mut("u1").unwrap().spec.frontends[0].port = 81;
            }),
        ]
    }
}

penstock_tests::provider_contract!(WebhookRig);
