//! Who gets an address that several ask for.

use penstock_model::{ObjectKey, ServiceIndex};
use serde_json::json;

use crate::{
    objects::{balanced, index, service},
    said::Said,
};

const ADDRESS: &str = "80.11.12.10:80/TCP";

fn apply_external(index: &mut ServiceIndex, name: &str, created: u8) {
    let cluster_ip = format!("10.96.1.{created}");
    let spec = json!({"clusterIP": cluster_ip, "externalIPs": ["80.11.12.10"], "ports": [{"port": 80}]});
    index.apply_service(&service(name, created, &spec));
}

#[test]
fn a_cluster_ip_wins_over_an_older_external_ip() {
    let (mut index, mut said) = (index(), Said::default());
    let thief = json!({"clusterIP": "10.96.0.8", "externalIPs": ["10.96.0.7"], "ports": [{"port": 80}]});
    index.apply_service(&service("thief", 1, &thief));
    said.add(index.take_changes());
    assert_eq!(said.owner("10.96.0.7:80/TCP").unwrap(), "thief");
    index.apply_service(&service("owner", 2, &json!({"clusterIP": "10.96.0.7", "ports": [{"port": 80}]})));
    said.add(index.take_changes());
    assert_eq!(said.owner("10.96.0.7:80/TCP").unwrap(), "owner");
    assert_eq!(said.owner("10.96.0.8:80/TCP").unwrap(), "thief");
}

#[test]
fn a_load_balancer_ip_wins_over_an_older_external_ip() {
    let (mut index, mut said) = (index(), Said::default());
    apply_external(&mut index, "older", 1);
    let spec = json!({"type": "LoadBalancer", "clusterIP": "10.96.0.7", "ports": [{"port": 80}]});
    index.apply_service(&balanced(service("balanced", 2, &spec), &["80.11.12.10"]));
    said.add(index.take_changes());
    assert_eq!(said.owner(ADDRESS).unwrap(), "balanced");
}

#[test]
fn the_older_wins_among_external_ips_whoever_comes_first() {
    for order in [[("b", 1), ("a", 2)], [("a", 2), ("b", 1)]] {
        let (mut index, mut said) = (index(), Said::default());
        for (name, created) in order {
            apply_external(&mut index, name, created);
            said.add(index.take_changes());
        }
        assert_eq!(said.owner(ADDRESS).unwrap(), "b", "{order:?}");
    }
}

#[test]
fn the_smaller_uid_wins_among_those_created_in_the_same_second() {
    for order in [["a", "b"], ["b", "a"]] {
        let (mut index, mut said) = (index(), Said::default());
        order.iter().for_each(|name| apply_external(&mut index, name, 1));
        said.add(index.take_changes());
        assert_eq!(said.owner(ADDRESS).unwrap(), "a", "{order:?}");
    }
}

#[test]
fn the_heir_gets_the_address_with_the_changes_that_take_it_away() {
    let (mut index, mut said) = (index(), Said::default());
    apply_external(&mut index, "a", 1);
    apply_external(&mut index, "b", 2);
    apply_external(&mut index, "c", 3);
    said.add(index.take_changes());
    index.delete_service(&ObjectKey::new("d", "a"));
    said.add(index.take_changes());
    assert_eq!(said.owner(ADDRESS).unwrap(), "b");
    // Neither deleted nor changed in name: "b" only stops asking.
    index.apply_service(&service("b", 2, &json!({"clusterIP": "10.96.1.2", "ports": [{"port": 80}]})));
    said.add(index.take_changes());
    assert_eq!(said.owner(ADDRESS).unwrap(), "c");
}

#[test]
fn another_port_or_protocol_is_another_address() {
    let (mut index, mut said) = (index(), Said::default());
    apply_external(&mut index, "a", 1);
    let ports = json!([{"name": "x", "port": 81}, {"name": "y", "port": 80, "protocol": "UDP"}]);
    let spec = json!({"clusterIP": "10.96.0.7", "externalIPs": ["80.11.12.10"], "ports": ports});
    index.apply_service(&service("b", 2, &spec));
    said.add(index.take_changes());
    let owners = [ADDRESS, "80.11.12.10:81/TCP", "80.11.12.10:80/UDP"].map(|a| said.owner(a).unwrap());
    assert_eq!(owners, ["a", "b", "b"]);
}
