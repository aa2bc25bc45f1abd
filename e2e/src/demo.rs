//! `demo`: the main job, shown. A cluster, Penstock on it, the seed's Services, and who answers for them.

use anyhow::{Context, Result, ensure};

use crate::cluster::Cluster;
use crate::component::OURS;
use crate::install::{self, install};
use crate::penstock_image::LIMIT;
use crate::progress::{say, step_async};
use crate::seed::{self, Flow};
use crate::startup;
use crate::topology::Topology;

/// Brings everything up and shows it; the cluster stays.
///
/// # Errors
/// One sentence about what did not come up or did not answer.
pub async fn demo(topology: &Topology) -> Result<()> {
    let cluster = startup::up(topology).await?;
    install(&cluster).await?;
    show_image(&cluster).await?;
    seed::apply_all(&cluster).await?;
    let external_ip =
        step_async("wait for the EXTERNAL-IP", seed::external_ip(&cluster, "load-balancer")).await?;
    println!("\n$ kubectl get nodes -o wide\n{}", cluster.kubectl(&["get", "nodes", "-o", "wide"]).await?);
    let pods = ["get", "pods", "-A", "-l", OURS, "-o", "wide"];
    println!("$ kubectl get pods -A -l {OURS} -o wide\n{}", cluster.kubectl(&pods).await?);
    println!("$ kubectl get svc -A\n{}", cluster.kubectl(&["get", "svc", "-A"]).await?);
    show_name(&cluster).await?;
    show_flows(&cluster).await?;
    step_async("helm test", install::test(&cluster)).await?;
    let owner = seed::owner(&cluster, external_ip).await?;
    ensure!(owner.is_some(), "nobody answers ARP for {external_ip}");
    let owner = owner.map_or("nobody", |place| place.name());
    println!("\n{external_ip} is announced by {owner}. The cluster stays up; `make down` removes it.\n");
    println!("export KUBECONFIG={}", cluster.kubeconfig().display());
    println!("export PATH={}:$PATH", cluster.tools().kubectl().with_file_name("").display());
    Ok(())
}

/// How large our image is. Only what is built as users get it is held to the limit.
async fn show_image(cluster: &Cluster) -> Result<()> {
    let image = install::built_image(cluster).await?;
    let (tag, size) = (image.tag().to_owned(), image.compressed_size()?);
    let megabytes = |octets: u64| format!("{}.{} MB", octets / 1_000_000, octets / 100_000 % 10);
    println!("\nthe image penstock:{tag} of all programs is {} compressed", megabytes(size));
    ensure!(cfg!(debug_assertions) || size <= LIMIT, "the image is larger than {}", megabytes(LIMIT));
    Ok(())
}

/// What a Pod is told about a Service's name.
async fn show_name(cluster: &Cluster) -> Result<()> {
    const NAME: &str = "mynginx.default.svc.cluster.local";
    let pod = seed::pods(cluster).await?.into_iter().next().context("no nginx Pod is ready")?;
    let address = seed::cluster_ip(cluster, "mynginx").await?;
    let said = cluster.kubectl(&["exec", &pod, "--", "nslookup", NAME]).await?;
    println!("$ kubectl exec {pod} -- nslookup {NAME}\n{said}");
    ensure!(said.contains(&address), "{NAME} is not {address} to a Pod");
    Ok(())
}

/// Asks along every flow; all are shown before the first failure is reported.
async fn show_flows(cluster: &Cluster) -> Result<()> {
    say("ask every Service until every Pod has answered");
    let mut failures = Vec::new();
    for flow in seed::flows(cluster).await? {
        match flow.settle(cluster).await {
            Ok(()) => println!("  answered  {flow}  ({})", answered(&flow)),
            Err(error) => {
                println!("  FAILED    {flow}");
                failures.push(error.to_string());
            }
        }
    }
    ensure!(
        failures.is_empty(),
        "{} of the seed's Services did not answer: {}",
        failures.len(),
        failures.join("; ")
    );
    Ok(())
}

fn answered(flow: &Flow) -> String {
    flow.expected.iter().cloned().collect::<Vec<_>>().join(", ")
}
