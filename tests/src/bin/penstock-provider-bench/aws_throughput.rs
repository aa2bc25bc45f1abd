//! How long many Services take that are created at once, against what AWS's rates alone allow.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::ListParams;
use penstock_tests::{
    aws_endpoint::{AwsEndpoint, Clock, Rate, Rates, Settings, VPC},
    aws_lab::{AwsLab, hostname, instance},
};
use serde_json::json;

use crate::table::{Calls, Table, count};

/// Of the time that the rates allow; the goal, and where it is given up.
const GOAL: f64 = 1.2;
const PATIENCE: f64 = 4.0;
/// Services created at the same time.
const CREATORS: usize = 16;
/// How often the records are looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long nothing changes after the restart.
const IDLE: Duration = Duration::from_secs(15);
/// What the first change after a restart may cost.
const SURVEY: usize = 120;

/// Measures.
///
/// # Errors
/// When the Services do not get what they want in a multiple of the time.
pub(crate) async fn measure(services: usize) -> Result<Table> {
    let mut settings = Settings::like_aws();
    // AWS raises these on request.
    (settings.limits.load_balancers, settings.limits.target_groups) = (2 * services, 2 * services);
    let aws = AwsEndpoint::start_with(settings, Clock::running()).await?;
    let mut lab = AwsLab::start(&aws.url(), VPC, &["subnet-a", "subnet-b"]).await?;
    lab.node("n1", &instance(1)).await?;
    lab.fixture.start_operator().await?;
    let allowed = allowed(services);
    println!("\n{services} Services at once; AWS's rates allow that in {:.0} s", allowed.as_secs_f64());
    let begun = Instant::now();
    create(&lab, services).await?;
    let created = begun.elapsed();
    converged(&lab, services, begun, allowed.mul_f64(PATIENCE) + INTERVAL * 60).await?;
    let took = begun.elapsed();
    let mut table = Table::new(format!("{services} Services of one port at once, AWS's rates"));
    table.push("all created in the API server, s", created.as_secs_f64(), None, String::new());
    table.push("until each shows its name and is settled, s", took.as_secs_f64(), None, String::new());
    let remark = "changes 20 at once and 10 a second, 3 for each Service".to_owned();
    table.push("what the rates allow, s", allowed.as_secs_f64(), None, remark);
    let ratio = took.as_secs_f64() / allowed.as_secs_f64();
    table.push("ratio", ratio, Some(GOAL), String::new());
    let refused = aws.store().log.refused("Throttling");
    table.push("refused as too many", refused as f64, None, String::new());
    table.calls("calls", &since(&aws, 0), None);
    restart(&mut lab, &aws, &mut table).await?;
    Ok(table)
}

/// What the buckets let in: the slowest class counts.
fn allowed(services: usize) -> Duration {
    let rates = Rates::aws();
    let time =
        |rate: Rate, calls: usize| ((calls as f64 - f64::from(rate.capacity)) / rate.per_second).max(0.0);
    // A target group, a balancer and a listener; one registration; one look at the tags of what was created.
    let of = [(rates.change, 3), (rates.register, 1), (rates.describe, 1)];
    let slowest = of.into_iter().map(|(rate, each)| time(rate, each * services)).fold(0.0, f64::max);
    // So few that nothing is refused take as long as their calls: nothing can be said of them.
    Duration::from_secs_f64(slowest.max(1.0))
}

async fn create(lab: &AwsLab, services: usize) -> Result<()> {
    let each = (0..services)
        .map(|n| async move { lab.service(&format!("w{n}"), json!({}), json!([{"port": 80}])).await });
    stream::iter(each).buffer_unordered(CREATORS).try_collect().await
}

async fn converged(lab: &AwsLab, services: usize, begun: Instant, limit: Duration) -> Result<()> {
    let all = ListParams::default();
    loop {
        let records = lab.records().list(&all).await?;
        let settled = records.iter().filter(|r| r.status.as_ref().is_some_and(|s| s.fingerprint.is_some()));
        let settled = settled.count();
        if settled == services {
            let shown = lab.fixture.services().list(&all).await?;
            if shown.iter().filter(|service| hostname(service).is_some()).count() == services {
                return Ok(());
            }
        }
        ensure!(begun.elapsed() < limit, "{settled} of {services} are settled after {} s", limit.as_secs());
        tokio::time::sleep(INTERVAL).await;
    }
}

/// The same account after a restart of the operator.
async fn restart(lab: &mut AwsLab, aws: &AwsEndpoint, table: &mut Table) -> Result<()> {
    lab.fixture.stop_operator().await?;
    let before = aws.store().log.total();
    lab.fixture.start_operator().await?;
    tokio::time::sleep(IDLE).await;
    table.calls(&format!("restart, {} s", IDLE.as_secs()), &since(aws, before), Some(0));
    lab.service("late", json!({}), json!([{"port": 80}])).await?;
    lab.settled("late").await?;
    table.calls("the first new Service after it", &since(aws, before), Some(SURVEY));
    Ok(())
}

fn since(aws: &AwsEndpoint, first: usize) -> Calls {
    count(aws.store().log.calls.iter().skip(first).map(|call| call.action.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_class_says_how_long_it_takes() {
        assert_eq!(allowed(1000), Duration::from_secs(298));
    }
}
