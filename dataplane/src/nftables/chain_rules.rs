//! The rules of the chains that frontends share.

use std::{collections::BTreeSet, fmt::Write as _};

use penstock_model::{Masquerade, Scope};

use super::{
    chain::{Chain, Choice, Send, local},
    row::Priority,
    table::{FAMILIES, LOCAL_OFFSET, PROTOCOLS, TABLE, TableConfig, client, frontend},
    token,
};

/// Statements that make the chains: first all of them, since some lead to others.
pub(super) fn make(chains: &BTreeSet<Chain>, config: &TableConfig) -> String {
    let (mut names, mut rules) = (String::new(), String::new());
    let mut numbers = [("chains", "goto", Vec::new()), ("token-chains", "jump", Vec::new())];
    for chain in chains {
        for (name, lines) in content(*chain, config) {
            // Writing to a String cannot fail.
            let _ = writeln!(names, "add chain {TABLE} {name}");
            for line in lines {
                let _ = writeln!(rules, "add rule {TABLE} {name} {line}");
            }
        }
        let (_, verb, elements) = &mut numbers[usize::from(matches!(chain, Chain::Token(..)))];
        elements.push(format!("{} : {verb} {}", Priority(chain.number()), chain.name()));
    }
    for (map, _, elements) in numbers.iter().filter(|(.., elements)| !elements.is_empty()) {
        let _ = writeln!(rules, "add element {TABLE} {map} {{ {} }}", elements.join(", "));
    }
    names + &rules
}

/// A chain, and one that only it leads to, with their rules.
fn content(chain: Chain, config: &TableConfig) -> Vec<(String, Vec<String>)> {
    let name = chain.name();
    match chain {
        Chain::Token(scope, count) => vec![(name, token(scope, count))],
        Chain::Send(send @ Send { masquerade: Some(who), .. }) => vec![(name, masquerade(who, send, config))],
        Chain::Send(Send { masquerade: None, scope, choice: Choice::Random(count) }) => {
            vec![(name, pick(scope, count))]
        }
        Chain::Send(Send { masquerade: None, scope, choice: Choice::Sticky(seconds) }) => {
            let hold = format!("hold{}-{seconds}s", local(scope));
            let rules = sticky(scope, &hold);
            vec![(hold, self::hold(scope, seconds)), (name, rules)]
        }
    }
}

fn masquerade(who: Masquerade, send: Send, config: &TableConfig) -> Vec<String> {
    let mut rules = match who {
        Masquerade::Always => vec!["jump mark-masquerade".to_owned()],
        Masquerade::OffCluster => {
            let known = FAMILIES.iter().filter(|(n, _)| config.has_cluster_cidr(n));
            known.map(|(n, ip)| format!("{ip} saddr != @cluster{n} jump mark-masquerade")).collect()
        }
    };
    rules.push(format!("goto {}", Chain::Send(send.plain()).name()));
    rules
}

fn pick(scope: Scope, count: u32) -> Vec<String> {
    let index = random(scope, count);
    every(|n, ip, protocol| {
        format!("dnat {ip} to {ip} daddr . {protocol} dport . {index} map @{protocol}-endpoints{n}")
    })
}

fn token(scope: Scope, count: u32) -> Vec<String> {
    let index = random(scope, count);
    every(|n, ip, protocol| {
        format!("meta priority set {ip} daddr . {protocol} dport . {index} map @{protocol}-tokens{n}")
    })
}

/// The client's token if it has one. If the endpoint is gone, `hold` returns and it gets another.
fn sticky(scope: Scope, hold: &str) -> Vec<String> {
    let set = "meta priority set";
    let of_family = |(n, ip): (&str, &str)| {
        let (frontend, of_family, client) = (frontend(ip), family(n), client(n));
        [
            format!("{set} {frontend} map @affine{n}"),
            format!("{of_family} {set} {client} . meta priority map @affinity{n} jump {hold}"),
            format!("{set} {frontend} map @choices{}{n}", local(scope)),
        ]
    };
    let mut rules: Vec<String> = FAMILIES.into_iter().flat_map(of_family).collect();
    rules.extend(["meta priority vmap @token-chains".to_owned(), format!("goto {hold}")]);
    rules
}

/// Sends to the holder of the token, and remembers that for a while from now on. A token without a holder is forgotten:
/// an update only prolongs what is there.
fn hold(scope: Scope, seconds: u32) -> Vec<String> {
    let port = Priority(token::PORT);
    let key = |n| format!("{} . meta priority & {port}", client(n));
    let update = FAMILIES.map(|(n, _)| {
        format!("{} update @affinity{n} {{ {} timeout {seconds}s : meta priority }}", family(n), key(n))
    });
    let scope = local(scope);
    let send = every(|n, ip, protocol| {
        format!(
            "dnat {ip} to {ip} daddr . {protocol} dport . meta priority map @{protocol}-holders{scope}{n}"
        )
    });
    let forget =
        FAMILIES.map(|(n, _)| format!("{} delete @affinity{n} {{ {} : meta priority }}", family(n), key(n)));
    update.into_iter().chain(send).chain(forget).collect()
}

/// What the raw key of IPv6 does not say by itself.
fn family(n: &str) -> String {
    format!("meta nfproto ipv{n}")
}

fn random(scope: Scope, count: u32) -> String {
    match scope {
        Scope::Cluster => format!("numgen random mod {count}"),
        Scope::Local => format!("numgen random mod {count} offset {LOCAL_OFFSET}"),
    }
}

/// One rule for each family and protocol.
fn every(rule: impl Fn(&str, &str, &str) -> String) -> Vec<String> {
    let rule = &rule;
    PROTOCOLS.iter().flat_map(|protocol| FAMILIES.map(move |(n, ip)| rule(n, ip, protocol.lower()))).collect()
}
