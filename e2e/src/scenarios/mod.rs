//! `seed`: the document that Penstock began with, section by section. Its manifests are applied as they are written there, and
//! each claim is checked on real kubelets.

mod discovery;
mod pods;
mod proxy;
mod report;
mod scene;
mod secure;
mod service_types;

use anyhow::Result;

use crate::cluster::Cluster;
use crate::install;
use crate::startup;
use crate::teardown;
use crate::topology::Topology;
use report::{Outcome, Report, Section};
use scene::Scene;

/// What is to be played.
#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Which cluster; it is brought up if need be, and taken down then.
    #[arg(long, default_value = "penstock")]
    name: String,
    /// Only sections whose title contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// The titles, and the namespaces that their objects lie in: sections of one namespace follow one another.
const SECTIONS: [(&str, &str); 18] = [
    ("Services: what Pods have", "seed-pods"),
    ("Services: a stable address", "seed"),
    ("Services: Endpoints follow the selector", "seed"),
    ("Service without selectors", "seed-outside"),
    ("kube-proxy", "seed"),
    ("iptables proxy mode", "seed"),
    ("IPVS proxy mode", "seed"),
    ("Multi-port Services", "seed-ports"),
    ("Choosing your own IP address", "seed-chosen"),
    ("Environment variables", "seed"),
    ("DNS", "seed"),
    ("Headless services", "seed"),
    ("ClusterIP", "seed"),
    ("NodePort", "seed"),
    ("LoadBalancer", "seed-balanced"),
    ("ExternalName", "prod"),
    ("External IP", "default"),
    ("Securing the Service", "default"),
];

async fn play(title: &str, scene: &Scene<'_>) -> Result<()> {
    match title {
        "Services: what Pods have" => pods::pods(scene).await,
        "Services: a stable address" => pods::services(scene).await,
        "Services: Endpoints follow the selector" => pods::endpoints(scene).await,
        "Service without selectors" => pods::without_selector(scene).await,
        "kube-proxy" => proxy::every_node(scene).await,
        "iptables proxy mode" => proxy::iptables(scene).await,
        "IPVS proxy mode" => proxy::ipvs(scene).await,
        "Multi-port Services" => pods::multi_port(scene).await,
        "Choosing your own IP address" => pods::chosen_cluster_ip(scene).await,
        "Environment variables" => discovery::environment_variables(scene).await,
        "DNS" => discovery::dns(scene).await,
        "Headless services" => discovery::headless(scene).await,
        "ClusterIP" => service_types::cluster_ip(scene).await,
        "NodePort" => service_types::node_port(scene).await,
        "LoadBalancer" => service_types::load_balancer(scene).await,
        "ExternalName" => discovery::external_name(scene).await,
        "External IP" => service_types::external_ip(scene).await,
        "Securing the Service" => secure::secure(scene).await,
        other => anyhow::bail!("{other} has no scenario"),
    }
}

/// Plays all sections, prints what became of each claim and a table, and returns whether all of it is so.
///
/// # Errors
/// When there is no cluster to play on.
pub async fn run(flags: &Flags) -> Result<bool> {
    let topology = Topology::new(&flags.name)?;
    let was_up = Cluster::attach(topology.name()).is_ok();
    let outcome = play_all(&topology, flags).await;
    if !was_up {
        teardown::down(&topology)?;
    }
    let report = outcome?;
    println!("\n{report}");
    Ok(report.is_good())
}

async fn play_all(topology: &Topology, flags: &Flags) -> Result<Report> {
    let cluster = startup::up(topology).await?;
    install::install(&cluster).await?;
    clear(&cluster).await?;
    let mut report = Report::default();
    let wanted = |title: &str| flags.only.as_ref().is_none_or(|only| title.contains(only.as_str()));
    for (title, namespace) in SECTIONS.into_iter().filter(|(title, _)| wanted(title)) {
        println!("\n{title}");
        let scene = Scene::set(&cluster, namespace).await?;
        if let Err(error) = play(title, &scene).await {
            scene.note("what the section needs", Outcome::Failed(format!("{error:#}")));
        }
        report.0.push(Section { title, outcomes: scene.outcomes() });
    }
    clear(&cluster).await?;
    Ok(report)
}

/// What the demo or an earlier run left: external addresses and ports are there once only.
async fn clear(cluster: &Cluster) -> Result<()> {
    let demo = install::manifest("manifests/seed")?;
    cluster.kubectl(&["delete", "--ignore-not-found", "-f", &demo]).await?;
    let mut namespaces: Vec<&str> = SECTIONS.iter().map(|(_, namespace)| *namespace).collect();
    namespaces.retain(|namespace| *namespace != "default");
    namespaces.dedup();
    let delete = ["delete", "namespace", "--ignore-not-found"];
    cluster.kubectl(&delete.into_iter().chain(namespaces).collect::<Vec<_>>()).await?;
    Ok(())
}
