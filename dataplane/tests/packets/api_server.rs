//! The agent's watches against a real API server, as the ServiceAccount that it is shipped with.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use k8s_openapi::api::{
    core::v1 as core, discovery::v1::EndpointSlice, events::v1::Event, networking::v1::ServiceCIDR,
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use penstock_crds::{ExternalIPPolicy, ExternalIPPolicySpec};
use penstock_e2e::{chart::apply_rbac, control_plane::ControlPlane};
use penstock_model::ObjectKey;
use penstock_node::{ServiceEvents, events};
use serde_json::{Value, json};

use crate::{agent::Running, lab::slice, namespace::Namespace};

const EXTERNAL_IP: &str = "80.11.12.10 . tcp . 80";
const SERVED: &str = "10.96.0.10 . tcp . 80 : 8800:2";

/// The API server, and what is written to it. It ends with this value, before its directory does.
struct Cluster {
    control_plane: ControlPlane,
    services: Api<core::Service>,
    slices: Api<EndpointSlice>,
    policies: Api<ExternalIPPolicy>,
    _directory: tempfile::TempDir,
}

impl Cluster {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let control_plane = ControlPlane::start_on_loopback(directory.path()).await.unwrap();
        let admin = control_plane.client().await.unwrap();
        let services = Api::namespaced(admin.clone(), "default");
        let slices = Api::namespaced(admin.clone(), "default");
        let policies = Api::all(admin);
        apply_rbac(&control_plane, "node").unwrap();
        Self { control_plane, services, slices, policies, _directory: directory }
    }

    /// Applies a file of the repository.
    fn apply(&self, file: &str) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
        self.kubectl(&["apply", "-f", file.to_str().unwrap()]).unwrap();
    }

    fn kubectl(&self, args: &[&str]) -> Result<(), String> {
        let mut kubectl = Command::new(self.control_plane.kubectl());
        let output =
            kubectl.arg("--kubeconfig").arg(self.control_plane.kubeconfig()).args(args).output().unwrap();
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Installs the kind of the policies.
    fn install_policies(&self) {
        self.apply("crds/yaml/externalippolicies.yaml");
        let definition = "crd/externalippolicies.penstock.dev";
        self.kubectl(&["wait", "--for=condition=Established", definition, "--timeout=60s"]).unwrap();
    }

    /// Writes a policy; the API server's refusal is an error.
    async fn write_policy(&self, namespaces: &[&str], cidrs: &[&str]) -> kube::Result<ExternalIPPolicy> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let spec = ExternalIPPolicySpec { namespaces: owned(namespaces), cidrs: owned(cidrs) };
        let params = PatchParams::apply("test").force();
        self.policies.patch("web", &params, &Patch::Apply(ExternalIPPolicy::new("web", spec))).await
    }

    async fn agent_client(&self) -> Client {
        self.control_plane
            .client_as("system:serviceaccount:penstock-system:penstock-node", &[])
            .await
            .unwrap()
    }

    async fn create_service(&self) {
        let spec =
            json!({"clusterIP": "10.96.0.10", "externalIPs": ["80.11.12.10"], "ports": [{"port": 80}]});
        let object = json!({"metadata": {"name": "web"}, "spec": spec});
        let object = serde_json::from_value(object).unwrap();
        self.services.create(&PostParams::default(), &object).await.unwrap();
    }

    async fn create_slice(&self) {
        let mut slice = slice("web", &json!([{"port": 8080}]), &["10.244.0.2", "10.244.0.3"]);
        slice.metadata.namespace = None;
        self.slices.create(&PostParams::default(), &slice).await.unwrap();
    }

    async fn set_proxy_name(&self, name: Value) {
        let patch = json!({"metadata": {"labels": {"service.kubernetes.io/service-proxy-name": name}}});
        self.services.patch("web", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }
}

#[test]
fn what_is_written_to_the_api_server_is_programmed() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cluster = runtime.block_on(Cluster::start());
    let client = runtime.block_on(cluster.agent_client());
    let agent = Running::start(Namespace::new("node"), runtime.block_on(async { events(&client) }));
    agent.wait("the first load", || agent.readiness.is_ready());

    runtime.block_on(cluster.create_service());
    agent.wait("a refusal", || agent.refuses("10.96.0.10 . tcp . 80"));
    runtime.block_on(cluster.create_slice());
    agent.wait("the endpoints", || agent.has(SERVED));
    // A Service that is handed to another proxy leaves the watch: for us it is gone.
    runtime.block_on(cluster.set_proxy_name(json!("other")));
    agent.wait("no frontend", || !agent.has("10.96.0.10"));
    runtime.block_on(cluster.set_proxy_name(Value::Null));
    agent.wait("the frontend again", || agent.has(SERVED));
    runtime.block_on(cluster.services.delete("web", &DeleteParams::default())).unwrap();
    agent.wait("no frontend", || !agent.has("10.96.0.10"));
}

#[test]
fn service_ranges_of_the_api_server_are_programmed() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cluster = runtime.block_on(Cluster::start());
    let client = runtime.block_on(cluster.agent_client());
    let agent = Running::start(Namespace::new("node"), runtime.block_on(async { events(&client) }));
    agent.wait("the first load", || agent.readiness.is_ready());
    let object = json!({"metadata": {"name": "more"}, "spec": {"cidrs": ["10.97.0.0/24"]}});
    let object: ServiceCIDR = serde_json::from_value(object).unwrap();
    let ranges: Api<ServiceCIDR> = Api::all(runtime.block_on(cluster.control_plane.client()).unwrap());
    runtime.block_on(ranges.create(&PostParams::default(), &object)).unwrap();
    agent.wait("the range", || agent.has("10.97.0.0/24"));
    runtime.block_on(ranges.delete("more", &DeleteParams::default())).unwrap();
    agent.wait("no range", || !agent.has("10.97.0.0/24"));
}

#[test]
fn a_health_check_port_that_is_taken_is_an_event_of_its_service() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cluster = runtime.block_on(Cluster::start());
    let written = runtime.block_on(async {
        let events: Api<Event> = Api::namespaced(cluster.control_plane.client().await.unwrap(), "default");
        let complaints = ServiceEvents::start(cluster.agent_client().await, "n1");
        let error = std::io::Error::from(std::io::ErrorKind::AddrInUse);
        complaints.failed_to_start_health_check(&ObjectKey::new("default", "web"), 31234, &error);
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let written = events.list(&ListParams::default()).await.unwrap();
            let ours = written
                .into_iter()
                .find(|event| event.regarding.as_ref().is_some_and(|r| r.kind.as_deref() == Some("Service")));
            match ours {
                Some(event) => break event,
                None => assert!(Instant::now() < deadline, "no event"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert_eq!(written.reason.as_deref(), Some("FailedToStartServiceHealthcheck"));
    assert!(
        written.note.unwrap().contains("node n1 failed to start healthcheck \"default/web\" on port 31234")
    );
}

#[test]
fn external_ips_are_served_as_the_policies_say_also_of_a_kind_that_is_installed_later() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cluster = runtime.block_on(Cluster::start());
    runtime.block_on(cluster.create_service());
    let client = runtime.block_on(cluster.agent_client());
    // The kind is not there: the rest is served all the same.
    let agent = Running::start(Namespace::new("node"), runtime.block_on(async { events(&client) }));
    agent.wait("the first load", || agent.readiness.is_ready());
    assert!(agent.has("10.96.0.10 . tcp . 80") && !agent.has(EXTERNAL_IP));

    cluster.install_policies();
    runtime.block_on(cluster.write_policy(&["default"], &["80.11.12.0/28"])).unwrap();
    agent.wait_long("the externalIP", || agent.has(EXTERNAL_IP));
    runtime.block_on(cluster.write_policy(&["other"], &["80.11.12.0/28"])).unwrap();
    agent.wait("no externalIP", || !agent.has(EXTERNAL_IP));
    runtime.block_on(cluster.write_policy(&["*"], &["2001:db8::/64", "80.11.12.10/32"])).unwrap();
    agent.wait("the externalIP", || agent.has(EXTERNAL_IP));
    runtime.block_on(cluster.policies.delete("web", &DeleteParams::default())).unwrap();
    agent.wait("no externalIP", || !agent.has(EXTERNAL_IP));
    assert!(agent.has("10.96.0.10 . tcp . 80"));
}

#[test]
fn the_api_server_refuses_a_policy_that_would_allow_nothing() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cluster = runtime.block_on(Cluster::start());
    cluster.install_policies();
    let good = "80.11.12.0/28";
    let cases: [(&[&str], &[&str], &str); 9] = [
        (&[], &[good], "should have at least 1 items"),
        (&["*", "a"], &[good], "leave the other entries out"),
        (&["A"], &[good], "must be the name of a namespace"),
        (&["a", "a"], &[good], "duplicate entries"),
        (&["a"], &[], "should have at least 1 items"),
        (&["a"], &["80.11.12.10"], "every entry must be a CIDR"),
        (&["a"], &["80.11.12.10/28"], "must have no host bits set"),
        (&["a"], &["::/0"], "must not be /0"),
        (&["a"], &["::ffff:80.11.12.0/124"], "every entry must be a CIDR"),
    ];
    for (namespaces, cidrs, sentence) in cases {
        let error = runtime.block_on(cluster.write_policy(namespaces, cidrs)).unwrap_err().to_string();
        assert!(error.contains(sentence), "{namespaces:?} {cidrs:?}: {error}");
        let spec = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let spec = ExternalIPPolicySpec { namespaces: spec(namespaces), cidrs: spec(cidrs) };
        assert!(namespaces == ["a", "a"] || spec.grants().is_err(), "the parser lets through {spec:?}");
    }
}

#[test]
fn the_agents_account_reads_no_secrets_and_writes_no_services() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cluster = runtime.block_on(Cluster::start());
    runtime.block_on(async {
        let client = cluster.agent_client().await;
        let forbidden = |error: &kube::Error| matches!(error, kube::Error::Api(status) if status.code == 403);
        let secrets: Api<core::Secret> = Api::namespaced(client.clone(), "penstock-system");
        assert!(forbidden(&secrets.list(&ListParams::default()).await.unwrap_err()));
        let services: Api<core::Service> = Api::namespaced(client, "default");
        let patch = Patch::Merge(json!({"spec": {"externalIPs": ["80.11.12.10"]}}));
        let patched = services.patch("kubernetes", &PatchParams::default(), &patch).await;
        assert!(forbidden(&patched.unwrap_err()));
        services.get("kubernetes").await.unwrap();
    });
}
