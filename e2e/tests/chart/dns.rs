//! The chart's DNS: where Pods look for it, what it may read, and what replaces its Pods.

use serde_json::{Value, json};

use crate::{CHART, WITH_DNS, find, pod, rendered, rights};

fn with(arguments: &[&str]) -> Vec<Value> {
    rendered(&[WITH_DNS.as_slice(), arguments].concat())
}

fn configuration(objects: &[Value]) -> Value {
    let text = find(objects, "ConfigMap", "penstock-dns")["data"]["dns.yaml"].as_str().unwrap();
    yaml_serde::from_str(text).unwrap()
}

#[test]
fn it_is_where_others_look_for_the_clusters_dns() {
    let objects = with(&[]);
    let service = find(&objects, "Service", "kube-dns");
    assert_eq!(service["metadata"]["namespace"], "kube-system");
    assert_eq!(service["metadata"]["labels"]["k8s-app"], "kube-dns");
    assert_eq!(service["spec"]["clusterIP"], "10.96.0.10");
    let deployment = find(&objects, "Deployment", "penstock-dns");
    assert_eq!(deployment["spec"]["template"]["metadata"]["labels"]["k8s-app"], "kube-dns");
    // Not by k8s-app: a CoreDNS that is still there is nobody's endpoint here.
    assert_eq!(service["spec"]["selector"], deployment["spec"]["selector"]["matchLabels"]);
    let ports = |list: &Value, port: &str| -> Vec<(Value, Value)> {
        let list = list.as_array().unwrap().iter();
        list.filter(|p| p[port] == 53).map(|p| (p["name"].clone(), p["protocol"].clone())).collect()
    };
    let container = &pod(&objects, "Deployment", "penstock-dns")["containers"][0];
    let (outside, inside) =
        (ports(&service["spec"]["ports"], "port"), ports(&container["ports"], "containerPort"));
    assert_eq!(outside, [(json!("dns"), json!("UDP")), (json!("dns-tcp"), json!("TCP"))]);
    assert_eq!(outside, inside);
}

#[test]
fn namespace_and_names_can_be_others_beside_coredns() {
    let others = [
        "--set=dns.namespace=names",
        "--set=dns.serviceName=penstock-dns",
        "--set=dns.podLabels.k8s-app=null",
    ];
    let objects = with(&others);
    let of_dns = objects.iter().filter(|o| o["metadata"]["labels"]["app.kubernetes.io/component"] == "dns");
    for object in of_dns.filter(|o| !o["kind"].as_str().unwrap().starts_with("ClusterRole")) {
        assert_eq!(object["metadata"]["namespace"], "names", "{object}");
    }
    let binding = find(&objects, "ClusterRoleBinding", "penstock-dns");
    assert_eq!(binding["subjects"][0]["namespace"], "names");
    assert_eq!(find(&objects, "Service", "penstock-dns")["metadata"]["namespace"], "names");
    let deployment = find(&objects, "Deployment", "penstock-dns");
    assert_eq!(deployment["spec"]["template"]["metadata"]["labels"]["k8s-app"], Value::Null);
}

/// A program without a right of root may not have port 53 otherwise.
#[test]
fn it_answers_at_the_family_of_its_address_on_port_53_without_a_capability() {
    let said =
        |objects: &[Value]| pod(objects, "Deployment", "penstock-dns")["containers"][0]["args"].to_string();
    let objects = with(&[]);
    assert!(said(&objects).contains("--listen=0.0.0.0:53"));
    assert!(said(&with(&["--set=dns.clusterIP=2001:db8:96::a"])).contains("--listen=[::]:53"));
    let pod = pod(&objects, "Deployment", "penstock-dns");
    let sysctls = json!([{"name": "net.ipv4.ip_unprivileged_port_start", "value": "53"}]);
    assert_eq!(pod["securityContext"]["sysctls"], sysctls);
    assert_eq!(pod["dnsPolicy"], "Default", "it must not ask itself for other names");
}

#[test]
fn pods_are_read_only_where_their_names_are_verified() {
    let reads_pods = |arguments: &[&str]| {
        let objects = with(&[&["--show-only=templates/dns/rbac.yaml"], arguments].concat());
        let rights = rights(&objects);
        assert!(rights.iter().all(|(_, verbs, _)| verbs.iter().eq(["list", "watch"])), "{rights:?}");
        rights.iter().any(|(right, ..)| right == "/pods")
    };
    assert!(!reads_pods(&[]));
    assert!(!reads_pods(&["--set=dns.config.podNames=insecure"]));
    assert!(reads_pods(&["--set=dns.config.podNames=verified"]));
}

#[test]
fn its_configuration_has_the_clusters_domain_and_another_one_replaces_the_pods() {
    let template =
        |objects: &[Value]| find(objects, "Deployment", "penstock-dns")["spec"]["template"].clone();
    let plain = with(&["--set=clusterDomain=shop.example"]);
    assert_eq!(configuration(&plain), json!({"clusterDomains": ["shop.example"]}));
    let changed = [
        "--set=clusterDomain=shop.example",
        "--set=dns.config.ttl=30",
        "--set=dns.config.upstreams={192.0.2.1}",
    ];
    let changed = with(&changed);
    let expected = json!({"clusterDomains": ["shop.example"], "ttl": 30, "upstreams": ["192.0.2.1"]});
    assert_eq!(configuration(&changed), expected);
    assert_ne!(template(&plain)["metadata"]["annotations"], template(&changed)["metadata"]["annotations"]);
    assert_eq!(template(&plain)["spec"], template(&changed)["spec"]);
    let args = template(&plain)["spec"]["containers"][0]["args"].to_string();
    assert!(args.contains("--state-file=/var/lib/penstock-dns/"), "{args}");
    let long = with(&["--set=dns.config.lameDuckSeconds=60"]);
    assert_eq!(template(&long)["spec"]["terminationGracePeriodSeconds"], 70);
}

#[test]
fn the_domain_of_the_kubelets_is_among_those_that_are_answered() {
    let both = with(&["--set=dns.config.clusterDomains={cluster.local,shop.example}"]);
    assert_eq!(configuration(&both)["clusterDomains"], json!(["cluster.local", "shop.example"]));
    let without = [WITH_DNS[0], WITH_DNS[1], "--set=dns.config.clusterDomains={shop.example}"];
    let error = CHART.render(&without).unwrap_err().to_string();
    assert!(error.contains("add \"cluster.local\""), "{error}");
}

#[test]
fn helm_test_asks_the_dns_that_is_installed() {
    let objects = with(&["--set=clusterDomain=shop.example", "--show-only=templates/test.yaml"]);
    let pod = &find(&objects, "Pod", "penstock-test")["spec"];
    assert_eq!(pod["dnsPolicy"], "None");
    assert_eq!(pod["dnsConfig"]["nameservers"], json!(["10.96.0.10"]));
    let args = pod["containers"][0]["args"].to_string();
    assert!(args.contains(r#""dns","--cluster-domain=shop.example""#), "{args}");
}
