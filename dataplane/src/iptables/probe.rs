//! Whether the machine has what the rules need: a chain of each table with one of each kind is made and taken away.

use super::{
    chains::{Patch, Table},
    families, input,
    program::{IptablesError, Programs},
};

/// Nothing leads there.
const PROBE: &str = "PENSTOCK-PROBE";

/// Each match and target that rules of ours have.
const NAT: [&str; 7] = [
    "-p tcp -m statistic --mode random --probability 0.5 -j DNAT --to-destination",
    "-p udp -m recent --name penstock-probe --set --rsource -j RETURN",
    "-p tcp -m tcp --dport 1:2 -m comment --comment \"probe\" -j RETURN",
    "-m addrtype --src-type LOCAL -j RETURN",
    "-m mark --mark 0x1/0x1 -j RETURN",
    "-j MARK --set-xmark 0x1/0x1",
    "-j MASQUERADE --random-fully",
];
const FILTER: [&str; 2] =
    ["-m conntrack --ctstate DNAT -j RETURN", "-p tcp -j REJECT --reject-with tcp-reset"];

/// Finds out whether the programs are there and the kernel takes the rules. Leaves nothing.
///
/// # Errors
/// When a program cannot be run, or the kernel lacks what a rule needs, or the right is missing (CAP_NET_ADMIN).
pub async fn probe(programs: &Programs) -> Result<(), IptablesError> {
    for family in families() {
        let to = match family {
            penstock_model::Family::IPv4 => "192.0.2.1:1",
            penstock_model::Family::IPv6 => "[2001:db8::1]:1",
        };
        let nat =
            NAT.map(
                |rule| if rule.ends_with("--to-destination") { format!("{rule} {to}") } else { rule.into() },
            );
        let chain = |table| (table, PROBE.to_owned());
        let rules =
            [(chain(Table::Nat), nat.into()), (chain(Table::Filter), FILTER.map(String::from).into())];
        let made = Patch { written: rules.into(), ..Patch::default() };
        let gone = Patch { deleted: Table::ALL.map(chain).into(), ..Patch::default() };
        // Also where only one table took its part.
        let done = programs.restore(family, &input::of_patch(&made)).await;
        let undone = programs.restore(family, &input::of_patch(&gone)).await;
        done.and(undone)?;
    }
    Ok(())
}
