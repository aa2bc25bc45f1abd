//! Every row of the scheme, as CoreDNS answers it.

use hickory_proto::rr::RecordType::{self, A, AAAA, AXFR, CNAME, HTTPS, IXFR, MX, NS, PTR, SOA, SRV, TXT};
use serde_json::{Value, json};

use super::fixture::{ask, config, namespace, pod, question, service, slice, synced, text};
use crate::index::{Kind, PodNames, RecordIndex};

/// A cluster with a Service of each kind.
fn cluster(pod_names: PodNames) -> RecordIndex {
    let mut index = RecordIndex::new(config(pod_names));
    index.changed_at(1_700_000_000);
    index.apply_namespace(&namespace("testns"));
    index.apply_namespace(&namespace("empty"));
    let http = json!([{"name": "http", "port": 80}]);
    for (name, spec) in [
        (
            "svc1",
            json!({"clusterIPs": ["10.0.0.1"], "ports": [
            {"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]}),
        ),
        ("dual", json!({"clusterIPs": ["10.0.0.2", "2001:db8::2"], "ports": [{"port": 8080}]})),
        ("portless", json!({"clusterIP": "10.0.0.3"})),
        ("hdls", json!({"clusterIP": "None", "ports": http})),
        ("unready", json!({"clusterIP": "None", "ports": http})),
        ("external", json!({"type": "ExternalName", "externalName": "ext.interwebs.test"})),
        ("inside", json!({"type": "ExternalName", "externalName": "svc1.testns.svc.cluster.local."})),
        ("dangling", json!({"type": "ExternalName", "externalName": "nobody.testns.svc.cluster.local"})),
        ("itself", json!({"type": "ExternalName", "externalName": "itself.testns.svc.cluster.local"})),
        ("ping", json!({"type": "ExternalName", "externalName": "pong.testns.svc.cluster.local"})),
        ("pong", json!({"type": "ExternalName", "externalName": "ping.testns.svc.cluster.local"})),
        ("address", json!({"type": "ExternalName", "externalName": "1.2.3.4"})),
        (
            "dns",
            json!({"clusterIPs": ["10.0.0.10"], "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}]}),
        ),
    ] {
        index.apply_service(&service(name, &spec));
    }
    for (name, of, endpoints) in slices() {
        let ports = json!([{"name": "http", "port": 8080, "protocol": "TCP"}]);
        index.apply_slice(&slice(name, of, &ports, &endpoints));
    }
    index.apply_slice(&slice("bare-1", "portless", &json!([]), &json!([{"addresses": ["172.0.0.9"]}])));
    index.apply_pod(&pod("p", "10.244.0.7"));
    synced(index)
}

fn slices() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        (
            "hdls-1",
            "hdls",
            json!([
            {"addresses": ["172.0.0.2"]},
            {"addresses": ["172.0.0.3"], "hostname": "twin", "conditions": {"ready": true}},
            {"addresses": ["172.0.0.4"], "hostname": "twin"},
            {"addresses": ["172.0.0.5"], "conditions": {"ready": false}}]),
        ),
        ("hdls-2", "hdls", json!([{"addresses": ["5678:abcd::1"]}, {"addresses": ["5678:abcd::"]}])),
        ("unready-1", "unready", json!([{"addresses": ["172.0.0.6"], "conditions": {"ready": false}}])),
        ("svc1-1", "svc1", json!([{"addresses": ["172.0.0.2"]}])),
        ("dns-1", "dns", json!([{"addresses": ["10.244.0.53"]}])),
    ]
}

/// Asks, and compares with the expected lines in any order.
#[track_caller]
fn expect(index: &RecordIndex, name: &str, record_type: RecordType, expected: &[&str]) {
    let (mut found, mut wanted) = (ask(index, name, record_type), expected.to_vec());
    found.sort();
    wanted.sort_unstable();
    assert_eq!(found, wanted, "{name} {record_type}");
}

#[test]
fn the_version_is_a_text() {
    let index = cluster(PodNames::Disabled);
    expect(&index, "dns-version.cluster.local.", TXT, &["dns-version.cluster.local. 28800 TXT 1.1.0"]);
    expect(&index, "dns-version.cluster.local.", A, &["NxDomain"]);
}

#[test]
fn cluster_ips_by_family() {
    let index = cluster(PodNames::Disabled);
    expect(&index, "svc1.testns.svc.cluster.local.", A, &["svc1.testns.svc.cluster.local. 5 A 10.0.0.1"]);
    expect(&index, "svc1.testns.svc.cluster.local.", AAAA, &["NoData"]);
    expect(
        &index,
        "dual.testns.svc.cluster.local.",
        AAAA,
        &["dual.testns.svc.cluster.local. 5 AAAA 2001:db8::2"],
    );
    expect(
        &index,
        "portless.testns.svc.cluster.local.",
        A,
        &["portless.testns.svc.cluster.local. 5 A 10.0.0.3"],
    );
    expect(
        &index,
        "_http._tcp.svc1.testns.svc.cluster.local.",
        A,
        &["_http._tcp.svc1.testns.svc.cluster.local. 5 A 10.0.0.1"],
    );
    for other in [TXT, MX, CNAME, HTTPS, NS, SOA, PTR] {
        expect(&index, "svc1.testns.svc.cluster.local.", other, &["NoData"]);
    }
}

#[test]
fn ports_of_cluster_ips() {
    let index = cluster(PodNames::Disabled);
    let name = "svc1.testns.svc.cluster.local.";
    let address = format!("+ {name} 5 A 10.0.0.1");
    for (asked, records) in [
        (format!("_http._tcp.{name}"), vec![format!("100 80 {name}")]),
        (format!("_dns._udp.{name}"), vec![format!("100 53 {name}")]),
        (name.to_owned(), vec![format!("50 80 {name}"), format!("50 53 {name}")]),
    ] {
        let records = records.iter().map(|r| format!("{asked} 5 SRV 0 {r}"));
        let expected: Vec<String> = records.chain([address.clone()]).collect();
        expect(&index, &asked, SRV, &expected.iter().map(String::as_str).collect::<Vec<_>>());
    }
    for missing in ["_https._tcp", "_http._udp", "_dns._tcp"] {
        expect(&index, &format!("{missing}.{name}"), SRV, &["NxDomain"]);
    }
    expect(&index, "portless.testns.svc.cluster.local.", SRV, &["NoData"]);
    let dual = "dual.testns.svc.cluster.local.";
    expect(
        &index,
        dual,
        SRV,
        &[
            &format!("{dual} 5 SRV 0 50 8080 {dual}"),
            &format!("+ {dual} 5 A 10.0.0.2"),
            &format!("+ {dual} 5 AAAA 2001:db8::2"),
        ],
    );
}

#[test]
fn endpoints_of_headless_services() {
    let index = cluster(PodNames::Disabled);
    let name = "hdls.testns.svc.cluster.local.";
    let [a, b, c] = ["172.0.0.2", "172.0.0.3", "172.0.0.4"].map(|ip| format!("{name} 5 A {ip}"));
    expect(&index, name, A, &[&a, &b, &c]);
    let [a, b] = ["5678:abcd::", "5678:abcd::1"].map(|ip| format!("{name} 5 AAAA {ip}"));
    expect(&index, name, AAAA, &[&a, &b]);
    let targets = [format!("172-0-0-2.{name}"), format!("twin.{name}")];
    let six = [format!("5678-abcd--1.{name}"), format!("5678-abcd--0.{name}")];
    let srv = targets.iter().chain(&six).map(|target| format!("_http._tcp.{name} 5 SRV 0 20 8080 {target}"));
    let addresses = [
        format!("+ {} 5 A 172.0.0.2", targets[0]),
        format!("+ {} 5 A 172.0.0.3", targets[1]),
        format!("+ {} 5 A 172.0.0.4", targets[1]),
        format!("+ {} 5 AAAA 5678:abcd::1", six[0]),
        format!("+ {} 5 AAAA 5678:abcd::", six[1]),
    ];
    let expected: Vec<String> = srv.chain(addresses).collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    expect(&index, &format!("_http._tcp.{name}"), SRV, &expected);
    expect(&index, "unready.testns.svc.cluster.local.", A, &["NxDomain"]);
    expect(&index, "unready.testns.svc.cluster.local.", SRV, &["NxDomain"]);
}

#[test]
fn endpoints_by_name() {
    let index = cluster(PodNames::Disabled);
    for (label, record_type, addresses) in [
        ("172-0-0-2", A, vec!["172.0.0.2"]),
        ("twin", A, vec!["172.0.0.3", "172.0.0.4"]),
        ("5678-abcd--1", AAAA, vec!["5678:abcd::1"]),
        ("5678-abcd--0", AAAA, vec!["5678:abcd::"]),
    ] {
        let name = format!("{label}.hdls.testns.svc.cluster.local.");
        let expected: Vec<String> =
            addresses.iter().map(|ip| format!("{name} 5 {record_type} {ip}")).collect();
        expect(&index, &name, record_type, &expected.iter().map(String::as_str).collect::<Vec<_>>());
    }
    // The one with a hostname has no other name, and one that is not ready has none.
    for label in ["172-0-0-3", "172-0-0-5", "172.0.0.2"] {
        expect(&index, &format!("{label}.hdls.testns.svc.cluster.local."), A, &["NxDomain"]);
    }
    // Endpoints of Services with a ClusterIP have names too, and such without ports.
    let name = "172-0-0-2.svc1.testns.svc.cluster.local.";
    expect(&index, name, A, &[&format!("{name} 5 A 172.0.0.2")]);
    let name = "172-0-0-9.portless.testns.svc.cluster.local.";
    expect(&index, name, A, &[&format!("{name} 5 A 172.0.0.9")]);
    expect(&index, name, SRV, &["NoData"]);
}

#[test]
fn names_of_addresses() {
    let index = cluster(PodNames::Disabled);
    let ptr = |name: &str, targets: &[&str]| {
        let lines: Vec<String> = targets.iter().map(|target| format!("{name} 5 PTR {target}")).collect();
        expect(&index, name, PTR, &lines.iter().map(String::as_str).collect::<Vec<_>>());
    };
    ptr("1.0.0.10.in-addr.arpa.", &["svc1.testns.svc.cluster.local."]);
    ptr(
        "2.0.0.172.IN-ADDR.arpa.",
        &["172-0-0-2.hdls.testns.svc.cluster.local.", "172-0-0-2.svc1.testns.svc.cluster.local."],
    );
    ptr("3.0.0.172.in-addr.arpa.", &["twin.hdls.testns.svc.cluster.local."]);
    let zeros = |n: usize| "0.".repeat(n);
    ptr(&format!("2.{}8.b.d.0.1.0.0.2.ip6.arpa.", zeros(23)), &["dual.testns.svc.cluster.local."]);
    ptr(
        &format!("1.{}D.c.b.a.8.7.6.5.ip6.arpa.", zeros(23)),
        &["5678-abcd--1.hdls.testns.svc.cluster.local."],
    );
    for name in ["5.0.0.172.in-addr.arpa.", "0.0.172.in-addr.arpa.", "1.2.ip6.arpa.", "x.in-addr.arpa."] {
        expect(&index, name, PTR, &["FallThrough"]);
    }
    expect(&index, "1.0.0.10.in-addr.arpa.", A, &["FallThrough"]);
    expect(&index, "in-addr.arpa.", PTR, &["NoData"]);
}

#[test]
fn aliases_are_followed_as_far_as_we_know() {
    let index = cluster(PodNames::Disabled);
    let [outside, inside] = ["external", "inside"].map(|name| format!("{name}.testns.svc.cluster.local."));
    let cname = format!("{outside} 5 CNAME ext.interwebs.test.");
    expect(&index, &outside, A, &[&cname, "? ext.interwebs.test."]);
    expect(&index, &outside, AAAA, &[&cname, "? ext.interwebs.test."]);
    expect(&index, &outside, CNAME, &[&cname]);
    expect(&index, &outside, SRV, &["NoData"]);
    expect(&index, &outside, TXT, &["NoData"]);
    let target = "svc1.testns.svc.cluster.local.";
    expect(&index, &inside, A, &[&format!("{inside} 5 CNAME {target}"), &format!("{target} 5 A 10.0.0.1")]);
    // There is no address to follow the alias to.
    expect(&index, &inside, AAAA, &["NoData"]);
    for name in ["dangling", "itself", "ping"] {
        expect(&index, &format!("{name}.testns.svc.cluster.local."), A, &["NoData"]);
    }
    for name in ["address.testns", "x.external.testns", "_http._tcp.external.testns"] {
        expect(&index, &format!("{name}.svc.cluster.local."), A, &["NxDomain"]);
    }
}

#[test]
fn a_chain_of_aliases_ends_as_coredns_ends_it() {
    let mut index = cluster(PodNames::Disabled);
    for n in 0..12 {
        let next = if n == 11 { "svc1".to_owned() } else { format!("c{}", n + 1) };
        let name = format!("{next}.testns.svc.cluster.local");
        index.apply_service(&service(
            &format!("c{n}"),
            &json!({"type": "ExternalName", "externalName": name}),
        ));
    }
    // Eleven aliases and the address; twelve are too many.
    assert_eq!(ask(&index, "c1.testns.svc.cluster.local.", A).len(), 12);
    expect(&index, "c0.testns.svc.cluster.local.", A, &["NoData"]);
}

#[test]
fn pods_by_address() {
    let [disabled, insecure, verified] =
        [PodNames::Disabled, PodNames::Insecure, PodNames::Verified].map(cluster);
    let name = "10-244-0-7.testns.pod.cluster.local.";
    let address = format!("{name} 5 A 10.244.0.7");
    expect(&disabled, name, A, &["NxDomain"]);
    expect(&insecure, name, A, &[&address]);
    expect(&insecure, name, AAAA, &["NoData"]);
    expect(&verified, name, A, &[&address]);
    let other = "10-244-0-8.testns.pod.cluster.local.";
    expect(&insecure, other, A, &[&format!("{other} 5 A 10.244.0.8")]);
    expect(&verified, other, A, &["NxDomain"]);
    let six = "2001-db8--7.testns.pod.cluster.local.";
    expect(&insecure, six, AAAA, &[&format!("{six} 5 AAAA 2001:db8::7")]);
    for name in ["10-244-0-7.nowhere.pod", "blah.testns.pod", "1-2-3-400.testns.pod"] {
        expect(&insecure, &format!("{name}.cluster.local."), A, &["NxDomain"]);
    }
    expect(&verified, "10-244-0-7.empty.pod.cluster.local.", A, &["NxDomain"]);
    expect(&disabled, "testns.pod.cluster.local.", A, &["NxDomain"]);
    expect(&insecure, "testns.pod.cluster.local.", A, &["NoData"]);
}

#[test]
fn a_pod_that_has_ended_has_no_name() {
    let mut index = cluster(PodNames::Verified);
    let mut ended = pod("p", "10.244.0.7");
    ended.status.as_mut().unwrap().phase = Some("Succeeded".into());
    assert!(index.apply_pod(&ended));
    expect(&index, "10-244-0-7.testns.pod.cluster.local.", A, &["NxDomain"]);
}

#[test]
fn names_that_exist_without_records() {
    let index = cluster(PodNames::Disabled);
    for name in ["cluster.local.", "svc.cluster.local.", "pod.cluster.local.", "testns.svc.cluster.local."] {
        for record_type in [A, AAAA, TXT, SRV, MX, CNAME, PTR, HTTPS] {
            expect(&index, name, record_type, &["NoData"]);
        }
    }
}

#[test]
fn names_that_do_not_exist() {
    let index = cluster(PodNames::Disabled);
    for name in [
        "nobody.testns.svc",
        "svc1.nowhere.svc",
        "nowhere.svc",
        "x.hdls.testns.svc",
        "foo",
        "svc1.testns.foo",
        "a.b.c.svc1.testns.svc",
        "*.testns.svc",
        "any.testns.svc",
        "svc1.*.svc",
        "*._tcp.svc1.testns.svc",
    ] {
        for record_type in [A, SRV, TXT, MX, SOA, CNAME] {
            expect(&index, &format!("{name}.cluster.local."), record_type, &["NxDomain"]);
        }
    }
}

#[test]
fn a_negative_answer_has_the_domains_soa() {
    let index = cluster(PodNames::Disabled);
    let answer = question(&index, "nobody.testns.svc.Cluster.LOCAL.", A);
    let soa =
        "Cluster.LOCAL. 5 SOA ns.dns.Cluster.LOCAL. hostmaster.Cluster.LOCAL. 1700000000 7200 1800 86400 5";
    assert_eq!(answer.authorities.iter().map(text).collect::<Vec<_>>(), [soa]);
    assert_eq!(ask(&index, "Cluster.LOCAL.", SOA), [soa]);
    let long = RecordIndex::new(crate::index::RecordConfig { ttl: 3600, ..config(PodNames::Disabled) });
    assert!(ask(&long, "cluster.local.", SOA)[0].starts_with("cluster.local. 300 SOA"));
}

#[test]
fn the_serial_follows_changes_and_never_goes_back() {
    let mut index = cluster(PodNames::Disabled);
    index.changed_at(1_700_000_001);
    index.changed_at(1_600_000_000);
    assert!(ask(&index, "cluster.local.", SOA)[0].contains(" 1700000001 "));
}

#[test]
fn matching_ignores_case_and_keeps_it() {
    let index = cluster(PodNames::Disabled);
    let name = "SVC1.TestNS.Svc.Cluster.LOCAL.";
    expect(&index, name, A, &[&format!("{name} 5 A 10.0.0.1")]);
    let target = "svc1.testns.svc.Cluster.LOCAL.";
    let asked = format!("_HTTP._Tcp.{name}");
    expect(
        &index,
        &asked,
        SRV,
        &[&format!("{asked} 5 SRV 0 100 80 {target}"), &format!("+ {target} 5 A 10.0.0.1")],
    );
}

#[test]
fn a_second_domain_has_the_same_names() {
    let index = cluster(PodNames::Disabled);
    let name = "svc1.testns.svc.example.org.";
    expect(&index, name, A, &[&format!("{name} 5 A 10.0.0.1")]);
    expect(&index, "example.com.", A, &["Elsewhere"]);
    expect(&index, "xcluster.local.", A, &["Elsewhere"]);
    expect(&index, ".", A, &["Elsewhere"]);
}

#[test]
fn the_name_server_is_the_service_in_front_of_us() {
    let mut index = cluster(PodNames::Disabled);
    let server = "dns.testns.svc.cluster.local.";
    expect(
        &index,
        "cluster.local.",
        NS,
        &[&format!("cluster.local. 5 NS {server}"), &format!("+ {server} 5 A 10.0.0.10")],
    );
    expect(&index, "ns.dns.cluster.local.", A, &["ns.dns.cluster.local. 5 A 10.0.0.10"]);
    index.delete_slice(&penstock_model::ObjectKey::new("testns", "dns-1"));
    expect(
        &index,
        "cluster.local.",
        NS,
        &["cluster.local. 5 NS ns.dns.cluster.local.", "+ ns.dns.cluster.local. 5 A 10.244.0.53"],
    );
}

#[test]
fn transfers_are_refused() {
    let index = cluster(PodNames::Disabled);
    for record_type in [AXFR, IXFR] {
        expect(&index, "cluster.local.", record_type, &["Refused"]);
    }
}

#[test]
fn before_all_was_seen_nothing_is_denied() {
    let mut index = RecordIndex::new(config(PodNames::Disabled));
    let name = "svc1.testns.svc.cluster.local.";
    expect(&index, name, A, &["NotSynced"]);
    expect(&index, "1.0.0.10.in-addr.arpa.", PTR, &["NotSynced"]);
    // What is known is answered.
    index.apply_namespace(&namespace("testns"));
    index.apply_service(&service("svc1", &json!({"clusterIPs": ["10.0.0.1"], "ports": [{"port": 80}]})));
    expect(&index, name, A, &[&format!("{name} 5 A 10.0.0.1")]);
    for kind in [Kind::Slice, Kind::Namespace] {
        index.retain(kind, &[penstock_model::ObjectKey::new("", "testns")].into());
    }
    expect(&index, "x.testns.svc.cluster.local.", A, &["NotSynced"]);
    index.retain(Kind::Service, &[penstock_model::ObjectKey::new("testns", "svc1")].into());
    expect(&index, "x.testns.svc.cluster.local.", A, &["NxDomain"]);
}

#[test]
fn many_endpoints_weigh_at_least_one() {
    let mut index = cluster(PodNames::Disabled);
    let endpoints: Vec<Value> = (0..150).map(|n| json!({"addresses": [format!("172.1.0.{n}")]})).collect();
    let ports = json!([{"name": "http", "port": 8080, "protocol": "TCP"}]);
    index.apply_slice(&slice("unready-2", "unready", &ports, &json!(endpoints)));
    let answer = question(&index, "unready.testns.svc.cluster.local.", SRV);
    assert_eq!((answer.answers.len(), answer.additionals.len()), (150, 150));
    assert!(answer.answers.iter().all(|record| text(record).contains(" SRV 0 1 8080 ")));
}
