//! What users do with load balancers of clouds: five stories with those of AWS, four with those of each other.

use anyhow::Result;
use futures::future::{BoxFuture, FutureExt};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use penstock_crds::{AWS_PREFIX, GROUP, TLS_SECRET};
use penstock_providers::Certificate;
use penstock_tests::certificate::certificates;
use serde_json::{Value, json};

use crate::{
    cloud::{CLASS, Kind, MACHINES, Port, front},
    scenario::Scenario,
    user::{User, is_marked, service},
};

const WEB: Port = Port { protocol: "TCP", port: 80, node: 30080 };
const DNS: Port = Port { protocol: "UDP", port: 53, node: 30053 };
const OTHER: Port = Port { protocol: "TCP", port: 81, node: 30081 };
const SECURE: Port = Port { protocol: "HTTPS", port: 443, node: 30443 };

/// All of them.
pub(crate) fn all() -> Vec<Scenario> {
    use Kind::{Aws, DigitalOcean, Hetzner};
    vec![
        Scenario::new("aws-create", |user| create(user).boxed()).cloud(Aws),
        Scenario::new("aws-create-delete", |user| create_delete(user, Aws).boxed()).cloud(Aws),
        Scenario::new("aws-change", |user| change(user, Aws).boxed()).cloud(Aws),
        Scenario::new("aws-targets", |user| targets(user, Aws).boxed()).cloud(Aws),
        Scenario::new("aws-type-flip", |user| type_flip(user, Aws).boxed()).cloud(Aws),
        of("hetzner-create-delete", |user| create_delete(user, Hetzner).boxed(), Hetzner),
        of("hetzner-change", |user| change(user, Hetzner).boxed(), Hetzner),
        of("hetzner-targets", |user| targets(user, Hetzner).boxed(), Hetzner),
        of("hetzner-tls", |user| tls(user, Hetzner).boxed(), Hetzner),
        of("digitalocean-create-delete", |user| create_delete(user, DigitalOcean).boxed(), DigitalOcean),
        of("digitalocean-change", |user| change(user, DigitalOcean).boxed(), DigitalOcean),
        of("digitalocean-targets", |user| targets(user, DigitalOcean).boxed(), DigitalOcean),
        of("digitalocean-tls", |user| tls(user, DigitalOcean).boxed(), DigitalOcean),
    ]
}

fn of(name: &'static str, steps: fn(&User) -> BoxFuture<'_, Result<()>>, kind: Kind) -> Scenario {
    Scenario::new(name, steps).cloud(kind).with_any_addresses()
}

/// Two ports and an attribute that is not the default.
async fn create(user: &User) -> Result<()> {
    let annotations = json!({format!("{AWS_PREFIX}cross-zone-load-balancing-enabled"): "true"});
    make(user, &annotations, &[DNS, WEB]).await?;
    user.cloud(Kind::Aws).serves(user, &[DNS, WEB], &MACHINES).await
}

async fn create_delete(user: &User, kind: Kind) -> Result<()> {
    served(user, kind).await?;
    user.delete("a").await?;
    user.gone("a").await?;
    user.cloud(kind).is_empty(user).await
}

/// Another port: what belongs to one comes, and what belongs to the other goes.
async fn change(user: &User, kind: Kind) -> Result<()> {
    served(user, kind).await?;
    user.change("a", json!({"spec": {"ports": ports(&[OTHER])}})).await?;
    user.cloud(kind).serves(user, &[OTHER], &MACHINES).await
}

/// A node comes, and another goes.
async fn targets(user: &User, kind: Kind) -> Result<()> {
    const THIRD: u8 = 3;
    served(user, kind).await?;
    user.cloud(kind).create_node(user, THIRD).await?;
    user.cloud(kind).serves(user, &[WEB], &[MACHINES[0], MACHINES[1], THIRD]).await?;
    crate::appliance::nodes(user).delete("node-1", &Default::default()).await?;
    user.cloud(kind).serves(user, &[WEB], &[MACHINES[1], THIRD]).await
}

async fn type_flip(user: &User, kind: Kind) -> Result<()> {
    served(user, kind).await?;
    user.change("a", json!({"spec": {"type": "ClusterIP", "ports": [{"port": WEB.port, "nodePort": null}]}}))
        .await?;
    user.eventually("a", |service| !is_marked(service) && front(service).is_none()).await?;
    user.cloud(kind).is_empty(user).await?;
    let class = format!("{GROUP}/{CLASS}");
    let back = json!({"type": "LoadBalancer", "loadBalancerClass": class, "ports": ports(&[WEB])});
    user.change("a", json!({"spec": back})).await?;
    user.eventually("a", |service| front(service).is_some()).await?;
    user.cloud(kind).serves(user, &[WEB], &MACHINES).await
}

/// A certificate from a Secret, which is renewed.
async fn tls(user: &User, kind: Kind) -> Result<()> {
    let [first, second] = certificates();
    put_certificate(user, first).await?;
    make(user, &json!({TLS_SECRET: CERTIFICATE}), &[SECURE]).await?;
    user.cloud(kind).serves(user, &[SECURE], &MACHINES).await?;
    put_certificate(user, second).await?;
    user.cloud(kind).shows(user, second).await?;
    user.delete("a").await?;
    user.gone("a").await?;
    user.cloud(kind).is_empty(user).await
}

/// The Secret with the certificate.
pub(crate) const CERTIFICATE: &str = "a-tls";

async fn put_certificate(user: &User, of: &Certificate) -> Result<()> {
    let chain = format!("{}{}", of.leaf_pem(), of.issuers_pem().unwrap_or_default());
    let object = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": CERTIFICATE}, "stringData": {"tls.crt": chain, "tls.key": of.key_pem()}});
    let api: Api<Secret> = Api::default_namespaced(user.client.clone());
    api.patch(CERTIFICATE, &PatchParams::apply("chaos"), &Patch::Apply(object)).await?;
    Ok(())
}

/// A Service of one port that the cloud serves.
async fn served(user: &User, kind: Kind) -> Result<()> {
    make(user, &json!({}), &[WEB]).await?;
    user.cloud(kind).serves(user, &[WEB], &MACHINES).await
}

async fn make(user: &User, annotations: &Value, of: &[Port]) -> Result<()> {
    let spec = json!({"loadBalancerClass": format!("{GROUP}/{CLASS}"), "ports": ports(of)});
    user.create_object(&service("a", annotations, spec)?).await?;
    user.eventually("a", |service| front(service).is_some()).await
}

/// With ports of nodes, so that they are the same in every run.
fn ports(of: &[Port]) -> Value {
    let port = |port: &Port| {
        let protocol = if port.protocol == "UDP" { "UDP" } else { "TCP" };
        json!({"name": format!("p{}", port.port), "protocol": protocol, "port": port.port,
            "nodePort": port.node})
    };
    of.iter().map(port).collect()
}
