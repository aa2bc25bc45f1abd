//! What `kubectl penstock env` prints is what real kubelets put into the environment of real Pods.
//!
//! The test uses the cluster `penstock-test`, which it brings up if it is not there; `make test` removes it. Penstock need
//! not run: the variables are the kubelet's own. The program is the sibling of this test in the target folder, as
//! `cargo build --workspace --bins` puts it there.

// clippy takes only functions marked as tests for tests; their parts are not.
#![allow(clippy::unwrap_used)]

use std::{cell::Cell, collections::BTreeMap, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use penstock_e2e::{
    cluster::Cluster,
    packages, startup,
    topology::Topology,
    wait::{Look, until},
};

const LIMIT: Duration = Duration::from_secs(120);
const NAMESPACE: &str = "told";

/// Every kind of Service that the rules tell apart. A name that two Services claim is left out: a kubelet takes either.
const SERVICES: &str = "
apiVersion: v1
kind: Service
metadata: { name: two-ports }
spec: { ports: [{ name: http-web, port: 80 }, { name: dns, port: 53, protocol: UDP }] }
---
apiVersion: v1
kind: Service
metadata: { name: unnamed }
spec: { type: NodePort, ports: [{ port: 8080, targetPort: 80 }] }
---
apiVersion: v1
kind: Service
metadata: { name: six }
spec: { ipFamilies: [IPv6], ports: [{ name: sctp, port: 132, protocol: SCTP }, { name: web, port: 80 }] }
---
apiVersion: v1
kind: Service
metadata: { name: both }
spec: { ipFamilyPolicy: RequireDualStack, ports: [{ port: 443 }] }
---
apiVersion: v1
kind: Service
metadata: { name: headless }
spec: { clusterIP: None, ports: [{ port: 80 }] }
---
apiVersion: v1
kind: Service
metadata: { name: alias }
spec: { type: ExternalName, externalName: web.example.com }
---
apiVersion: v1
kind: Service
metadata: { name: kubernetes }
spec: { ports: [{ name: other, port: 444 }] }
---
apiVersion: v1
kind: Service
metadata: { name: last }
spec: { ports: [{ port: 1 }] }
";

type Variables = BTreeMap<String, String>;

async fn apply(cluster: &Cluster, objects: &str) -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), objects)?;
    let path = file.path().display().to_string();
    cluster.kubectl(&["apply", "--namespace", NAMESPACE, "-f", &path]).await.map(|_| ())
}

fn variables(text: &str) -> Variables {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What a new Pod finds in its environment.
async fn environment_of_a_pod(cluster: &Cluster, name: &str, links: bool) -> Result<Variables> {
    let pod = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{ name: {name} }}\nspec:\n  enableServiceLinks: {links}\n  \
         containers: [{{ name: web, image: nginx, env: [{{ name: UNNAMED_SERVICE_PORT, value: mine }}] }}]\n"
    );
    apply(cluster, &pod).await?;
    let namespaced = ["--namespace", NAMESPACE];
    cluster
        .kubectl(
            &[&["wait", "--for=condition=Ready", "--timeout=120s", &format!("pod/{name}")], &namespaced[..]]
                .concat(),
        )
        .await?;
    let said = cluster.kubectl(&[&namespaced[..], &["exec", name, "--", "env"]].concat()).await?;
    cluster.kubectl(&[&["delete", "pod", name, "--wait=false"], &namespaced[..]].concat()).await?;
    Ok(variables(&said))
}

/// A kubelet learns of Services by a watch: the first Pods may be told of some only.
async fn environment_with_all(cluster: &Cluster) -> Result<Variables> {
    let number = Cell::new(0);
    until("a Pod that is told of all Services", LIMIT, || async {
        number.set(number.get() + 1);
        let name = format!("linked-{}", number.get());
        let environment = environment_of_a_pod(cluster, &name, true).await?;
        let lacking = ["TWO_PORTS", "UNNAMED", "SIX", "BOTH", "KUBERNETES", "LAST"]
            .into_iter()
            .find(|prefix| !environment.contains_key(&format!("{prefix}_SERVICE_HOST")));
        Ok(match lacking {
            None if environment["KUBERNETES_SERVICE_PORT"] == "444" => Look::Ready(environment),
            lacking => Look::NotYet(format!("{name} lacks {lacking:?}")),
        })
    })
    .await
}

/// By way of a shell, which is how the text is meant to be read.
fn printed(cluster: &Cluster, flags: &[&str]) -> Result<Variables> {
    let test = std::env::current_exe()?;
    let program = test.ancestors().nth(2).context("no target folder")?.join("kubectl-penstock");
    ensure!(program.exists(), "{} is missing: run cargo build --workspace --bins", program.display());
    let output = Command::new(program)
        .arg("--kubeconfig")
        .arg(cluster.kubeconfig())
        .args(["--namespace", NAMESPACE, "env"])
        .args(flags)
        .output()?;
    ensure!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let script = String::from_utf8(output.stdout)? + "env";
    let shell = Command::new("sh").env_clear().arg("-euc").arg(script).output()?;
    ensure!(shell.status.success(), "{shell:?}");
    let mut variables = variables(&String::from_utf8(shell.stdout)?);
    // The shell's own.
    variables.retain(|name, _| !["PWD", "OLDPWD", "SHLVL", "_"].contains(&name.as_str()));
    Ok(variables)
}

/// What is the image's, the kubelet's or the Pod's own goes; what the Pod itself sets counts before what it is told.
fn told(mut environment: Variables, own: &Variables) -> Variables {
    environment.retain(|name, _| !own.contains_key(name));
    environment
}

#[tokio::test]
async fn pods_are_told_what_is_printed() -> Result<()> {
    packages::ensure_root()?;
    let cluster = startup::up(&Topology::new("penstock-test")?).await?;
    // What a run left that failed.
    cluster.kubectl(&["delete", "namespace", NAMESPACE, "--ignore-not-found"]).await?;
    cluster.kubectl(&["create", "namespace", NAMESPACE]).await?;
    apply(&cluster, SERVICES).await?;

    let with_links = environment_with_all(&cluster).await?;
    let without_links = environment_of_a_pod(&cluster, "unlinked", false).await?;
    let own: Variables = without_links
        .iter()
        .filter(|(name, _)| !name.starts_with("KUBERNETES_"))
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect();
    ensure!(own.contains_key("PATH") && own["UNNAMED_SERVICE_PORT"] == "mine", "{own:?}");

    let mut all = printed(&cluster, &[])?;
    ensure!(all.remove("UNNAMED_SERVICE_PORT").as_deref() == Some("8080"), "{all:?}");
    assert_eq!(told(with_links, &own), all);
    assert!(all.len() > 30 && all["SIX_PORT"].starts_with("sctp://["), "{all:?}");
    let alone = printed(&cluster, &["--no-service-links"])?;
    assert_eq!(told(without_links, &own), alone);
    assert_eq!(alone["KUBERNETES_SERVICE_PORT"], "443", "the API servers' own");
    cluster.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"]).await.map(|_| ())
}
