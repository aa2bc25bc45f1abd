//! "Securing the Service": a certificate, a Secret, and an nginx that uses it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::scene::{Scene, Sender};
use crate::cluster::output;
use crate::topology::{NODE_1, Place};

pub(super) async fn secure(scene: &Scene<'_>) -> Result<()> {
    let directory = tempfile::tempdir().context("make a directory for the certificate")?;
    let (key, certificate) = (directory.path().join("nginx.key"), directory.path().join("nginx.crt"));
    make_certificate(&key, &certificate).await?;
    let secret = directory.path().join("nginxsecrets.yaml");
    fs::write(&secret, manifest(&key, &certificate)?).context("write the Secret")?;
    scene
        .claim("the Secret of the seed is taken", async {
            scene.kubectl(&["apply", "-f", path(&secret)?]).await.map(|_| ())
        })
        .await;
    scene.apply("my-nginx-configuration.yaml").await?;
    scene.deploy("my-nginx.yaml", "my-nginx").await?;
    let pod = scene.pod("run=my-nginx").await?;
    scene
        .claim("the keys are mounted at /etc/nginx/ssl", async {
            let mounted = scene.exec(&pod, &["/bin/busybox", "cat", "/etc/nginx/ssl/nginx.crt"]).await?;
            ensure!(mounted == fs::read_to_string(&certificate)?, "the certificate there is another one");
            Ok(())
        })
        .await;
    let field = |port: &str| format!("{{.spec.ports[?(@.name==\"{port}\")].nodePort}}");
    let (http, https) = (
        scene.field("service/my-nginx", &field("http")).await?,
        scene.field("service/my-nginx", &field("https")).await?,
    );
    let reach = [format!("my-nginx:{https}:{}", NODE_1.v4), format!("https://my-nginx:{https}/")];
    let authority = path(&certificate)?;
    let ask = ["--resolve", &reach[0], "--cacert", authority, &reach[1]];
    scene
        .claim(
            "https on the node port is answered with that certificate, which curl verifies by --cacert",
            async { scene.becomes("the answer", &format!("https from {pod}"), || said(scene, &ask)).await },
        )
        .await;
    scene
        .claim("who does not trust the certificate is not answered", async {
            let error =
                scene.curl(Sender::Machine(Place::Client), &["--resolve", &reach[0], &reach[1]]).await.err();
            let error = error.context("it was answered")?.to_string();
            ensure!(error.contains("self-signed") || error.contains("self signed"), "{error}");
            Ok(())
        })
        .await;
    let plain = format!("http://{}:{http}/", NODE_1.v4);
    let ask = [plain.as_str()];
    scene
        .claim("port 8080 is plain http", async {
            scene.becomes("the answer", &format!("http from {pod}"), || said(scene, &ask)).await
        })
        .await;
    let objects = [
        "delete",
        "service/my-nginx",
        "deployment/my-nginx",
        "secret/nginxsecret",
        "configmap/nginxconfigmap",
    ];
    scene.kubectl(&objects).await.map(|_| ())
}

async fn said(scene: &Scene<'_>, ask: &[&str]) -> Result<String> {
    scene.curl(Sender::Machine(Place::Client), ask).await.map(|said| said.trim().to_owned())
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("the path is not UTF-8")
}

/// The seed's command, with other paths.
async fn make_certificate(key: &Path, certificate: &Path) -> Result<()> {
    let mut command = Command::new("openssl");
    command.args([
        "req",
        "-x509",
        "-nodes",
        "-days",
        "365",
        "-newkey",
        "rsa:2048",
        "-subj",
        "/CN=my-nginx/O=my-nginx",
    ]);
    command.arg("-keyout").arg(key).arg("-out").arg(certificate);
    let output = output(command).await?;
    ensure!(output.status.success(), "openssl failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// The seed's Secret, with the base64 of both files, each on a single line.
fn manifest(key: &Path, certificate: &Path) -> Result<String> {
    let encoded = |path: &Path| -> Result<String> { Ok(STANDARD.encode(fs::read(path)?)) };
    Ok(format!(
        "apiVersion: \"v1\"\nkind: \"Secret\"\nmetadata:\n  name: \"nginxsecret\"\n  namespace: \"default\"\n\
         data:\n  nginx.crt: \"{}\"\n  nginx.key: \"{}\"\n",
        encoded(certificate)?,
        encoded(key)?
    ))
}
