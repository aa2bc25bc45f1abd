//! A whole cluster comes up, does what its handle promises, and leaves no trace.

// clippy takes only functions marked as tests for tests; their parts are not.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use penstock_e2e::cluster::{Cluster, Program};
use penstock_e2e::topology::{Place, Topology};
use penstock_e2e::wait::{Look, until};
use penstock_e2e::{startup, teardown};

const NAME: &str = "harness-test";

/// Two Pods, one a node, as somebody would write them who has a registry.
const WEB: &str = "
apiVersion: apps/v1
kind: DaemonSet
metadata: { name: web }
spec:
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      containers: [{ name: web, image: nginx }]
";

/// Removes the cluster also when the test fails.
struct Down(Topology);

impl Drop for Down {
    fn drop(&mut self) {
        if let Err(error) = teardown::down(&self.0) {
            eprintln!("{error:#}");
        }
    }
}

fn text(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

async fn pods_answer_pods(cluster: &Cluster) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), WEB).unwrap();
    cluster.kubectl(&["apply", "-f", &file.path().display().to_string()]).await.unwrap();
    cluster.kubectl(&["rollout", "status", "daemonset/web", "--timeout=120s"]).await.unwrap();
    let listed =
        "jsonpath={range .items[*]}{.metadata.name}{range .status.podIPs[*]} {.ip}{end}{\"\\n\"}{end}";
    let pods = cluster.kubectl(&["get", "pods", "-o", listed]).await.unwrap();
    let pods: Vec<Vec<&str>> = pods.lines().map(|line| line.split(' ').collect()).collect();
    assert_eq!(pods.len(), 2, "{pods:?}");
    for from in &pods {
        for to in &pods {
            for url in [format!("http://{}/", to[1]), format!("http://[{}]:8080/", to[2])] {
                let args = ["exec", from[0], "--", "curl", "-sS", "-m", "10", &url];
                let answer = cluster.kubectl(&args).await.unwrap();
                assert_eq!(answer.trim(), to[0], "{} asks {url}", from[0]);
            }
        }
    }
}

async fn machines_are_apart(cluster: &Cluster) {
    let name = cluster.run_in(Place::Node2, &["hostname"]).await.unwrap();
    assert_eq!(text(&name).trim(), "n2");
    let routes = cluster.run_in(Place::Client, &["ip", "route", "show", "default"]).await.unwrap();
    assert_eq!(text(&routes), "", "the client has a way out");
    let api = ["curl", "-sSk", "-m", "10", "https://[2001:db8:113::10]:6443/readyz"];
    assert_eq!(text(&cluster.run_in(Place::Client, &api).await.unwrap()), "ok");
}

async fn programs_have_their_own_rights(cluster: &Cluster) {
    cluster.kubectl(&["create", "serviceaccount", "visitor"]).await.unwrap();
    let config = cluster.service_account_kubeconfig("default", "visitor").await.unwrap();
    let program = Program {
        name: "visitor".into(),
        program: cluster.tools().kubectl(),
        args: ["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"].map(str::to_owned).into(),
        env: vec![("KUBECONFIG".into(), config.display().to_string())],
    };
    let process = cluster.spawn(Place::Node1, &program).unwrap();
    until("an answer", Duration::from_secs(60), || async {
        let said = process.log_tail();
        Ok(if said.contains("system:serviceaccount:default:visitor") {
            Look::Ready(())
        } else {
            Look::NotYet(said)
        })
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_cluster_comes_up_and_leaves_no_trace() {
    let topology = Topology::new(NAME).unwrap();
    let down = Down(topology.clone());
    startup::up(&topology).await.unwrap();
    let cluster = Cluster::attach(NAME).unwrap();
    let status = cluster.status().await.unwrap();
    assert!(status.is_healthy(), "{status}");
    machines_are_apart(&cluster).await;
    pods_answer_pods(&cluster).await;
    programs_have_their_own_rights(&cluster).await;

    drop(down);
    assert_eq!(teardown::leftovers(&topology).unwrap(), Vec::<String>::new());
    assert!(Cluster::attach(NAME).unwrap_err().to_string().contains("penstock-e2e up --name harness-test"));
}
