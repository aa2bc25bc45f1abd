//! What users do with balancers outside the cluster, in five stories.

use anyhow::Result;
use futures::future::FutureExt;
use serde_json::json;

use crate::{
    appliance::{CLASS, NODES, create_node},
    scenario::{Scenario, ours},
    user::User,
};

/// The port of a Service that says nothing of it, and another.
const PORTS: [u16; 2] = [80, 81];

/// All of them.
pub(crate) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new("outside-create", |user| create_delete(user).boxed()).outside(0),
        Scenario::new("outside-change", |user| change(user).boxed()).outside(0),
        Scenario::new("outside-type-flip", |user| type_flip(user).boxed()).outside(0),
        Scenario::new("outside-class-change", |user| class_change(user).boxed()).outside(0),
        Scenario::new("outside-slow", |user| slow(user).boxed()).outside(2),
    ]
}

/// A Service that the appliance serves.
async fn served(user: &User) -> Result<()> {
    user.create("a", json!({"loadBalancerClass": name()})).await?;
    user.has_some("a", 1).await?;
    user.appliance.serves(user, &PORTS[..1], &NODES).await
}

async fn create_delete(user: &User) -> Result<()> {
    served(user).await?;
    user.delete("a").await?;
    user.gone("a").await?;
    user.appliance.is_empty(user).await
}

async fn change(user: &User) -> Result<()> {
    served(user).await?;
    user.change("a", json!({"spec": {"ports": [{"port": PORTS[1]}]}})).await?;
    user.appliance.serves(user, &PORTS[1..], &NODES).await?;
    create_node(user, "node-3", "192.0.2.13").await?;
    user.appliance.serves(user, &PORTS[1..], &[NODES[0], NODES[1], "node-3"]).await
}

async fn type_flip(user: &User) -> Result<()> {
    served(user).await?;
    user.change("a", json!({"spec": {"type": "ClusterIP"}})).await?;
    user.clean("a").await?;
    user.appliance.is_empty(user).await
}

/// The class of a Service cannot be changed: it goes by way of another type. Each time everything has been cleaned up
/// before, so that every run has the same calls.
async fn class_change(user: &User) -> Result<()> {
    served(user).await?;
    user.change("a", json!({"spec": {"type": "ClusterIP"}})).await?;
    user.clean("a").await?;
    user.change("a", ours(user)).await?;
    user.has("a", &["203.0.113.200"]).await?;
    user.appliance.is_empty(user).await?;
    user.change("a", json!({"spec": {"type": "ClusterIP"}})).await?;
    user.clean("a").await?;
    user.change("a", json!({"spec": {"type": "LoadBalancer", "loadBalancerClass": name()}})).await?;
    user.has_some("a", 1).await?;
    user.appliance.serves(user, &PORTS[..1], &NODES).await
}

/// The appliance takes its time for everything.
async fn slow(user: &User) -> Result<()> {
    served(user).await?;
    user.change("a", json!({"spec": {"ports": [{"port": PORTS[1]}]}})).await?;
    user.appliance.serves(user, &PORTS[1..], &NODES).await?;
    user.delete("a").await?;
    user.gone("a").await?;
    user.appliance.is_empty(user).await
}

fn name() -> String {
    format!("{}/{CLASS}", penstock_crds::GROUP)
}
