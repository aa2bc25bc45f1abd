//! The provider `aws` against the endpoint that stands for AWS.

use anyhow::Result;
use penstock_crds::{AWS_ADOPT, AWS_PREFIX, AwsParameters};
use penstock_model::{Family, Protocol};
use penstock_providers::{
    Desired, EndpointTarget, FamilyNeed, Frontend, Owner, Target,
    aws::{AwsAccount, AwsProvider, StaticCredentials},
};
use penstock_tests::{
    aws_endpoint::{ACCESS_KEY, AwsEndpoint, Fault, REGION, Tags, VPC, is_reading},
    certificate::certificates,
    provider_contract::{Call, Damages, Foreign, Rig, Thing, Trouble, Which, owner, settle},
};

struct AwsRig(AwsEndpoint);

const UID: &str = "penstock.dev/service-uid";
const GROUP: &str = "target group under our name";
const BALANCER: &str = "balancer under our name";

fn port(protocol: Protocol, port: u16, node_port: u16) -> Frontend {
    Frontend { protocol, port, node_port: Some(node_port) }
}

fn node(number: u8) -> Target {
    let id = format!("i-0123456789abcde{number:02x}");
    Target { node: id.clone(), provider_id: Some(format!("aws:///{REGION}a/{id}")), addresses: vec![] }
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
    desired.options.insert(format!("{AWS_PREFIX}{key}"), value.into());
}

fn asking(key: &str, value: &str) -> Desired {
    let mut wanted = desired();
    asks(&mut wanted, key, value);
    wanted
}

impl AwsRig {
    async fn provider_of(&self, access_key: &str, secret: &str, allow_adoption: bool) -> AwsProvider {
        let parameters = AwsParameters {
            region: REGION.into(),
            vpc_id: VPC.into(),
            cluster_name: "blue".into(),
            internal_subnets: vec!["subnet-a".into(), "subnet-b".into()],
            public_subnets: vec!["subnet-b".into(), "subnet-c".into()],
            endpoint_url: Some(self.0.url()),
            allow_adoption,
            ..AwsParameters::default()
        };
        let credentials = StaticCredentials {
            access_key_id: access_key.into(),
            secret_access_key: secret.into(),
            session_token: None,
        };
        AwsProvider::new(&parameters, &AwsAccount::without_limits(&parameters, Some(credentials)).await)
    }

    /// What the donor has becomes a balancer without anything around it, with these tags; returns its ARN.
    fn bare_balancer(&self, tags: Tags) -> String {
        let mut store = self.0.store();
        store.listeners.clear();
        store.target_groups.clear();
        let (arn, balancer) = store.load_balancers.iter_mut().next().unwrap();
        balancer.tags = tags;
        arn.clone()
    }
}

fn others() -> Tags {
    [(UID.to_owned(), "another".to_owned())].into()
}

impl Rig for AwsRig {
    type Provider = AwsProvider;
    const REMEMBERS: bool = true;

    async fn start() -> Result<Self> {
        Ok(Self(AwsEndpoint::start().await?))
    }

    async fn provider(&self) -> AwsProvider {
        self.provider_of(ACCESS_KEY, "secret", true).await
    }

    async fn without_adoption(&self) -> Result<AwsProvider> {
        Ok(self.provider_of(ACCESS_KEY, "secret", false).await)
    }

    async fn intruder(&self) -> Result<(AwsProvider, &'static str)> {
        let secret = "s3cret-of-nobody";
        Ok((self.provider_of("AKIAPENSTOCKTEST0002", secret, true).await, secret))
    }

    fn standing(&self) -> Vec<Thing> {
        let store = self.0.store();
        let thing = |what: String, tags: &Tags| Thing { what, owner: tags.get(UID).cloned() };
        let listeners = |arn: &str| {
            let of = store.listeners.values().filter(|listener| listener.load_balancer == arn);
            let mut ports: Vec<u16> = of.map(|listener| listener.wish.port).collect();
            ports.sort_unstable();
            ports
        };
        let balancers = store.load_balancers.iter();
        let balancers = balancers.map(|(arn, b)| thing(format!("balancer {:?}", listeners(arn)), &b.tags));
        let targets = |g: &penstock_tests::aws_endpoint::TargetGroup| {
            let live = g.targets.iter().filter(|(_, target)| target.deregistered.is_none());
            live.map(|(key, _)| format!("{key:?}")).collect::<Vec<_>>()
        };
        let groups = store.target_groups.values();
        let groups = groups.map(|g| thing(format!("target group of {:?}", targets(g)), &g.tags));
        let imported = store.certificates.values();
        let imported = imported.map(|c| thing(format!("certificate, imported {}", c.pem), &c.tags));
        balancers.chain(groups).chain(imported).collect()
    }

    fn calls(&self) -> Vec<Call> {
        let store = self.0.store();
        let names = store.log.calls.iter().map(|call| call.action.clone());
        names.map(|name| Call { changes: !is_reading(&name), name }).collect()
    }

    fn life() -> Vec<(&'static str, Desired)> {
        let nodes = Desired { targets: vec![node(2), node(3)], ..desired() };
        let mut ports = nodes.clone();
        ports.frontends.push(port(Protocol::Udp, 53, 30053));
        asks(&mut ports, "cross-zone-load-balancing-enabled", "true");
        asks(&mut ports, "target-group-attributes", "deregistration_delay.timeout_seconds=30");
        asks(&mut ports, "additional-resource-tags", "team=shop");
        asks(&mut ports, "listener-attributes.TCP-80", "tcp.idle_timeout.seconds=60");
        let mut moved = ports.clone();
        moved.frontends[0].node_port = Some(30090);
        asks(&mut moved, "healthcheck-interval", "30");
        asks(&mut moved, "subnets", "subnet-a,subnet-b,subnet-c");
        moved.options.remove(&format!("{AWS_PREFIX}cross-zone-load-balancing-enabled"));
        let mut ending_tls = Desired { certificate: Some(certificates()[0].clone()), ..moved.clone() };
        // AWS has none of listeners with TLS.
        ending_tls.options.remove(&format!("{AWS_PREFIX}listener-attributes.TCP-80"));
        let rotated = Desired { certificate: Some(certificates()[1].clone()), ..ending_tls.clone() };
        let mut replaced = rotated.clone();
        replaced.frontends.truncate(1);
        replaced.options.remove(&format!("{AWS_PREFIX}subnets"));
        asks(&mut replaced, "scheme", "internet-facing");
        asks(&mut replaced, "nlb-target-type", "ip");
        let address = "10.0.0.10".parse().unwrap();
        replaced.endpoints =
            Some(vec![EndpointTarget { protocol: Protocol::Tcp, port: 80, address, target_port: 8080 }]);
        vec![
            ("nothing yet", desired()),
            ("other nodes", nodes),
            ("another port, attributes and tags", ports),
            ("another NodePort, health check and subnets", moved),
            ("TLS of a Secret", ending_tls),
            ("the Secret is rotated", rotated),
            ("another scheme, a port less, endpoints instead of nodes", replaced.clone()),
            ("no TLS any longer", Desired { certificate: None, ..replaced }),
        ]
    }

    fn unsupported() -> Vec<(&'static str, Desired)> {
        vec![
            ("SCTP", Desired { frontends: vec![port(Protocol::Sctp, 80, 30080)], ..desired() }),
            ("an unknown annotation", asking("shceme", "internal")),
            ("a malformed annotation", asking("healthcheck-interval", "soon")),
            ("elastic addresses of an internal balancer", asking("eip-allocations", "eipalloc-1,eipalloc-2")),
        ]
    }

    fn go_wrong(&self, nth: usize, which: Which, trouble: Trouble) {
        let fault = match trouble {
            Trouble::Lost => Fault::DroppedBefore,
            Trouble::LostAfter => Fault::DroppedAfter,
            Trouble::Unavailable => Fault::Refused(500, "InternalFailure".into()),
            Trouble::UnavailableAfter => Fault::Committed(503, "ServiceUnavailable".into()),
            Trouble::Throttled => Fault::throttled(),
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
        self.0.store().settings.limits.load_balancers = if exhausted { 0 } else { 50 };
    }

    fn foreign_kinds() -> &'static [&'static str] {
        &[BALANCER, GROUP]
    }

    /// AWS answers the creation of what exists with it, so that the tags are all that tells.
    async fn put_foreign(&self, kind: &str, owner: &Owner) -> Result<()> {
        settle(&self.provider().await, owner, Some(&desired())).await?;
        if kind == BALANCER {
            self.bare_balancer(others());
            return Ok(());
        }
        let mut store = self.0.store();
        store.listeners.clear();
        store.load_balancers.clear();
        let group = store.target_groups.values_mut().next().unwrap();
        group.targets.clear();
        group.tags = others();
        Ok(())
    }

    async fn adoptable(&self, whose: Foreign) -> Result<Desired> {
        settle(&self.provider().await, &owner("donor"), Some(&desired())).await?;
        let arn = self.bare_balancer(if whose == Foreign::Others { others() } else { Tags::new() });
        let mut wanted = desired();
        wanted.options.insert(AWS_ADOPT.to_owned(), arn);
        Ok(wanted)
    }

    fn damages() -> Damages<Self> {
        vec![
            ("the balancer is gone", |rig| {
                let mut store = rig.0.store();
                store.listeners.clear();
                store.load_balancers.clear();
            }),
            ("the listener is gone", |rig| rig.0.store().listeners.clear()),
            ("a target is gone", |rig| {
                let mut store = rig.0.store();
                store.target_groups.values_mut().next().unwrap().targets.pop_first();
            }),
        ]
    }
}

penstock_tests::provider_contract!(AwsRig);
