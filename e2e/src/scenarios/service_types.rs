//! ClusterIP, NodePort, LoadBalancer, and external IPs.

use anyhow::{Context, Result, ensure};
use ipnet::Ipv4Net;

use super::pods::{answers, applications};
use super::scene::{MYNGINX, Scene, Sender};
use crate::install::{self, Parts};
use crate::seed;
use crate::topology::{EXTERNAL_IP, NODE_1, NODE_2, Place};

async fn set(scene: &Scene<'_>, manifest: &str) -> Result<()> {
    scene.apply(manifest).await?;
    scene.deploy("mynginx.yaml", "mynginx").await
}

/// The default type.
pub(super) async fn cluster_ip(scene: &Scene<'_>) -> Result<()> {
    set(scene, "mynginx-service.yaml").await?;
    let ip = scene.field("service/mynginx", "{.spec.clusterIP}").await?;
    scene
        .claim("it is the default type", async {
            let kind = scene.field("service/mynginx", "{.spec.type}").await?;
            ensure!(kind == "ClusterIP", "it is {kind}");
            Ok(())
        })
        .await;
    let url = format!("http://{ip}/");
    scene.claim("it is reachable within the cluster", async { scene.nginx_answers(&url).await }).await;
    scene
        .claim("it is not reachable from outside", async {
            let error = seed::connect_error(scene.cluster, Place::Client, &url).await?;
            error.context("the client outside has an answer").map(|_| ())
        })
        .await;
    Ok(())
}

/// On every node's address.
pub(super) async fn node_port(scene: &Scene<'_>) -> Result<()> {
    set(scene, "node-port.yaml").await?;
    let port: u16 = scene.field("service/node-port", "{.spec.ports[0].nodePort}").await?.parse()?;
    scene
        .claim("the port is of the range 30000-32767, and a cluster IP is created", async {
            ensure!((30_000..=32_767).contains(&port), "it is {port}");
            let ip = scene.field("service/node-port", "{.spec.clusterIP}").await?;
            ensure!(!ip.is_empty() && ip != "None", "there is no cluster IP");
            Ok(())
        })
        .await;
    let refused = scene.is_refused("node-port-out-of-range.yaml", "not in the valid range");
    scene.claim("a port outside the range is refused", refused).await;
    let pods = scene.pods(MYNGINX).await?;
    for node in [NODE_1, NODE_2] {
        let url = format!("http://{}:{port}/", node.v4);
        let answered = scene.answered_by(Sender::Machine(Place::Client), &url, &pods);
        scene.claim(&format!("NodeIP:NodePort answers from outside: {url}"), answered).await;
    }
    node_port_addresses(scene, port).await
}

/// Only the first node's address is in the range.
async fn node_port_addresses(scene: &Scene<'_>, port: u16) -> Result<()> {
    let only = Ipv4Net::from(NODE_1.v4);
    install::install_parts(scene.cluster, Parts { node_port_addresses: Some(only), ..Parts::ALL }).await?;
    scene
        .claim("with --nodeport-addresses other addresses do not answer", async {
            let refused = || async {
                let url = format!("http://{}:{port}/", NODE_2.v4);
                Ok(seed::connect_error(scene.cluster, Place::Client, &url).await?.is_some())
            };
            scene.becomes("no answer of the second node", &true, refused).await?;
            let url = format!("http://{}:{port}/", NODE_1.v4);
            scene.answered_by(Sender::Machine(Place::Client), &url, &scene.pods(MYNGINX).await?).await
        })
        .await;
    install::install(scene.cluster).await
}

/// From an address pool.
pub(super) async fn load_balancer(scene: &Scene<'_>) -> Result<()> {
    let pods = answers(&applications(scene, "run=myapp").await?, 9376);
    scene.apply("load-balancer.yaml").await?;
    scene
        .claim("cluster IP and node port are created at once", async {
            for path in ["{.spec.clusterIP}", "{.spec.ports[0].nodePort}"] {
                ensure!(!scene.field("service/mysvc", path).await?.is_empty(), "there is no {path}");
            }
            Ok(())
        })
        .await;
    const INGRESS: &str = "{.status.loadBalancer.ingress[0].ip}";
    scene
        .claim("its address is published in status.loadBalancer, some time later", async {
            let published = || async { Ok(!scene.field("service/mysvc", INGRESS).await?.is_empty()) };
            scene.becomes("the address", &true, published).await
        })
        .await;
    let ip = scene.field("service/mysvc", INGRESS).await?;
    let url = format!("http://{ip}/");
    let from_outside = scene.answered_by(Sender::Machine(Place::Client), &url, &pods);
    scene.claim("it answers from outside at that address", from_outside).await;
    let port = scene.field("service/mysvc", "{.spec.ports[0].nodePort}").await?;
    let url = format!("http://{}:{port}/", NODE_2.v4);
    scene.claim("and at its node port", scene.answered_by(Sender::Machine(Place::Client), &url, &pods)).await;
    Ok(())
}

/// `spec.externalIPs`.
pub(super) async fn external_ip(scene: &Scene<'_>) -> Result<()> {
    let pods = answers(&applications(scene, "run=myapp").await?, 9376);
    scene.apply("external-ip.yaml").await?;
    let url = format!("http://{EXTERNAL_IP}:80/");
    let answered = scene.answered_by(Sender::Machine(Place::Client), &url, &pods);
    scene.claim("my-service is reachable at 80.11.12.10:80", answered).await;
    scene.kubectl(&["delete", "service/my-service", "deployment/application"]).await?;
    Ok(())
}
