//! What users do with network load balancers of AWS, in five stories.

use anyhow::Result;
use futures::future::FutureExt;
use penstock_crds::{AWS_PREFIX, GROUP};
use serde_json::{Value, json};

use crate::{
    cloud::{CLASS, INSTANCES, Port, create_node, hostname},
    scenario::Scenario,
    user::{User, is_marked, service},
};

const WEB: Port = Port { protocol: "TCP", port: 80, node: 30080 };
const DNS: Port = Port { protocol: "UDP", port: 53, node: 30053 };
const OTHER: Port = Port { protocol: "TCP", port: 81, node: 30081 };

/// All of them.
pub(crate) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new("aws-create", |user| create(user).boxed()).cloud(),
        Scenario::new("aws-create-delete", |user| create_delete(user).boxed()).cloud(),
        Scenario::new("aws-change", |user| change(user).boxed()).cloud(),
        Scenario::new("aws-targets", |user| targets(user).boxed()).cloud(),
        Scenario::new("aws-type-flip", |user| type_flip(user).boxed()).cloud(),
    ]
}

/// Two ports and an attribute that is not the default.
async fn create(user: &User) -> Result<()> {
    let annotations = json!({format!("{AWS_PREFIX}cross-zone-load-balancing-enabled"): "true"});
    make(user, &annotations, &[DNS, WEB]).await?;
    user.cloud.serves(user, &[DNS, WEB], &INSTANCES).await
}

async fn create_delete(user: &User) -> Result<()> {
    served(user).await?;
    user.delete("a").await?;
    user.gone("a").await?;
    user.cloud.is_empty(user).await
}

/// Another port: a listener and a target group come, and others go.
async fn change(user: &User) -> Result<()> {
    served(user).await?;
    user.change("a", json!({"spec": {"ports": ports(&[OTHER])}})).await?;
    user.cloud.serves(user, &[OTHER], &INSTANCES).await
}

/// A node comes, and another goes.
async fn targets(user: &User) -> Result<()> {
    const THIRD: &str = "i-0123456789abcde03";
    served(user).await?;
    create_node(user, "node-3", THIRD).await?;
    user.cloud.serves(user, &[WEB], &[INSTANCES[0], INSTANCES[1], THIRD]).await?;
    crate::appliance::nodes(user).delete("node-1", &Default::default()).await?;
    user.cloud.serves(user, &[WEB], &[INSTANCES[1], THIRD]).await
}

async fn type_flip(user: &User) -> Result<()> {
    served(user).await?;
    user.change("a", json!({"spec": {"type": "ClusterIP", "ports": [{"port": WEB.port, "nodePort": null}]}}))
        .await?;
    user.eventually("a", |service| !is_marked(service) && hostname(service).is_none()).await?;
    user.cloud.is_empty(user).await?;
    let class = format!("{GROUP}/{CLASS}");
    let back = json!({"type": "LoadBalancer", "loadBalancerClass": class, "ports": ports(&[WEB])});
    user.change("a", json!({"spec": back})).await?;
    user.eventually("a", |service| hostname(service).is_some()).await?;
    user.cloud.serves(user, &[WEB], &INSTANCES).await
}

/// A Service of one port that AWS serves.
async fn served(user: &User) -> Result<()> {
    make(user, &json!({}), &[WEB]).await?;
    user.cloud.serves(user, &[WEB], &INSTANCES).await
}

async fn make(user: &User, annotations: &Value, of: &[Port]) -> Result<()> {
    let spec = json!({"loadBalancerClass": format!("{GROUP}/{CLASS}"), "ports": ports(of)});
    user.create_object(&service("a", annotations, spec)?).await?;
    user.eventually("a", |service| hostname(service).is_some()).await
}

/// With ports of nodes, so that they are the same in every run.
fn ports(of: &[Port]) -> Value {
    let port = |port: &Port| {
        json!({"name": format!("p{}", port.port), "protocol": port.protocol, "port": port.port,
            "nodePort": port.node})
    };
    of.iter().map(port).collect()
}
