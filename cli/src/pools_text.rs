//! Pools as text.

use std::fmt::Write;

use penstock_model::ObjectKey;

use crate::{
    pools::{FamilyUsage, PoolReport, PoolsReport},
    style::{bad, doubtful, good},
    table::table,
};

/// A pool is nearly full from this part of it on, in percent.
const NEARLY_FULL: i64 = 90;

/// Several lines, the last one ended too; with `holders` also who has what.
#[must_use]
pub fn pools_text(report: &PoolsReport, holders: bool) -> String {
    if report.pools.is_empty() {
        return "There is no IPAddressPool.\n".to_owned();
    }
    let mut text = String::new();
    table(
        &mut text,
        ["POOL", "FAMILY", "SIZE", "USED", "FREE", "STATE", "ADDRESSES"],
        report.pools.iter().flat_map(rows),
    );
    if holders && report.pools.iter().any(|pool| !pool.holders.is_empty()) {
        text.push('\n');
        table(&mut text, ["ADDRESS", "POOL", "SERVICES"], report.pools.iter().flat_map(holder_rows));
    }
    for pool in &report.pools {
        for waiting in &pool.waiting {
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "\nService {} gets nothing of IPAddressPool {}: {}\n",
                waiting.service, pool.name, waiting.why
            );
        }
    }
    text
}

fn rows(pool: &PoolReport) -> Vec<[String; 7]> {
    let addresses = pool.addresses.join(", ");
    if let Some(why) = &pool.refused {
        let dash = || "-".to_owned();
        return vec![[
            pool.name.clone(),
            dash(),
            dash(),
            dash(),
            dash(),
            bad(&format!("not in use: {why}")),
            addresses,
        ]];
    }
    let row = |(number, usage): (usize, &FamilyUsage)| {
        let figures = [usage.size, usage.used, usage.free].map(figure);
        let [size, used, free] = figures;
        let (name, addresses) =
            if number == 0 { (pool.name.clone(), addresses.clone()) } else { Default::default() };
        [name, format!("{:?}", usage.family), size, used, free, state(pool, usage), addresses]
    };
    pool.families.iter().enumerate().map(row).collect()
}

fn figure(number: i64) -> String {
    if number == i64::MAX { "2^63 or more".to_owned() } else { number.to_string() }
}

fn state(pool: &PoolReport, usage: &FamilyUsage) -> String {
    let state = match usage {
        FamilyUsage { free: 0, .. } => bad("full"),
        usage if is_nearly_full(usage) => doubtful("nearly full"),
        _ => good("in use"),
    };
    if pool.auto_assign { state } else { format!("{state}, on request") }
}

/// Whether little is left.
#[must_use]
pub fn is_nearly_full(usage: &FamilyUsage) -> bool {
    i128::from(usage.used) * 100 >= i128::from(usage.size) * i128::from(NEARLY_FULL)
}

fn holder_rows(pool: &PoolReport) -> Vec<[String; 3]> {
    let names =
        |services: &[ObjectKey]| services.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    pool.holders
        .iter()
        .map(|holder| [holder.address.to_string(), pool.name.clone(), names(&holder.services)])
        .collect()
}
