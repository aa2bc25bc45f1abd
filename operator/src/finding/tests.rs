use super::*;

fn rules() -> Rules {
    let allowed = [(Some("shop".to_owned()), "80.11.12.0/28".parse().unwrap())].into_iter().collect();
    Rules {
        external_ips: ExternalIpPolicy {
            allowed,
            reserved: vec!["10.96.0.0/16".parse().unwrap()],
            ..Default::default()
        },
        node_ips: BTreeSet::from([IpAddr::from([80, 11, 12, 1])]),
        cluster_domain: "cluster.local".into(),
    }
}

fn service(spec: &Value, conditions: &Value) -> core::Service {
    let metadata = json!({
        "name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7", "generation": 3});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": {"conditions": conditions}}))
        .unwrap()
}

fn asking_for(external_ips: &[&str]) -> Value {
    json!({"type": "NodePort", "clusterIP": "10.96.0.7", "externalIPs": external_ips, "ports": [{"port": 80}]})
}

fn named(external_name: &str) -> Value {
    json!({"type": "ExternalName", "externalName": external_name})
}

fn found(spec: &Value) -> Vec<(String, String, String)> {
    let found = findings(&service(spec, &json!([])), &rules());
    found.into_iter().map(|f| (f.kind.to_string(), f.reason.to_string(), f.message)).collect()
}

/// What the Service says after the patch, as the API server merges it.
fn patched(service: &core::Service, patch: &Value) -> core::Service {
    let mut service = service.clone();
    let conditions = service.status.as_mut().unwrap().conditions.get_or_insert_default();
    for change in patch["status"]["conditions"].as_array().unwrap() {
        conditions.retain(|c| change["type"] != c.type_.as_str());
        if change["$patch"] != "delete" {
            conditions.push(serde_json::from_value(change.clone()).unwrap());
        }
    }
    service
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn every_refused_external_ip_is_named_with_what_to_change() {
    let spec = asking_for(&["80.11.12.10", "80.11.12.99", "80.11.12.1", "010.0.0.1"]);
    let message = "spec.externalIPs: \"010.0.0.1\" is not an IP address; externalIP 80.11.12.99 is outside what \
                   namespace shop may use: add it to spec.cidrs of an ExternalIPPolicy for this namespace; \
                   externalIP 80.11.12.1 is a node's own address: choose another, or use a node port";
    let expected = ("penstock.dev/ExternalIPsAccepted", "ExternalIPsRefused", message);
    assert_eq!(found(&spec), [(expected.0.into(), expected.1.into(), expected.2.into())]);
}

#[test]
fn whatever_its_type_a_service_that_gets_what_it_asks_for_has_no_finding() {
    for service_type in ["ClusterIP", "NodePort", "LoadBalancer"] {
        let mut spec = asking_for(&["80.11.12.10"]);
        spec["type"] = json!(service_type);
        assert!(found(&spec).is_empty(), "{service_type}");
        spec["externalIPs"] = json!(["9.9.9.9"]);
        assert_eq!(found(&spec).len(), 1, "{service_type}");
    }
    assert!(found(&named("db.example.com")).is_empty());
    assert!(findings(&core::Service::default(), &rules()).is_empty());
}

#[test]
fn a_message_fits_into_an_event_however_much_is_refused() {
    let many: Vec<String> = (0..500).map(|n| format!("2001:db8:ffff:ffff:ffff:ffff:ffff:{n:x}")).collect();
    let mut object = service(&asking_for(&many.iter().map(String::as_str).collect::<Vec<_>>()), &json!([]));
    object.metadata.namespace = Some("n".repeat(63));
    let found = &findings(&object, &rules())[0];
    assert!(found.message.ends_with("; and 497 more") && !found.message.contains('…'), "{}", found.message);
    let long = "ä".repeat(3000);
    let texts = asking_for(&[&long, &long, &long, &long]);
    for spec in [texts, named(&format!("{long}.1")), named(&format!("{}:", "a".repeat(250)))] {
        let found = &findings(&service(&spec, &json!([])), &rules())[0];
        assert!(found.message.len() <= 1024, "{}", found.message.len());
    }
}

#[test]
fn an_external_name_that_dns_cannot_answer_with_is_told() {
    for name in ["10.0.0.1", "a..b", "web.shop.svc.cluster.local", ""] {
        let found = found(&named(name));
        assert_eq!(found.len(), 1, "{name:?}");
        let (kind, reason, message) = &found[0];
        assert_eq!(
            (kind.as_str(), reason.as_str()),
            ("penstock.dev/ExternalNameAccepted", "ExternalNameInvalid")
        );
        assert!(message.starts_with("spec.externalName "), "{message}");
    }
}

#[test]
fn a_finding_is_one_write_with_preconditions_and_then_none() {
    let fresh = service(&asking_for(&["9.9.9.9"]), &json!([]));
    let found = findings(&fresh, &rules());
    let written = patch(&fresh, &found, None, at(1)).unwrap();
    assert_eq!(written["metadata"], json!({"uid": "u", "resourceVersion": "7"}));
    let condition = &written["status"]["conditions"][0];
    assert_eq!((&condition["status"], &condition["observedGeneration"]), (&json!("False"), &json!(3)));
    assert_eq!(news(&fresh, &found).count(), 1);
    let settled = patched(&fresh, &written);
    assert_eq!(patch(&settled, &found, None, at(2)), None);
    assert_eq!(news(&settled, &found).count(), 0);
    // Another address of the same Service: told again, but not as a flip.
    let mut changed = settled;
    changed.spec = service(&asking_for(&["9.9.9.10"]), &json!([])).spec;
    let found = findings(&changed, &rules());
    let written = patch(&changed, &found, None, at(3)).unwrap();
    assert_eq!(written["status"]["conditions"][0]["lastTransitionTime"], "1970-01-01T00:00:01Z");
    assert_eq!(news(&changed, &found).count(), 1);
}

#[test]
fn findings_and_what_is_written_besides_are_one_patch() {
    let fresh = service(&asking_for(&["9.9.9.9"]), &json!([]));
    let found = findings(&fresh, &rules());
    let told = patched(&fresh, &patch(&fresh, &found, None, at(1)).unwrap());
    let address = json!({"ingress": [{"ip": "203.0.113.200"}]});
    let provisioned = json!({"type": "LoadBalancerProvisioning", "status": "False"});
    let metadata = json!({"uid": "u", "resourceVersion": "7", "finalizers": ["ours"]});
    let report = json!({
        "metadata": metadata, "status": {"loadBalancer": address, "conditions": [provisioned]}});

    let both = patch(&fresh, &found, Some(report.clone()), at(1)).unwrap();
    assert_eq!((&both["metadata"], &both["status"]["loadBalancer"]), (&metadata, &address));
    let types = both["status"]["conditions"].as_array().unwrap().iter().map(|c| c["type"].as_str().unwrap());
    assert_eq!(types.collect::<Vec<_>>(), ["LoadBalancerProvisioning", "penstock.dev/ExternalIPsAccepted"]);
    // Null in their place would take the conditions of all others away.
    assert_eq!(patch(&told, &found, Some(report.clone()), at(1)), Some(report));
    let without_conditions = json!({"metadata": metadata, "status": {}});
    assert_eq!(
        patch(&told, &found, Some(without_conditions.clone()), at(1)),
        Some(without_conditions.clone())
    );
    let both = patch(&fresh, &found, Some(without_conditions), at(1)).unwrap();
    assert_eq!(both["metadata"], metadata);
    assert_eq!(both["status"]["conditions"][0]["reason"], "ExternalIPsRefused");
}

#[test]
fn a_condition_that_no_longer_applies_is_removed_and_those_of_others_stay() {
    let when = "2026-01-01T00:00:00Z";
    let of = |kind: &str| json!({"type": kind, "status": "False", "reason": "X", "message": "", "lastTransitionTime": when});
    let foreign = json!([of("LoadBalancerProvisioning"), of("example.com/Other"), of("ExternalIPsAccepted")]);
    let fine = service(&asking_for(&["80.11.12.10"]), &foreign);
    assert_eq!(patch(&fine, &findings(&fine, &rules()), None, at(1)), None, "none of these is ours");

    // From an ExternalName Service with a bad name to a NodePort Service with a bad address, in one write.
    let ours = json!([of("LoadBalancerProvisioning"), of("penstock.dev/ExternalNameAccepted")]);
    let moved = service(&asking_for(&["9.9.9.9"]), &ours);
    let patch = patch(&moved, &findings(&moved, &rules()), None, at(1)).unwrap();
    let after = patched(&moved, &patch);
    let types: Vec<String> = after.status.unwrap().conditions.unwrap().into_iter().map(|c| c.type_).collect();
    assert_eq!(types, ["LoadBalancerProvisioning", "penstock.dev/ExternalIPsAccepted"]);
}

#[test]
fn a_service_on_its_way_out_is_left_alone() {
    let told = json!([{"type": "penstock.dev/ExternalIPsAccepted", "status": "False", "reason": "ExternalIPsRefused",
        "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let mut leaving = service(&asking_for(&["9.9.9.9"]), &told);
    leaving.metadata.deletion_timestamp =
        Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
    let found = findings(&leaving, &rules());
    assert!(found.is_empty());
    assert_eq!(patch(&leaving, &found, None, at(1)), None);
}
