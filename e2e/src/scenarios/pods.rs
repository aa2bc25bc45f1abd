//! The seed's first half: Pods, Services with and without selectors, several ports, chosen addresses.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use super::scene::{MYNGINX, Scene, Sender};
use crate::seed;

/// The Pods' network, before there is any Service.
pub(super) async fn pods(scene: &Scene<'_>) -> Result<()> {
    scene.deploy("mynginx.yaml", "mynginx").await?;
    scene.apply("two-containers.yaml").await?;
    let ips = scene.pod_ips(MYNGINX).await?;
    let pod = scene.pod(MYNGINX).await?;
    let own = scene.field(&format!("pod/{pod}"), "{.status.podIP}").await?;
    scene
        .claim("every Pod has an address of its own", async {
            ensure!(ips.len() == 2, "two Pods have {ips:?}");
            Ok(())
        })
        .await;
    scene
        .claim("Pods reach each other by these addresses without NAT: each sees the other's own", async {
            for ip in ips.iter().filter(|ip| **ip != own) {
                let said = scene.curl(Sender::Pod(&pod), &["-D", "-", &format!("http://{ip}/")]).await?;
                ensure!(said.contains(&format!("X-Client: {own}\r\n")), "{ip} saw another sender: {said}");
            }
            Ok(())
        })
        .await;
    scene
        .claim("containers of a Pod reach each other by localhost", async {
            scene.kubectl(&["wait", "pod/two-containers", "--for=condition=Ready", "--timeout=120s"]).await?;
            let ask = ["exec", "two-containers", "-c", "neighbour", "--", "curl", "-sS", "http://localhost/"];
            let said = scene.kubectl(&ask).await?;
            ensure!(said.trim() == "two-containers", "{said:?} answered");
            Ok(())
        })
        .await;
    Ok(())
}

/// One address and name before Pods that come and go.
pub(super) async fn services(scene: &Scene<'_>) -> Result<()> {
    scene.deploy("mynginx.yaml", "mynginx").await?;
    scene
        .claim("kubectl expose deployment mynginx makes a Service with a cluster IP", async {
            scene.kubectl(&["expose", "deployment", "mynginx"]).await?;
            let ip = scene.field("service/mynginx", "{.spec.clusterIP}").await?;
            scene.nginx_answers(&format!("http://{ip}/")).await
        })
        .await;
    scene.apply("mynginx-service.yaml").await?;
    let ip = scene.field("service/mynginx", "{.spec.clusterIP}").await?;
    let url = format!("http://{ip}/");
    scene
        .claim("the manifest: port 80, targetPort 8080, answered by every Pod", async {
            scene.nginx_answers(&url).await
        })
        .await;
    scene
        .claim("the default protocol is TCP", async {
            let protocol = scene.field("service/mynginx", "{.spec.ports[0].protocol}").await?;
            ensure!(protocol == "TCP", "it is {protocol}");
            Ok(())
        })
        .await;
    scene
        .claim("Pods that are made anew have other addresses, and the Service's stays and answers", async {
            let before = scene.pod_ips(MYNGINX).await?;
            scene.kubectl(&["delete", "pods", "-l", MYNGINX]).await?;
            scene.rolled_out("mynginx").await?;
            let after = scene.pod_ips(MYNGINX).await?;
            ensure!(before.is_disjoint(&after), "{before:?} became {after:?}");
            ensure!(scene.field("service/mynginx", "{.spec.clusterIP}").await? == ip, "its address changed");
            scene.nginx_answers(&url).await
        })
        .await;
    Ok(())
}

/// The Endpoints object follows the selector.
pub(super) async fn endpoints(scene: &Scene<'_>) -> Result<()> {
    let endpoints = || async {
        let said = scene.field("endpoints/mynginx", "{.subsets[*].addresses[*].ip}").await?;
        Ok(said.split_whitespace().map(ToOwned::to_owned).collect::<BTreeSet<_>>())
    };
    scene
        .claim("the Endpoints object mynginx has the Pods' addresses", async {
            let ips = scene.pod_ips(MYNGINX).await?;
            scene.becomes("the Endpoints", &ips, endpoints).await
        })
        .await;
    scene
        .claim("a Pod more is in it, and answers", async {
            scene.kubectl(&["scale", "deployment/mynginx", "--replicas=3"]).await?;
            scene.rolled_out("mynginx").await?;
            let ips = scene.pod_ips(MYNGINX).await?;
            ensure!(ips.len() == 3, "{ips:?}");
            scene.becomes("the Endpoints", &ips, endpoints).await?;
            let ip = scene.field("service/mynginx", "{.spec.clusterIP}").await?;
            scene.nginx_answers(&format!("http://{ip}/")).await
        })
        .await;
    scene
        .claim("a Pod that loses the label is no longer in it", async {
            let pod = scene.pod(MYNGINX).await?;
            let ip = scene.field(&format!("pod/{pod}"), "{.status.podIP}").await?;
            scene.kubectl(&["label", "pod", &pod, "run-"]).await?;
            scene
                .becomes("its end in the Endpoints", &false, || async {
                    Ok(endpoints().await?.contains(&ip))
                })
                .await?;
            scene.kubectl(&["delete", "pod", &pod]).await?;
            scene.kubectl(&["scale", "deployment/mynginx", "--replicas=2"]).await?;
            scene.rolled_out("mynginx").await
        })
        .await;
    Ok(())
}

/// A Service for a host outside the cluster.
pub(super) async fn without_selector(scene: &Scene<'_>) -> Result<()> {
    seed::start_external_host(scene.cluster)?;
    scene.deploy("mynginx.yaml", "mynginx").await?;
    scene.apply("without-selector-service.yaml").await?;
    scene
        .claim("no Endpoints object is made for it", async {
            // Another Service's Endpoints show that the controller has been at work since.
            scene.apply("mynginx-service.yaml").await?;
            let made = || async { Ok(scene.kubectl(&["get", "endpoints", "mynginx"]).await.is_ok()) };
            scene.becomes("Endpoints of the other Service", &true, made).await?;
            ensure!(scene.kubectl(&["get", "endpoints", "mysvc"]).await.is_err(), "there is one");
            Ok(())
        })
        .await;
    scene
        .claim("Endpoints written by hand lead to the host outside, at its own port", async {
            scene.apply("without-selector-endpoints.yaml").await?;
            let ip = scene.field("service/mysvc", "{.spec.clusterIP}").await?;
            let expected = BTreeSet::from([seed::EXTERNAL_ANSWER.to_owned()]);
            let pod = scene.pod(MYNGINX).await?;
            scene.answered_by(Sender::Pod(&pod), &format!("http://{ip}/"), &expected).await
        })
        .await;
    Ok(())
}

/// The Pods that the seed's Services select but for their label `run`, which they get here.
pub(super) async fn applications(scene: &Scene<'_>, run: &str) -> Result<BTreeSet<String>> {
    scene.deploy("applications.yaml", "application").await?;
    scene.kubectl(&["label", "pods", "-l", "application=seed", "--overwrite", run]).await?;
    scene.pods("application=seed").await
}

/// What an application's Pods answer at a port.
pub(super) fn answers(pods: &BTreeSet<String>, port: u16) -> BTreeSet<String> {
    pods.iter().map(|pod| format!("{pod} {port}")).collect()
}

/// Several ports, each with a name.
pub(super) async fn multi_port(scene: &Scene<'_>) -> Result<()> {
    let pods = applications(scene, "run=myap").await?;
    scene.apply("multi-port.yaml").await?;
    let ip = scene.field("service/mysvc", "{.spec.clusterIP}").await?;
    let pod = scene.pod("run=myap").await?;
    for (name, port, target) in [("http", 80, 9376), ("https", 443, 9377)] {
        scene
            .claim(&format!("port {port} ({name}) leads to {target}"), async {
                let url = format!("http://{ip}:{port}/");
                scene.answered_by(Sender::Pod(&pod), &url, &answers(&pods, target)).await
            })
            .await;
    }
    let refused = scene.is_refused("ports-without-names.yaml", "name: Required value");
    scene.claim("several ports without names are refused", refused).await;
    Ok(())
}

/// `spec.clusterIP`.
pub(super) async fn chosen_cluster_ip(scene: &Scene<'_>) -> Result<()> {
    scene.deploy("mynginx.yaml", "mynginx").await?;
    scene.apply("chosen-cluster-ip.yaml").await?;
    scene
        .claim("the Service has the address that was chosen, and answers there", async {
            scene.nginx_answers("http://10.96.0.79/").await
        })
        .await;
    let taken = scene.is_refused("taken-cluster-ip.yaml", "provided IP is already allocated");
    scene.claim("an address that is taken is refused", taken).await;
    let foreign = scene.is_refused("foreign-cluster-ip.yaml", "does not match the current range");
    scene.claim("an address outside service-cluster-ip-range is refused", foreign).await;
    Ok(())
}
