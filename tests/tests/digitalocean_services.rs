//! The life of Services with load balancers of DigitalOcean, on a real API server, by the endpoint that stands for its API.

#![allow(clippy::unwrap_used)] // a test may panic

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::{Node, Service};
use kube::{Api, api::PostParams};
use penstock_crds::{APPROVED_PLAN, DIGITALOCEAN_PREFIX, LoadBalancer, PlanOutcome, TLS_SECRET};
use penstock_e2e::wait::{Look, until};
use penstock_tests::{
    Fixture,
    certificate::pair,
    digitalocean_endpoint::{DigitalOceanEndpoint, REGION, Store, TOKEN},
};
use serde_json::{Value, json};

/// Bounds how long a broken operator is waited for.
const LIMIT: Duration = Duration::from_secs(60);

struct Lab {
    fixture: Fixture,
    ocean: DigitalOceanEndpoint,
}

impl Lab {
    async fn new(drift_interval: Duration) -> Result<Self> {
        Self::with_approval("Automatic", drift_interval).await
    }

    async fn with_approval(approval: &str, drift_interval: Duration) -> Result<Self> {
        let (mut fixture, ocean) = (Fixture::start().await?, DigitalOceanEndpoint::start().await?);
        fixture.drift_interval = drift_interval;
        fixture.credentials("ocean", &[("token", TOKEN)])?;
        let parameters = json!({"region": REGION, "clusterName": "blue", "tokenSecret": "ocean", "endpointUrl": ocean.url()});
        let class = json!({"provider": "digitalocean", "approval": approval, "digitalocean": parameters});
        fixture.class_of("ocean", class).await?;
        let lab = Self { fixture, ocean };
        lab.node(1).await?;
        Ok(lab)
    }

    async fn node(&self, number: u8) -> Result<()> {
        let api: Api<Node> = Api::all(self.fixture.client.clone());
        let spec = json!({"providerID": format!("digitalocean://{number}")});
        let object = json!({"metadata": {"name": format!("n{number}")}, "spec": spec});
        api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        Ok(())
    }

    async fn service(&self, name: &str, annotations: Value) -> Result<()> {
        let object = json!({"metadata": {"annotations": annotations},
            "spec": {"loadBalancerClass": "penstock.dev/ocean"}});
        self.fixture.service_in("default", name, object).await?;
        Ok(())
    }

    /// Waits until DigitalOcean has what is wanted; shows what it has instead.
    async fn ocean(&self, what: &str, wanted: impl Fn(&Store) -> bool) -> Result<()> {
        until(what, LIMIT, || async {
            let store = self.ocean.store();
            Ok(if wanted(&store) { Look::Ready(()) } else { Look::NotYet(format!("{:?}", store.balancers)) })
        })
        .await
    }
}

fn shown(service: &Service) -> Option<String> {
    let ingress = service.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?;
    ingress.first()?.ip.clone().or(ingress.first()?.hostname.clone())
}

fn droplets(store: &Store) -> Vec<u64> {
    store.balancers.values().flat_map(|b| b.wish.droplet_ids.iter().flatten().copied()).collect()
}

#[tokio::test]
async fn a_service_lives_with_as_few_calls_as_there_can_be_and_leaves_nothing() -> Result<()> {
    let mut lab = Lab::new(LIMIT).await?;
    lab.fixture.start_operator().await?;
    lab.service("web", json!({})).await?;
    lab.fixture.eventually("web", |s| shown(s).is_some_and(|ip| ip.starts_with("203.0.113."))).await?;
    let begun = lab.ocean.store().since(0);
    assert_eq!(begun.iter().filter(|call| call.starts_with("POST")).count(), 1, "{begun:?}");

    // A restart asks nothing while nothing changes, and a node is one call.
    lab.fixture.stop_operator().await?;
    lab.fixture.start_operator().await?;
    lab.node(2).await?;
    lab.ocean("both Droplets", |store| droplets(store) == [1, 2]).await?;
    let lines = lab.ocean.store().since(begun.len());
    let list = ["GET /v2/load_balancers", "GET /v2/certificates"];
    assert_eq!(lines, [list[0], list[1], "POST /v2/load_balancers/ID/droplets"]);

    // Another port, and the type flips to and fro.
    let ports = json!([{"port": 8080, "nodePort": 30081}]);
    lab.fixture.change("web", json!({"spec": {"ports": ports}})).await?;
    let port =
        |store: &Store| store.balancers.values().next().map(|b| b.wish.forwarding_rules[0].target_port);
    lab.ocean("the other port", |store| port(store) == Some(30081)).await?;
    lab.fixture.change("web", json!({"spec": {"type": "ClusterIP"}})).await?;
    lab.ocean("nothing", Store::is_empty).await?;
    let back = json!({"spec": {"type": "LoadBalancer", "loadBalancerClass": "penstock.dev/ocean"}});
    lab.fixture.change("web", back).await?;
    lab.ocean("a balancer again", |store| store.balancers.len() == 1).await?;
    lab.fixture.delete("web").await?;
    lab.fixture.gone("web").await?;
    assert!(lab.ocean.store().is_empty());
    Ok(())
}

#[tokio::test]
async fn a_name_is_shown_and_a_wrong_annotation_changes_nothing() -> Result<()> {
    let mut lab = Lab::new(LIMIT).await?;
    lab.fixture.start_operator().await?;
    lab.service("web", json!({format!("{DIGITALOCEAN_PREFIX}hostname"): "web.example"})).await?;
    lab.fixture.eventually("web", |s| shown(s).as_deref() == Some("web.example")).await?;
    let changes = |lab: &Lab| lab.ocean.store().calls.iter().filter(|call| !call.reads()).count();
    let before = changes(&lab);
    let wrong = json!({"metadata": {"annotations": {format!("{DIGITALOCEAN_PREFIX}protcol"): "http"}}});
    lab.fixture.change("web", wrong).await?;
    lab.fixture.waits("web", "RequestRefused", "do-loadbalancer-protcol is not known").await?;
    assert_eq!(changes(&lab), before);
    Ok(())
}

/// What waits is told with what the API says of it, which is asked once.
#[tokio::test]
async fn a_plan_that_waits_for_approval_is_shown_to_the_api_first() -> Result<()> {
    let mut lab = Lab::with_approval("Manual", LIMIT).await?;
    lab.fixture.start_operator().await?;
    lab.service("web", json!({})).await?;
    lab.fixture.settled("web").await?;
    let port =
        |store: &Store| store.balancers.values().next().map(|b| b.wish.forwarding_rules[0].target_port);
    let before = port(&lab.ocean.store());
    let from = lab.ocean.store().calls.len();
    let ports = json!([{"port": 80, "nodePort": 30081}]);
    lab.fixture.change("web", json!({"spec": {"ports": ports}})).await?;
    let sentence = "the provider accepts it (DigitalOcean validated 1 step)";
    lab.fixture.waits("web", "ApprovalRequired", sentence).await?;
    assert_eq!(port(&lab.ocean.store()), before, "nothing was carried out");

    // Another look at the Service asks nothing more.
    lab.fixture.change("web", json!({"metadata": {"labels": {"a": "b"}}})).await?;
    lab.fixture.event("web", "ApprovalRequired").await?;
    let records: Api<LoadBalancer> = Api::default_namespaced(lab.fixture.client.clone());
    let plan = records.get("web").await?.status.unwrap_or_default().pending_plan.unwrap();
    assert_eq!(plan.verdict.unwrap().outcome, PlanOutcome::Accepted);
    let approve = json!({"metadata": {"annotations": {APPROVED_PLAN: plan.hash}}});
    lab.fixture.change("web", approve).await?;
    lab.ocean("the other NodePort", |store| port(store) == Some(30081)).await?;
    lab.fixture.settled("web").await?;
    let (get, put) = ("GET /v2/load_balancers/ID", "PUT /v2/load_balancers/ID");
    assert_eq!(lab.ocean.store().since(from), [get, put, get, put], "asked once, carried out once");
    Ok(())
}

#[tokio::test]
async fn drift_is_repaired() -> Result<()> {
    let mut lab = Lab::new(Duration::from_millis(300)).await?;
    lab.fixture.start_operator().await?;
    lab.service("web", json!({})).await?;
    lab.fixture.eventually("web", |s| shown(s).is_some()).await?;
    lab.ocean.store().balancers.values_mut().for_each(|b| b.wish.firewall.deny.push("cidr:0.0.0.0/0".into()));
    lab.ocean("everybody is let in again", |s| s.balancers.values().all(|b| b.wish.firewall.deny.is_empty()))
        .await?;
    lab.fixture.event("web", "DriftDetected").await?;
    Ok(())
}

#[tokio::test]
async fn a_tls_secret_is_uploaded_and_followed_and_its_key_is_nowhere_else() -> Result<()> {
    let mut lab = Lab::new(LIMIT).await?;
    lab.fixture.start_operator().await?;
    lab.fixture.allow_tls_secrets()?;
    let (first, second) = (pair(), pair());
    lab.fixture.put_tls_secret("web-tls", &first.0, &first.1).await?;
    lab.service("web", json!({TLS_SECRET: "web-tls"})).await?;
    let ports = json!([{"port": 443, "nodePort": 30443}]);
    lab.fixture.change("web", json!({"spec": {"ports": ports}})).await?;
    lab.ocean("the certificate", |store| speaks(store, &first.0)).await?;
    lab.fixture.put_tls_secret("web-tls", &second.0, &second.1).await?;
    lab.ocean("the renewed certificate and no other", |store| speaks(store, &second.0)).await?;
    let told = lab.fixture.kubectl(&["get", "loadbalancers,services,events", "-A", "-o", "json"])?;
    assert!(!told.contains("PRIVATE KEY") && !told.contains(second.1.lines().nth(1).unwrap()));
    lab.fixture.delete("web").await?;
    lab.fixture.gone("web").await?;
    assert!(lab.ocean.store().is_empty());
    Ok(())
}

/// Whether this certificate alone was uploaded, and the balancer shows it.
fn speaks(store: &Store, pem: &str) -> bool {
    let text = |pem: &str| pem.split_whitespace().collect::<String>();
    let [held] = &store.certificates.values().collect::<Vec<_>>()[..] else { return false };
    let mut rules = store.balancers.values().flat_map(|balancer| &balancer.wish.forwarding_rules);
    store.balancers.len() == 1
        && text(&held.leaf) == text(pem)
        && rules.all(|rule| rule.certificate_id == held.id)
}
