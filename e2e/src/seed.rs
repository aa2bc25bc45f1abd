//! The seed's manifests, and what has to be true once they are applied: who gets an answer, and from whom.

use std::cell::RefCell;
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

/// How many requests in a row have to be answered. Where one of three endpoints is dead, all of them would miss it once
/// in 16 000 runs.
const REQUESTS: usize = 24;

/// The port of the host outside the cluster that the Service without selector points at.
const EXTERNAL_PORT: u16 = 9376;

/// What the host outside the cluster answers.
pub(crate) const EXTERNAL_ANSWER: &str = "external-host";

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
pub(crate) fn start_external_host(cluster: &Cluster) -> Result<()> {
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
    Ok(listed.into_iter().filter(is_ready).filter_map(|pod| pod.metadata.name).collect())
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
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
    for name in ["mynginx", "mynginx.default.svc.cluster.local"] {
        flows.push(flow("a Service's name: from a pod", Sender::Pod, format!("http://{name}/")));
    }
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
    /// Asks [`REQUESTS`] times, and on until everybody expected has answered. An endpoint that is gone but still in the
    /// rules swallows a part of the connections: whoever stops at the first success does not see it.
    ///
    /// # Errors
    /// When one request gets no answer, somebody else answers, or somebody does not.
    pub async fn check(&self, cluster: &Cluster) -> Result<()> {
        let seen = RefCell::new(BTreeSet::new());
        until(&self.to_string(), SETTLE, || async {
            for answer in requests(cluster, self.from, &self.url, REQUESTS).await? {
                let name = answer.map_err(|error| anyhow!("{self}: a request failed: {error}"))?;
                ensure!(self.expected.contains(&name), "{self}: {name:?} answered, not {:?}", self.expected);
                seen.borrow_mut().insert(name);
            }
            let seen = seen.borrow();
            Ok(match *seen == self.expected {
                true => Look::Ready(()),
                false => Look::NotYet(format!("{seen:?} answered, expected {:?}", self.expected)),
            })
        })
        .await
    }

    /// As [`Flow::check`], once the first answer has come: rules and routes follow the objects, they are not there
    /// at the same moment.
    ///
    /// # Errors
    /// When no answer comes, or as [`Flow::check`].
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

/// What a request came to: the body, or why there is none.
pub type Answer = std::result::Result<String, String>;

/// Asks `$1` up to `$2` times, one line each, and ends at the first failure: what comes after it changes nothing.
/// `-g`: brackets of an IPv6 address are no pattern.
const ASK: &str = r#"
i=0
while [ "$i" -lt "$2" ]; do
    if body=$(curl -gsS --connect-timeout 2 --max-time 4 "$1" 2>&1); then
        printf 'answer %s\n' "$(printf %s "$body" | tr '\n' ' ')"
    else
        printf 'failure %s\n' "$(printf %s "$body" | tr '\n' ' ')"
        exit 0
    fi
    i=$((i + 1))
done
"#;

/// One request.
///
/// # Errors
/// When the request could not be made at all.
pub async fn request(cluster: &Cluster, from: Sender, url: &str) -> Result<Answer> {
    requests(cluster, from, url, 1).await?.pop().with_context(|| format!("nothing was said about {url}"))
}

/// Up to `count` requests, one after the other, up to the first failure. One command makes all of them: to start one
/// in a Pod takes longer than many requests.
///
/// # Errors
/// When the requests could not be made at all.
async fn requests(cluster: &Cluster, from: Sender, url: &str, count: usize) -> Result<Vec<Answer>> {
    let count = count.to_string();
    let ask = ["/bin/sh", "-c", ASK, "ask", url, &count];
    let said = match from {
        Sender::Machine(place) => {
            let output = cluster.run_in(place, &ask).await?;
            let error = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{}: {}", place.name(), error.trim());
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
        Sender::Pod => {
            let pod = pods(cluster).await?.into_iter().next().context("no nginx Pod is ready")?;
            let command = ["exec", pod.as_str(), "--"].into_iter().chain(ask).collect::<Vec<_>>();
            match cluster.kubectl(&command).await {
                Ok(said) => said,
                Err(error) => return Ok(vec![Err(error.to_string())]),
            }
        }
    };
    said.lines().map(answer).collect()
}

fn answer(line: &str) -> Result<Answer> {
    let (kind, text) = line.split_once(' ').unwrap_or((line, ""));
    let text = text.trim().to_owned();
    match kind {
        "answer" => Ok(Ok(text)),
        "failure" => Ok(Err(text)),
        _ => Err(anyhow!("{line:?} is no line about a request")),
    }
}

/// The MAC addresses that answer for an IPv4 address on the segment when the client asks three times.
///
/// # Errors
/// When the client cannot ask.
async fn owner_macs(cluster: &Cluster, ip: IpAddr) -> Result<BTreeSet<String>> {
    let ip = ip.to_string();
    // `-r`: a line a reply, with the MAC address alone. `-W`, `-w`: seconds between questions, and for all of them.
    let ask = ["arping", "-r", "-i", "eth0", "-c", "3", "-W", "0.3", "-w", "3", &ip];
    let output = cluster.run_in(Place::Client, &ask).await?;
    let said = String::from_utf8_lossy(&output.stderr);
    // It fails also when nobody answers, and says nothing then.
    ensure!(output.status.success() || said.trim().is_empty(), "arping {ip} failed: {}", said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).split_whitespace().map(ToOwned::to_owned).collect())
}

/// The nodes that answer for `ip`: one in a steady state, more for a moment while it moves.
///
/// # Errors
/// When somebody answers who is no node.
pub async fn owners(cluster: &Cluster, ip: IpAddr) -> Result<Vec<Place>> {
    let mut macs = owner_macs(cluster, ip).await?;
    let mut owners = Vec::new();
    for place in Place::NODES {
        let link = cluster.run_in(place, &["cat", "/sys/class/net/eth0/address"]).await?;
        ensure!(link.status.success(), "{} has no eth0", place.name());
        if macs.remove(String::from_utf8_lossy(&link.stdout).trim()) {
            owners.push(place);
        }
    }
    ensure!(macs.is_empty(), "{ip} is answered for by {macs:?}, which is no node's");
    Ok(owners)
}

/// The node that answers for `ip`, if any.
///
/// # Errors
/// When several do.
pub async fn owner(cluster: &Cluster, ip: IpAddr) -> Result<Option<Place>> {
    let owners = owners(cluster, ip).await?;
    ensure!(owners.len() <= 1, "{ip} is answered for by several nodes at once: {owners:?}");
    Ok(owners.first().copied())
}

/// The system's words for why a connection did not come about, as the client sees it; `None` when it did.
///
/// # Errors
/// When the client cannot ask.
pub async fn connect_error(cluster: &Cluster, from: Place, url: &str) -> Result<Option<String>> {
    // curl's own sentence is the same for a refusal and an unreachable network; the verbose one names the errno.
    let ask = ["curl", "-gsv", "-o", "/dev/null", "--connect-timeout", "2", "--max-time", "4", url];
    let output = cluster.run_in(from, &ask).await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((!output.status.success()).then_some(said))
}
