//! `--nodeport-addresses`, from the flag to the packet.

use clap::Parser;
use penstock_model::{Protocol::Tcp, ServiceIndex};
use penstock_node::{
    Backend, Flags,
    nftables::{Nft, Nftables},
};
use serde_json::json;

use crate::{
    flow::{Answers, answers, check_all, refused},
    lab::{
        Lab,
        Sender::{Client, Node, P1},
        node_object, service, slice, table_config,
    },
};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
}

const V4: Answers = &[("p2", "10.244.0.1")];
const V6: Answers = &[("p2", "2001:db8:244::1")];

/// A lab whose node has a node port, with this value of the flag.
fn lab(value: &str) -> Lab {
    let lab = Lab::new();
    lab.client.ip("route add 192.0.2.7 via 203.0.113.11");
    lab.node.ip("address add 192.0.2.7/32 dev lo");
    let flag = format!("--nodeport-addresses={value}");
    let flags = Arguments::try_parse_from(["penstock-node", &flag]).unwrap().flags;
    // The interfaces are those of where the program runs.
    let mut index = ServiceIndex::new(lab.node.enter(|| flags.index_config("n1".into()).unwrap()));
    index.apply_node(&node_object());
    let spec = json!({
        "type": "NodePort", "clusterIPs": ["10.96.0.10", "2001:db8:96::10"],
        "ports": [{"port": 80, "nodePort": 30080}]});
    index.apply_service(&service("web", "u1", &spec, &[]));
    for address in ["10.244.0.3", "2001:db8:244::3"] {
        index.apply_slice(&slice("web", &json!([{"port": 8080}]), &[address]));
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut backend = Nftables::new(Nft::in_namespace(lab.node.name()), table_config());
    runtime.block_on(backend.reload(&index.all())).unwrap();
    lab
}

#[test]
fn without_ranges_it_is_the_primary_address_of_each_family() {
    let flows = [
        answers(Client, Tcp, "203.0.113.11:30080", V4),
        answers(Client, Tcp, "[2001:db8:113::11]:30080", V6),
        refused(Client, Tcp, "192.0.2.7:30080"),
        refused(P1, Tcp, "10.244.0.1:30080"),
        refused(Node, Tcp, "127.0.0.1:30080"),
    ];
    check_all(&lab("primary"), &flows);
}

#[test]
fn with_ranges_it_is_the_nodes_addresses_in_them_and_never_loopback() {
    let flows = [
        refused(Client, Tcp, "203.0.113.11:30080"),
        refused(Client, Tcp, "[2001:db8:113::11]:30080"),
        answers(Client, Tcp, "192.0.2.7:30080", V4),
        answers(P1, Tcp, "10.244.0.1:30080", V4),
        answers(P1, Tcp, "[2001:db8:244::1]:30080", V6),
        answers(Node, Tcp, "192.0.2.7:30080", V4),
        refused(Node, Tcp, "127.0.0.1:30080"),
        refused(Node, Tcp, "[::1]:30080"),
    ];
    check_all(&lab("192.0.2.0/24,10.244.0.0/24,2001:db8:244::/64,127.0.0.0/8,::1/128"), &flows);
}

/// Packets from outside to the node's loopback addresses would be taken then (CVE-2020-8558).
#[test]
fn route_localnet_stays_off_on_every_interface() {
    let lab = lab("0.0.0.0/0,::/0");
    let values = lab.node.enter(|| {
        let interfaces = std::fs::read_dir("/proc/sys/net/ipv4/conf").unwrap();
        let value = |path: std::path::PathBuf| std::fs::read_to_string(path.join("route_localnet")).unwrap();
        interfaces.map(|interface| value(interface.unwrap().path())).collect::<Vec<_>>()
    });
    assert!(values.len() > 4 && values.iter().all(|value| value.trim() == "0"), "{values:?}");
    check_all(&lab, &[refused(Node, Tcp, "127.0.0.1:30080"), answers(Node, Tcp, "192.0.2.7:30080", V4)]);
}
