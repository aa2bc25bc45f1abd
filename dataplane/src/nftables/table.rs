//! The rules of the table `inet penstock` that always stand, and its sets.

use std::fmt::Write as _;

use ipnet::IpNet;
use penstock_model::Protocol;

use super::{chain::Target, row::Priority};

/// Family and name of the only table that is ours.
pub(super) const TABLE: &str = "inet penstock";

/// All that a Service port can have.
pub(super) const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];

/// The end of the names of an IP family's sets, and its name in rules.
pub(crate) const FAMILIES: [(&str, &str); 2] = [("4", "ip"), ("6", "ip6")];

/// Endpoints of the node stand at indexes from here on.
pub(super) const LOCAL_OFFSET: u32 = 1 << 31;

/// Which endpoint each client has. A predecessor's is kept by its name: whoever changes what they hold renames them.
pub(super) const KEPT: [&str; 2] = ["affinity4", "affinity6"];

/// How many clients of Services with affinity are remembered, per family: forged senders of UDP cost no more memory than
/// that. Others get an endpoint all the same.
const CLIENTS: u32 = 1 << 18;

/// What the rules depend on besides Services.
#[derive(Clone, Debug)]
pub struct TableConfig {
    /// The cluster's Pod ranges. Traffic to a ClusterIP from elsewhere is masqueraded; for a family
    /// without a range nothing is, and nobody counts as a pod.
    pub cluster_cidrs: Vec<IpNet>,
    /// The Service ranges: what no Service owns of them is dropped.
    pub service_cidrs: Vec<IpNet>,
    /// The bit (0 to 31) of the packet mark that asks for masquerading.
    pub masquerade_bit: u8,
}

impl Default for TableConfig {
    fn default() -> Self {
        Self { cluster_cidrs: Vec::new(), service_cidrs: Vec::new(), masquerade_bit: 14 }
    }
}

impl TableConfig {
    pub(crate) fn mark(&self) -> u32 {
        1 << self.masquerade_bit
    }

    pub(crate) fn has_cluster_cidr(&self, n: &str) -> bool {
        !ranges(&self.cluster_cidrs, n).is_empty()
    }
}

fn ranges(nets: &[IpNet], n: &str) -> String {
    // nft refuses ranges that overlap.
    let nets = IpNet::aggregate(&nets.to_vec());
    let nets = nets.iter().filter(|net| net.addr().is_ipv4() == (n == "4")).map(ToString::to_string);
    nets.collect::<Vec<_>>().join(", ")
}

/// The sender, as the keys of [`KEPT`] hold it. Of IPv6 the lower 96 bits, since in nft 1.0.6 the key of a map that a rule
/// fills has no more than 128: clients that differ in the upper 32 alone have the same endpoint.
pub(super) fn client(n: &str) -> &'static str {
    if n == "4" { "ip saddr" } else { "@nh,96,96" }
}

/// The key of all maps of frontends.
pub(crate) fn frontend(ip: &str) -> String {
    format!("{ip} daddr . meta l4proto . th dport")
}

/// Takes the table away. Adding it first makes that no error where there is none.
pub(super) fn remove() -> String {
    format!("add table {TABLE}\ndelete table {TABLE}\n")
}

/// The table without Services and without [`hooks`]: no packet comes here yet. Nothing of it stands there before, [`KEPT`]
/// apart.
pub(super) fn define(config: &TableConfig) -> String {
    let sets: String = FAMILIES.map(|(n, ip)| sets(n, ip)).concat();
    let marking = marking(config.mark());
    let services = services();
    let filters = filters();
    format!(
        "table {TABLE} {{
{sets}
  # A number to the chain that it stands for: the only verdict maps, because the kernel walks through all of such a map
  # when a verdict is added anywhere.
  map chains {{ typeof meta priority : verdict; }}
  map token-chains {{ typeof meta priority : verdict; }}
{marking}{services}{filters}}}
"
    ) + &ranges_of(TABLE, "cluster", &config.cluster_cidrs)
        + &ranges_of(TABLE, "service-cidrs", &config.service_cidrs)
}

/// Other Service ranges.
pub(super) fn replace_service_cidrs(config: &TableConfig) -> String {
    let flush = FAMILIES.map(|(n, _)| format!("flush set {TABLE} service-cidrs{n}\n")).concat();
    flush + &ranges_of(TABLE, "service-cidrs", &config.service_cidrs)
}

/// Statements that fill a table's two sets of ranges.
pub(crate) fn ranges_of(table: &str, set: &str, nets: &[IpNet]) -> String {
    let mut text = String::new();
    for (n, _) in FAMILIES {
        let nets = ranges(nets, n);
        if !nets.is_empty() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "add element {table} {set}{n} {{ {nets} }}");
        }
    }
    text
}

fn sets(n: &str, ip: &str) -> String {
    let address = if n == "4" { "ipv4_addr" } else { "ipv6_addr" };
    let (frontend, client) = (frontend(ip), client(n));
    let numbers = ["services", "inside", "outside", "affine", "choices", "choices-local"];
    let numbers = numbers.map(|map| format!("  map {map}{n} {{ typeof {frontend} : meta priority; }}\n"));
    format!(
        "  set cluster{n} {{ type {address}; flags interval; }}
  set service-cidrs{n} {{ type {address}; flags interval; }}
  set cluster-ips{n} {{ typeof {ip} daddr; }}
  set refused{n} {{ typeof {frontend}; }}
  set firewalled{n} {{ typeof {frontend}; }}
  set sources{n} {{ typeof {frontend} . {ip} saddr; flags interval; }}
  set hairpin{n} {{ typeof {ip} saddr . {ip} daddr; }}
  map affinity{n} {{
    typeof {client} . meta priority : meta priority; flags dynamic,timeout; size {CLIENTS};
  }}
"
    ) + &numbers.concat()
        + &PROTOCOLS.map(|protocol| endpoint_maps(n, ip, protocol.lower())).concat()
}

/// One map a protocol: with one map for all, its value would be `th dport`, and nft 1.0.6 cannot add a rule
/// that uses such a map later than the map (\"conflicting protocols specified: ip vs. th\"). The modulus
/// only declares the index's type.
fn endpoint_maps(n: &str, ip: &str, protocol: &str) -> String {
    let key = format!("typeof {ip} daddr . {protocol} dport");
    let address = format!("{ip} daddr . {protocol} dport");
    format!(
        "  map {protocol}-endpoints{n} {{ {key} . numgen random mod 65536 : {address}; }}
  map {protocol}-tokens{n} {{ {key} . numgen random mod 65536 : meta priority; }}
  map {protocol}-holders{n} {{ {key} . meta priority : {address}; }}
  map {protocol}-holders-local{n} {{ {key} . meta priority : {address}; }}
"
    )
}

fn marking(mark: u32) -> String {
    let unmarked = !mark;
    format!(
        "  # The bit that kube-proxy uses too: network plugins know it and leave it alone.
  chain mark-masquerade {{ meta mark set meta mark | {mark:#x}; }}
  chain masquerade-marked {{ meta mark set meta mark & {unmarked:#x}; masquerade fully-random; }}
"
    )
}

/// From the frontend to its chain. Only the first packet of a connection comes here.
fn services() -> String {
    let look_up =
        |map: &str, then: &str| FAMILIES.map(|(n, ip)| format!("    {then} {} map @{map}{n}", frontend(ip)));
    let set = "meta priority set";
    let [service4, service6] = look_up("services", set);
    let [inside4, inside6] = look_up("inside", set);
    let [outside4, outside6] = look_up("outside", set);
    let (drop, short) = (Priority(Target::Drop.number()), Priority(Target::ShortCircuit.number()));
    format!(
        "  chain services {{
{service4} goto dispatch
{service6} goto dispatch
  }}
  chain dispatch {{
    meta priority vmap @chains
    meta priority {short} goto short-circuit
    meta priority {drop} drop
  }}
  # External policy Local is for those who come from outside.
  chain short-circuit {{
    ip saddr @cluster4 {} goto decided
    ip6 saddr @cluster6 {} goto decided
    fib saddr type local jump mark-masquerade
    fib saddr type local {} goto decided
    fib saddr type local {} goto decided
{outside4} goto decided
{outside6} goto decided
  }}
  chain decided {{
    meta priority vmap @chains
    meta priority {drop} drop
  }}
",
        inside4.trim_start(),
        inside6.trim_start(),
        inside4.trim_start(),
        inside6.trim_start(),
    )
}

/// Who may not connect: drops new connections.
pub(crate) fn source_ranges() -> String {
    let [(four, six)] = [(frontend("ip"), frontend("ip6"))];
    format!(
        "  chain source-ranges {{
    {four} @firewalled4 {four} . ip saddr != @sources4 drop
    {six} @firewalled6 {six} . ip6 saddr != @sources6 drop
  }}
"
    )
}

/// How connections are rejected, and those of frontends without endpoints.
pub(crate) fn rejection() -> String {
    let [(four, six)] = [(frontend("ip"), frontend("ip6"))];
    format!(
        "  chain reject-connection {{
    meta l4proto tcp reject with tcp reset
    reject with icmpx type port-unreachable
  }}
  chain refusals {{
    {four} @refused4 goto reject-connection
    {six} @refused6 goto reject-connection
  }}
"
    )
}

/// NAT chains cannot reject.
fn filters() -> String {
    let (source_ranges, rejection) = (source_ranges(), rejection());
    format!(
        "{source_ranges}{rejection}  # What still has such an address has not been translated: no port of the Service, or no Service.
  chain leftovers {{
    ip daddr @cluster-ips4 goto reject-connection
    ip6 daddr @cluster-ips6 goto reject-connection
    ip daddr @service-cidrs4 drop
    ip6 daddr @service-cidrs6 drop
  }}
"
    )
}

/// Where packets come to what [`define`] made. Chains before -100 still see the frontend's address in the output hook.
pub(super) fn hooks(config: &TableConfig) -> String {
    let ours = Priority(super::chain::OURS);
    let mark = config.mark();
    format!(
        "table {TABLE} {{
  chain prerouting {{ type nat hook prerouting priority dstnat; jump services; }}
  # -100 is dstnat, a name that nft 1.0.6 does not know for this hook.
  chain output {{ type nat hook output priority -100; jump services; }}
  chain postrouting {{
    type nat hook postrouting priority srcnat;
    # What chose the endpoint is not to choose a queue too.
    ct status & dnat == dnat meta priority & {ours} == {ours} meta priority set none
    meta mark & {mark:#x} != 0 goto masquerade-marked
    ct status & dnat == dnat ip saddr . ip daddr @hairpin4 masquerade fully-random
    ct status & dnat == dnat ip6 saddr . ip6 daddr @hairpin6 masquerade fully-random
  }}
  # Before translation, for everybody, and also where there is no endpoint.
  chain filter-prerouting {{ type filter hook prerouting priority -110; ct state new jump source-ranges; }}
  chain filter-input {{
    type filter hook input priority -110;
    ct state new jump refusals
    ct state new jump leftovers
  }}
  chain filter-forward {{
    type filter hook forward priority -110;
    # Connection tracking does not translate what it finds invalid (kubernetes issue 74839). A late answer of an endpoint would reach the
    # client from an address that it does not know, and the client would reset the connection.
    ct state invalid drop
    ct state new jump refusals
    ct state new jump leftovers
  }}
  chain filter-output {{
    type filter hook output priority -110;
    ct state new jump source-ranges
    ct state new jump refusals
  }}
  chain filter-output-translated {{ type filter hook output priority -90; ct state new jump leftovers; }}
}}
"
    )
}
