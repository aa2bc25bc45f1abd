//! kube-proxy's part and its modes.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, ensure};

use super::scene::{MYNGINX, Scene, Sender};
use crate::cluster::Cluster;
use crate::component::node_agent;
use crate::flows::program::Mode;
use crate::install::{self, Parts};
use crate::topology::Place;

/// The lines of what the first node's kernel has in nftables, whatever their order.
pub(super) async fn rules(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let output = cluster.run_in(Place::Node1, &["nft", "list", "ruleset"]).await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.split([',', '\n']).map(|part| part.trim().to_owned()).collect())
}

/// Waits until the first node's agent has seen all Services up to now: one that is made has rules, and none once it
/// is gone.
pub(super) async fn settled(scene: &Scene<'_>) -> Result<()> {
    scene.kubectl(&["create", "service", "clusterip", "mark", "--tcp=80"]).await?;
    let ip = scene.field("service/mark", "{.spec.clusterIP}").await?;
    let has_rules = || async {
        Ok(rules(scene.cluster).await?.iter().any(|part| part.split_whitespace().any(|word| word == ip)))
    };
    scene.becomes("rules of a new Service", &true, has_rules).await?;
    scene.kubectl(&["delete", "service", "mark"]).await?;
    scene.becomes("the end of its rules", &false, has_rules).await
}

/// Every node implements virtual addresses.
pub(super) async fn every_node(scene: &Scene<'_>) -> Result<()> {
    scene.apply("mynginx-service.yaml").await?;
    scene.deploy("mynginx.yaml", "mynginx").await?;
    scene
        .claim("a node agent runs on every node, and no kube-proxy", async {
            let label = ["get", "pods", "-A", "-o", "jsonpath={.items[*].metadata.labels}"];
            let labels = scene.cluster.kubectl(&label).await?;
            ensure!(!labels.contains("kube-proxy"), "there is a kube-proxy");
            for place in Place::NODES {
                node_agent(place).wait_until_ready(scene.cluster).await?;
            }
            Ok(())
        })
        .await;
    answer_from_every_node(scene, "each node forwards a cluster IP to every Pod").await
}

async fn answer_from_every_node(scene: &Scene<'_>, what: &str) -> Result<()> {
    let ip = scene.field("service/mynginx", "{.spec.clusterIP}").await?;
    scene
        .claim(what, async {
            let pods = scene.pods(MYNGINX).await?;
            for place in Place::NODES {
                let url = format!("http://{ip}/");
                scene.answered_by(Sender::Machine(place), &url, &pods).await?;
            }
            Ok(())
        })
        .await;
    Ok(())
}

/// The node agents in mode iptables, and back.
pub(super) async fn iptables(scene: &Scene<'_>) -> Result<()> {
    scene.apply("mynginx-service.yaml").await?;
    scene.deploy("mynginx.yaml", "mynginx").await?;
    install::install_parts(scene.cluster, Parts { node: Some(Mode::Iptables), ..Parts::ALL }).await?;
    let ip = scene.field("service/mynginx", "{.spec.clusterIP}").await?;
    scene
        .claim("a Service's address and port are captured by rules of iptables", async {
            let ask = ["iptables-save", "-t", "nat"];
            let saved = || async {
                let output = scene.cluster.run_in(Place::Node1, &ask).await?;
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                Ok(text
                    .lines()
                    .any(|rule| rule.contains(&format!("-d {ip}/32")) && rule.contains("--dport 80")))
            };
            scene.becomes("a rule", &true, saved).await
        })
        .await;
    let answered = answer_from_every_node(scene, "connections reach every Pod, chosen at random").await;
    install::install(scene.cluster).await?;
    answered
}

/// The kernel of this machine decides whether it can be seen.
pub(super) async fn ipvs(scene: &Scene<'_>) -> Result<()> {
    const WHAT: &str = "virtual servers of IPVS, with a scheduler";
    if !Path::new("/proc/net/ip_vs").exists() {
        let why = "this kernel has no IPVS; `make flows MODE=ipvs` shows it in a kernel of its own";
        scene.skip(WHAT, why);
        return Ok(());
    }
    scene.apply("mynginx-service.yaml").await?;
    scene.deploy("mynginx.yaml", "mynginx").await?;
    install::install_parts(scene.cluster, Parts { node: Some(Mode::Ipvs), ..Parts::ALL }).await?;
    let answered = answer_from_every_node(scene, WHAT).await;
    install::install(scene.cluster).await?;
    answered
}
