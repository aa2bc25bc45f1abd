//! The rules of the table `inet penstock-ipvs`, which always stand, and its sets.
//!
//! IPVS takes packets in the input hook at priority 99 and in the output hook at -98, and sends what it has translated
//! through the output hook once more (`ip_vs_ops`, `ip_vs_nat_xmit`). So what decides about a frontend comes before -98 in
//! output and before 99 in input, and what may only see packets that IPVS left comes behind.

use super::mark::Mark;
use crate::nftables::{FAMILIES, TableConfig, frontend, ranges_of, rejection, source_ranges};

/// Family and name of the table.
pub(super) const TABLE: &str = "inet penstock-ipvs";

/// Takes the table away. Adding it first makes that no error where there is none.
pub(super) fn remove() -> String {
    format!("add table {TABLE}\ndelete table {TABLE}\n")
}

/// The table without Services, in the place of whatever stands there.
pub(super) fn define(config: &TableConfig) -> String {
    let sets = FAMILIES.map(|(n, ip)| sets(n, ip)).concat();
    let (marking, filters, left) = (marking(config), filters(), left());
    remove()
        + &format!(
            "table {TABLE} {{
{sets}{}{}{marking}{filters}{left}}}
",
            source_ranges(),
            rejection()
        )
        + &ranges_of(TABLE, "cluster", &config.cluster_cidrs)
        + &ranges_of(TABLE, "service-cidrs", &config.service_cidrs)
}

/// Other Service ranges.
pub(super) fn replace_service_cidrs(config: &TableConfig) -> String {
    let flush = FAMILIES.map(|(n, _)| format!("flush set {TABLE} service-cidrs{n}\n")).concat();
    flush + &ranges_of(TABLE, "service-cidrs", &config.service_cidrs)
}

fn sets(n: &str, ip: &str) -> String {
    let address = if n == "4" { "ipv4_addr" } else { "ipv6_addr" };
    let key = frontend(ip);
    let of_frontends = ["refused", "dropped", "always", "off-cluster", "firewalled"];
    let of_frontends = of_frontends.map(|set| format!("  set {set}{n} {{ typeof {key}; }}\n")).concat();
    format!(
        "  set cluster{n} {{ type {address}; flags interval; }}
  set service-cidrs{n} {{ type {address}; flags interval; }}
  set vips{n} {{ typeof {ip} daddr; }}
  set sources{n} {{ typeof {key} . {ip} saddr; flags interval; }}
  set hairpin{n} {{ typeof {ip} saddr . {ip} daddr; }}
  map inside{n} {{ typeof {key} : meta mark; }}
{of_frontends}"
    )
}

/// Who is masqueraded, and which connections go to the virtual server of a mark.
fn marking(config: &TableConfig) -> String {
    let (bit, rest) = (config.mark(), !config.mark());
    let (prefix, mask) = (Mark::PREFIX, Mark::PREFIX_MASK);
    let [four, six] = [frontend("ip"), frontend("ip6")];
    let off_cluster = FAMILIES.map(|(n, ip)| match config.has_cluster_cidr(n) {
        true => {
            format!("    {ip} saddr != @cluster{n} {} @off-cluster{n} jump mark-masquerade\n", frontend(ip))
        }
        false => String::new(),
    });
    format!(
        "  chain mark-masquerade {{ meta mark set meta mark | {bit:#x}; }}
  # Of new connections, before IPVS. External policy Local is for those who come from outside.
  chain frontends {{
    ip saddr @cluster4 meta mark set {four} map @inside4 accept
    ip6 saddr @cluster6 meta mark set {six} map @inside6 accept
    fib saddr type local meta mark set {four} map @inside4 accept
    fib saddr type local meta mark set {six} map @inside6 accept
    {four} @dropped4 drop
    {six} @dropped6 drop
    {four} @always4 jump mark-masquerade
    {six} @always6 jump mark-masquerade
{}{}  }}
  # Behind IPVS: the mark has led to its virtual server and means nothing to anybody else. The node's own source is replaced.
  chain leave-inside {{
    meta mark set 0
    ip saddr @cluster4 return
    ip6 saddr @cluster6 return
    jump mark-masquerade
  }}
  chain masquerade-marked {{ meta mark set meta mark & {rest:#x}; masquerade fully-random; }}
  chain postrouting {{
    type nat hook postrouting priority srcnat;
    meta mark & {bit:#x} != 0 goto masquerade-marked
    ip saddr . ip daddr @hairpin4 masquerade fully-random
    ip6 saddr . ip6 daddr @hairpin6 masquerade fully-random
  }}
  chain output-translated {{
    type filter hook output priority -90;
    meta mark & {mask:#x} == {prefix:#x} jump leave-inside
  }}
",
        off_cluster[0], off_cluster[1]
    )
}

/// Before IPVS.
fn filters() -> String {
    "  chain filter-prerouting {
    type filter hook prerouting priority -110;
    ct state new jump source-ranges
    ct state new jump frontends
  }
  chain filter-input { type filter hook input priority -110; ct state new jump refusals; }
  chain filter-output {
    type filter hook output priority -110;
    ct state new jump source-ranges
    ct state new jump refusals
    ct state new jump frontends
  }
"
    .into()
}

/// What IPVS has not taken.
fn left() -> String {
    "  # No port of the Service: it would reach the node's own servers, since the address is local (kubernetes issue 72236).
  chain left-input {
    type filter hook input priority 110;
    ct state new ip daddr @vips4 goto reject-connection
    ct state new ip6 daddr @vips6 goto reject-connection
  }
  chain unowned {
    ip daddr != @vips4 ip daddr @service-cidrs4 drop
    ip6 daddr != @vips6 ip6 daddr @service-cidrs6 drop
  }
  chain filter-forward {
    type filter hook forward priority -110;
    # What connection tracking finds invalid is not translated (kubernetes issue 74839).
    ct state invalid drop
    ct state new jump unowned
  }
  chain left-output { type filter hook output priority -90; ct state new jump unowned; }
"
    .into()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use penstock_model::{FrontendAddress, Protocol};

    use super::*;
    use crate::{
        ipvs::rule::Rule,
        netfilter::fresh_namespace::{in_fresh_namespace, nft},
        nftables::{Batch, Netlink, statements},
    };

    fn every_rule(ip: &str, net: &str) -> Vec<Rule> {
        let ip: IpAddr = ip.parse().unwrap();
        let at = FrontendAddress { ip, protocol: Protocol::Sctp, port: 80 };
        vec![
            Rule::Refused(at),
            Rule::Dropped(at),
            Rule::Always(at),
            Rule::OffCluster(at),
            Rule::Inside(at, Mark::SCRATCH | 1),
            Rule::Firewalled(at),
            Rule::Source(at, net.parse().unwrap()),
            Rule::Vip(ip),
            Rule::Hairpin(ip),
        ]
    }

    #[test]
    fn the_kernel_takes_the_table_and_every_rule_from_the_program_and_by_netlink() {
        in_fresh_namespace(|| {
            let config = TableConfig {
                cluster_cidrs: vec!["10.244.0.0/16".parse().unwrap()],
                service_cidrs: vec!["10.96.0.0/16".parse().unwrap(), "2001:db8:96::/112".parse().unwrap()],
                masquerade_bit: 14,
            };
            let rules =
                [every_rule("10.96.0.7", "192.0.2.0/24"), every_rule("2001:db8:96::7", "2001:db8::/32")];
            let (rules, runtime) = (rules.concat(), tokio::runtime::Runtime::new().unwrap());
            // Twice: a table that stands is replaced.
            let load = define(&config) + &statements(TABLE, "add", rules.iter().map(Rule::row));
            (0..2).for_each(|_| nft(&load));
            nft(&replace_service_cidrs(&config));
            let mut netlink = Netlink::new(crate::NetworkNamespace::Own);
            let none = std::iter::empty;
            for batch in [
                Batch::of_rows(TABLE, rules.iter().map(Rule::key), none()),
                Batch::of_rows(TABLE, none(), rules.iter().map(Rule::row)),
            ] {
                runtime.block_on(netlink.send(batch)).unwrap();
            }
            // As the program writes them they are the same elements: they can be removed.
            nft(&statements(TABLE, "delete", rules.iter().map(Rule::key)));
            nft(&remove());
        });
    }
}
