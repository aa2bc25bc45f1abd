//! The life of Services with network load balancers of AWS, on a real API server, by the endpoint that stands for AWS.

#![allow(clippy::unwrap_used)] // a test may panic

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::{
    core::v1::{Node, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use penstock_crds::{AWS_PREFIX, LoadBalancerClass, TLS_SECRET};
use penstock_e2e::wait::{Look, until};
use penstock_tests::{
    Fixture,
    aws_endpoint::{AwsEndpoint, REGION, Store, VPC},
    aws_lab::{AwsLab, hostname, instance},
    certificate::pair,
};
use serde_json::{Value, json};

/// Bounds how long a broken operator is waited for.
const LIMIT: Duration = Duration::from_secs(60);

struct Lab {
    fixture: Fixture,
    aws: AwsEndpoint,
}

impl Lab {
    async fn new(drift_interval: Duration) -> Result<Self> {
        let aws = AwsEndpoint::start().await?;
        let AwsLab { mut fixture } = AwsLab::start(&aws.url(), VPC, &["subnet-a", "subnet-b"]).await?;
        fixture.drift_interval = drift_interval;
        let lab = Self { fixture, aws };
        lab.node(1).await?;
        Ok(lab)
    }

    async fn node(&self, number: u8) -> Result<()> {
        let api: Api<Node> = Api::all(self.fixture.client.clone());
        let spec = json!({"providerID": format!("aws:///{REGION}a/{}", instance(number))});
        let object = json!({"metadata": {"name": format!("n{number}")}, "spec": spec});
        api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        Ok(())
    }

    async fn service(&self, name: &str, annotations: Value) -> Result<()> {
        let object = json!({"metadata": {"annotations": annotations},
            "spec": {"loadBalancerClass": "penstock.dev/nlb"}});
        self.fixture.service_in("default", name, object).await?;
        Ok(())
    }

    /// Waits until AWS has what is wanted; shows what it has instead.
    async fn aws(&self, what: &str, wanted: impl Fn(&Store) -> bool) -> Result<()> {
        until(what, LIMIT, || async {
            let store = self.aws.store();
            Ok(if wanted(&store) { Look::Ready(()) } else { Look::NotYet(store.summary().to_string()) })
        })
        .await
    }
}

/// The numbers at which targets get connections, of all groups.
fn target_ports(store: &Store) -> Vec<u16> {
    let live = |g: &penstock_tests::aws_endpoint::TargetGroup| {
        let live = g.targets.iter().filter(|(_, target)| target.deregistered.is_none());
        live.map(|((_, port), _)| *port).collect::<Vec<_>>()
    };
    store.target_groups.values().flat_map(live).collect()
}

#[tokio::test]
async fn a_service_lives_with_as_few_calls_as_there_can_be_and_leaves_nothing() -> Result<()> {
    let mut lab = Lab::new(LIMIT).await?;
    lab.fixture.start_operator().await?;
    lab.service("web", json!({})).await?;
    let named =
        |s: &Service| hostname(s).is_some_and(|name| name.ends_with(".elb.eu-central-1.amazonaws.com"));
    lab.fixture.eventually("web", named).await?;
    lab.fixture.settled("web").await?;
    assert_eq!(lab.aws.store().log.total(), 8, "{:?}", lab.aws.store().log.since(0));

    // A restart asks nothing, and a node is one call.
    lab.fixture.stop_operator().await?;
    let before = lab.aws.store().log.total();
    lab.fixture.start_operator().await?;
    lab.service("other", json!({})).await?;
    lab.fixture.settled("other").await?;
    let asked = lab.aws.store().log.since(before);
    assert!(!asked.iter().any(|action| action == "DescribeListeners"), "{asked:?}");
    lab.fixture.delete("other").await?;
    lab.fixture.gone("other").await?;
    lab.node(2).await?;
    lab.aws("both nodes", |store| target_ports(store).len() == 2).await?;
    lab.fixture.settled("web").await?;

    // Another port, and the type flips to and fro.
    let ports = json!([{"port": 8080, "nodePort": 30081}]);
    lab.fixture.change("web", json!({"spec": {"ports": ports}})).await?;
    lab.aws("the other port", |store| target_ports(store) == [30081, 30081]).await?;
    Api::<Node>::all(lab.fixture.client.clone()).delete("n1", &DeleteParams::default()).await?;
    lab.aws("one node", |store| target_ports(store).len() == 1).await?;
    lab.fixture.change("web", json!({"spec": {"type": "ClusterIP"}})).await?;
    lab.aws("nothing", Store::is_empty).await?;
    let back = json!({"spec": {"type": "LoadBalancer", "loadBalancerClass": "penstock.dev/nlb"}});
    lab.fixture.change("web", back).await?;
    lab.aws("a balancer again", |store| store.load_balancers.len() == 1).await?;
    lab.fixture.delete("web").await?;
    lab.fixture.gone("web").await?;
    assert!(lab.aws.store().is_empty());
    Ok(())
}

#[tokio::test]
async fn endpoints_are_followed_and_a_wrong_annotation_changes_nothing() -> Result<()> {
    let mut lab = Lab::new(LIMIT).await?;
    lab.fixture.start_operator().await?;
    let slice = |address: &str| {
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
            "endpoints": [{"addresses": [address]}], "ports": [{"name": "", "protocol": "TCP", "port": 8080}]})
    };
    let slices: Api<EndpointSlice> = Api::default_namespaced(lab.fixture.client.clone());
    slices.create(&PostParams::default(), &serde_json::from_value(slice("10.0.0.10"))?).await?;
    lab.service("web", json!({format!("{AWS_PREFIX}nlb-target-type"): "ip"})).await?;
    let has = |address: &'static str| {
        move |store: &Store| {
            let live = store.target_groups.values().flat_map(|g| &g.targets);
            let live: Vec<&str> =
                live.filter(|(_, t)| t.deregistered.is_none()).map(|((id, _), _)| id.as_str()).collect();
            live == [address]
        }
    };
    lab.aws("the endpoint", has("10.0.0.10")).await?;
    let params = PatchParams::default();
    slices.patch("web-1", &params, &Patch::Merge(slice("10.0.0.11"))).await?;
    lab.aws("the other endpoint", has("10.0.0.11")).await?;
    lab.fixture.settled("web").await?;
    let before = lab.aws.store().log.changes();
    let wrong = json!({"metadata": {"annotations": {format!("{AWS_PREFIX}shceme"): "internal"}}});
    lab.fixture.change("web", wrong).await?;
    lab.fixture.waits("web", "RequestRefused", "aws-load-balancer-shceme is not known").await?;
    assert_eq!(lab.aws.store().log.changes(), before);
    Ok(())
}

#[tokio::test]
async fn drift_is_repaired_or_reported_as_the_class_says() -> Result<()> {
    let mut lab = Lab::new(Duration::from_millis(300)).await?;
    lab.fixture.start_operator().await?;
    lab.service("web", json!({})).await?;
    lab.fixture.settled("web").await?;
    let lose = |lab: &Lab| {
        let mut store = lab.aws.store();
        store.listeners.clear();
        store.load_balancers.clear();
    };
    lose(&lab);
    lab.aws("the balancer is back", |store| !store.listeners.is_empty()).await?;
    lab.fixture.event("web", "DriftDetected").await?;
    lab.fixture.settled("web").await?;

    let classes: Api<LoadBalancerClass> = Api::all(lab.fixture.client.clone());
    let report = json!({"spec": {"drift": "Report"}});
    classes.patch("nlb", &PatchParams::default(), &Patch::Merge(report)).await?;
    lab.service("reported", json!({})).await?;
    lab.fixture.settled("reported").await?;
    lose(&lab);
    lab.fixture.event("reported", "DriftDetected").await?;
    assert!(lab.aws.store().load_balancers.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_tls_secret_is_imported_and_followed_and_its_key_is_nowhere_else() -> Result<()> {
    let mut lab = Lab::new(LIMIT).await?;
    lab.fixture.start_operator().await?;
    let says = |sentence: &'static str| lab.fixture.waits("web", "InvalidCertificateRef", sentence);

    // Nothing may be read, then nothing is there; nothing is built meanwhile.
    lab.service("web", json!({TLS_SECRET: "web-tls"})).await?;
    says("may not read Secret default/web-tls: add the namespace to operator.tlsSecretNamespaces").await?;
    lab.fixture.allow_tls_secrets()?;
    says("there is no Secret default/web-tls of type kubernetes.io/tls").await?;
    assert_eq!(lab.aws.store().log.changes(), 0);

    let (first, second) = (pair(), pair());
    lab.fixture.put_tls_secret("web-tls", &first.0, &first.1).await?;
    let imported = |times: usize| {
        move |store: &Store| {
            let held: Vec<usize> = store.certificates.values().map(|held| held.imports).collect();
            held == [times] && store.listeners.values().any(|l| l.wish.protocol == "TLS")
        }
    };
    lab.aws("a TLS listener", imported(1)).await?;
    lab.fixture.settled("web").await?;

    let before = lab.aws.store().log.total();
    lab.fixture.put_tls_secret("web-tls", &second.0, &second.1).await?;
    lab.aws("the certificate that took its place", imported(2)).await?;
    lab.fixture.settled("web").await?;
    lab.aws.store().log.assert_since(before, &["ImportCertificate"]);

    // What stands keeps standing while the Secret is wrong.
    let before = lab.aws.store().log.total();
    lab.fixture.put_tls_secret("web-tls", &second.0, &first.1).await?;
    let service = says("Secret default/web-tls has under tls.key another key").await?;
    assert!(hostname(&service).is_some());
    let note = lab.fixture.event("web", "SyncLoadBalancerFailed").await?;
    assert!(note.contains("default/web-tls"), "{note}");
    lab.fixture.put_tls_secret("web-tls", &second.0, &second.1).await?;
    let provided = |service: &Service| penstock_tests::provisioning(service).is_none();
    lab.fixture.eventually("web", provided).await?;
    lab.aws.store().log.assert_since(before, &[]);

    let told = lab.fixture.kubectl(&["get", "loadbalancers,services,events", "-A", "-o", "json"])?;
    assert!(!told.contains("PRIVATE KEY") && !told.contains(second.1.lines().nth(1).unwrap()));
    lab.fixture.stop_operator().await?;
    lab.fixture.start_operator().await?;
    lab.fixture.delete("web").await?;
    lab.fixture.gone("web").await?;
    assert!(lab.aws.store().is_empty(), "{}", lab.aws.store().summary());
    Ok(())
}
