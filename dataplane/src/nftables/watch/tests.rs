//! On the kernel, in network namespaces of their own. Needs root.

use std::{net::IpAddr, time::Duration};

use tokio::time::timeout;

use super::*;
use crate::{
    netfilter::fresh_namespace::in_fresh_namespace,
    nftables::{Element, Netlink, Nft, TableConfig, Transaction, table},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A namespace with our table and a foreign one, and a watch on it; programs and sockets of the future are inside.
fn watching<F: Future<Output = ()>>(work: impl FnOnce(TableWatch, OwnCommits) -> F + Send + 'static) {
    in_fresh_namespace(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            by_nft(&(table::remove() + &table::define(&TableConfig::default()))).await;
            by_nft("add table inet foreign\nadd chain inet foreign c\n").await;
            let (watch, own) = TableWatch::open(&NetworkNamespace::Own).unwrap();
            work(watch, own).await;
        });
    });
}

async fn by_nft(script: &str) {
    Nft::default().run(script).await.unwrap();
}

fn hairpin(last: u8) -> Transaction {
    Transaction { adds: vec![Element::Hairpin(IpAddr::from([10, 244, 0, last]))], ..Transaction::default() }
}

async fn author(watch: &mut TableWatch) -> String {
    match timeout(PATIENCE, watch.touched()).await.expect("nothing was told").unwrap() {
        Touched::By { program, .. } => program,
        Touched::Unknown | Touched::Missing { .. } => "unknown".into(),
    }
}

/// What has been told and not been looked at. The kernel tells within the call that commits.
fn told(watch: &mut TableWatch) -> Vec<Touched> {
    let watching = watch.socket.get_ref().clone();
    let datagrams = std::iter::from_fn(|| watching.socket.receive().unwrap());
    datagrams.filter_map(|replies| take(&mut watch.commit, replies)).collect()
}

#[test]
fn changes_by_others_are_told_and_foreign_tables_are_not() {
    watching(async |mut watch, _own| {
        by_nft("add chain inet foreign d\n").await;
        by_nft("add element inet penstock hairpin4 { 10.244.0.5 . 10.244.0.5 }\n").await;
        assert_eq!(author(&mut watch).await, "nft");
        by_nft("flush chain inet penstock services\n").await;
        assert_eq!(author(&mut watch).await, "nft");
        by_nft("delete table inet penstock\n").await;
        assert_eq!(author(&mut watch).await, "nft");
        by_nft("flush ruleset\n").await;
        assert_eq!(told(&mut watch), []);
    });
}

#[test]
fn our_own_ports_are_left_out_as_long_as_they_are_ours() {
    watching(async |mut watch, own| {
        let inside = NetfilterSocket::open(&NetworkNamespace::Own).unwrap();
        let port = inside.port();
        let mut netlink = Netlink::with_socket(inside);
        let ours = own.by_port(port).unwrap();
        // A second one, so that the filter has several.
        let _other = own.by_port(port ^ 1).unwrap();
        netlink.run(&hairpin(5)).await.unwrap();
        assert_eq!(told(&mut watch), []);
        by_nft("delete element inet penstock hairpin4 { 10.244.0.5 . 10.244.0.5 }\n").await;
        assert_eq!(author(&mut watch).await, "nft");
        drop(ours);
        netlink.run(&hairpin(6)).await.unwrap();
        assert_ne!(author(&mut watch).await, "nft");
    });
}

#[test]
fn after_a_pause_it_is_known_whether_others_committed() {
    watching(async |mut watch, own| {
        let paused = own.pause().unwrap();
        by_nft(&(table::remove() + &table::define(&TableConfig::default()))).await;
        assert!(!paused.resume(1).unwrap());
        assert_eq!(told(&mut watch), []);
        let paused = own.pause().unwrap();
        by_nft(&(table::remove() + &table::define(&TableConfig::default()))).await;
        by_nft("delete table inet penstock\n").await;
        assert!(paused.resume(1).unwrap());
        by_nft("add table inet penstock\n").await;
        assert_eq!(author(&mut watch).await, "nft");
    });
}

#[test]
fn more_than_the_socket_holds_is_unknown() {
    watching(async |mut watch, _own| {
        let list: Vec<_> = (0..60_000_u32).map(|n| format!("10.96.{}.{}", n >> 8, n & 0xff)).collect();
        let elements = format!("{{ {} }}", list.join(", "));
        // Twice 80 bytes and their keeping for every element.
        for verb in ["add", "delete", "add", "delete"] {
            by_nft(&format!(
                "add set inet foreign s {{ type ipv4_addr; }}\n{verb} element inet foreign s {elements}\n"
            ))
            .await;
        }
        assert_eq!(author(&mut watch).await, "unknown");
        by_nft("delete table inet penstock\n").await;
        assert_eq!(author(&mut watch).await, "nft");
    });
}
