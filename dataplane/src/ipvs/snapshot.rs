//! `/proc/net/ip_vs`: all virtual servers with their destinations in one read. Pure.
//!
//! The kernel tells nobody of changes, and generic netlink lists destinations one server at a time; this file costs no
//! netlink call at all. It says how many connections each destination has, but neither time-outs in seconds nor flags of
//! schedulers.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use penstock_model::{FrontendAddress, Protocol};

use super::{
    codec::{Connections, Destination, Forwarding, ServerAddress, ServerFlags, VirtualServer},
    ledger::Observed,
    mark::Mark,
};

/// What the destinations of each server have.
pub(super) type ConnectionsByServer = BTreeMap<ServerAddress, BTreeMap<SocketAddr, Connections>>;

/// What the file says.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// All servers with their destinations.
    pub(super) servers: BTreeMap<ServerAddress, Observed>,
    /// What these have.
    pub(super) connections: ConnectionsByServer,
}

/// Reads the file. Lines that cannot be read are left out, with the destinations behind them.
pub(super) fn parse(text: &str) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let mut current = None;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match (words.as_slice(), current) {
            (["->", rest @ ..], Some(server)) => snapshot.take_destination(server, rest),
            (["->", ..], None) => {}
            _ => current = snapshot.take_server(&words),
        }
    }
    snapshot
}

impl Snapshot {
    fn take_server(&mut self, words: &[&str]) -> Option<ServerAddress> {
        let server = server(words)?;
        self.servers.insert(server.address, Observed { server, destinations: BTreeMap::new() });
        Some(server.address)
    }

    fn take_destination(&mut self, server: ServerAddress, words: &[&str]) {
        let observed = self.servers.get_mut(&server);
        if let Some((observed, (to, connections))) = observed.zip(destination(words)) {
            observed.destinations.insert(to.address, to);
            self.connections.entry(server).or_default().insert(to.address, connections);
        }
    }
}

/// `TCP 0A60000C:0050 lc persistent 6000 FFFFFFFF`, `FWM 5E500001 rr`.
fn server(words: &[&str]) -> Option<VirtualServer> {
    let (kind, at, scheduler, rest) = match words {
        [kind, at, scheduler, rest @ ..] => (*kind, *at, *scheduler, rest),
        _ => return None,
    };
    let address = match kind {
        "TCP" => frontend(Protocol::Tcp, at)?,
        "UDP" => frontend(Protocol::Udp, at)?,
        "SCTP" => frontend(Protocol::Sctp, at)?,
        "FWM" => {
            let mark = u32::from_str_radix(at, 16).ok()?;
            ServerAddress::Mark(Mark::family(mark), mark)
        }
        _ => return None,
    };
    let persistent = rest.contains(&"persistent");
    let flags = if persistent { ServerFlags::PERSISTENT } else { ServerFlags::default() };
    Some(VirtualServer { address, scheduler: scheduler.parse().ok(), flags, timeout: 0 })
}

fn frontend(protocol: Protocol, at: &str) -> Option<ServerAddress> {
    let at = socket(at)?;
    Some(ServerAddress::Frontend(FrontendAddress { ip: at.ip(), protocol, port: at.port() }))
}

/// `0AF40105:1F75 Masq 1 0 0`: the weight, connections that are open, and others that are tracked.
fn destination(words: &[&str]) -> Option<(Destination, Connections)> {
    let [at, forwarding, weight, active, inactive, ..] = words else { return None };
    let forwarding = match *forwarding {
        "Masq" => Forwarding::Masquerade,
        "Local" => Forwarding::Local,
        "Tunnel" => Forwarding::Tunnel,
        "Route" => Forwarding::DirectRoute,
        _ => return None,
    };
    let connections = Connections { active: active.parse().ok()?, inactive: inactive.parse().ok()? };
    Some((Destination { address: socket(at)?, forwarding, weight: weight.parse().ok()? }, connections))
}

/// IPv4 as eight hexadecimal digits, IPv6 in brackets; the port is hexadecimal.
fn socket(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.rsplit_once(':')?;
    let ip: IpAddr = match ip.strip_prefix('[') {
        Some(ip) => ip.strip_suffix(']')?.parse().ok()?,
        None => Ipv4Addr::from(u32::from_str_radix(ip, 16).ok()?).into(),
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use penstock_model::{Family, Scheduler};
    use proptest::prelude::*;

    use super::*;

    /// As Linux 6.1 writes it.
    const TEXT: &str = "IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A60000A:0035 rr
  -> 0AF40105:1F75      Masq    0      2          15
TCP  0A60000C:0050 lc  persistent 6000 FFFFFFFF
TCP  0A60000B:0050 sh
UDP  [2001:0db8:0096:0000:0000:0000:0000:000a]:0035 wlc
  -> [2001:0db8:0244:0000:0000:0000:0000:0005]:1F75      Masq    1      0          0
FWM  5E800001 rr
FWM  5E000001 fo
  -> 0AF40105:1F90      Masq    1      0          0
";

    #[test]
    fn servers_and_destinations_are_read() {
        let Snapshot { servers: all, connections } = parse(TEXT);
        assert_eq!((all.len(), connections.len()), (6, 3));
        let at = |ip: &str, protocol, port| {
            ServerAddress::Frontend(FrontendAddress { ip: ip.parse().unwrap(), protocol, port })
        };
        let dns = &all[&at("10.96.0.10", Protocol::Tcp, 53)];
        assert_eq!(dns.server.scheduler, Some(Scheduler::Rr));
        let pod = "10.244.1.5:8053".parse().unwrap();
        assert_eq!(dns.destinations[&pod], Destination::draining(pod));
        assert_eq!(connections[&dns.server.address][&pod], Connections { active: 2, inactive: 15 });
        let persistent = &all[&at("10.96.0.12", Protocol::Tcp, 80)].server;
        assert_eq!((persistent.flags, persistent.scheduler), (ServerFlags::PERSISTENT, Some(Scheduler::Lc)));
        let six = "[2001:db8:244::5]:8053".parse().unwrap();
        assert_eq!(
            all[&at("2001:db8:96::a", Protocol::Udp, 53)].destinations[&six],
            Destination::serving(six)
        );
        assert!(all[&ServerAddress::Mark(Family::IPv6, 0x5e80_0001)].destinations.is_empty());
        let marked = &all[&ServerAddress::Mark(Family::IPv4, 0x5e00_0001)];
        assert_eq!((marked.server.scheduler, marked.destinations.len()), (None, 1));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(TCP|UDP|FWM|  ->|[ :\\[\\]0-9A-F\n]|Masq|\\PC){0,60}") {
            parse(&text);
        }
    }
}
