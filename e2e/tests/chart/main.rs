//! The chart as helm reads it: without fault, with every part on and off, and no right more than is used.

// A test may panic.
#![allow(clippy::unwrap_used)]

mod dns;
mod examples;
mod monitoring;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::LazyLock;

use penstock_e2e::chart::Chart;
use penstock_e2e::tools::Tools;
use serde_json::Value;

static CHART: LazyLock<Chart> = LazyLock::new(|| Chart::new(&Tools::build().unwrap()));

fn rendered(arguments: &[&str]) -> Vec<Value> {
    let text = CHART.render(arguments).unwrap();
    let documents = yaml_serde::Deserializer::from_str(&text);
    let values = documents.map(|document| serde::Deserialize::deserialize(document).unwrap());
    values.filter(|value: &Value| !value.is_null()).collect()
}

fn named(objects: &[Value]) -> BTreeSet<String> {
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    objects.iter().map(|o| format!("{} {}", word(&o["kind"]), word(&o["metadata"]["name"]))).collect()
}

fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    objects.iter().find(|o| o["kind"] == kind && o["metadata"]["name"] == name).unwrap()
}

fn pod<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    &find(objects, kind, name)["spec"]["template"]["spec"]
}

const SWITCHES: [&str; 6] = ["crds", "operator", "announcer", "node", "dns", "admissionPolicies"];

/// The DNS is off by default, and its address must be given.
const WITH_DNS: [&str; 2] = ["--set=dns.enabled=true", "--set=dns.clusterIP=10.96.0.10"];

/// The objects of every part.
fn parts(switch: &str) -> BTreeSet<String> {
    let kinds = match switch {
        "crds" => {
            let names = penstock_crds::definitions().into_iter().map(|(_, crd)| crd.metadata.name.unwrap());
            return names.map(|name| format!("CustomResourceDefinition {name}")).collect();
        }
        "operator" => {
            "ServiceAccount ClusterRole ClusterRoleBinding Role RoleBinding Deployment PodDisruptionBudget"
        }
        "admissionPolicies" => {
            let kinds = ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"];
            return kinds.map(|kind| format!("{kind} penstock-load-balancer-status")).into();
        }
        "dns" => {
            let kinds =
                "ServiceAccount ClusterRole ClusterRoleBinding Deployment PodDisruptionBudget ConfigMap";
            let named = kinds.split(' ').map(|kind| format!("{kind} penstock-dns"));
            return named.chain(["Service kube-dns".to_owned()]).collect();
        }
        "announcer" => "ServiceAccount ClusterRole ClusterRoleBinding Role RoleBinding DaemonSet",
        _ => "ServiceAccount ClusterRole ClusterRoleBinding DaemonSet",
    };
    kinds.split(' ').map(|kind| format!("{kind} penstock-{switch}")).collect()
}

#[test]
fn helm_finds_no_fault() {
    CHART.lint(&[]).unwrap();
    CHART.lint(&WITH_DNS).unwrap();
    CHART.lint(&["--set", "operator.secretNames={a,b}", "--set", "announcer.interfaces={eth1}"]).unwrap();
}

#[test]
fn every_part_is_there_alone_and_not_when_it_is_off() {
    for mask in 0_u32..1 << SWITCHES.len() {
        let on = |index: usize| mask & (1 << index) != 0;
        let sets: Vec<String> =
            SWITCHES.iter().enumerate().map(|(i, name)| format!("{name}.enabled={}", on(i))).collect();
        let mut arguments: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        arguments.push(WITH_DNS[1]);
        let mut expected: BTreeSet<String> =
            (0..SWITCHES.len()).filter(|i| on(*i)).flat_map(|i| parts(SWITCHES[i])).collect();
        // What `helm test` makes: a Pod that looks at whatever program is there.
        if on(1) || on(2) || on(3) || on(4) {
            let kinds = ["ServiceAccount", "Role", "RoleBinding", "Pod"];
            expected.extend(kinds.map(|kind| format!("{kind} penstock-test")));
        }
        assert_eq!(named(&rendered(&arguments)), expected, "{sets:?}");
    }
}

#[test]
fn a_wrong_key_or_value_is_refused() {
    for (set, said) in [
        ("operator.replica=2", "replica"),
        ("nodes.enabled=true", "nodes"),
        ("image.digest=sha256:abc", "digest"),
        ("log.format=xml", "format"),
        ("clusterCIDR=10.244.0.0", "clusterCIDR"),
        ("clusterDomain=cluster.local.", "clusterDomain"),
        ("clusterDomain=", "clusterDomain"),
        ("announcer.leaseSeconds=0", "leaseSeconds"),
        ("node.mode=userspace", "mode"),
        ("node.iptablesVariant=ebtables", "iptablesVariant"),
        ("node.nodePortAddresses=first", "nodePortAddresses"),
        ("node.stateDirectory=penstock", "stateDirectory"),
        ("node.healthzBindAddress=10256", "healthzBindAddress"),
        ("node.metricsBindAddress=localhost:10249", "metricsBindAddress"),
        ("operator.secretNames={Upper}", "secretNames"),
        ("dns.enabled=true", "dns.clusterIP is missing"),
        ("dns.clusterIP=kube-dns", "clusterIP"),
        ("dns.config.podName=verified", "podName"),
        ("dns.config.podNames=all", "podNames"),
        ("dns.config.ttl=3601", "ttl"),
        ("dns.config.upstreams={dns.example}", "upstreams"),
        ("dns.config.transfersTo={dns.example}", "transfersTo"),
        ("dns.config.stubDomains.corp={10.0.0.1:port}", "stubDomains"),
        ("admissionPolicies.externalIPs.cidrs={203.0.113.1}", "cidrs"),
        ("admissionPolicies.statusWriters={a b}", "statusWriters"),
    ] {
        let error = CHART.render(&["--set", set]).unwrap_err().to_string();
        assert!(error.contains(said), "{set}: {error}");
    }
}

/// Descriptions come from comments in the code, where braces mean nothing.
#[test]
fn braces_in_a_kinds_description_are_no_template() {
    let copy = tempfile::tempdir().unwrap();
    let directory = copy.path().join("penstock");
    let copied = Command::new("cp").arg("-r").arg(CHART.directory()).arg(&directory).status().unwrap();
    assert!(copied.success());
    let file = directory.join("files/crds/ipaddresspools.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let braces = "{{ .Values.nothing.at.all }} and {{ fail `it` }}";
    let changed = text.replace("What became of a pool.", &format!("'{braces}'"));
    assert_ne!(text, changed);
    std::fs::write(&file, changed).unwrap();
    let rendered = Chart::at(&Tools::build().unwrap(), directory).render(&[]).unwrap();
    assert!(rendered.contains(braces));
}

#[test]
fn helm_keeps_the_kinds_as_they_are_generated() {
    let objects = rendered(&[]);
    for (_, mut definition) in penstock_crds::definitions() {
        let name = definition.metadata.name.clone().unwrap();
        let annotations = definition.metadata.annotations.get_or_insert_default();
        annotations.insert("helm.sh/resource-policy".into(), "keep".into());
        let object = find(&objects, "CustomResourceDefinition", &name);
        assert_eq!(object, &serde_json::to_value(&definition).unwrap());
    }
}

#[test]
fn pods_can_do_no_more_than_they_must() {
    let objects = rendered(&WITH_DNS);
    for (kind, name, capabilities) in [
        ("Deployment", "penstock-operator", Value::Null),
        ("Deployment", "penstock-dns", Value::Null),
        ("DaemonSet", "penstock-announcer", serde_json::json!(["NET_RAW"])),
        ("DaemonSet", "penstock-node", serde_json::json!(["NET_ADMIN"])),
    ] {
        let pod = pod(&objects, kind, name);
        let context = &pod["containers"][0]["securityContext"];
        assert_eq!(context["capabilities"]["drop"], serde_json::json!(["ALL"]), "{name}");
        assert_eq!(context["capabilities"]["add"], capabilities, "{name}");
        assert_eq!(context["readOnlyRootFilesystem"], true, "{name}");
        assert_eq!(context["allowPrivilegeEscalation"], false, "{name}");
        assert_eq!(pod["hostNetwork"] == true, kind == "DaemonSet", "{name}");
        let volumes = match name {
            "penstock-node" => serde_json::json!([
                {"name": "state", "hostPath": {"path": "/var/lib/penstock", "type": "DirectoryOrCreate"}}]),
            "penstock-dns" => serde_json::json!([
                {"name": "config", "configMap": {"name": "penstock-dns"}}, {"name": "state", "emptyDir": {}}]),
            _ => Value::Null,
        };
        assert_eq!(pod["volumes"], volumes, "{name}");
        assert_eq!(pod["serviceAccountName"], name);
    }
    for name in ["penstock-operator", "penstock-dns"] {
        assert_eq!(pod(&objects, "Deployment", name)["securityContext"]["runAsNonRoot"], true, "{name}");
    }
}

/// Group/resource of every rule, its verbs, and the names that it is limited to.
fn rights(objects: &[Value]) -> Vec<(String, BTreeSet<String>, Value)> {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = Vec::new();
    for rule in objects.iter().filter_map(|o| o["rules"].as_array()).flatten() {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                let verbs = texts(&rule["verbs"]).into_iter().collect();
                rights.push((format!("{group}/{resource}"), verbs, rule["resourceNames"].clone()));
            }
        }
    }
    rights
}

#[test]
fn roles_name_what_they_allow() {
    for (right, verbs, _) in rights(&rendered(&["--set", "operator.secretNames={a}"])) {
        assert!(!right.contains('*') && !verbs.contains("*"), "{right}: {verbs:?}");
        assert!(!verbs.contains("deletecollection") && !verbs.contains("impersonate"), "{right}: {verbs:?}");
    }
    for (right, verbs, _) in rights(&rendered(&["--show-only", "templates/node/rbac.yaml"])) {
        let read = verbs.iter().all(|verb| ["get", "list", "watch"].contains(&verb.as_str()));
        assert!(read || right == "events.k8s.io/events", "the node agent writes {right}: {verbs:?}");
    }
}

#[test]
fn the_operator_reads_exactly_the_secrets_that_are_named() {
    let secrets = |objects: &[Value]| -> Vec<_> {
        rights(objects).into_iter().filter(|(right, ..)| right == "/secrets").collect()
    };
    assert_eq!(secrets(&rendered(&[])), []);
    let objects = rendered(&["--set", "operator.secretNames={a,b}"]);
    let verbs = BTreeSet::from(["get".to_owned()]);
    assert_eq!(secrets(&objects), [("/secrets".to_owned(), verbs, serde_json::json!(["a", "b"]))]);
    let role = find(&objects, "Role", "penstock-operator-secrets");
    assert_eq!(role["metadata"]["namespace"], "penstock-system");
    let bound = find(&objects, "RoleBinding", "penstock-operator-secrets");
    assert_eq!(bound["roleRef"]["name"], "penstock-operator-secrets");
    assert_eq!(bound["subjects"][0]["name"], "penstock-operator");
}

#[test]
fn the_operator_lists_secrets_only_in_the_namespaces_that_are_named() {
    let objects = rendered(&["--set", "operator.tlsSecretNamespaces={shop,office}"]);
    let all: Vec<_> = rights(&objects).into_iter().filter(|(right, ..)| right == "/secrets").collect();
    let verbs = BTreeSet::from(["list".to_owned(), "watch".to_owned()]);
    assert_eq!(all, vec![("/secrets".to_owned(), verbs, Value::Null); 2]);
    for kind in ["Role", "RoleBinding"] {
        let named = objects.iter().filter(|object| {
            object["kind"] == kind && object["metadata"]["name"] == "penstock-operator-tls-secrets"
        });
        let namespaces: Vec<&Value> = named.map(|object| &object["metadata"]["namespace"]).collect();
        assert_eq!(namespaces, ["shop", "office"], "{kind}");
    }
}

#[test]
fn the_announcer_reads_only_the_secrets_that_are_named() {
    let secrets = |objects: &[Value]| -> Vec<_> {
        rights(objects).into_iter().filter(|(right, ..)| right == "/secrets").collect()
    };
    assert_eq!(secrets(&rendered(&["--set", "operator.enabled=false"])), []);
    let objects = rendered(&["--set", "operator.enabled=false", "--set", "announcer.passwordSecrets={a,b}"]);
    let verbs = BTreeSet::from(["get".to_owned(), "list".to_owned(), "watch".to_owned()]);
    assert_eq!(secrets(&objects), [("/secrets".to_owned(), verbs, serde_json::json!(["a", "b"]))]);
}

#[test]
fn announcer_and_node_speak_to_each_other_where_both_are() {
    let speaks = |set: &str, daemon: &str| {
        let objects = rendered(&["--set", set]);
        pod(&objects, "DaemonSet", daemon)["containers"][0]["args"]
            .to_string()
            .contains("-socket=penstock-announcer")
    };
    assert!(
        speaks("node.enabled=true", "penstock-announcer") && speaks("node.enabled=true", "penstock-node")
    );
    assert!(!speaks("node.enabled=false", "penstock-announcer"));
    assert!(!speaks("announcer.enabled=false", "penstock-node"));
    for daemon in ["penstock-announcer", "penstock-node"] {
        assert!(!speaks("announcer.waitForRules=false", daemon), "{daemon}");
    }
}

#[test]
fn only_the_operators_account_gets_the_annotations_that_give_it_a_role() {
    let accounts = |objects: &[Value]| -> Vec<(String, Value)> {
        let all = objects.iter().filter(|object| object["kind"] == "ServiceAccount");
        let all = all.filter(|object| object["metadata"]["annotations"]["helm.sh/hook"].is_null());
        let named = all.map(|o| (o["metadata"]["name"].to_string(), o["metadata"]["annotations"].clone()));
        named.filter(|(_, annotations)| !annotations.is_null()).collect()
    };
    assert_eq!(accounts(&rendered(&[])), []);
    let role = "operator.serviceAccountAnnotations.eks\\.amazonaws\\.com/role-arn=arn:aws:iam::1:role/a";
    let annotated = accounts(&rendered(&["--set", role]));
    let expected = serde_json::json!({"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/a"});
    assert_eq!(annotated, [("\"penstock-operator\"".to_owned(), expected)]);
}

/// The legacy variant shares a lock with all others on the node, and opens raw sockets.
#[test]
fn mode_iptables_gets_what_it_needs() {
    let objects = rendered(&["--set=node.mode=iptables", "--set=node.iptablesVariant=legacy"]);
    let pod = pod(&objects, "DaemonSet", "penstock-node");
    let node = &pod["containers"][0];
    let args = node["args"].to_string();
    assert!(args.contains("--mode=iptables") && args.contains("--iptables-variant=legacy"), "{args}");
    assert_eq!(node["securityContext"]["capabilities"]["add"], serde_json::json!(["NET_ADMIN", "NET_RAW"]));
    assert_eq!(node["volumeMounts"][1]["mountPath"], "/run/xtables.lock");
    assert_eq!(pod["volumes"][1]["hostPath"]["type"], "FileOrCreate");
}

/// A container sees the node's sysctls read-only unless it is privileged: only one that ends before the agent starts is.
#[test]
fn mode_ipvs_gets_its_sysctls_from_a_container_that_ends() {
    let privileged = |objects: &[Value]| {
        let pod = pod(objects, "DaemonSet", "penstock-node");
        let all = ["initContainers", "containers"].map(|kind| pod[kind].as_array().cloned());
        let all = all.into_iter().flatten().flatten();
        all.filter(|container| container["securityContext"]["privileged"] == true).collect::<Vec<_>>()
    };
    for mode in ["nftables", "iptables", "auto"] {
        assert!(privileged(&rendered(&[&format!("--set=node.mode={mode}")])).is_empty(), "{mode}");
    }
    let objects = rendered(&["--set=node.mode=ipvs", "--set=node.ipvsScheduler=lc"]);
    let [sysctls] = privileged(&objects).try_into().unwrap();
    assert_eq!(sysctls["command"], serde_json::json!(["penstock-node", "sysctls"]));
    let pod = pod(&objects, "DaemonSet", "penstock-node");
    let node = &pod["containers"][0];
    assert_eq!(pod["initContainers"], serde_json::json!([sysctls]));
    assert_eq!(pod["initContainers"][0]["image"], node["image"]);
    assert_eq!(node["securityContext"]["capabilities"]["add"], serde_json::json!(["NET_ADMIN"]));
    let args = node["args"].to_string();
    assert!(args.contains("--mode=ipvs") && args.contains("--ipvs-scheduler=lc"), "{args}");
}

#[test]
fn values_reach_the_programs() {
    let objects = rendered(&[
        "--set=image.repository=registry.example/penstock",
        &format!("--set=image.digest=sha256:{}", "0".repeat(64)),
        "--set=apiServer.host=2001:db8::1",
        "--set=clusterCIDR=10.244.0.0/16\\,2001:db8:244::/48",
        "--set=serviceCIDR=10.96.0.0/16",
        "--set=clusterDomain=shop.example",
        "--set=node.nodePortAddresses=10.0.0.0/8\\,2001:db8::/32",
        "--set=announcer.httpHost=::",
        "--set=announcer.interfaces={eth1}",
        "--set=log.format=json",
        "--set=node.healthzBindAddress=[::]:10256",
        "--set=node.metricsBindAddress=",
    ]);
    let node = &pod(&objects, "DaemonSet", "penstock-node")["containers"][0];
    assert_eq!(node["image"], format!("registry.example/penstock@sha256:{}", "0".repeat(64)));
    let args = node["args"].to_string();
    for arg in [
        "--http-address=127.0.0.1:9782",
        "--log-format=json",
        "--cluster-cidr=10.244.0.0/16,2001:db8:244::/48",
        "--service-cidr=10.96.0.0/16",
        "--nodeport-addresses=10.0.0.0/8,2001:db8::/32",
        "--healthz-bind-address=[::]:10256",
        "--metrics-bind-address=\"",
    ] {
        assert!(args.contains(arg), "{arg}: {args}");
    }
    assert!(args.contains("--mode=nftables") && !args.contains("--iptables-variant"), "{args}");
    let env = node["env"].to_string();
    assert!(env.contains(r#"{"name":"KUBERNETES_SERVICE_HOST","value":"2001:db8::1"}"#), "{env}");
    assert!(env.contains(r#"{"name":"KUBERNETES_SERVICE_PORT","value":"6443"}"#), "{env}");
    let announcer = &pod(&objects, "DaemonSet", "penstock-announcer")["containers"][0];
    let args = announcer["args"].to_string();
    assert!(args.contains("--http-address=[::]:9781") && args.contains("--interface=eth1"), "{args}");
    assert_eq!(announcer["readinessProbe"]["httpGet"]["host"], Value::Null, "the node's address is asked");
    let operator = &pod(&objects, "Deployment", "penstock-operator")["containers"][0];
    assert!(!operator["env"].to_string().contains("KUBERNETES_SERVICE_HOST"), "it uses the ClusterIP");
    let domain = |container: &Value| {
        let args = container["args"].as_array().unwrap().iter();
        args.filter_map(Value::as_str)
            .find_map(|arg| arg.strip_prefix("--cluster-domain="))
            .map(str::to_owned)
    };
    assert_eq!(domain(operator).as_deref(), Some("shop.example"));
    let objects = rendered(&[]);
    let operator = &pod(&objects, "Deployment", "penstock-operator")["containers"][0];
    assert_eq!(domain(operator).as_deref(), Some("cluster.local"), "as in most clusters");
}

#[test]
fn helm_test_asks_for_what_is_installed_and_can_do_nothing_else() {
    let objects = rendered(&["--set=announcer.enabled=false", "--show-only=templates/test.yaml"]);
    for object in &objects {
        assert_eq!(object["metadata"]["annotations"]["helm.sh/hook"], "test", "{object}");
    }
    let pod = &find(&objects, "Pod", "penstock-test")["spec"];
    let container = &pod["containers"][0];
    assert_eq!(container["command"], serde_json::json!(["penstock-operator", "verify"]));
    assert_eq!(container["args"], serde_json::json!(["operator", "node", "--cluster-domain=cluster.local"]));
    assert_eq!(pod["dnsPolicy"], Value::Null);
    assert_eq!(container["securityContext"]["capabilities"], serde_json::json!({"drop": ["ALL"]}));
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    let list = BTreeSet::from(["list".to_owned()]);
    let expected =
        ["/pods", "coordination.k8s.io/leases"].map(|what| (what.into(), list.clone(), Value::Null));
    assert_eq!(rights(&objects), expected);
}

#[test]
fn network_policies_close_what_is_not_named() {
    assert!(rendered(&WITH_DNS).iter().all(|object| object["kind"] != "NetworkPolicy"));
    let on = [
        "--set=networkPolicy.enabled=true",
        "--set=networkPolicy.metricsFrom[0].podSelector.matchLabels.app=prometheus",
        "--set=networkPolicy.extraEgress[0].ports[0].port=4318",
    ];
    let objects = rendered(&[WITH_DNS.as_slice(), on.as_slice()].concat());
    let ports = |rule: &Value| -> Vec<Value> {
        rule["ports"].as_array().unwrap().iter().map(|port| port["port"].clone()).collect()
    };
    let policies = named(&objects).into_iter().filter(|name| name.starts_with("NetworkPolicy ")).count();
    for (name, open, metrics) in [("penstock-operator", vec![], 9780), ("penstock-dns", vec![53, 53], 9783)] {
        let spec = &find(&objects, "NetworkPolicy", name)["spec"];
        assert_eq!(spec["policyTypes"], serde_json::json!(["Ingress", "Egress"]));
        assert_eq!(spec["podSelector"], find(&objects, "Deployment", name)["spec"]["selector"]);
        let (asked, rest) = spec["ingress"].as_array().unwrap().split_last().unwrap();
        assert_eq!(rest.iter().flat_map(ports).collect::<Vec<_>>(), open, "{name}, for everybody");
        assert_eq!(ports(asked), [metrics]);
        assert_eq!(asked["from"][0]["podSelector"]["matchLabels"]["app"], "prometheus");
        let out: Vec<Value> = spec["egress"].as_array().unwrap().iter().flat_map(ports).collect();
        assert_eq!(out, [53, 53, 443, 6443, 4318], "{name}");
    }
    assert_eq!(policies, 2);
}
