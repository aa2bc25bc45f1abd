//! The rules of the table `inet penstock`: those that always stand, and the chains per number of endpoints.

use std::fmt::Write as _;

use ipnet::IpNet;
use penstock_model::Protocol;

/// Family and name of the only table that is ours.
pub(super) const TABLE: &str = "inet penstock";

/// All that a Service port can have.
const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];

/// What the rules depend on besides Services.
#[derive(Clone, Debug)]
pub struct TableConfig {
    /// The cluster's Pod ranges. Traffic to a ClusterIP from elsewhere is masqueraded; for a family
    /// without a range nothing is.
    pub cluster_cidrs: Vec<IpNet>,
    /// The bit (0 to 31) of the packet mark that asks for masquerading.
    pub masquerade_bit: u8,
}

impl Default for TableConfig {
    fn default() -> Self {
        Self { cluster_cidrs: Vec::new(), masquerade_bit: 14 }
    }
}

impl TableConfig {
    fn mark(&self) -> u32 {
        1 << self.masquerade_bit
    }

    fn cluster_cidrs(&self, v4: bool) -> String {
        // nft refuses ranges that overlap.
        let nets = IpNet::aggregate(&self.cluster_cidrs);
        let nets = nets.iter().filter(|net| net.addr().is_ipv4() == v4).map(ToString::to_string);
        nets.collect::<Vec<_>>().join(", ")
    }
}

/// Takes the table away. Adding it first makes that no error where there is none.
pub(super) fn remove() -> String {
    format!("add table {TABLE}\ndelete table {TABLE}\n")
}

/// An empty table in place of whatever stood there; the elements follow in the same transaction.
pub(super) fn replace(config: &TableConfig) -> String {
    let mark = config.mark();
    let unmarked = !mark;
    let sets: String = [("4", "ip"), ("6", "ip6")].iter().map(|(n, ip)| sets(n, ip)).collect();
    let remove = remove();
    format!(
        "{remove}table {TABLE} {{
{sets}
  # The bit that kube-proxy uses too: network plugins know it and leave it alone.
  chain mark-masquerade {{ meta mark set meta mark | {mark:#x}; }}
  chain masquerade-marked {{ meta mark set meta mark & {unmarked:#x}; masquerade fully-random; }}
  chain reject-connection {{
    meta l4proto tcp reject with tcp reset
    reject with icmpx type port-unreachable
  }}
  chain services {{
    ip daddr . meta l4proto . th dport vmap @services4
    ip6 daddr . meta l4proto . th dport vmap @services6
  }}
  chain refusals {{
    ip daddr . meta l4proto . th dport vmap @refused4
    ip6 daddr . meta l4proto . th dport vmap @refused6
  }}
  chain prerouting {{ type nat hook prerouting priority dstnat; jump services; }}
  # -100 is dstnat, a name that nft 1.0.6 does not know for this hook.
  chain output {{ type nat hook output priority -100; jump services; }}
  chain postrouting {{
    type nat hook postrouting priority srcnat;
    meta mark & {mark:#x} != 0 goto masquerade-marked
    ct status & dnat == dnat ip saddr . ip daddr @hairpin4 masquerade fully-random
    ct status & dnat == dnat ip6 saddr . ip6 daddr @hairpin6 masquerade fully-random
  }}
  # NAT chains cannot reject. Before -100, so that the output hook still shows the frontend's address.
  chain filter-input {{ type filter hook input priority -110; ct state new jump refusals; }}
  chain filter-forward {{
    type filter hook forward priority -110;
    # Connection tracking does not translate what it finds invalid (kubernetes issue 74839). A late answer of an endpoint would reach the
    # client from an address that it does not know, and the client would reset the connection.
    ct state invalid drop
    ct state new jump refusals
  }}
  chain filter-output {{ type filter hook output priority -110; ct state new jump refusals; }}
}}
"
    ) + &cluster_elements(config)
}

fn sets(n: &str, ip: &str) -> String {
    let address = if n == "4" { "ipv4_addr" } else { "ipv6_addr" };
    format!(
        "  set cluster{n} {{ type {address}; flags interval; }}
  map services{n} {{ typeof {ip} daddr . meta l4proto . th dport : verdict; }}
  map refused{n} {{ typeof {ip} daddr . meta l4proto . th dport : verdict; }}
  set hairpin{n} {{ typeof {ip} saddr . {ip} daddr; }}
"
    ) + &PROTOCOLS.map(|protocol| endpoint_map(n, ip, protocol)).concat()
}

/// One map a protocol: with one map for all, its value would be `th dport`, and nft 1.0.6 cannot add a rule
/// that uses such a map later than the map (\"conflicting protocols specified: ip vs. th\"). The modulus
/// only declares the index's type.
fn endpoint_map(n: &str, ip: &str, protocol: Protocol) -> String {
    let protocol = protocol.lower();
    format!(
        "  map {protocol}-endpoints{n} {{
    typeof {ip} daddr . {protocol} dport . numgen random mod 65536 : {ip} daddr . {protocol} dport
  }}
"
    )
}

fn cluster_elements(config: &TableConfig) -> String {
    let mut text = String::new();
    for (set, v4) in [("cluster4", true), ("cluster6", false)] {
        let nets = config.cluster_cidrs(v4);
        if !nets.is_empty() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "add element {TABLE} {set} {{ {nets} }}");
        }
    }
    text
}

/// The chains that choose among `count` endpoints. They are shared by all frontends with so many.
pub(super) fn chains(count: u32, config: &TableConfig) -> String {
    let mut text = String::new();
    let mut chain = |name: &str, rules: &[String]| {
        let _ = writeln!(text, "add chain {TABLE} {name}-{count}");
        for rule in rules {
            let _ = writeln!(text, "add rule {TABLE} {name}-{count} {rule}");
        }
    };
    let goto_pick = format!("goto pick-{count}");
    let picks =
        PROTOCOLS.map(|protocol| [pick("ip", "4", protocol, count), pick("ip6", "6", protocol, count)]);
    chain("pick", picks.as_flattened());
    chain("external", &["jump mark-masquerade".into(), goto_pick.clone()]);
    let off_cluster = [("ip", "4", true), ("ip6", "6", false)]
        .iter()
        .filter(|(_, _, v4)| !config.cluster_cidrs(*v4).is_empty())
        .map(|(ip, n, _)| format!("{ip} saddr != @cluster{n} jump mark-masquerade"));
    chain("cluster", &off_cluster.chain([goto_pick]).collect::<Vec<_>>());
    text
}

fn pick(ip: &str, n: &str, protocol: Protocol, count: u32) -> String {
    let protocol = protocol.lower();
    format!(
        "dnat {ip} to {ip} daddr . {protocol} dport . numgen random mod {count} \
         map @{protocol}-endpoints{n}"
    )
}
