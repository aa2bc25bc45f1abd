//! The same calls to moto and to our own endpoint, and their answers held against each other field by field. What they
//! do not agree in stands in `known.rs` with its reason; a disagreement that is not there, or no longer one, fails.

#![allow(clippy::unwrap_used)] // a test may panic

mod known;
mod life;
mod script;

use std::{collections::BTreeMap, net::Ipv4Addr};

use aws_sdk_acm::{
    config::{BehaviorVersion, Builder, Credentials, Region},
    primitives::Blob,
};
use penstock_e2e::moto::Moto;
use penstock_tests::{
    aws_endpoint::{ACCESS_KEY, AwsEndpoint, REGION, Subnet},
    aws_query::{Answer, AwsQuery, Fields},
};

use crate::{known::KNOWN, script::SCRIPT};

/// What differs without a meaning: made at random, or written for people.
const FREE: [&str; 5] = ["DNSName", "CreatedTime", "CanonicalHostedZoneId", "Message", "Type"];

/// An endpoint and what its answers are called in the script: `$lb` and its ARN there.
struct Side {
    query: AwsQuery,
    names: BTreeMap<String, String>,
}

impl Side {
    async fn new(url: &str, moto: &Moto, allocation: &str) -> Self {
        let mut names: BTreeMap<String, String> = moto
            .subnets
            .iter()
            .enumerate()
            .map(|(n, id)| (format!("$subnet{}", n + 1), id.clone()))
            .collect();
        names.insert("$vpc".to_owned(), moto.vpc.clone());
        names.insert("$sg".to_owned(), moto.security_group.clone());
        names.insert("$eip".to_owned(), allocation.to_owned());
        names.insert("$cert".to_owned(), certificate(url).await);
        Self { query: AwsQuery::new(url, ACCESS_KEY, REGION), names }
    }

    async fn call(&mut self, step: &script::Step) -> Answer {
        let mut parameters = step.parameters.to_owned();
        // The longest first: `$lb` begins `$lb2`.
        for (name, value) in self.names.iter().rev() {
            parameters = parameters.replace(name.as_str(), value);
        }
        let mut answer = self.query.call(step.action, &parameters).await.unwrap();
        if let Some((name, path)) = step.capture
            && let Some(value) = answer.fields.get(path).cloned()
        {
            let kind = value.split(':').nth(5).unwrap().split('/').take(2).collect::<Vec<_>>().join("/");
            self.names.insert(name.to_owned(), value);
            answer.fields.insert(format!("kind of {name}"), kind);
        }
        answer
    }

    /// An answer in the words of the script.
    fn neutral(&self, answer: Answer) -> Fields {
        let neutral = |mut text: String| {
            for (name, value) in self.names.iter().rev() {
                text = text.replace(value.as_str(), name);
            }
            text
        };
        let is_free =
            |path: &str| FREE.contains(&path.rsplit('.').next().unwrap()) && !path.contains("Actions");
        let shown = answer.fields.into_iter().filter(|(path, _)| !is_free(path));
        let mut fields: Fields = shown.map(|(path, text)| (neutral(path), neutral(text))).collect();
        fields.insert("status".to_owned(), answer.status.to_string());
        fields
    }
}

/// The ARN of a certificate that is imported there.
async fn certificate(url: &str) -> String {
    let made = rcgen::generate_simple_self_signed(vec!["web.example".to_owned()]).unwrap();
    let config = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(url)
        .region(Region::new(REGION))
        .credentials_provider(Credentials::new(ACCESS_KEY, "any", None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    let import = aws_sdk_acm::Client::from_conf(config.build()).import_certificate();
    let import = import.certificate(Blob::new(made.cert.pem()));
    let import = import.private_key(Blob::new(made.signing_key.serialize_pem()));
    import.send().await.unwrap().certificate_arn.unwrap()
}

/// Our endpoint, in moto's network.
async fn ours(moto: &Moto, allocation: &str) -> AwsEndpoint {
    let aws = AwsEndpoint::start().await.unwrap();
    let mut store = aws.store();
    let world = &mut store.world;
    for (n, (id, zone)) in moto.subnets.iter().zip(['a', 'b', 'c']).enumerate() {
        let network = [172, 31, u8::try_from(n * 16).unwrap()];
        let (vpc, zone, tags) = (moto.vpc.clone(), format!("{REGION}{zone}"), BTreeMap::new());
        world.subnets.insert(id.clone(), Subnet { vpc, zone, network, ipv6: true, tags });
    }
    world.security_groups.insert(moto.security_group.clone());
    world.allocations.insert(allocation.to_owned(), Ipv4Addr::new(203, 0, 113, 9));
    drop(store);
    aws
}

/// Each field that differs.
fn differences<'a>(ours: &'a Fields, theirs: &'a Fields) -> Vec<(&'a str, &'a str, &'a str)> {
    let mut paths: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
    paths.sort();
    paths.dedup();
    let shown = |fields: &'a Fields, path: &String| fields.get(path).map_or("(absent)", String::as_str);
    let all = paths.into_iter().map(|path| (path.as_str(), shown(ours, path), shown(theirs, path)));
    // Whether an empty element is left out is all the same to every client.
    let empty = |text: &str| text.is_empty() || text == "(absent)";
    all.filter(|(_, ours, theirs)| ours != theirs && !(empty(ours) && empty(theirs))).collect()
}

#[tokio::test]
async fn moto_and_our_endpoint_agree_but_for_what_is_known() {
    let mut moto = Moto::start().await.unwrap();
    let allocation = moto.allocate_address().await.unwrap();
    let aws = ours(&moto, &allocation).await;
    let mut ours = Side::new(&aws.url(), &moto, &allocation).await;
    let mut theirs = Side::new(&moto.url(), &moto, &allocation).await;
    let (mut used, mut wrong) = (vec![false; KNOWN.len()], Vec::new());
    for step in SCRIPT {
        let (our, their) = (ours.call(step).await, theirs.call(step).await);
        let (our, their) = (ours.neutral(our), theirs.neutral(their));
        for (path, our, their) in differences(&our, &their) {
            let known = KNOWN.iter().position(|known| known.is_about(step.name, path));
            match known {
                Some(n) => used[n] = true,
                None => wrong.push(format!("{}: {path}: ours {our:?}, moto's {their:?}", step.name)),
            }
        }
    }
    let stale = KNOWN.iter().zip(used).filter(|(_, used)| !used);
    wrong.extend(stale.map(|(known, _)| format!("no longer a disagreement: {known:?}")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    moto.reset().await.unwrap();
    let left = theirs.query.call("DescribeLoadBalancers", "").await.unwrap();
    assert_eq!(left.fields.values().find(|text| !text.is_empty()), None, "a reset leaves nothing");
}
