//! What each change costs in calls.

use std::{future::Future, time::Duration};

use anyhow::{Result, ensure};
use penstock_crds::AWS_PREFIX;
use penstock_e2e::wait::{Look, until};
use penstock_tests::{
    aws_endpoint::{AwsEndpoint, Store, VPC},
    aws_lab::{AwsLab, instance},
};
use serde_json::{Value, json};

use crate::table::{Calls, Table};

/// Bounds how long a broken operator is waited for.
const LIMIT: Duration = Duration::from_secs(120);
/// A change is over when nothing was asked for so long.
const QUIET: Duration = Duration::from_secs(3);
/// How long nothing is changed.
const IDLE: Duration = Duration::from_secs(60);
/// What a one-port balancer may cost, and a node for each target group.
const CREATION: usize = 6;

struct Lab {
    lab: AwsLab,
    aws: AwsEndpoint,
}

/// Counts.
///
/// # Errors
/// When something does not come to be.
pub(crate) async fn measure() -> Result<Table> {
    let aws = AwsEndpoint::start().await?;
    let mut lab = AwsLab::start(&aws.url(), VPC, &["subnet-a", "subnet-b"]).await?;
    lab.fixture.start_operator().await?;
    lab.node("n1", &instance(1)).await?;
    let lab = Lab { lab, aws };
    let mut table = Table::new("Calls to AWS, by the operator, for one Service");
    lab.creations(&mut table).await?;
    lab.changes(&mut table).await?;
    let idle = lab.of(async {
        tokio::time::sleep(IDLE).await;
        Ok(())
    });
    table.calls(&format!("{} s in which nothing changes", IDLE.as_secs()), &idle.await?, Some(0));
    Ok(table)
}

fn ports(port: u16, node_port: u16) -> Value {
    json!([{"port": port, "nodePort": node_port}])
}

impl Lab {
    async fn creations(&self, table: &mut Table) -> Result<()> {
        let first = self.create("first", json!({}), 30080).await?;
        table.calls("create the first after a start, one port", &first, None);
        table.calls("create, one port", &self.create("plain", json!({}), 30081).await?, Some(CREATION));
        let cross = json!({format!("{AWS_PREFIX}cross-zone-load-balancing-enabled"): "true"});
        let calls = self.create("cross", cross.clone(), 30082).await?;
        table.calls("create, one port, an attribute of the balancer", &calls, Some(CREATION));
        let mut both = cross;
        both[format!("{AWS_PREFIX}target-group-attributes")] =
            json!("deregistration_delay.timeout_seconds=30");
        let calls = self.create("both", both, 30083).await?;
        table.calls("create, one port, attributes of balancer and target group", &calls, Some(CREATION));
        Ok(())
    }

    async fn create(&self, name: &str, annotations: Value, node_port: u16) -> Result<Calls> {
        self.of(async {
            self.lab.service(name, annotations, ports(80, node_port)).await?;
            self.lab.settled(name).await
        })
        .await
    }

    async fn changes(&self, table: &mut Table) -> Result<()> {
        let change = self.of(async {
            self.lab.fixture.change("plain", json!({"spec": {"ports": ports(81, 30091)}})).await?;
            self.eventually("the other port", |store| store.listeners.values().any(|l| l.wish.port == 81))
                .await
        });
        table.calls("change its port", &change.await?, None);
        let groups = self.aws.store().target_groups.len();
        let come = self.of(async {
            self.lab.node("n2", &instance(2)).await?;
            self.eventually("two targets each", |store| targets(store) == [2].repeat(groups)).await
        });
        table.calls(&format!("a node comes, {groups} target groups"), &come.await?, Some(groups));
        let go = self.of(async {
            self.lab.delete_node("n1").await?;
            self.eventually("one target each", |store| targets(store) == [1].repeat(groups)).await
        });
        table.calls(&format!("a node goes, {groups} target groups"), &go.await?, Some(groups));
        let delete = self.of(async {
            self.lab.fixture.delete("plain").await?;
            self.lab.fixture.gone("plain").await
        });
        table.calls("delete it", &delete.await?, None);
        let left = self.aws.store().load_balancers.len();
        ensure!(left == 3, "{left} balancers are left where there should be 3");
        Ok(())
    }

    /// The calls until nothing more is asked.
    async fn of(&self, change: impl Future<Output = Result<()>>) -> Result<Calls> {
        let before = self.aws.store().log.total();
        change.await?;
        self.quiet().await?;
        let mut calls = Calls::new();
        for call in self.aws.store().log.calls.iter().skip(before) {
            *calls.entry(call.action.clone()).or_default() += 1;
        }
        Ok(calls)
    }

    async fn quiet(&self) -> Result<()> {
        let begun = std::time::Instant::now();
        let (mut seen, mut since) = (self.aws.store().log.total(), begun);
        while since.elapsed() < QUIET {
            ensure!(begun.elapsed() < LIMIT, "AWS is asked without an end");
            tokio::time::sleep(Duration::from_millis(100)).await;
            let total = self.aws.store().log.total();
            if total != seen {
                (seen, since) = (total, std::time::Instant::now());
            }
        }
        Ok(())
    }

    async fn eventually(&self, what: &str, wanted: impl Fn(&Store) -> bool) -> Result<()> {
        until(what, LIMIT, || async {
            let store = self.aws.store();
            Ok(if wanted(&store) { Look::Ready(()) } else { Look::NotYet(store.summary().to_string()) })
        })
        .await
    }
}

/// How many targets each group has.
fn targets(store: &Store) -> Vec<usize> {
    let live = |group: &penstock_tests::aws_endpoint::TargetGroup| {
        group.targets.values().filter(|target| target.deregistered.is_none()).count()
    };
    store.target_groups.values().map(live).collect()
}
