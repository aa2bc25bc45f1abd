//! The life of Services with load balancers of Hetzner Cloud, on a real API server, by the endpoint that stands for it.

#![allow(clippy::unwrap_used)] // a test may panic

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::{Node, Service};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use penstock_crds::{HETZNER_PREFIX, TLS_SECRET};
use penstock_e2e::wait::{Look, until};
use penstock_tests::{
    Fixture,
    certificate::pair,
    hetzner_endpoint::{HetznerEndpoint, Store},
};
use serde_json::{Value, json};

/// Bounds how long a broken operator is waited for.
const LIMIT: Duration = Duration::from_secs(60);

struct Lab {
    fixture: Fixture,
    hetzner: HetznerEndpoint,
}

impl Lab {
    async fn new(drift_interval: Duration) -> Result<Self> {
        let (mut fixture, hetzner) = (Fixture::start().await?, HetznerEndpoint::start().await?);
        hetzner.store().unfinished = 1;
        fixture.drift_interval = drift_interval;
        fixture.credentials("hetzner", &[("token", HetznerEndpoint::TOKEN)])?;
        let parameters = json!({"clusterName": "blue", "tokenSecret": "hetzner", "endpointUrl": hetzner.url(),
            "defaults": {"location": "fsn1"}});
        fixture.class_of("hcloud", json!({"provider": "hetzner", "hetzner": parameters})).await?;
        let mut lab = Self { fixture, hetzner };
        lab.node(1).await?;
        lab.fixture.start_operator().await?;
        Ok(lab)
    }

    async fn node(&self, number: u8) -> Result<()> {
        let api: Api<Node> = Api::all(self.fixture.client.clone());
        let spec = json!({"providerID": format!("hcloud://{number}")});
        let object = json!({"metadata": {"name": format!("n{number}")}, "spec": spec});
        api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        Ok(())
    }

    async fn service(&self, name: &str, annotations: Value, mut spec: Value) -> Result<()> {
        spec["loadBalancerClass"] = json!("penstock.dev/hcloud");
        let object = json!({"metadata": {"annotations": annotations}, "spec": spec});
        self.fixture.service_in("default", name, object).await?;
        Ok(())
    }

    /// Waits until the endpoint has what is wanted; shows what it has instead.
    async fn has(&self, what: &str, wanted: impl Fn(&Store) -> bool) -> Result<()> {
        until(what, LIMIT, || async {
            let store = self.hetzner.store();
            Ok(if wanted(&store) { Look::Ready(()) } else { Look::NotYet(format!("{:?}", store.balancers)) })
        })
        .await
    }
}

/// What `kubectl get svc` shows.
fn shown(service: &Service) -> Vec<String> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|balancer| balancer.ingress.clone()).unwrap_or_default();
    ingress.into_iter().filter_map(|one| one.ip.or(one.hostname)).collect()
}

/// Of all balancers: the ports with where they go, and how many targets there are.
fn ports(store: &Store) -> Vec<(u16, u16)> {
    let services = store.balancers.values().flat_map(|balancer| &balancer.services);
    services.map(|service| (service.listen_port, service.destination_port)).collect()
}

fn targets(store: &Store) -> usize {
    store.balancers.values().map(|balancer| balancer.targets.len()).sum()
}

#[tokio::test]
async fn a_service_lives_with_as_few_calls_as_there_can_be_and_leaves_nothing() -> Result<()> {
    let mut lab = Lab::new(LIMIT).await?;
    lab.service("web", json!({}), json!({})).await?;
    let both = |s: &Service| {
        let shown = shown(s);
        shown.len() == 2 && shown[0].starts_with("203.0.113.") && shown[1].starts_with("2001:db8::")
    };
    lab.fixture.eventually("web", both).await?;
    lab.fixture.settled("web").await?;
    assert_eq!(
        lab.hetzner.store().since(0),
        ["GET load_balancers", "GET certificates", "POST load_balancers", "GET actions"]
    );

    // A restart asks nothing: what happens next is one list and the change.
    lab.fixture.stop_operator().await?;
    let before = lab.hetzner.store().calls.len();
    lab.fixture.start_operator().await?;
    lab.node(2).await?;
    lab.has("both nodes", |store| targets(store) == 2).await?;
    lab.fixture.settled("web").await?;
    assert_eq!(
        lab.hetzner.store().since(before),
        ["GET load_balancers", "GET certificates", "POST add_target", "GET actions"]
    );

    let other = json!([{"port": 8080, "nodePort": 30081}]);
    lab.fixture.change("web", json!({"spec": {"ports": other}})).await?;
    lab.has("the other port", |store| ports(store) == [(8080, 30081)]).await?;
    Api::<Node>::all(lab.fixture.client.clone()).delete("n1", &DeleteParams::default()).await?;
    lab.has("one node", |store| targets(store) == 1).await?;
    let name =
        json!({"metadata": {"annotations": {format!("{HETZNER_PREFIX}hostname"): "shop.example.com"}}});
    lab.fixture.change("web", name).await?;
    lab.fixture.eventually("web", |s| shown(s) == ["shop.example.com"]).await?;
    lab.fixture.change("web", json!({"spec": {"type": "ClusterIP"}})).await?;
    lab.has("nothing", |store| store.balancers.is_empty()).await?;
    let back = json!({"spec": {"type": "LoadBalancer", "loadBalancerClass": "penstock.dev/hcloud"}});
    lab.fixture.change("web", back).await?;
    lab.has("a balancer again", |store| store.balancers.len() == 1).await?;
    lab.fixture.delete("web").await?;
    lab.fixture.gone("web").await?;
    assert!(lab.hetzner.store().balancers.is_empty());
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_had_is_told_before_any_call() -> Result<()> {
    let lab = Lab::new(LIMIT).await?;
    lab.service("dns", json!({}), json!({"ports": [{"port": 53, "protocol": "UDP"}]})).await?;
    lab.fixture.waits("dns", "RequestRefused", "provider hetzner does not balance UDP").await?;
    let wrong = json!({format!("{HETZNER_PREFIX}lokation"): "fsn1"});
    assert_eq!(lab.hetzner.store().since(0), [""; 0]);
    lab.service("typo", wrong, json!({})).await?;
    lab.fixture.waits("typo", "RequestRefused", "load-balancer.hetzner.cloud/lokation is not known").await?;
    assert!(!lab.hetzner.store().calls.iter().any(|call| !call.name.starts_with("GET")));
    Ok(())
}

#[tokio::test]
async fn drift_is_repaired() -> Result<()> {
    let lab = Lab::new(Duration::from_millis(300)).await?;
    lab.service("web", json!({}), json!({})).await?;
    lab.fixture.settled("web").await?;
    lab.hetzner.store().balancers.values_mut().for_each(|balancer| balancer.targets.clear());
    lab.has("the node is back", |store| targets(store) == 1).await?;
    lab.fixture.event("web", "DriftDetected").await?;
    lab.fixture.settled("web").await?;
    lab.hetzner.store().balancers.clear();
    lab.has("the balancer is back", |store| store.balancers.len() == 1).await?;
    Ok(())
}

#[tokio::test]
async fn a_tls_secret_is_uploaded_and_followed_and_its_key_is_nowhere_else() -> Result<()> {
    let lab = Lab::new(LIMIT).await?;
    lab.fixture.allow_tls_secrets()?;
    let (first, second) = (pair(), pair());
    lab.fixture.put_tls_secret("web-tls", &first.0, &first.1).await?;
    lab.service("web", json!({TLS_SECRET: "web-tls"}), json!({})).await?;
    lab.has("the certificate", |store| speaks(store, &first.0)).await?;
    lab.fixture.settled("web").await?;
    lab.fixture.put_tls_secret("web-tls", &second.0, &second.1).await?;
    lab.has("the renewed certificate and no other", |store| speaks(store, &second.0)).await?;
    let told = lab.fixture.kubectl(&["get", "loadbalancers,services,events", "-A", "-o", "json"])?;
    assert!(!told.contains("PRIVATE KEY") && !told.contains(second.1.lines().nth(1).unwrap()));
    lab.fixture.delete("web").await?;
    lab.fixture.gone("web").await?;
    assert!(lab.hetzner.store().balancers.is_empty() && lab.hetzner.store().uploaded.is_empty());
    Ok(())
}

/// Whether this certificate alone was uploaded, and all ports speak https with it.
fn speaks(store: &Store, pem: &str) -> bool {
    let text = |pem: &str| pem.split_whitespace().collect::<String>();
    let [(id, held)] = &store.uploaded.iter().collect::<Vec<_>>()[..] else { return false };
    let mut services = store.balancers.values().flat_map(|balancer| &balancer.services);
    store.balancers.len() == 1
        && text(&held.certificate) == text(pem)
        && services
            .all(|service| service.http.as_ref().is_some_and(|http| http.certificates == [**id].into()))
}
