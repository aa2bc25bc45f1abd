//! What `iptables-restore --noflush` reads. Pure.
//!
//! A chain that is declared is emptied and then filled: all of a table's part is one step. What is not named stays.

use std::fmt::Write as _;

use super::{
    chains::{Chain, Chains, Patch, Table},
    fixed::JUMPS,
    standing::Standing,
};

/// What a patch takes.
pub(super) fn of_patch(patch: &Patch) -> String {
    Table::ALL.iter().map(|table| part(*table, patch, "")).collect()
}

/// These chains and no other of ours, with the jumps to them first in their chains.
pub(super) fn of_load(standing: &Standing, chains: Chains) -> String {
    let deleted = standing.chains.iter().filter(|chain| !chains.contains_key(*chain)).cloned().collect();
    let stays =
        |table: Table, rule: &str| !is_jump(table, rule) && chains.contains_key(&(table, target(rule)));
    let left: Vec<&(Table, String)> =
        standing.jumps.iter().filter(|(table, rule)| !stays(*table, rule)).collect();
    let jumps = |table| without_jumps(table, &left) + &with_jumps(table);
    let jumps = Table::ALL.map(|table| (table, jumps(table)));
    let patch = Patch { deleted, written: chains };
    jumps.iter().map(|(table, jumps)| part(*table, &patch, jumps)).collect()
}

/// Nothing of ours.
pub(super) fn of_removal(standing: &Standing) -> String {
    let patch = Patch { deleted: standing.chains.iter().cloned().collect(), ..Patch::default() };
    let jumps: Vec<&(Table, String)> = standing.jumps.iter().collect();
    Table::ALL.iter().map(|table| part(*table, &patch, &without_jumps(*table, &jumps))).collect()
}

fn with_jumps(table: Table) -> String {
    let jumps = JUMPS.iter().filter(|jump| jump.0 == table);
    jumps.map(|(_, chain, rule)| format!("-I {chain} 1 {rule}\n")).collect()
}

/// Whether it is one of those that are put first anyway.
fn is_jump(table: Table, rule: &str) -> bool {
    JUMPS.iter().any(|(of, chain, jump)| *of == table && rule == format!("{chain} {jump}"))
}

/// The chain that a rule leads to.
fn target(rule: &str) -> String {
    rule.rsplit(' ').next().unwrap_or_default().to_owned()
}

fn without_jumps(table: Table, jumps: &[&(Table, String)]) -> String {
    let jumps = jumps.iter().filter(|jump| jump.0 == table);
    jumps.map(|(_, rule)| format!("-D {rule}\n")).collect()
}

/// Of one table; nothing if nothing is to be done.
fn part(table: Table, patch: &Patch, jumps: &str) -> String {
    let is_here = |chain: &&Chain| chain.0 == table;
    let written = || patch.written.iter().filter(|(chain, _)| chain.0 == table);
    let deleted = || patch.deleted.iter().filter(is_here);
    if jumps.is_empty() && written().next().is_none() && deleted().next().is_none() {
        return String::new();
    }
    let mut text = format!("*{}\n", table.name());
    // Writing to a String cannot fail. A chain can be deleted only when it is empty and nothing leads to it.
    for (_, name) in written().map(|(chain, _)| chain).chain(deleted()) {
        let _ = writeln!(text, ":{name} - [0:0]");
    }
    for ((_, name), rules) in written() {
        for rule in rules {
            let _ = writeln!(text, "-A {name} {rule}");
        }
    }
    text.push_str(jumps);
    for (_, name) in deleted() {
        let _ = writeln!(text, "-X {name}");
    }
    text + "COMMIT\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(name: &str) -> Chain {
        (Table::Nat, name.to_owned())
    }

    #[test]
    fn a_table_of_which_nothing_differs_is_not_named() {
        let written = [(chain("PENSTOCK-A"), vec!["-j RETURN".to_owned()])].into();
        let patch = Patch { written, deleted: [chain("PENSTOCK-B")].into() };
        let text = "*nat\n:PENSTOCK-A - [0:0]\n:PENSTOCK-B - [0:0]\n-A PENSTOCK-A -j RETURN\n-X PENSTOCK-B\nCOMMIT\n";
        assert_eq!(of_patch(&patch), text);
        assert_eq!(of_patch(&Patch::default()), "");
    }

    #[test]
    fn a_load_takes_away_what_is_no_longer_wanted_and_puts_the_jumps_first() {
        let standing = Standing {
            chains: vec![chain("PENSTOCK-OLD"), chain("PENSTOCK-SERVICES")],
            jumps: [
                "PREROUTING -j PENSTOCK-OLD",
                "PREROUTING -j PENSTOCK-SERVICES",
                "FOREIGN -s 192.0.2.1/32 -j PENSTOCK-SERVICES",
            ]
            .map(|rule| (Table::Nat, rule.to_owned()))
            .into(),
        };
        let text = of_load(&standing, [(chain("PENSTOCK-SERVICES"), vec![])].into());
        let (filter, nat) = text.split_once("*nat\n").unwrap();
        assert!(filter.contains("-I FORWARD 1 -j PENSTOCK-FORWARD\n"));
        assert_eq!(
            nat,
            ":PENSTOCK-SERVICES - [0:0]\n:PENSTOCK-OLD - [0:0]\n-D PREROUTING -j PENSTOCK-OLD\n\
             -D PREROUTING -j PENSTOCK-SERVICES\n-I PREROUTING 1 -j PENSTOCK-SERVICES\n-I OUTPUT 1 -j PENSTOCK-SERVICES\n\
             -I POSTROUTING 1 -j PENSTOCK-POSTROUTING\n-X PENSTOCK-OLD\nCOMMIT\n"
        );
        let gone = of_removal(&standing);
        assert!(gone.contains("-D FOREIGN -s 192.0.2.1/32 -j PENSTOCK-SERVICES\n"), "{gone}");
        assert!(gone.contains("-X PENSTOCK-SERVICES\n") && !gone.contains("filter") && !gone.contains("-I"));
    }
}
