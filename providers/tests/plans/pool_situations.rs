//! The plans of the provider `pool` in named situations; how to accept a change stands in `webhook_situations`.

use std::{
    collections::BTreeMap,
    pin::pin,
    task::{Context, Poll, Waker},
};

use penstock_model::{Family, ObjectKey, Protocol, TrafficPolicy};
use penstock_providers::{
    AnyProvider, Desired, FamilyNeed, Frontend, Owner, Request, Selection, Sharing,
    pool::{Pinning, Pool, PoolProvider},
};

use crate::{endpoint_model::ip, situation::situation};

/// Pools by name, and what Services hold, in this order.
struct Scene {
    provider: PoolProvider,
}

fn pool(addresses: &[&str]) -> Pool {
    let ranges = addresses.iter().map(|text| text.parse().unwrap()).collect();
    Pool { ranges, auto_assign: true, avoid_buggy_ips: false, pinning: None }
}

impl Scene {
    fn new(pools: &[(&str, Pool)]) -> Self {
        let scene = Self { provider: PoolProvider::default() };
        scene.edit(pools);
        scene
    }

    /// 203.0.113.200 and .201 in the pool `segment`.
    fn segment() -> Self {
        Self::new(&[("segment", pool(&["203.0.113.200/31"]))])
    }

    fn edit(&self, pools: &[(&str, Pool)]) {
        self.provider
            .configure(&pools.iter().map(|(name, pool)| ((*name).to_owned(), Ok(pool.clone()))).collect());
    }

    /// As carried out earlier, and reported.
    fn with(self, name: &str, wanted: &Desired) -> Self {
        let (owner, any): (Owner, &dyn AnyProvider) = (owner(name), &self.provider);
        let plan = any.plan(&owner, Some(wanted), &now(any.observe(&owner)).unwrap()).unwrap();
        plan.steps.iter().for_each(|step| now(any.apply(&owner, step, None)).unwrap());
        self.provider.reported(&owner.service);
        self
    }

    /// What follows for the Service `web`.
    fn plan(&self, name: &str, wanted: Option<&Desired>) -> String {
        let (owner, any): (Owner, &dyn AnyProvider) = (owner("web"), &self.provider);
        situation(name, any.plan(&owner, wanted, &now(any.observe(&owner)).unwrap()))
    }
}

fn owner(name: &str) -> Owner {
    Owner { service: ObjectKey::new("shop", name), uid: format!("uid-of-{name}") }
}

/// The provider waits for nothing.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

fn families(families: &[(Family, bool)]) -> Desired {
    let need = |(family, required): &(Family, bool)| FamilyNeed { family: *family, required: *required };
    Desired { families: families.iter().map(need).collect(), ..ports(&[80]) }
}

fn ports(ports: &[u16]) -> Desired {
    let frontend = |port: &u16| Frontend { protocol: Protocol::Tcp, port: *port, node_port: None };
    let families = vec![FamilyNeed { family: Family::IPv4, required: true }];
    let selection = Selection { namespace: "shop".to_owned(), ..Selection::default() };
    Desired { families, frontends: ports.iter().map(frontend).collect(), selection, ..Desired::default() }
}

fn one() -> Desired {
    ports(&[80])
}

fn asks(text: &str) -> Desired {
    Desired { request: Request { addresses: vec![ip(text)], ..Request::default() }, ..one() }
}

fn shares(key: &str, list: &[u16]) -> Desired {
    let selector = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
    let sharing = Sharing { key: key.to_owned(), traffic_policy: TrafficPolicy::Cluster, selector };
    Desired { sharing: Some(sharing), ..ports(list) }
}

fn edited(scene: &Scene, pools: &[(&str, Pool)], name: &str) -> String {
    scene.edit(pools);
    scene.plan(name, Some(&one()))
}

#[test]
fn every_situation_has_the_plan_that_was_reviewed() {
    let text = [beginning_and_end(), wishes(), pools(), dual_stack(), sharing()].concat();
    insta::assert_snapshot!("pool", text.join("\n"));
}

fn beginning_and_end() -> Vec<String> {
    let held = Scene::segment().with("web", &one());
    vec![
        Scene::segment().plan("create", Some(&one())),
        Scene::segment().with("other", &one()).plan("create: the lowest is taken", Some(&one())),
        Scene::segment().with("a", &one()).with("b", &one()).plan("create: all are taken", Some(&one())),
        Scene::new(&[]).plan("create: no pool", Some(&one())),
        held.plan("no change", Some(&one())),
        held.plan("port added", Some(&ports(&[80, 443]))),
        Scene::segment().with("web", &ports(&[80, 443])).plan("port removed", Some(&one())),
        held.plan(
            "source ranges changed",
            Some(&Desired { source_ranges: vec!["198.51.100.0/24".parse().unwrap()], ..one() }),
        ),
        held.plan(
            "policy Cluster to Local",
            Some(&Desired { traffic_policy: TrafficPolicy::Local, ..one() }),
        ),
        held.plan("delete", None),
        Scene::segment().plan("delete: nothing is there", None),
    ]
}

fn wishes() -> Vec<String> {
    let held = Scene::segment().with("web", &one());
    let crowded = Scene::segment().with("web", &one()).with("other", &one());
    let named = |name: &str| Desired {
        request: Request { pool: Some(name.to_owned()), ..Request::default() },
        ..one()
    };
    let two = Scene::new(&[("gold", pool(&["203.0.113.210/32"])), ("segment", pool(&["203.0.113.200/32"]))]);
    let two = two.with("gold", &one()).with("web", &one());
    vec![
        held.plan("address asked for: a free one", Some(&asks("203.0.113.201"))),
        held.plan("address asked for: the one it has", Some(&asks("203.0.113.200"))),
        crowded.plan("address asked for: another's", Some(&asks("203.0.113.201"))),
        held.plan("address asked for: in no pool", Some(&asks("198.51.100.1"))),
        held.plan("address asked for: of another family", Some(&asks("2001:db8:113::1"))),
        two.plan("pool asked for: all of it taken", Some(&named("gold"))),
        two.plan("pool asked for: unknown", Some(&named("silver"))),
    ]
}

fn pools() -> Vec<String> {
    let held = || Scene::segment().with("web", &one());
    let pinned = Pool {
        pinning: Some(Pinning { priority: 1, namespaces: ["bank".to_owned()].into(), ..Pinning::default() }),
        ..pool(&["203.0.113.200/31"])
    };
    let renamed = [("renamed", pool(&["203.0.113.200/31"]))];
    vec![
        edited(&held(), &[("segment", pool(&["203.0.113.201/32"]))], "pool shrinks: its address is gone"),
        edited(&held(), &[("segment", pool(&["203.0.113.200/30"]))], "pool grows"),
        edited(&held(), &[], "pool gone: the last one"),
        edited(&held(), &[("other", pool(&["198.51.100.0/31"]))], "pool gone: there is another"),
        edited(&held(), &renamed, "pool renamed"),
        edited(&held(), &[("segment", pinned.clone())], "pool pinned to another namespace"),
        Scene::new(&[("segment", pinned)]).plan("create: no pool admits it", Some(&one())),
    ]
}

fn dual_stack() -> Vec<String> {
    use Family::{IPv4, IPv6};
    let both = || Scene::new(&[("segment", pool(&["203.0.113.200/31", "2001:db8:113::200/127"]))]);
    let (prefer, require) = ([(IPv4, true), (IPv6, false)], [(IPv4, true), (IPv6, true)]);
    let (single, dual) = (both().with("web", &one()), both().with("web", &families(&require)));
    let four = Scene::segment().with("web", &one());
    vec![
        both().plan("create: two families", Some(&families(&require))),
        single.plan("family added", Some(&families(&require))),
        dual.plan("family removed", Some(&one())),
        dual.plan("families in another order", Some(&families(&[(IPv6, true), (IPv4, true)]))),
        four.plan("family added that can be missing: there is none", Some(&families(&prefer))),
        four.plan("family added that is required: there is none", Some(&families(&require))),
    ]
}

fn sharing() -> Vec<String> {
    let shared = || Scene::segment().with("a", &shares("k", &[80])).with("web", &shares("k", &[443]));
    let asks = |list: &[u16]| Desired { request: asks("203.0.113.200").request, ..shares("k", list) };
    vec![
        Scene::segment().with("a", &shares("k", &[80])).plan("create: joins", Some(&shares("k", &[443]))),
        Scene::segment()
            .with("a", &shares("k", &[80]))
            .plan("create: a port clashes", Some(&shares("k", &[80]))),
        Scene::segment().with("a", &shares("k", &[80])).plan("asks: a port clashes", Some(&asks(&[80]))),
        Scene::segment().with("a", &shares("x", &[80])).plan("asks: another key", Some(&asks(&[443]))),
        shared().plan("no change: shared", Some(&shares("k", &[443]))),
        shared().plan("shared: a port more", Some(&shares("k", &[443, 8443]))),
        shared().plan("shared: a port that clashes", Some(&shares("k", &[80]))),
        shared().plan("shared: the key goes", Some(&ports(&[443]))),
        shared().plan("shared: delete", None),
    ]
}
