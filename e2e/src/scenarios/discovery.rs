//! How Pods find Services: environment variables, names, headless Services.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use super::proxy;
use super::scene::{MYNGINX, Scene, Sender};

async fn set(scene: &Scene<'_>) -> Result<String> {
    scene.apply("mynginx-service.yaml").await?;
    scene.deploy("mynginx.yaml", "mynginx").await?;
    scene.pod(MYNGINX).await
}

/// Of a Service that was there before the Pod.
pub(super) async fn environment_variables(scene: &Scene<'_>) -> Result<()> {
    scene.apply("mynginx-service.yaml").await?;
    scene.deploy("mynginx.yaml", "mynginx").await?;
    // Pods that were there before the Service have no variables of it.
    scene.kubectl(&["rollout", "restart", "deployment/mynginx"]).await?;
    scene.rolled_out("mynginx").await?;
    let ip = scene.field("service/mynginx", "{.spec.clusterIP}").await?;
    let environment = scene.exec(&scene.pod(MYNGINX).await?, &["/bin/sh", "-c", "busybox env"]).await?;
    for (name, value) in [("MYNGINX_SERVICE_HOST", ip.as_str()), ("MYNGINX_SERVICE_PORT", "80")] {
        scene
            .claim(&format!("a Pod has {name}={value}"), async {
                let line = format!("{name}={value}");
                ensure!(environment.lines().any(|other| other == line), "it has not: {environment}");
                Ok(())
            })
            .await;
    }
    Ok(())
}

/// Names of Services.
pub(super) async fn dns(scene: &Scene<'_>) -> Result<()> {
    let pod = set(scene).await?;
    let ip = scene.field("service/mynginx", "{.spec.clusterIP}").await?;
    let expected = BTreeSet::from([ip]);
    let name = format!("mynginx.{}.svc.cluster.local", scene.namespace);
    scene
        .claim("the Service's name leads to its cluster IP", async {
            scene.becomes("the name", &expected, || scene.lookup(&pod, "a", &name)).await
        })
        .await;
    scene
        .claim("Pods reach it by its short name", async {
            scene.answered_by(Sender::Pod(&pod), "http://mynginx/", &scene.pods(MYNGINX).await?).await
        })
        .await;
    scene
        .claim("a new Service has a name, and loses it with its end", async {
            scene.kubectl(&["create", "service", "clusterip", "late", "--tcp=80"]).await?;
            let late = BTreeSet::from([scene.field("service/late", "{.spec.clusterIP}").await?]);
            let name = format!("late.{}.svc.cluster.local", scene.namespace);
            scene.becomes("the name", &late, || scene.lookup(&pod, "a", &name)).await?;
            scene.kubectl(&["delete", "service", "late"]).await?;
            // nslookup fails then, and says why on its standard output.
            let ask = format!("busybox nslookup -type=a {name} || true");
            let missing =
                || async { Ok(scene.exec(&pod, &["/bin/sh", "-c", &ask]).await?.contains("NXDOMAIN")) };
            scene.becomes("the name's end", &true, missing).await
        })
        .await;
    Ok(())
}

/// `clusterIP: None`.
pub(super) async fn headless(scene: &Scene<'_>) -> Result<()> {
    let pod = set(scene).await?;
    proxy::settled(scene).await?;
    let rules = proxy::rules(scene.cluster).await?;
    scene.apply("headless.yaml").await?;
    let name = |service: &str| format!("{service}.{}.svc.cluster.local", scene.namespace);
    let (with, without) = (name("with-selector"), name("without-selector"));
    scene
        .claim("no cluster IP is allocated", async {
            let ip = scene.field("service/with-selector", "{.spec.clusterIP}").await?;
            ensure!(ip == "None", "it is {ip}");
            Ok(())
        })
        .await;
    scene
        .claim("with a selector the name has the Pods' addresses, one A record each", async {
            let ips = scene.pod_ips(MYNGINX).await?;
            scene.becomes("the records", &ips, || scene.lookup(&pod, "a", &with)).await
        })
        .await;
    scene
        .claim("without one it has those of the Endpoints of its name", async {
            let expected = BTreeSet::from(["192.0.2.42".to_owned()]);
            scene.becomes("the record", &expected, || scene.lookup(&pod, "a", &without)).await
        })
        .await;
    scene
        .claim("nothing is balanced for it: the node's rules are what they were", async {
            proxy::settled(scene).await?;
            ensure!(proxy::rules(scene.cluster).await? == rules, "the rules are others");
            Ok(())
        })
        .await;
    Ok(())
}

/// An alias for a host outside, in the namespace `prod`.
pub(super) async fn external_name(scene: &Scene<'_>) -> Result<()> {
    let pod = set(scene).await?;
    proxy::settled(scene).await?;
    let rules = proxy::rules(scene.cluster).await?;
    scene.apply("external-name.yaml").await?;
    scene
        .claim("my-service in prod is a CNAME of my.database.example.com", async {
            let expected = BTreeSet::from(["my.database.example.com".to_owned()]);
            let name = "my-service.prod.svc.cluster.local";
            scene.becomes("the alias", &expected, || scene.lookup(&pod, "cname", name)).await
        })
        .await;
    scene
        .claim("it is redirected by name alone: it has no address, and the rules are what they were", async {
            let ip = scene.field("service/my-service", "{.spec.clusterIP}").await?;
            ensure!(ip.is_empty(), "it has the address {ip}");
            proxy::settled(scene).await?;
            ensure!(proxy::rules(scene.cluster).await? == rules, "the rules are others");
            Ok(())
        })
        .await;
    Ok(())
}
