//! The provider `pool`. It calls nothing, so that it is its own double: all providers here are one allocator, as all
//! Services of an operator see one. What a new process takes over from statuses is in `pool_services.rs`.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Result;
use futures::FutureExt;
use penstock_model::{Family, Protocol, TrafficPolicy};
use penstock_providers::{
    Built, Capabilities, Certificate, Desired, FamilyNeed, Frontend, Owner, Plan, Provider, ProviderError,
    Request, Sharing, Step,
    pool::{Action, Observed, Pool, PoolProvider, Verdicts},
};
use penstock_tests::provider_contract::{Call, Case, Rig, Thing};

#[derive(Clone, Debug, Default)]
struct SharedPool(Arc<PoolProvider>);

impl Provider for SharedPool {
    type Action = Action;
    type Observed = Observed;

    fn capabilities(&self) -> Capabilities {
        Provider::capabilities(self.0.as_ref())
    }

    async fn observe(&self, owner: &Owner) -> Result<Observed, ProviderError> {
        Provider::observe(self.0.as_ref(), owner).await
    }

    fn plan(
        &self,
        owner: &Owner,
        desired: Option<&Desired>,
        observed: &Observed,
    ) -> Result<Plan<Action>, ProviderError> {
        Provider::plan(self.0.as_ref(), owner, desired, observed)
    }

    async fn apply(
        &self,
        owner: &Owner,
        step: &Step<Action>,
        certificate: Option<&Certificate>,
    ) -> Result<(), ProviderError> {
        Provider::apply(self.0.as_ref(), owner, step, certificate).await
    }

    fn built(&self, observed: &Observed) -> Built {
        Provider::built(self.0.as_ref(), observed)
    }
}

fn desired() -> Desired {
    Desired {
        families: vec![FamilyNeed { family: Family::IPv4, required: true }],
        frontends: vec![Frontend { protocol: Protocol::Tcp, port: 80, node_port: None }],
        ..Desired::default()
    }
}

impl SharedPool {
    fn set_pools(&self, ranges: &[&str]) {
        let ranges = ranges.iter().map(|text| text.parse().unwrap()).collect();
        let pool = Pool { ranges, auto_assign: true, avoid_buggy_ips: false, pinning: None };
        self.0.configure(&Verdicts::from([("front".to_owned(), Ok(pool))]));
    }
}

impl Rig for SharedPool {
    type Provider = Self;
    const REMEMBERS: bool = true;

    fn except(case: Case) -> Option<&'static str> {
        match case {
            Case::Adopt => {
                Some("it takes over what statuses of Services say, and there is nothing else to take")
            }
            Case::NotOwned => Some("an address carries no owner: one that another Service holds is refused"),
            Case::Credentials => Some("it has no credentials"),
            Case::Drift => Some("nothing exists outside, and its status is put back by the operator"),
            Case::Throttle | Case::Ambiguous | Case::Partial => Some("it makes no call"),
            Case::Crash => Some("a plan is one step within the process; the Service's status is the record"),
            _ => None,
        }
    }

    async fn start() -> Result<Self> {
        let shared = Self::default();
        shared.set_pools(&["203.0.113.0/29", "2001:db8::/125"]);
        Ok(shared)
    }

    async fn provider(&self) -> Self {
        self.clone()
    }

    fn standing(&self) -> Vec<Thing> {
        let mut standing = Vec::new();
        for service in self.0.holders() {
            let uid = service.name.trim_start_matches("web-").to_owned();
            let owner = Owner { service, uid: uid.clone() };
            let observed = self.observe(&owner).now_or_never().unwrap().unwrap();
            let addresses = Provider::built(self, &observed).addresses;
            let thing =
                |ip| Thing { what: format!("{:?} address", Family::of(ip)), owner: Some(uid.clone()) };
            standing.extend(addresses.into_iter().map(thing));
        }
        standing
    }

    fn calls(&self) -> Vec<Call> {
        Vec::new()
    }

    fn life() -> Vec<(&'static str, Desired)> {
        let both = [Family::IPv4, Family::IPv6].map(|family| FamilyNeed { family, required: true });
        let dual = Desired { families: both.to_vec(), ..desired() };
        let addresses = vec!["203.0.113.5".parse().unwrap()];
        let asks = Desired { request: Request { addresses, ..Request::default() }, ..desired() };
        let sharing = Sharing {
            key: "together".into(),
            traffic_policy: TrafficPolicy::Cluster,
            selector: BTreeMap::new(),
        };
        let shares = Desired { sharing: Some(sharing), ..asks.clone() };
        vec![
            ("nothing yet", desired()),
            ("another family", dual),
            ("a certain address", asks),
            ("leave to share it", shares),
        ]
    }

    fn unsupported() -> Vec<(&'static str, Desired)> {
        let addresses = vec!["198.51.100.1".parse().unwrap()];
        let pool = Some("none".to_owned());
        vec![
            ("no pool's", Desired { request: Request { addresses, ..Request::default() }, ..desired() }),
            ("unknown pool", Desired { request: Request { pool, ..Request::default() }, ..desired() }),
        ]
    }

    fn exhaust(&self, exhausted: bool) {
        let first: &[&str] =
            if exhausted { &["2001:db8::/125"] } else { &["203.0.113.0/29", "2001:db8::/125"] };
        self.set_pools(first);
    }
}

penstock_tests::provider_contract!(SharedPool);
