//! The chart's admission policies on a real API server: each refuses what it should, which went through before, and
//! nothing else. And the manifests of its examples, which it takes.

#![allow(clippy::unwrap_used)] // a test may panic

use std::cell::Cell;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Service;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use penstock_e2e::chart::{Chart, NAMESPACE, apply_rbac};
use penstock_e2e::control_plane::ControlPlane;
use penstock_e2e::wait::{Look, until};
use serde_json::{Value, json};

/// A policy takes effect when the API server has heard of it.
const LIMIT: Duration = Duration::from_secs(60);

/// A tenant with all rights over one namespace's Services, and a controller of another class.
const USERS: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: tenant, namespace: default }
rules: [{ apiGroups: [''], resources: ['*'], verbs: ['*'] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: tenant, namespace: default }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: tenant }
subjects: [{ kind: User, name: tenant }, { kind: User, name: listed }, { kind: ServiceAccount, name: cni, namespace: kube-system }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: other-controller }
rules: [{ apiGroups: [''], resources: [services/status], verbs: [update, patch] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: other-controller }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: other-controller }
subjects: [{ kind: ServiceAccount, name: other, namespace: other-system }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: admin-by-role }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin }
subjects: [{ kind: User, name: admin-by-role }]
";

fn apply(control_plane: &ControlPlane, objects: &str) -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), objects)?;
    let path = file.path().to_str().context("the directory of temporary files is not UTF-8")?;
    control_plane.run_kubectl(&["apply", "--server-side", "-f", path]).map(drop)
}

fn apply_policy(control_plane: &ControlPlane, name: &str, arguments: &[&str]) -> Result<()> {
    let template = format!("templates/admission/{name}.yaml");
    let rendered =
        Chart::new(control_plane.tools()).render(&[&["--show-only", &template], arguments].concat())?;
    apply(control_plane, &rendered)
}

fn service(name: &str, class: Option<&str>, finalizer: Option<&str>) -> Service {
    let spec = json!({"type": "LoadBalancer", "loadBalancerClass": class, "ports": [{"port": 80}]});
    let metadata = json!({"name": name, "finalizers": finalizer.map(|name| vec![name])});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

/// `true` when it went through, `false` when a policy refused it.
fn verdict(outcome: kube::Result<Service>, policy: &str) -> Result<bool> {
    match outcome {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.message.contains(policy) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn refused_at_last(what: &str, attempt: impl AsyncFn() -> Result<bool>) -> Result<()> {
    until(&format!("the refusal of {what}"), LIMIT, || async {
        Ok(if attempt().await? { Look::NotYet("it goes through".to_owned()) } else { Look::Ready(()) })
    })
    .await
}

/// Writes another address at every attempt.
#[derive(Default)]
struct StatusWriter(Cell<u8>);

impl StatusWriter {
    async fn write(&self, client: &Client, service: &str) -> Result<bool> {
        self.0.set(self.0.get() + 1);
        let status = json!({"loadBalancer": {"ingress": [{"ip": format!("198.51.100.{}", self.0.get())}]}});
        let api = Api::<Service>::namespaced(client.clone(), "default");
        let patch = Patch::Merge(json!({ "status": status }));
        let outcome = api.patch_status(service, &PatchParams::default(), &patch).await;
        verdict(outcome, "penstock-load-balancer-status")
    }
}

async fn account(control_plane: &ControlPlane, namespace: &str, name: &str) -> Result<Client> {
    let group = format!("system:serviceaccounts:{namespace}");
    let user = format!("system:serviceaccount:{namespace}:{name}");
    control_plane.client_as(&user, &["system:serviceaccounts", &group]).await
}

#[tokio::test]
async fn who_may_write_the_addresses_of_a_service() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let control_plane = ControlPlane::start_on_loopback(dir.path()).await?;
    apply_rbac(&control_plane, "operator")?;
    apply(&control_plane, USERS)?;
    let admin = control_plane.client().await?;
    let api = Api::<Service>::namespaced(admin.clone(), "default");
    for object in [
        service("ours", Some("penstock.dev/bare-metal"), None),
        service("marked", None, Some("penstock.dev/load-balancer-cleanup")),
        service("foreign", Some("other.example/lb"), Some("penstock.dev/load-balancer-cleanup")),
        service("nobodys", None, None),
    ] {
        api.create(&PostParams::default(), &object).await?;
    }
    let tenant = control_plane.client_as("tenant", &[]).await?;
    let writer = StatusWriter::default();
    for name in ["ours", "marked", "foreign", "nobodys"] {
        ensure!(
            writer.write(&tenant, name).await?,
            "{name}: without the policy a tenant writes what he likes"
        );
    }
    apply_policy(
        &control_plane,
        "load-balancer-status",
        &["--set=admissionPolicies.statusWriters={listed}"],
    )?;
    refused_at_last("a tenant's address", async || writer.write(&tenant, "ours").await).await?;

    let operator = account(&control_plane, NAMESPACE, "penstock-operator").await?;
    let other = account(&control_plane, "other-system", "other").await?;
    let system = account(&control_plane, "kube-system", "cni").await?;
    let by_role = control_plane.client_as("admin-by-role", &[]).await?;
    let listed = control_plane.client_as("listed", &[]).await?;
    let everybody = ["ours", "marked", "foreign", "nobodys"];
    for (who, client, may) in [
        ("tenant", &tenant, &[] as &[&str]),
        ("operator", &operator, &everybody),
        ("controller of another class", &other, &["foreign", "nobodys"]),
        ("system's component", &system, &everybody),
        ("system:masters", &admin, &everybody),
        ("cluster-admin by role", &by_role, &everybody),
        ("listed", &listed, &everybody),
    ] {
        for name in everybody {
            let wrote = writer.write(client, name).await.with_context(|| format!("{who}: {name}"))?;
            ensure!(wrote == may.contains(&name), "{who} wrote to {name}: {wrote}");
        }
    }
    // A write that takes the finalizer away in the same moment is judged by what there was.
    let patch = json!({"metadata": {"finalizers": []}, "status": {"loadBalancer": {"ingress": []}}});
    let api = Api::<Service>::namespaced(other, "default");
    let outcome = api.patch_status("marked", &PatchParams::default(), &Patch::Merge(patch)).await;
    ensure!(!verdict(outcome, "penstock-load-balancer-status")?, "the finalizer went with the address");
    the_rest_stays_free(&tenant).await
}

/// What changes no address is no matter of the policy; and neither a new Service nor an update brings an address.
async fn the_rest_stays_free(tenant: &Client) -> Result<()> {
    let api = Api::<Service>::namespaced(tenant.clone(), "default");
    let condition = json!({"type": "example.com/Seen", "status": "True", "reason": "Test", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let patch = Patch::Merge(json!({"status": {"conditions": [condition]}}));
    api.patch_status("ours", &PatchParams::default(), &patch).await.context("a condition")?;
    let ingress = json!({"loadBalancer": {"ingress": [{"ip": "198.51.100.200"}]}});
    let before = api.get("ours").await?.status;
    let patch = Patch::Merge(json!({ "status": ingress }));
    let after = api.patch("ours", &PatchParams::default(), &patch).await?.status;
    ensure!(before == after, "an update of the Service changed its status");
    let mut new = service("new", None, None);
    new.status = serde_json::from_value(ingress)?;
    let status = api.create(&PostParams::default(), &new).await?.status.unwrap_or_default();
    ensure!(status.load_balancer.and_then(|balancer| balancer.ingress).is_none(), "it was created with one");
    Ok(())
}

async fn set_external_ips(api: &Api<Service>, ips: &[&str]) -> Result<bool> {
    let patch = Patch::Merge(json!({"spec": {"externalIPs": ips}}));
    verdict(api.patch("s", &PatchParams::default(), &patch).await, "penstock-external-ips")
}

#[tokio::test]
async fn where_external_ips_may_lie() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let control_plane = ControlPlane::start_on_loopback(dir.path()).await?;
    let api = Api::<Service>::namespaced(control_plane.client().await?, "default");
    api.create(&PostParams::default(), &service("s", None, None)).await?;
    ensure!(set_external_ips(&api, &["198.51.100.1"]).await?, "without the policy everything goes through");
    let allowed = "--set=admissionPolicies.externalIPs.cidrs={203.0.113.0/28,2001:db8::/64}";
    let on = "--set=admissionPolicies.externalIPs.enabled=true";
    apply_policy(&control_plane, "external-ips", &[on, allowed])?;
    let outside = ["198.51.100.1", "198.51.100.2"];
    refused_at_last("an address outside", async || {
        let added = set_external_ips(&api, &outside).await?;
        ensure!(!added || set_external_ips(&api, &outside[..1]).await?, "it cannot be taken back");
        Ok(added)
    })
    .await?;
    let with = ["198.51.100.1", "203.0.113.15", "2001:db8::7"];
    ensure!(set_external_ips(&api, &with).await?, "what was there and what is allowed");
    let ports: Value = json!({"spec": {"ports": [{"port": 81}]}});
    api.patch("s", &PatchParams::default(), &Patch::Merge(ports)).await.context("change something else")?;
    for outside in ["203.0.113.16", "2001:db8:0:1::1"] {
        ensure!(!set_external_ips(&api, &[outside]).await?, "{outside}");
    }
    ensure!(set_external_ips(&api, &[]).await?, "they can be taken away");
    ensure!(!set_external_ips(&api, &["198.51.100.1"]).await?, "what was taken away does not come back");
    let mut new = service("new", None, None);
    for (ip, may) in [("198.51.100.3", false), ("203.0.113.3", true)] {
        new.spec.as_mut().unwrap().external_ips = Some(vec![ip.into()]);
        let created = verdict(api.create(&PostParams::default(), &new).await, "penstock-external-ips")?;
        ensure!(created == may, "a new one with {ip}: {created}");
    }
    Ok(())
}

#[tokio::test]
async fn the_api_server_takes_the_manifests_of_the_examples() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let control_plane = ControlPlane::start_on_loopback(dir.path()).await?;
    let chart = Chart::new(control_plane.tools());
    apply(&control_plane, &chart.render(&["--show-only", "templates/crds.yaml"])?)?;
    control_plane.run_kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"])?;
    control_plane.run_kubectl(&["create", "namespace", NAMESPACE])?;
    let mut taken = 0;
    for entry in fs::read_dir(chart.directory().join("examples"))? {
        let path = entry?.path().display().to_string();
        if !path.contains("values-") {
            control_plane.run_kubectl(&["apply", "--dry-run=server", "-f", &path])?;
            taken += 1;
        }
    }
    ensure!(taken == 5, "{taken} manifests");
    Ok(())
}
