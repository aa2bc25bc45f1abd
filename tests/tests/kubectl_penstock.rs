//! `kubectl penstock` on a real API server. The program is the sibling of this test in the target
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
    let file = kubeconfig_of(&fixture, "jane")?;
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

/// Runs a command as text, JSON and YAML; the last two have to say the same. Returns the text and the value.
fn in_all_forms(kubeconfig: &Path, args: &[&str]) -> Result<(Ran, serde_json::Value)> {
    let text = penstock(kubeconfig, args)?;
    let form = |output: &str| penstock(kubeconfig, &[args, &["-o", output]].concat());
    let (json, yaml) = (form("json")?, form("yaml")?);
    let value: serde_json::Value = serde_json::from_str(&json.stdout)?;
    ensure!(
        serde_json::to_value(yaml_serde::from_str::<yaml_serde::Value>(&yaml.stdout)?)? == value,
        "{yaml:?}"
    );
    ensure!(json.success == text.success && yaml.success == text.success, "{text:?} {json:?}");
    ensure!(!text.stdout.contains('\u{1b}'), "colours where there is no terminal: {text:?}");
    Ok((text, value))
}

#[tokio::test]
async fn env_says_what_pods_are_told() -> Result<()> {
    let fixture = Fixture::start().await?;
    let kubeconfig = fixture.kubeconfig();
    fixture.service("web", json!({"type": "ClusterIP", "ports": [{"name": "http", "port": 80}]})).await?;
    let ip =
        fixture.services().get("web").await?.spec.and_then(|spec| spec.cluster_ip).context("no ClusterIP")?;
    let (text, value) = in_all_forms(&kubeconfig, &["env", "-n", "default"])?;
    assert!(text.success && text.stderr.is_empty(), "{text:?}");
    assert!(text.stdout.contains(&format!("export WEB_SERVICE_HOST={ip}\n")), "{text:?}");
    assert_eq!(value["variables"]["WEB_SERVICE_PORT_HTTP"], "80");
    assert_eq!(value["variables"]["KUBERNETES_SERVICE_PORT_HTTPS"], "443");
    let alone = penstock(&kubeconfig, &["env", "-n", "elsewhere"])?;
    assert!(!alone.stdout.contains("WEB_") && alone.stdout.contains("KUBERNETES_SERVICE_HOST"), "{alone:?}");
    Ok(())
}

#[tokio::test]
async fn pools_status_and_trace_follow_an_address() -> Result<()> {
    let mut fixture = Fixture::with_operator().await?;
    let kubeconfig = fixture.kubeconfig();
    fixture.pool("pool", &["203.0.113.200/32"]).await?;
    fixture.service("first", json!({})).await?;
    fixture.gets("first", &["203.0.113.200"]).await?;
    fixture.service("second", json!({})).await?;
    fixture.waits("second", "Exhausted", "no free IPv4").await?;

    let (pools, value) = in_all_forms(&kubeconfig, &["pools"])?;
    assert!(pools.success && pools.stdout.contains("pool   IPv4     1      1      0      full"), "{pools:?}");
    assert!(pools.stdout.contains("Service default/second gets nothing of IPAddressPool pool"), "{pools:?}");
    assert_eq!(value["pools"][0]["holders"][0]["services"][0]["name"], "first");
    assert!(!pools.stdout.contains("default/first"), "{pools:?}");
    for args in [["pools", "pool"], ["pools", "-owide"]] {
        let pools = penstock(&kubeconfig, &args)?;
        assert!(pools.stdout.contains("203.0.113.200   pool   default/first"), "{pools:?}");
    }
    let missing = penstock(&kubeconfig, &["pools", "other"])?;
    assert!(
        missing.stderr.contains("IPAddressPool penstock-system/other does not exist; there is pool"),
        "{missing:?}"
    );

    let (status, value) = in_all_forms(&kubeconfig, &["status"])?;
    assert!(!status.success && status.stdout.contains("1 of 2 Services with an address"), "{status:?}");
    assert!(status.stdout.contains("fine     operator    operator leads"), "{status:?}");
    assert!(status.stdout.contains("Service default/second has no address: Exhausted: "), "{status:?}");
    assert_eq!(value["well"], json!(false));
    fixture.delete("second").await?;
    fixture.gone("second").await?;
    let status = penstock(&kubeconfig, &["status"])?;
    assert!(status.success && status.stdout.ends_with("All is well.\n"), "{status:?}");
    fixture.stop_operator().await?;
    let status = penstock(&kubeconfig, &["status"])?;
    assert!(!status.success && status.stdout.contains("no operator runs"), "{status:?}");
    Ok(())
}

#[tokio::test]
async fn trace_says_where_a_connection_ends() -> Result<()> {
    let fixture = Fixture::start().await?;
    let kubeconfig = fixture.kubeconfig();
    fixture.service("web", json!({"type": "ClusterIP", "ports": [{"name": "http", "port": 80}]})).await?;
    let ip =
        fixture.services().get("web").await?.spec.and_then(|spec| spec.cluster_ip).context("no ClusterIP")?;
    let objects = "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n---\n\
        apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
        metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}\n\
        addressType: IPv4\nports: [{name: http, port: 8080, protocol: TCP}]\n\
        endpoints: [{addresses: [10.244.1.5], nodeName: n1}]\n";
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), objects)?;
    let target = format!("{ip}:80");
    let nobody = penstock(&kubeconfig, &["trace", &target])?;
    assert!(!nobody.success && nobody.stdout.contains("It does not arrive."), "{nobody:?}");
    fixture.kubectl(&["apply", "-f", file.path().to_str().context("path")?])?;

    let (trace, value) = in_all_forms(&kubeconfig, &["trace", &target])?;
    assert!(trace.success && trace.stdout.contains("it ends at 10.244.1.5:8080"), "{trace:?}");
    assert_eq!((&value["verdict"], &value["endpoints"][0]["chosenOn"]), (&json!("arrives"), &json!(["n1"])));
    let named = penstock(&kubeconfig, &["trace", "web:80", "-n", "default", "--protocol", "udp"])?;
    assert!(!named.success && named.stdout.contains("but not port 80/UDP: it has 80/TCP"), "{named:?}");
    for (args, error) in [
        (vec!["trace", "web"], "has no port: write 203.0.113.200:80"),
        (vec!["trace", "web:80", "--protocol", "icmp"], "is not TCP, UDP or SCTP"),
        (vec!["trace", "web:80", "--from", "nonsense"], "give an IPv4 or IPv6 address"),
        (vec!["trace", "web:80", "--node", "n9"], "node n9 does not exist"),
    ] {
        let refused = penstock(&kubeconfig, &args)?;
        assert!(!refused.success && refused.stderr.contains(error), "{refused:?}");
    }
    Ok(())
}

/// What the documentation gives a user who only looks: every command has to run, and to name nothing that is missing.
#[tokio::test]
async fn a_reader_may_run_every_command_and_nobody_hears_what_is_missing() -> Result<()> {
    let fixture = Fixture::start().await?;
    fixture.class("bare-metal", true).await?;
    fixture.service("web", json!({})).await?;
    let document = include_str!("../../docs/kubectl-penstock.md");
    let role =
        document.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).context("no role")?;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), role)?;
    fixture.kubectl(&["apply", "-f", file.path().to_str().context("path")?])?;
    fixture.kubectl(&[
        "create",
        "clusterrolebinding",
        "look",
        "--clusterrole=penstock-reader",
        "--user=jane",
    ])?;
    let jane = kubeconfig_of(&fixture, "jane")?;
    let joe = kubeconfig_of(&fixture, "joe")?;
    let commands: [(&[&str], &str); 7] = [
        (&["why", "web"], "services"),
        (&["plan", "web"], "services"),
        (&["status"], "ipaddresspools.penstock.dev"),
        (&["pools"], "ipaddresspools.penstock.dev"),
        (&["trace", "web:80"], "endpointslices.discovery.k8s.io"),
        (&["env"], "services"),
        (&["announcements"], "nodeannouncements.penstock.dev"),
    ];
    for (args, resource) in commands {
        let reads = penstock(jane.path(), args)?;
        assert!(!format!("{}{}", reads.stdout, reads.stderr).contains("you may not"), "{args:?}: {reads:?}");
        assert!(!reads.stdout.is_empty(), "{args:?}: {reads:?}");
        let refused = penstock(joe.path(), args)?;
        let said = format!("{}{}", refused.stdout, refused.stderr);
        assert!(
            !refused.success && said.contains("you may not ") && said.contains(resource),
            "{args:?}: {refused:?}"
        );
    }
    Ok(())
}

/// The administrator's, as somebody else.
fn kubeconfig_of(fixture: &Fixture, user: &str) -> Result<tempfile::NamedTempFile> {
    let mut config = Kubeconfig::read_from(fixture.kubeconfig())?;
    for known in &mut config.auth_infos {
        known.auth_info.as_mut().context("a user without credentials")?.impersonate = Some(user.into());
    }
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), serde_json::to_string(&config)?)?;
    Ok(file)
}
