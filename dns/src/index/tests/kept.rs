//! What is kept over a restart.

use serde_json::json;

use super::fixture::{config, namespace, pod, service, slice};
use crate::index::{PodNames, RecordIndex};

/// If this fails, what is kept has changed: count up the number in `state::FORMAT`, and write the new one here.
#[test]
fn the_format_is_that_of_its_version() {
    let mut index = RecordIndex::new(config(PodNames::Verified));
    let ports = json!([{"name": "a", "port": 80, "protocol": "UDP"}]);
    index.apply_service(&service("s", &json!({"clusterIPs": ["10.0.0.1", "2001:db8::1"], "ports": ports})));
    let endpoints = json!([{"addresses": ["172.0.0.1"], "hostname": "h"}]);
    index.apply_slice(&slice("e", "s", &ports, &endpoints));
    index.apply_namespace(&namespace("testns"));
    index.apply_pod(&pod("p", "10.1.0.1"));
    index.changed_at(7);
    let octets = postcard::to_stdvec(&index.snapshot()).unwrap();
    let content: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    let expected = [
        "07",
        "0106746573746e730173",
        "0002000a0000010120010db800000000000000000000000101016101010150",
        "0106746573746e730165",
        "06746573746e730173010161010101500100ac000001010168",
        "0106746573746e73",
        "0106746573746e73017001000a010001",
    ];
    assert_eq!((crate::state::FORMAT, content), ("penstock-dns state 1", expected.concat()));
}

#[test]
fn an_alias_is_kept_as_it_was() {
    let mut index = RecordIndex::new(config(PodNames::Disabled));
    index.apply_service(&service(
        "s",
        &json!({"type": "ExternalName", "externalName": "a_b.Elsewhere.test."}),
    ));
    let octets = postcard::to_stdvec(&index.snapshot()).unwrap();
    assert_eq!(postcard::from_bytes(&octets), Ok(index.snapshot()));
}
