use std::collections::BTreeMap;

use super::*;

/// Of MetalLB's own documentation, and what Penstock lacks.
const METALLB: &str = r#"
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata:
  name: first
  namespace: metallb-system
  labels: { tier: web }
  annotations: { kubectl.kubernetes.io/last-applied-configuration: "{}", owner: net }
  resourceVersion: "7"
spec:
  addresses: [198.51.100.0/28]
  autoAssign: false
  avoidBuggyIPs: true
  serviceAllocation:
    priority: 50
    namespaces: [web]
    serviceSelectors: [{ matchExpressions: [{ key: app, operator: In, values: [bar] }] }]
---
apiVersion: v1
kind: List
items:
- apiVersion: metallb.io/v1beta2
  kind: BGPPeer
  metadata: { name: tor, namespace: metallb-system }
  spec: { myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.1, vrf: red, disableMP: true, password: x, passwordSecret: { name: md5 } }
- apiVersion: metallb.io/v1beta1
  kind: BFDProfile
  metadata: { name: fast, namespace: metallb-system }
  spec: { receiveInterval: 280, echoMode: true }
---
apiVersion: metallb.io/v1beta1
kind: ServiceL2Status
metadata: { name: l2-x, namespace: metallb-system }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: default }
"#;

#[test]
fn an_object_keeps_what_was_written() {
    let converted = convert(METALLB, "penstock-system");
    let pool = &converted.objects[0];
    assert_eq!(
        pool["metadata"],
        json!({ "name": "first", "namespace": "penstock-system", "labels": { "tier": "web" }, "annotations": { "owner": "net" } })
    );
    assert_eq!(pool["apiVersion"], "penstock.dev/v1alpha1");
    assert_eq!(
        pool["spec"]["serviceAllocation"]["serviceSelectors"][0]["matchExpressions"][0]["values"][0],
        "bar"
    );
    assert_eq!(pool["spec"]["autoAssign"], false);
    assert_eq!(converted.objects.len(), 3);
}

#[test]
fn what_cannot_be_carried_over_is_said() {
    let converted = convert(METALLB, "penstock-system");
    for expected in [
        "BGPPeer metallb-system/tor: spec.vrf is left out: ",
        "BGPPeer metallb-system/tor: spec.disableMP is left out: ",
        "BGPPeer metallb-system/tor: spec.password is left out: put it into a Secret",
        "BGPPeer metallb-system/tor: spec.passwordSecret md5: ",
        "BFDProfile metallb-system/fast: spec.echoMode is false now",
        "ServiceL2Status metallb-system/l2-x is left out: it is MetalLB's own record",
        "Service default/web is left out: Services stay as they are",
    ] {
        let said = converted.remarks.iter().any(|remark| remark.starts_with(expected));
        assert!(said, "{expected}: {:#?}", converted.remarks);
    }
    assert_eq!(converted.remarks.len(), 7);
}

/// Each field of MetalLB's is either in the output or in a remark.
#[test]
fn nothing_is_lost() {
    let converted = convert(METALLB, "penstock-system");
    for object in objects(METALLB).map(Result::unwrap).filter(|object| definition(object).is_some()) {
        let ours =
            converted.objects.iter().find(|ours| ours["metadata"]["name"] == object["metadata"]["name"]);
        let ours = leaves(&ours.unwrap()["spec"], "spec");
        for (path, value) in leaves(&object["spec"], "spec") {
            let said = converted.remarks.iter().any(|r| r.starts_with(&title(&object)) && r.contains(&path));
            assert!(said || ours.get(&path) == Some(&value), "{path} of {}", title(&object));
        }
    }
}

fn leaves(value: &Value, path: &str) -> BTreeMap<String, Value> {
    match value {
        Value::Object(fields) => {
            fields.iter().flat_map(|(name, v)| leaves(v, &format!("{path}.{name}"))).collect()
        }
        Value::Array(all) => (0..).zip(all).flat_map(|(n, v)| leaves(v, &format!("{path}[{n}]"))).collect(),
        _ => BTreeMap::from([(path.to_owned(), value.clone())]),
    }
}

#[test]
fn a_broken_document_harms_itself_alone() {
    let text = format!("kind: [\n---\n{METALLB}");
    let converted = convert(&text, "penstock-system");
    assert_eq!((converted.errors.len(), converted.objects.len()), (1, 3));
}

#[test]
fn the_same_name_twice_is_said() {
    let converted = convert(&format!("{METALLB}---\n{METALLB}"), "penstock-system");
    assert!(
        converted.remarks.iter().any(|r| r.starts_with("IPAddressPool metallb-system/first is there twice"))
    );
}

#[test]
fn what_is_written_is_read_as_it_was() {
    let converted = convert(METALLB, "penstock-system").with_class();
    let again: Vec<_> = objects(&converted.yaml().unwrap()).map(Result::unwrap).collect();
    assert_eq!(again, converted.objects);
    assert_eq!(again[0]["kind"], "LoadBalancerClass");
}
