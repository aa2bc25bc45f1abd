//! The seed's manifests, and what has to be true once they are applied: who gets an answer, and from whom.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{Api, ListParams};

use crate::cluster::{Cluster, Program};
use crate::install::apply;
use crate::progress::step_async;
use crate::topology::{EXTERNAL_HOST, EXTERNAL_IP, NODE_1, NODE_2, Place};
use crate::wait::{Look, until};

/// How long something may take to become true; it bounds the wait for what never does.
const SETTLE: Duration = Duration::from_secs(90);

/// Requests to reach every Pod at least once. With two Pods chosen at random, all of them would meet the same Pod
/// once in 2^63 runs.
const REQUESTS: usize = 64;

/// The port of the host outside the cluster that the Service without selector points at.
const EXTERNAL_PORT: u16 = 9376;

/// What the host outside the cluster answers.
const EXTERNAL_ANSWER: &str = "external-host";

/// Where a request is sent from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// A machine of the cluster, or the client outside it.
    Machine(Place),
    /// One of the nginx Pods.
    Pod,
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine(place) => f.write_str(place.name()),
            Self::Pod => f.write_str("pod"),
        }
    }
}

/// A request, and who has to answer it.
#[derive(Debug, Clone)]
pub struct Flow {
    /// What it shows.
    pub what: &'static str,
    /// Who asks.
    pub from: Sender,
    /// What is asked.
    pub url: String,
    /// Everybody who has to answer at least once; nobody else may.
    pub expected: BTreeSet<String>,
}

/// Applies all of the seed's manifests and waits until their Pods run.
///
/// # Errors
/// When an object is refused or a Pod does not start.
pub async fn apply_all(cluster: &Cluster) -> Result<()> {
    step_async("apply the seed's manifests and wait for nginx", async {
        apply(cluster, "manifests/seed").await?;
        start_external_host(cluster)?;
        let wait = ["rollout", "status", "deployment/mynginx", "--timeout=120s"];
        cluster.kubectl(&wait).await.map(|_| ())
    })
    .await
}

/// The host outside the cluster: busybox's web server at 192.0.2.42.
fn start_external_host(cluster: &Cluster) -> Result<()> {
    const NAME: &str = "external-host";
    if cluster.process(Place::Client, NAME)?.is_some_and(|process| process.is_alive()) {
        return Ok(());
    }
    let root = cluster.topology().state_dir().join(NAME);
    std::fs::create_dir_all(&root)?;
    std::fs::write(root.join("index.html"), format!("{EXTERNAL_ANSWER}\n"))?;
    let address = format!("{EXTERNAL_HOST}:{EXTERNAL_PORT}");
    let args =
        ["httpd", "-f", "-p", &address, "-h", root.to_str().context("the state directory is not UTF-8")?];
    let args = args.into_iter().map(ToOwned::to_owned).collect();
    cluster.spawn(
        Place::Client,
        &Program { name: NAME.into(), program: "/bin/busybox".into(), args, env: vec![] },
    )?;
    Ok(())
}

/// The names of the nginx Pods that are ready.
///
/// # Errors
/// When the API server does not answer.
pub async fn pods(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let api: Api<Pod> = Api::default_namespaced(cluster.client().await?);
    let listed =
        api.list(&ListParams::default().labels("run=mynginx")).await.context("list the nginx Pods")?;
    let living = listed.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    Ok(living.filter_map(|pod| pod.metadata.name).collect())
}

/// A Service of the namespace `default`.
///
/// # Errors
/// When it is not there.
pub async fn service(cluster: &Cluster, name: &str) -> Result<Service> {
    let api: Api<Service> = Api::default_namespaced(cluster.client().await?);
    api.get(name).await.with_context(|| format!("read Service {name}"))
}

/// Waits for the Service's first external IP.
///
/// # Errors
/// When it gets none.
pub async fn external_ip(cluster: &Cluster, name: &str) -> Result<IpAddr> {
    until(&format!("the EXTERNAL-IP of Service {name}"), SETTLE, || async {
        let service = service(cluster, name).await?;
        let ingress =
            service.status.and_then(|s| s.load_balancer).and_then(|b| b.ingress).unwrap_or_default();
        let ip = ingress.first().and_then(|i| i.ip.as_deref()).map(str::parse).transpose()?;
        Ok(ip.map_or_else(|| Look::NotYet("it is pending".into()), Look::Ready))
    })
    .await
}

/// The first ClusterIP of a Service.
///
/// # Errors
/// When it has none.
pub async fn cluster_ip(cluster: &Cluster, name: &str) -> Result<String> {
    let spec = service(cluster, name).await?.spec;
    spec.and_then(|s| s.cluster_ip).with_context(|| format!("Service {name} has no ClusterIP"))
}

/// Everything that the seed's Services promise.
///
/// # Errors
/// When a Service has not what its flow needs.
pub async fn flows(cluster: &Cluster) -> Result<Vec<Flow>> {
    let nginx = pods(cluster).await?;
    let client = Sender::Machine(Place::Client);
    let flow = |what, from, url| Flow { what, from, url, expected: nginx.clone() };
    let balancer = external_ip(cluster, "load-balancer").await?;
    let mut flows = vec![
        flow("LoadBalancer: EXTERNAL-IP", client, format!("http://{balancer}/")),
        flow("LoadBalancer: from a pod", Sender::Pod, format!("http://{balancer}/")),
        flow("externalIPs", client, format!("http://{EXTERNAL_IP}/")),
    ];
    for node in [NODE_1, NODE_2] {
        flows.push(flow("NodePort, IPv4", client, format!("http://{}:30080/", node.v4)));
        flows.push(flow("NodePort, IPv6", client, format!("http://[{}]:30080/", node.v6)));
    }
    let mynginx = cluster_ip(cluster, "mynginx").await?;
    flows.push(flow("ClusterIP: from a pod", Sender::Pod, format!("http://{mynginx}/")));
    flows.push(flow("ClusterIP: from a node", Sender::Machine(Place::Node2), format!("http://{mynginx}/")));
    let multi = cluster_ip(cluster, "multi-port").await?;
    flows.push(flow("multi-port: http", Sender::Pod, format!("http://{multi}:80/")));
    flows.push(flow("multi-port: https", Sender::Pod, format!("http://{multi}:443/")));
    flows.push(flow("chosen clusterIP", Sender::Pod, "http://10.96.0.77/".to_owned()));
    let without = cluster_ip(cluster, "mysvc").await?;
    let expected = BTreeSet::from([EXTERNAL_ANSWER.to_owned()]);
    let url = format!("http://{without}/");
    flows.push(Flow { what: "Service without selector", from: Sender::Pod, url, expected });
    Ok(flows)
}

impl Flow {
    /// Asks until everybody expected has answered.
    ///
    /// # Errors
    /// When somebody else answers, or somebody does not.
    pub async fn check(&self, cluster: &Cluster) -> Result<()> {
        let mut seen = BTreeSet::new();
        let mut last = String::new();
        for _ in 0..REQUESTS {
            match request(cluster, self.from, &self.url).await? {
                Ok(answer) => seen.insert(answer),
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            if seen == self.expected {
                return Ok(());
            }
        }
        Err(anyhow!("{self}: {seen:?} answered, expected {:?}; the last failure: {last:?}", self.expected))
    }

    /// As [`Flow::check`], once the first answer has come: rules and routes follow the objects, they are not there
    /// at the same moment.
    ///
    /// # Errors
    /// When no answer comes, or the wrong ones do.
    pub async fn settle(&self, cluster: &Cluster) -> Result<()> {
        until(&self.to_string(), SETTLE, || async {
            Ok(match request(cluster, self.from, &self.url).await? {
                Ok(_) => Look::Ready(()),
                Err(error) => Look::NotYet(error),
            })
        })
        .await?;
        self.check(cluster).await
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<28} {:<6} → {}", self.what, self.from.to_string(), self.url)
    }
}

/// One request: the body, or why there is none.
///
/// # Errors
/// When the request could not be made at all.
pub async fn request(
    cluster: &Cluster,
    from: Sender,
    url: &str,
) -> Result<std::result::Result<String, String>> {
    // `-g`: brackets of an IPv6 address are no pattern.
    let curl = ["curl", "-gsS", "--connect-timeout", "2", "--max-time", "4", url];
    let output = match from {
        Sender::Machine(place) => cluster.run_in(place, &curl).await?,
        Sender::Pod => {
            let pod = pods(cluster).await?.into_iter().next().context("there is no nginx Pod")?;
            let command = ["exec", pod.as_str(), "--"].into_iter().chain(curl).collect::<Vec<_>>();
            match cluster.kubectl(&command).await {
                Ok(body) => return Ok(Ok(body.trim().to_owned())),
                Err(error) => return Ok(Err(error.to_string())),
            }
        }
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Ok(if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) })
}

/// The MAC address that answers for an IPv4 address on the segment, as the client's kernel learns it anew; `None`
/// when nobody does.
///
/// # Errors
/// When the client cannot be asked.
pub async fn owner_mac(cluster: &Cluster, ip: IpAddr) -> Result<Option<String>> {
    let ip = ip.to_string();
    let run = |args: Vec<String>| async move {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        cluster.run_in(Place::Client, &args).await
    };
    let words = |text: String| text.split(' ').map(ToOwned::to_owned).collect::<Vec<_>>();
    // There may be no entry to delete; what counts is that there is none afterwards.
    run(words(format!("ip neigh del {ip} dev eth0"))).await?;
    run(words(format!("curl -s -o /dev/null --connect-timeout 1 http://{ip}:9/"))).await?;
    let shown = run(words(format!("ip neigh show to {ip} dev eth0"))).await?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let mut fields = shown.split_whitespace().skip_while(|word| *word != "lladdr");
    Ok(fields.nth(1).map(ToOwned::to_owned))
}

/// The node whose interface has the MAC address that answers for `ip`.
///
/// # Errors
/// When it is nobody's.
pub async fn owner(cluster: &Cluster, ip: IpAddr) -> Result<Option<Place>> {
    let Some(mac) = owner_mac(cluster, ip).await? else { return Ok(None) };
    for place in Place::NODES {
        let link = cluster.run_in(place, &["ip", "link", "show", "eth0"]).await?;
        ensure!(link.status.success(), "{} has no eth0", place.name());
        if String::from_utf8_lossy(&link.stdout).contains(&mac) {
            return Ok(Some(place));
        }
    }
    Err(anyhow!("{ip} is answered for by {mac}, which is no node's"))
}
