//! Loads, on the kernel, in network namespaces of their own. Needs root.

use std::{net::SocketAddr, process::Command, sync::Arc};

use penstock_model::{
    Frontend, FrontendAddress, FrontendKind, ObjectKey, PortKey, Protocol, ServicePort, SourceRanges,
};

use super::*;
use crate::netfilter::{NetworkNamespace, fresh_namespace::in_fresh_namespace};

/// More elements than one commit of a first load has.
const SERVICES: u32 = 3000;

fn service(n: u32) -> Change {
    let [_, a, b, c] = n.to_be_bytes();
    let address = FrontendAddress { ip: [10, 96 + a, b, c].into(), protocol: Protocol::Tcp, port: 80 };
    let port = ServicePort {
        frontends: vec![Frontend { address, kind: FrontendKind::LoadBalancer }],
        cluster: (11..14).map(|first| SocketAddr::from(([first, a, b, c], 8080))).collect(),
        affinity_seconds: (n == 1).then_some(60),
        source_ranges: SourceRanges::new(&[format!("172.16.{}.0/24", n % 256).parse().unwrap()], false),
        ..ServicePort::default()
    };
    let service = Arc::new(ObjectKey::new("d", format!("s{n}")));
    Change { key: PortKey { service, port: 80, protocol: Protocol::Tcp }, desired: Some(Arc::new(port)) }
}

/// The table's words, sorted: the order of elements is that of a seeded hash.
fn listed() -> Vec<String> {
    let output = Command::new("nft").args(["list", "table", "inet", "penstock"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut words: Vec<String> =
        text.split(|c: char| c.is_whitespace() || c == ',').map(str::to_owned).collect();
    words.retain(|word| !word.is_empty());
    words.sort_unstable();
    words
}

#[test]
fn the_first_load_makes_the_same_table_as_one_in_the_place_of_another() {
    in_fresh_namespace(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let all: Vec<Change> = (0..SERVICES).map(service).collect();
            let (_watch, own) = TableWatch::open(&NetworkNamespace::Own).unwrap();
            let mut backend = Nftables::new(Nft::default(), TableConfig::default()).known_to(own);
            let first = backend.reload(&all).await.unwrap();
            assert!(first.operations > 2 * FILLED_AT_ONCE, "{} operations", first.operations);
            assert!(!first.in_doubt, "its own commits pass for others'");
            let table = listed();
            let second = backend.reload(&all).await.unwrap();
            assert!(!second.in_doubt);
            assert!(table == listed(), "the tables differ");
        });
    });
}
