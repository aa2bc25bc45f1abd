//! On the kernel, in network namespaces of their own; a veth stands in for the dummy, which not every kernel has. Needs
//! root.

use std::{net::Ipv4Addr, process::Command, time::Duration};

use super::*;
use crate::netfilter::fresh_namespace::in_fresh_namespace;

/// More than fit into the buffer of a socket (`net.core.rmem_default`, 208 KiB) as messages of less than 100 bytes, each of
/// which takes its share of a page.
const MANY: u32 = 4000;

fn ip(args: &str) {
    assert!(Command::new("ip").args(args.split(' ')).status().unwrap().success(), "ip {args}");
}

async fn bound(device: &Device) -> usize {
    device.addresses().await.unwrap().bound.iter().filter(|ip| ip.is_ipv4()).count()
}

/// Whoever listens is told that the track is lost, and requests are answered all the same.
#[test]
fn a_flood_of_changes_is_noticed_and_requests_are_answered() {
    in_fresh_namespace(|| {
        ip("link add penstock-ipvs type veth peer name other");
        let work = async {
            let (mut device, mut changes) = Device::open().unwrap();
            device.look().await.unwrap();
            let ips: Vec<IpAddr> = (1..=MANY).map(|n| Ipv4Addr::from(0x0b00_0000 + n).into()).collect();
            device.bind(&ips).await.unwrap();
            assert_eq!(bound(&device).await, ips.len());
            // Nobody reads meanwhile: this thread is the only one.
            ip("-4 address flush dev penstock-ipvs");
            while device.lost(&changes.next().await.unwrap().0) != Some(Lost::Track) {}
            assert_eq!(bound(&device).await, 0);
            device.bind(&ips).await.unwrap();
            assert_eq!(bound(&device).await, ips.len());
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(60), work).await.expect("an answer")
        });
    });
}
