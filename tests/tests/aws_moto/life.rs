//! The whole life of a Service, by the operator and the provider as they are, on moto instead of our own endpoint.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use penstock_crds::AWS_PREFIX;
use penstock_e2e::{
    moto::Moto,
    wait::{Look, until},
};
use penstock_tests::{
    aws_endpoint::{ACCESS_KEY, REGION},
    aws_lab::{AwsLab, instance},
    aws_query::{AwsQuery, Fields},
};
use serde_json::{Value, json};

/// Bounds how long a broken operator is waited for.
const LIMIT: Duration = Duration::from_secs(120);

/// What moto has.
#[derive(Debug, Default, PartialEq, Eq)]
struct World {
    balancers: usize,
    /// Ports of listeners, with the targets behind each.
    listeners: BTreeMap<String, BTreeSet<String>>,
    groups: usize,
    cross_zone: Option<String>,
    delays: BTreeSet<String>,
}

impl World {
    async fn of(query: &AwsQuery) -> Self {
        let mut world = Self::default();
        let groups = all(&fields(query, "DescribeTargetGroups", "").await, "TargetGroups", "TargetGroupArn");
        world.groups = groups.len();
        for arn in groups {
            let key = "Attributes[deregistration_delay.timeout_seconds]";
            let of = format!("TargetGroupArn={arn}");
            world.delays.extend(fields(query, "DescribeTargetGroupAttributes", &of).await.remove(key));
        }
        let balancers =
            all(&fields(query, "DescribeLoadBalancers", "").await, "LoadBalancers", "LoadBalancerArn");
        world.balancers = balancers.len();
        for arn in balancers {
            let of = format!("LoadBalancerArn={arn}");
            let attributes = fields(query, "DescribeLoadBalancerAttributes", &of).await;
            world.cross_zone = attributes.get("Attributes[load_balancing.cross_zone.enabled]").cloned();
            let listeners = fields(query, "DescribeListeners", &of).await;
            for (number, port) in all(&listeners, "Listeners", "Port").into_iter().enumerate() {
                let group = &listeners[&format!("Listeners[{number}].DefaultActions[0].TargetGroupArn")];
                world.listeners.insert(port, targets(query, group).await);
            }
        }
        world
    }
}

async fn targets(query: &AwsQuery, group: &str) -> BTreeSet<String> {
    let health = fields(query, "DescribeTargetHealth", &format!("TargetGroupArn={group}")).await;
    let each = (0..).map_while(|number| {
        let target = format!("TargetHealthDescriptions[{number}]");
        let id = health.get(&format!("{target}.Target.Id"))?;
        let is_leaving = health.get(&format!("{target}.TargetHealth.State")).is_some_and(|s| s == "draining");
        Some((format!("{id}:{}", health[&format!("{target}.Target.Port")]), is_leaving))
    });
    each.filter(|(_, is_leaving)| !is_leaving).map(|(target, _)| target).collect()
}

async fn fields(query: &AwsQuery, action: &str, parameters: &str) -> Fields {
    let answer = query.call(action, parameters).await.unwrap();
    // Nothing is there any longer, if it was when we began to look.
    if answer.status == 200 { answer.fields } else { Fields::new() }
}

/// The field of each member of a list.
fn all(fields: &Fields, list: &str, field: &str) -> Vec<String> {
    (0..).map_while(|number| fields.get(&format!("{list}[{number}].{field}")).cloned()).collect()
}

async fn eventually(query: &AwsQuery, what: &str, wanted: impl Fn(&World) -> bool) {
    until(what, LIMIT, || async {
        let world = World::of(query).await;
        Ok(if wanted(&world) { Look::Ready(()) } else { Look::NotYet(format!("{world:?}")) })
    })
    .await
    .unwrap();
}

fn ports(all: &[(u16, u16)]) -> Value {
    all.iter()
        .map(|(port, node)| json!({"name": format!("p{port}"), "port": port, "nodePort": node}))
        .collect()
}

/// Listeners, each with these nodes behind it.
fn listeners(all: &[(u16, u16)], nodes: &[u8]) -> BTreeMap<String, BTreeSet<String>> {
    let targets = |port: &u16| nodes.iter().map(|node| format!("{}:{port}", instance(*node))).collect();
    all.iter().map(|(port, node)| (port.to_string(), targets(node))).collect()
}

#[tokio::test]
async fn a_service_lives_on_moto_and_leaves_nothing() {
    let moto = Moto::start().await.unwrap();
    let query = AwsQuery::new(&moto.url(), ACCESS_KEY, REGION);
    let subnets: Vec<&str> = moto.subnets.iter().map(String::as_str).collect();
    let mut lab = AwsLab::start(&moto.url(), &moto.vpc, &subnets).await.unwrap();
    lab.node("n1", &instance(1)).await.unwrap();
    lab.fixture.start_operator().await.unwrap();

    const ONE: &[(u16, u16)] = &[(80, 30080)];
    const TWO: &[(u16, u16)] = &[(80, 30080), (443, 30443)];
    lab.service("web", json!({}), ports(ONE)).await.unwrap();
    lab.settled("web").await.unwrap();
    eventually(&query, "one port", |w| w.listeners == listeners(ONE, &[1])).await;

    lab.fixture.change("web", json!({"spec": {"ports": ports(TWO)}})).await.unwrap();
    eventually(&query, "two ports", |w| w.listeners == listeners(TWO, &[1])).await;
    lab.node("n2", &instance(2)).await.unwrap();
    eventually(&query, "two nodes", |w| w.listeners == listeners(TWO, &[1, 2])).await;
    lab.delete_node("n1").await.unwrap();
    eventually(&query, "the other node", |w| w.listeners == listeners(TWO, &[2])).await;

    let annotations = json!({
        format!("{AWS_PREFIX}cross-zone-load-balancing-enabled"): "true",
        format!("{AWS_PREFIX}target-group-attributes"): "deregistration_delay.timeout_seconds=30",
    });
    lab.fixture.change("web", json!({"metadata": {"annotations": annotations}})).await.unwrap();
    eventually(&query, "the attributes", |w| {
        w.cross_zone.as_deref() == Some("true") && w.delays.iter().eq(["30"])
    })
    .await;

    // Who starts anew reads what moto says of it all, and changes it.
    lab.fixture.stop_operator().await.unwrap();
    lab.fixture.start_operator().await.unwrap();
    lab.fixture.change("web", json!({"spec": {"ports": ports(ONE)}})).await.unwrap();
    eventually(&query, "one port again", |w| {
        (w.balancers, w.groups) == (1, 1) && w.listeners == listeners(ONE, &[2])
    })
    .await;
    lab.fixture.delete("web").await.unwrap();
    lab.fixture.gone("web").await.unwrap();
    assert_eq!(World::of(&query).await, World::default());
}
