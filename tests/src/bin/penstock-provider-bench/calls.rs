//! What each change costs in calls.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use penstock_e2e::wait::{Look, until};
use penstock_tests::Fixture;
use serde_json::{Value, json};

use crate::{
    cloud::{CLASS, Cloud},
    table::{Calls, Table, count},
};

/// Bounds how long a broken operator is waited for.
const LIMIT: Duration = Duration::from_secs(120);
/// A change is over when nothing was asked for so long: longer than anybody waits between two looks.
const QUIET: Duration = Duration::from_secs(7);
/// How long nothing is changed.
const IDLE: Duration = Duration::from_secs(60);
/// Services that are created at the same time.
const MANY: usize = 25;

struct Lab<C> {
    fixture: Fixture,
    cloud: C,
}

/// Counts.
///
/// # Errors
/// When something does not come to be.
pub(crate) async fn measure<C: Cloud>() -> Result<Table> {
    let mut lab = Lab { fixture: Fixture::start().await?, cloud: C::start().await? };
    lab.cloud.prepare(&lab.fixture).await?;
    lab.fixture.start_operator().await?;
    lab.node(1).await?;
    let mut table = Table::new(format!("Calls to {}, by the operator, for one Service", C::NAME));
    lab.creations(&mut table).await?;
    lab.changes(&mut table).await?;
    lab.after_restart(&mut table).await?;
    lab.many(&mut table).await?;
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

impl<C: Cloud> Lab<C> {
    async fn creations(&self, table: &mut Table) -> Result<()> {
        table.calls(
            "create the first after a start, one port",
            &self.create("first", json!({}), 0).await?,
            None,
        );
        let plain = self.create("plain", json!({}), 1).await?;
        table.besides("create, one port", &plain, C::WAITING, C::CREATION);
        for (number, (what, annotations, goal)) in (2..).zip(C::variants()) {
            let calls = self.create(&format!("variant-{number}"), annotations, number).await?;
            table.besides(&format!("create, one port, {what}"), &calls, C::WAITING, goal);
        }
        Ok(())
    }

    async fn create(&self, name: &str, annotations: Value, number: u16) -> Result<Calls> {
        self.of(self.settle(name, annotations, number)).await
    }

    /// Creates a Service, and returns when all is carried out.
    async fn settle(&self, name: &str, annotations: Value, number: u16) -> Result<()> {
        let class = format!("{}/{CLASS}", penstock_crds::GROUP);
        let spec = json!({"loadBalancerClass": class, "ports": ports(80, 30080 + number)});
        let object = json!({"metadata": {"annotations": annotations}, "spec": spec});
        self.fixture.service_in("default", name, object).await?;
        self.fixture.settled(name).await
    }

    async fn changes(&self, table: &mut Table) -> Result<()> {
        let change = self.of(async {
            self.fixture.change("plain", json!({"spec": {"ports": ports(81, 30181)}})).await?;
            self.eventually("the other port", |cloud| cloud.ports().contains(&81)).await
        });
        table.besides("change its port", &change.await?, C::WAITING, None);
        let change = self.of(async {
            self.fixture.change("plain", json!({"spec": {"ports": ports(81, 30182)}})).await?;
            self.fixture.settled("plain").await
        });
        table.besides("change its NodePort", &change.await?, C::WAITING, None);
        let lists = self.cloud.machines().len();
        let come = self.of(async {
            self.node(2).await?;
            self.eventually("two machines each", |cloud| cloud.machines() == [2].repeat(lists)).await
        });
        table.besides(&format!("a node comes, {lists} balancers"), &come.await?, C::WAITING, Some(lists));
        let go = self.of(async {
            Api::<Node>::all(self.fixture.client.clone()).delete("n1", &DeleteParams::default()).await?;
            self.eventually("one machine each", |cloud| cloud.machines() == [1].repeat(lists)).await
        });
        table.besides(&format!("a node goes, {lists} balancers"), &go.await?, C::WAITING, Some(lists));
        table.besides("delete it, the first deletion", &self.delete("plain").await?, C::WAITING, None);
        let left = self.cloud.balancers();
        ensure!(left == lists - 1, "{left} balancers are left of {lists} after one Service was deleted");
        self.settle("spare", json!({}), 9).await?;
        self.quiet().await?;
        table.besides("delete one more", &self.delete("spare").await?, C::WAITING, None);
        Ok(())
    }

    async fn delete(&self, name: &str) -> Result<Calls> {
        self.of(async {
            self.fixture.delete(name).await?;
            self.fixture.gone(name).await
        })
        .await
    }

    async fn after_restart(&mut self, table: &mut Table) -> Result<()> {
        self.fixture.stop_operator().await?;
        self.fixture.start_operator().await?;
        table.calls("a restart of the operator", &self.of(async { Ok(()) }).await?, Some(0));
        let deletion = self.delete("first").await?;
        table.besides("delete another, the first change after the restart", &deletion, C::WAITING, None);
        Ok(())
    }

    /// Who waits for the same asks together.
    async fn many(&self, table: &mut Table) -> Result<()> {
        let calls = self.of(async {
            let each = (10..)
                .take(MANY)
                .map(|number| async move { self.settle(&format!("many-{number}"), json!({}), number).await });
            stream::iter(each).buffer_unordered(MANY).try_collect().await
        });
        let calls = calls.await?;
        let goal = C::CREATION.map(|goal| goal * MANY);
        table.besides(&format!("create {MANY} at once, one port each"), &calls, C::WAITING, goal);
        if !C::WAITING.is_empty() {
            let waiting = C::WAITING.iter().filter_map(|name| calls.get(*name)).sum::<usize>();
            table.push(
                &format!("waiting for these {MANY}"),
                waiting as f64,
                Some(MANY as f64),
                String::new(),
            );
        }
        Ok(())
    }

    async fn node(&self, number: u8) -> Result<()> {
        let api: Api<Node> = Api::all(self.fixture.client.clone());
        let spec = json!({"providerID": C::machine(number)});
        let object = json!({"metadata": {"name": format!("n{number}")}, "spec": spec});
        api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        Ok(())
    }

    /// The calls until nothing more is asked.
    async fn of(&self, change: impl Future<Output = Result<()>>) -> Result<Calls> {
        let before = self.cloud.calls().len();
        change.await?;
        self.quiet().await?;
        Ok(count(self.cloud.calls().into_iter().skip(before)))
    }

    async fn quiet(&self) -> Result<()> {
        let begun = Instant::now();
        let (mut seen, mut since) = (self.cloud.calls().len(), begun);
        while since.elapsed() < QUIET {
            ensure!(begun.elapsed() < LIMIT, "{} is asked without an end", C::NAME);
            tokio::time::sleep(Duration::from_millis(100)).await;
            let total = self.cloud.calls().len();
            if total != seen {
                (seen, since) = (total, Instant::now());
            }
        }
        Ok(())
    }

    async fn eventually(&self, what: &str, wanted: impl Fn(&C) -> bool) -> Result<()> {
        until(what, LIMIT, || async {
            let cloud = &self.cloud;
            let seen = || format!("ports {:?}, machines {:?}", cloud.ports(), cloud.machines());
            Ok(if wanted(cloud) { Look::Ready(()) } else { Look::NotYet(seen()) })
        })
        .await
    }
}
