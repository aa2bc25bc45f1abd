//! What users do, in twelve stories, besides those with balancers outside. Each has one end state, whatever goes wrong on the way.

use anyhow::Result;
use futures::future::{BoxFuture, FutureExt};
use serde_json::json;

use crate::{cloud::Kind, cloud_stories, end_state::Addresses, outside, user::User};

/// What a story has outside the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outside {
    /// An appliance, and how many looks find unfinished what it was asked for.
    Appliance(u32),
    /// An account of a cloud.
    Cloud(Kind),
}

/// A story.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// Whether the class and the pools are there, and accepted, before the counting of calls begins.
    pub(crate) prepared: bool,
    /// The pools that are there.
    pub(crate) pools: &'static [(&'static str, &'static [&'static str])],
    /// Whether every Service has the same address in every run.
    pub(crate) addresses: Addresses,
    /// What is outside the cluster.
    pub(crate) outside: Option<Outside>,
    steps: fn(&User) -> BoxFuture<'_, Result<()>>,
}

impl Scenario {
    pub(crate) const fn new(name: &'static str, steps: fn(&User) -> BoxFuture<'_, Result<()>>) -> Self {
        const POOLS: &[(&str, &[&str])] = &[("pool", &["203.0.113.200/30"])];
        Self { name, prepared: true, pools: POOLS, addresses: Addresses::Exact, outside: None, steps }
    }

    const fn pools(mut self, pools: &'static [(&'static str, &'static [&'static str])]) -> Self {
        self.pools = pools;
        self
    }

    pub(crate) const fn outside(mut self, unfinished: u32) -> Self {
        self.outside = Some(Outside::Appliance(unfinished));
        self
    }

    pub(crate) const fn cloud(mut self, kind: Kind) -> Self {
        self.outside = Some(Outside::Cloud(kind));
        self
    }

    /// Its addresses are others each time.
    pub(crate) const fn with_any_addresses(mut self) -> Self {
        self.addresses = Addresses::Shape;
        self
    }

    /// Does what the user does; returns once the last effect is there.
    pub(crate) async fn play(&self, user: &User) -> Result<()> {
        (self.steps)(user).await
    }
}

/// All of them.
pub(crate) fn all() -> Vec<Scenario> {
    const ONE: &[(&str, &[&str])] = &[("pool", &["203.0.113.200/32"])];
    const DUAL: &[(&str, &[&str])] = &[("pool", &["203.0.113.200/30", "2001:db8:113::200/126"])];
    const BURST: &[(&str, &[&str])] = &[("pool", &["203.0.113.200/29"])];
    let mut all = vec![
        Scenario {
            prepared: false,
            pools: &[],
            ..Scenario::new("from-nothing", |user| from_nothing(user).boxed())
        },
        Scenario::new("create-delete", |user| create_delete(user).boxed()),
        Scenario::new("type-flip", |user| type_flip(user).boxed()),
        Scenario::new("class-change", |user| class_change(user).boxed()),
        Scenario::new("requested-address", |user| requested_address(user).boxed()),
        Scenario::new("pool-edit", |user| pool_edit(user).boxed()),
        Scenario::new("exhaustion", |user| exhaustion(user).boxed()).pools(ONE),
        Scenario::new("dual-stack", |user| dual_stack(user).boxed()).pools(DUAL),
        Scenario {
            addresses: Addresses::AsSet,
            ..Scenario::new("shared-burst", |user| shared_burst(user).boxed()).pools(BURST)
        },
        Scenario::new("same-name", |user| same_name(user).boxed()),
        Scenario::new("class-life", |user| class_life(user).boxed()),
        Scenario::new("foreign-hand", |user| foreign_hand(user).boxed()),
    ];
    all.extend(outside::all());
    all.extend(cloud_stories::all());
    all
}

async fn from_nothing(user: &User) -> Result<()> {
    user.create("a", json!({"loadBalancerClass": null})).await?;
    user.create_class(user.class, true).await?;
    user.waits("a", "NoPool").await?;
    user.create_pool("pool", &["203.0.113.200/30"]).await?;
    user.has("a", &["203.0.113.200"]).await
}

async fn create_delete(user: &User) -> Result<()> {
    user.create("a", json!({})).await?;
    user.has_some("a", 1).await?;
    user.delete("a").await?;
    user.gone("a").await?;
    // It had its reason only if somebody else gets the address.
    user.create("b", json!({})).await?;
    user.has_some("b", 1).await
}

async fn type_flip(user: &User) -> Result<()> {
    user.create("a", json!({})).await?;
    user.has_some("a", 1).await?;
    user.change("a", json!({"spec": {"type": "ClusterIP"}})).await?;
    user.clean("a").await?;
    user.change("a", ours(user)).await?;
    user.has_some("a", 1).await
}

/// The class of a Service cannot be changed: it goes by way of another type.
async fn class_change(user: &User) -> Result<()> {
    user.create("a", json!({})).await?;
    user.has_some("a", 1).await?;
    user.change("a", json!({"spec": {"type": "ClusterIP"}})).await?;
    let foreign = json!({"spec": {"type": "LoadBalancer", "loadBalancerClass": "other.example/class"}});
    user.change("a", foreign).await?;
    user.clean("a").await?;
    user.change("a", json!({"spec": {"type": "ClusterIP"}})).await?;
    user.change("a", ours(user)).await?;
    user.has_some("a", 1).await
}

async fn requested_address(user: &User) -> Result<()> {
    user.create("a", json!({"loadBalancerIP": "203.0.113.202"})).await?;
    user.has("a", &["203.0.113.202"]).await?;
    user.change("a", json!({"spec": {"loadBalancerIP": "198.51.100.1"}})).await?;
    user.waits("a", "RequestRefused").await?;
    user.change("a", json!({"spec": {"loadBalancerIP": "203.0.113.203"}})).await?;
    user.has("a", &["203.0.113.203"]).await
}

async fn pool_edit(user: &User) -> Result<()> {
    user.create("a", json!({})).await?;
    user.has("a", &["203.0.113.200"]).await?;
    user.edit_pool("pool", &["203.0.113.210/32"]).await?;
    user.has("a", &["203.0.113.210"]).await?;
    user.create("b", json!({})).await?;
    user.waits("b", "Exhausted").await?;
    user.edit_pool("pool", &["203.0.113.210/31"]).await?;
    user.has("b", &["203.0.113.211"]).await
}

async fn exhaustion(user: &User) -> Result<()> {
    user.create("a", json!({})).await?;
    user.has("a", &["203.0.113.200"]).await?;
    user.create("b", json!({})).await?;
    user.waits("b", "Exhausted").await?;
    user.delete("a").await?;
    user.has("b", &["203.0.113.200"]).await
}

async fn dual_stack(user: &User) -> Result<()> {
    user.create("a", json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]})).await?;
    user.has_some("a", 1).await?;
    user.change("a", json!({"spec": {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"]}}))
        .await?;
    user.has_some("a", 2).await
}

async fn shared_burst(user: &User) -> Result<()> {
    for (name, port) in [("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5)] {
        let spec = json!({
            "ports": [{"port": port}],
            "loadBalancerClass": format!("{}/{}", penstock_crds::GROUP, user.class)
        });
        let sharing = json!({"metallb.io/allow-shared-ip": "burst"});
        user.create_object(&crate::user::service(name, &sharing, spec)?).await?;
    }
    for name in ["a", "b", "c", "d", "e"] {
        user.has_some(name, 1).await?;
    }
    Ok(())
}

async fn same_name(user: &User) -> Result<()> {
    user.create("a", json!({})).await?;
    user.has_some("a", 1).await?;
    user.delete("a").await?;
    user.create_once_free("a", &json!({"ports": [{"port": 81}]})).await?;
    user.has_some("a", 1).await
}

async fn class_life(user: &User) -> Result<()> {
    user.create("a", json!({"loadBalancerClass": "penstock.dev/late"})).await?;
    user.waits("a", "NoClass").await?;
    user.create_class("late", false).await?;
    user.has_some("a", 1).await?;
    user.delete_class("late").await?;
    user.waits("a", "NoClass").await
}

async fn foreign_hand(user: &User) -> Result<()> {
    user.create("a", json!({})).await?;
    user.has("a", &["203.0.113.200"]).await?;
    user.overwrite_status("a", "203.0.113.9").await?;
    user.has("a", &["203.0.113.200"]).await?;
    user.change("a", json!({"metadata": {"finalizers": null}})).await?;
    user.eventually("a", crate::user::is_marked).await
}

/// The patch that gives a Service our class.
pub(crate) fn ours(user: &User) -> serde_json::Value {
    let class = format!("{}/{}", penstock_crds::GROUP, user.class);
    json!({"spec": {"type": "LoadBalancer", "loadBalancerClass": class}})
}
