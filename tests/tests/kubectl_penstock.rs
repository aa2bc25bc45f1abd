//! `kubectl penstock plan` and `why` on a real API server. The program is the sibling of this test in the target
//! folder, as `cargo build --workspace --bins` puts it there.

#![allow(clippy::unwrap_used)] // a test may panic

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
    config::Kubeconfig,
};
use penstock_crds::{NodeAnnouncement, NodeAnnouncementSpec};
use penstock_tests::Fixture;
use serde_json::json;

/// What a run of the program came to.
#[derive(Debug)]
struct Ran {
    success: bool,
    stdout: String,
    stderr: String,
}

fn penstock(kubeconfig: &Path, args: &[&str]) -> Result<Ran> {
    let test = std::env::current_exe()?;
    let program = test.ancestors().nth(2).context("no target folder")?.join("kubectl-penstock");
    ensure!(program.exists(), "{} is missing: run cargo build --workspace --bins", program.display());
    let output = Command::new(program).arg("--kubeconfig").arg(kubeconfig).args(args).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ran { success: output.status.success(), stdout: text(&output.stdout), stderr: text(&output.stderr) })
}

#[tokio::test]
async fn plan_and_why_say_what_the_operator_does() -> Result<()> {
    let mut fixture = Fixture::with_operator().await?;
    let kubeconfig = fixture.kubeconfig();
    fixture.pool("pool", &["203.0.113.200-203.0.113.201"]).await?;
    for (name, address) in [("first", "203.0.113.200"), ("second", "203.0.113.201")] {
        fixture.service(name, json!({})).await?;
        fixture.gets(name, &[address]).await?;
    }
    fixture.service("third", json!({})).await?;
    fixture.waits("third", "Exhausted", "no free IPv4").await?;
    fixture.event("third", "AllocationFailed").await?;

    let plan = penstock(&kubeconfig, &["plan", "first"])?;
    assert!(plan.success && plan.stdout.contains("nothing to do"), "{plan:?}");
    let why = penstock(&kubeconfig, &["why", "third"])?;
    println!("{}", why.stdout);
    for sentence in [
        "Service default/third: no address",
        "Exhausted: no free IPv4 address in IPAddressPool pool",
        "2 of 2 IPv4 addresses are in use",
        "Last warnings",
    ] {
        assert!(why.stdout.contains(sentence), "{sentence}: {why:?}");
    }

    // An edit of the pool, a bad document and a new Service. Nothing of it is applied.
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(
        file.path(),
        "apiVersion: penstock.dev/v1alpha1\nkind: IPAddressPool\n\
         metadata: {name: pool, namespace: penstock-system}\n\
         spec: {addresses: [203.0.113.201-203.0.113.203]}\n\
         ---\napiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: {type: Nonsense, ports: [{port: 80}]}\n\
         ---\napiVersion: v1\nkind: Service\nmetadata: {name: fourth}\nspec: {type: LoadBalancer, ports: [{port: 80}]}\n",
    )?;
    let path = file.path().to_str().context("path")?;
    let plan = penstock(&kubeconfig, &["plan", "-f", path])?;
    println!("{}{}", plan.stdout, plan.stderr);
    assert!(!plan.success && plan.stderr.contains("document 2 (Service bad): "), "{plan:?}");
    for sentence in
        ["Service default/first", "Service default/third", "Service default/fourth", "203.0.113.202"]
    {
        assert!(plan.stdout.contains(sentence), "{sentence}: {plan:?}");
    }
    assert!(!plan.stdout.contains("Service default/second"), "its address stays: {plan:?}");
    assert!(fixture.services().get_opt("fourth").await?.is_none(), "a plan applies nothing");

    // The plan's JSON is for programs.
    let json = penstock(&kubeconfig, &["plan", "-f", path, "-o", "json"])?;
    let report: serde_json::Value = serde_json::from_str(&json.stdout)?;
    assert_eq!(report["forecasts"][0]["service"], json!({"namespace": "default", "name": "first"}));
    fixture.stop_operator().await?;

    let missing = penstock(&kubeconfig, &["why", "nobody"])?;
    assert!(!missing.success);
    assert_eq!(missing.stderr, "kubectl-penstock: Service default/nobody does not exist\n");
    Ok(())
}

#[tokio::test]
async fn a_missing_permission_is_a_sentence_and_the_rest_goes_on() -> Result<()> {
    let fixture = Fixture::start().await?;
    fixture.class("bare-metal", true).await?;
    fixture.service("web", json!({})).await?;
    fixture.kubectl(&["create", "role", "look", "--verb=get,list", "--resource=services"])?;
    fixture.kubectl(&["create", "rolebinding", "look", "--role=look", "--user=jane"])?;
    let mut config = Kubeconfig::read_from(fixture.kubeconfig())?;
    for user in &mut config.auth_infos {
        user.auth_info.as_mut().context("a user without credentials")?.impersonate = Some("jane".into());
    }
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), serde_json::to_string(&config)?)?;
    let why = penstock(file.path(), &["why", "web"])?;
    assert!(why.success, "{why:?}");
    assert!(
        why.stderr.contains("you may not list nodes: ask for the verb list on the resource nodes"),
        "{why:?}"
    );
    let plan = penstock(file.path(), &["plan", "web"])?;
    assert!(!plan.success && plan.stderr.contains("cannot plan: you may not list"), "{plan:?}");
    Ok(())
}

#[tokio::test]
async fn announcements_say_which_node_tells_whom() -> Result<()> {
    let fixture = Fixture::start().await?;
    let kubeconfig = fixture.kubeconfig();
    let nobody = penstock(&kubeconfig, &["announcements"])?;
    assert!(nobody.success && nobody.stdout == "Nothing is announced.\n", "{nobody:?}");
    assert!(nobody.stderr.contains("no announcer has said anything"), "{nobody:?}");

    let api: Api<NodeAnnouncement> = Api::namespaced(fixture.client.clone(), "penstock-system");
    api.create(&PostParams::default(), &NodeAnnouncement::new("n1", NodeAnnouncementSpec {})).await?;
    let status = json!({"status": {"addressCount": 1, "sessions": "1/1",
        "addresses": [{"address": "203.0.113.200", "services": ["default/web"], "interfaces": ["eth0"], "peers": ["tor"]}],
        "peers": [{"peer": "tor", "state": "Established", "since": "2026-11-23T10:00:00Z", "prefixes": 1, "bfd": "Up"}],
        "problems": ["BGPPeer other: no session: spec: give either peerASN or dynamicASN"]}});
    api.patch_status("n1", &PatchParams::default(), &Patch::Merge(status)).await?;
    let said = penstock(&kubeconfig, &["announcements"])?;
    for sentence in [
        "203.0.113.200   n1     segment eth0, router tor   default/web",
        "tor    n1     Established since 2026-11-23T10:00:00Z   1          Up    -",
        "BGPPeer other: no session: spec: give either peerASN or dynamicASN (on n1)",
    ] {
        assert!(said.stdout.contains(sentence), "{sentence}: {said:?}");
    }
    assert!(said.stderr.contains("the announcer of n1 is away"), "{said:?}");
    let json = penstock(&kubeconfig, &["announcements", "other", "-o", "json"])?;
    let report: serde_json::Value = serde_json::from_str(&json.stdout)?;
    assert_eq!(report["announcements"], json!([]), "another Service");
    Ok(())
}
