//! The agent's watches against a real API server, as the ServiceAccount that it is shipped with.

use std::{path::Path, process::Command};

use k8s_openapi::api::{core::v1 as core, discovery::v1::EndpointSlice};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use penstock_e2e::control_plane::ControlPlane;
use penstock_node::events;
use serde_json::{Value, json};

use crate::{agent::Running, lab::slice, namespace::Namespace};

const SERVED: &str = "10.96.0.10 . tcp . 80 : goto cluster-2";

/// The API server, and what is written to it. It ends with this value, before its directory does.
struct Cluster {
    control_plane: ControlPlane,
    services: Api<core::Service>,
    slices: Api<EndpointSlice>,
    _directory: tempfile::TempDir,
}

impl Cluster {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let control_plane = ControlPlane::start_on_loopback(directory.path()).await.unwrap();
        let admin = control_plane.client().await.unwrap();
        let services = Api::namespaced(admin.clone(), "default");
        let slices = Api::namespaced(admin, "default");
        let cluster = Self { control_plane, services, slices, _directory: directory };
        cluster.apply("namespace.yaml");
        cluster.apply("node.yaml");
        cluster
    }

    fn apply(&self, file: &str) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/manifests/penstock").join(file);
        let mut kubectl = Command::new(self.control_plane.kubectl());
        kubectl.arg("--kubeconfig").arg(self.control_plane.kubeconfig()).args(["apply", "-f"]).arg(file);
        let output = kubectl.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    async fn agent_client(&self) -> Client {
        self.control_plane
            .client_as("system:serviceaccount:penstock-system:penstock-node", &[])
            .await
            .unwrap()
    }

    async fn create_service(&self) {
        let spec = json!({"clusterIP": "10.96.0.10", "ports": [{"port": 80}]});
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
    agent.wait("a refusal", || agent.has("10.96.0.10 . tcp . 80 : goto reject-connection"));
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
