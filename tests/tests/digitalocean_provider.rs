//! The provider `digitalocean` against the endpoint that stands for its API: how many calls everything costs, and what the
//! suite for all providers does not ask.

#![allow(clippy::unwrap_used)] // a test may panic

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use futures::future::join_all;
use k8s_openapi::{ByteString, api::core::v1::Secret, jiff::Timestamp};
use penstock_crds::{DIGITALOCEAN_PREFIX, DigitalOceanParameters};
use penstock_model::{Family, Protocol};
use penstock_providers::{
    Certificate, Desired, FamilyNeed, Frontend, Provider, ProviderError, Rehearsal, Sweep, Target, Timeouts,
    digitalocean::{DigitalOceanAccount, DigitalOceanProvider},
};
use penstock_tests::{
    digitalocean_endpoint::{DigitalOceanEndpoint, Fault, REGION, TOKEN},
    provider_contract::{owner, settle},
};

fn parameters(endpoint: &DigitalOceanEndpoint, tag: Option<&str>) -> DigitalOceanParameters {
    DigitalOceanParameters {
        region: REGION.into(),
        cluster_name: "blue".into(),
        token_secret: "token".into(),
        endpoint_url: Some(endpoint.url()),
        droplet_tag: tag.map(ToOwned::to_owned),
        ..DigitalOceanParameters::default()
    }
}

fn provider(endpoint: &DigitalOceanEndpoint, tag: Option<&str>) -> DigitalOceanProvider {
    let parameters = parameters(endpoint, tag);
    let account = DigitalOceanAccount::without_limits(&parameters, TOKEN, Timeouts::default()).unwrap();
    DigitalOceanProvider::new(&parameters, &account)
}

fn desired(port: u16, nodes: &[u8]) -> Desired {
    let node = |number: &u8| Target {
        node: format!("n{number}"),
        provider_id: Some(format!("digitalocean://{number}")),
        addresses: vec![],
    };
    Desired {
        families: vec![FamilyNeed { family: Family::IPv4, required: true }],
        frontends: vec![Frontend { protocol: Protocol::Tcp, port, node_port: Some(30080) }],
        targets: nodes.iter().map(node).collect(),
        ..Desired::default()
    }
}

fn all_are(endpoint: &DigitalOceanEndpoint, status: &str) {
    for balancer in endpoint.store().balancers.values_mut() {
        status.clone_into(&mut balancer.status);
    }
}

/// What a new certificate and its key are, as a Service's Secret has them.
fn certificate(name: &str) -> Certificate {
    let key = rcgen::KeyPair::generate().unwrap();
    let made = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    let data = [("tls.crt", made.pem()), ("tls.key", key.serialize_pem())];
    let data = data.map(|(name, text)| (name.to_owned(), ByteString(text.into_bytes())));
    Certificate::of(&Secret { data: Some(data.into()), ..Secret::default() }, Timestamp::now()).unwrap()
}

#[tokio::test]
async fn everything_costs_as_few_calls_as_there_can_be() -> Result<()> {
    let endpoint = DigitalOceanEndpoint::start().await?;
    let (provider, me) = (provider(&endpoint, Some("k8s")), owner("u1"));
    let calls = |from: usize| endpoint.store().since(from);
    let list = ["GET /v2/load_balancers", "GET /v2/certificates"];
    let (get, put) = ("GET /v2/load_balancers/ID", "PUT /v2/load_balancers/ID");

    settle(&provider, &me, Some(&desired(80, &[1]))).await?;
    let begun = calls(0);
    assert_eq!(begun[..3], [list[0], list[1], "POST /v2/load_balancers"]);
    assert_eq!(begun[3..], [get, get], "it is looked at until it is there");

    let from = begun.len();
    settle(&provider, &me, Some(&desired(80, &[1]))).await?;
    assert_eq!(calls(from), [""; 0], "nothing changes: nothing is asked");
    settle(&provider, &me, Some(&desired(80, &[1, 2]))).await?;
    assert_eq!(calls(from), [""; 0], "a node is one more Droplet with the tag");
    settle(&provider, &me, Some(&desired(8080, &[1, 2]))).await?;
    assert_eq!(calls(from), [get, put], "a port is one update of what was read just before");
    let from = from + 2;
    settle(&provider, &me, None).await?;
    assert_eq!(calls(from), ["DELETE /v2/load_balancers/ID"]);
    Ok(())
}

#[tokio::test]
async fn without_a_tag_a_node_is_one_call() -> Result<()> {
    let endpoint = DigitalOceanEndpoint::start().await?;
    let (provider, me) = (provider(&endpoint, None), owner("u1"));
    settle(&provider, &me, Some(&desired(80, &[1]))).await?;
    let from = endpoint.store().calls.len();
    settle(&provider, &me, Some(&desired(80, &[1, 2]))).await?;
    assert_eq!(endpoint.store().since(from), ["POST /v2/load_balancers/ID/droplets"]);
    settle(&provider, &me, Some(&desired(80, &[2]))).await?;
    assert_eq!(endpoint.store().since(from + 1), ["DELETE /v2/load_balancers/ID/droplets"]);
    Ok(())
}

#[tokio::test]
async fn a_restart_with_a_thousand_services_is_ten_lists_at_most() -> Result<()> {
    const SERVICES: usize = 1000;
    let endpoint = DigitalOceanEndpoint::start().await?;
    let wanted = desired(80, &[1]);
    let first = provider(&endpoint, Some("k8s"));
    for number in 0..SERVICES {
        let me = owner(&format!("u{number}"));
        let plan = first.plan(&me, Some(&wanted), &first.observe(&me).await?)?;
        first.apply(&me, &plan.steps[0], None).await?;
    }
    all_are(&endpoint, "active");
    let from = endpoint.store().calls.len();
    let anew = Arc::new(provider(&endpoint, Some("k8s")));
    let looks = (0..SERVICES).map(|number| {
        let (anew, wanted) = (anew.clone(), wanted.clone());
        async move { settle(anew.as_ref(), &owner(&format!("u{number}")), Some(&wanted)).await }
    });
    for looked in join_all(looks).await {
        assert_eq!(looked?.balancers.len(), 1);
    }
    let calls = endpoint.store().since(from);
    assert!(calls.len() <= 10 && calls.iter().all(|call| call.starts_with("GET")), "{calls:?}");
    assert_eq!(calls.len(), 6, "200 on a page, and one of certificates: {calls:?}");
    assert_eq!(anew.sweep().await?, Sweep::Of([].into()));
    assert_eq!(endpoint.store().calls.len(), from + 12, "a sweep costs the same");
    Ok(())
}

/// What was on the second page is on the first one then, which was read already.
#[tokio::test]
async fn a_list_that_gets_shorter_while_it_is_read_hides_nobody() -> Result<()> {
    let endpoint = DigitalOceanEndpoint::start().await?;
    let (first, wanted) = (provider(&endpoint, Some("k8s")), desired(80, &[1]));
    for number in 0..201 {
        let me = owner(&format!("u{number}"));
        let plan = first.plan(&me, Some(&wanted), &first.observe(&me).await?)?;
        first.apply(&me, &plan.steps[0], None).await?;
    }
    all_are(&endpoint, "active");
    let lost = endpoint.store().balancers.keys().next().cloned();
    endpoint.store().lost_between_pages = lost;
    let anew = provider(&endpoint, Some("k8s"));
    for number in 1..201 {
        let seen = anew.observe(&owner(&format!("u{number}"))).await?;
        assert_eq!(seen.balancers.len(), 1, "u{number}");
    }
    Ok(())
}

#[tokio::test]
async fn many_that_wait_ask_together() -> Result<()> {
    const SERVICES: usize = 20;
    let endpoint = DigitalOceanEndpoint::start().await?;
    endpoint.store().looks_until_active = 3;
    let provider = provider(&endpoint, Some("k8s"));
    let wanted = desired(80, &[1]);
    let owners: Vec<_> = (0..SERVICES).map(|number| owner(&format!("u{number}"))).collect();
    for me in &owners {
        let plan = provider.plan(me, Some(&wanted), &provider.observe(me).await?)?;
        provider.apply(me, &plan.steps[0], None).await?;
    }
    let from = endpoint.store().calls.len();
    for observed in join_all(owners.iter().map(|me| provider.observe(me))).await {
        assert_eq!(observed?.balancers.len(), 1);
    }
    let lists = endpoint.store().since(from).iter().filter(|call| *call == "GET /v2/load_balancers").count();
    assert_eq!(endpoint.store().since(from).len(), 2 * lists, "nobody asks alone");
    assert!(lists <= 2, "those who came while one was read share the next: {lists}");
    Ok(())
}

#[tokio::test]
async fn an_update_resets_nothing_that_somebody_else_has_set() -> Result<()> {
    let endpoint = DigitalOceanEndpoint::start().await?;
    let (provider, me) = (provider(&endpoint, None), owner("u1"));
    settle(&provider, &me, Some(&desired(80, &[1, 2]))).await?;
    let expected = {
        let mut store = endpoint.store();
        let wish = &mut store.balancers.values_mut().next().unwrap().wish;
        // After the provider has seen it last.
        wish.algorithm = "least_connections".into();
        wish.disable_lets_encrypt_dns_records = true;
        wish.project_id = "the-shop".into();
        wish.http_idle_timeout_seconds = 120;
        wish.enable_backend_keepalive = true;
        wish.size_unit = 4;
        wish.clone()
    };
    settle(&provider, &me, Some(&desired(8080, &[1, 2]))).await?;
    let store = endpoint.store();
    let wish = &store.balancers.values().next().unwrap().wish;
    assert_eq!(wish.forwarding_rules[0].entry_port, 8080);
    let same_rules = expected.forwarding_rules.clone();
    let mut rest = wish.clone();
    rest.forwarding_rules = same_rules;
    assert_eq!(rest, expected);
    Ok(())
}

#[tokio::test]
async fn a_plan_is_put_to_the_api_without_being_carried_out() -> Result<()> {
    let endpoint = DigitalOceanEndpoint::start().await?;
    let (provider, me) = (provider(&endpoint, None), owner("u1"));
    settle(&provider, &me, Some(&desired(80, &[1]))).await?;
    let before = endpoint.store().balancers.clone();
    let from = endpoint.store().calls.len();
    let observed = provider.observe(&me).await?;
    let plan = provider.plan(&me, Some(&desired(8080, &[1, 2])), &observed)?;
    assert_eq!(plan.steps.len(), 2, "a Droplet more, and the update");
    let said = provider.rehearse(&me, &plan).await?;
    assert!(matches!(&said, Rehearsal::Accepted(text) if text.contains("1 of 2 steps")), "{said:?}");
    assert_eq!(endpoint.store().since(from), ["GET /v2/load_balancers/ID", "PUT /v2/load_balancers/ID"]);
    let sent = endpoint.store().calls.last().and_then(|call| call.body.clone()).unwrap();
    assert_eq!(
        (&sent["validate_only"], &sent["forwarding_rules"][0]["entry_port"]),
        (&true.into(), &8080.into())
    );
    assert_eq!(endpoint.store().balancers, before, "nothing was changed");

    // What only the API knows: here, that a certificate does not exist.
    let mut wanted = desired(443, &[1]);
    wanted.options.insert(format!("{DIGITALOCEAN_PREFIX}certificate-id"), "nobodys".into());
    wanted.options.insert(format!("{DIGITALOCEAN_PREFIX}protocol"), "https".into());
    let plan = provider.plan(&me, Some(&wanted), &observed)?;
    let said = provider.rehearse(&me, &plan).await?;
    assert!(
        matches!(&said, Rehearsal::Refused(text) if text.contains("certificate_id is invalid")),
        "{said:?}"
    );
    assert_eq!(endpoint.store().balancers, before);
    let removal = provider.plan(&me, None, &observed)?;
    assert_eq!(
        provider.rehearse(&me, &removal).await?,
        Rehearsal::NotOffered,
        "a deletion cannot be asked about"
    );
    endpoint.store().fail_change(1, Fault::Status(503));
    assert!(matches!(provider.rehearse(&me, &plan).await, Err(ProviderError::Retryable(_))));
    Ok(())
}

#[tokio::test]
async fn a_certificate_is_uploaded_shown_renewed_and_taken_away() -> Result<()> {
    let endpoint = DigitalOceanEndpoint::start().await?;
    let (provider, me) = (provider(&endpoint, Some("k8s")), owner("u1"));
    let shown = |endpoint: &DigitalOceanEndpoint| {
        let store = endpoint.store();
        let rule = store.balancers.values().next().unwrap().wish.forwarding_rules[0].clone();
        (rule.entry_protocol.clone(), store.certificates[&rule.certificate_id].clone())
    };
    let (first, second) = (certificate("web.example"), certificate("web.example"));
    let with =
        |certificate: &Certificate| Desired { certificate: Some(certificate.clone()), ..desired(443, &[1]) };
    settle(&provider, &me, Some(&with(&first))).await?;
    let (protocol, before) = shown(&endpoint);
    assert_eq!((protocol.as_str(), before.leaf == first.leaf_pem()), ("https", true));
    let from = endpoint.store().calls.len();
    settle(&provider, &me, Some(&with(&second))).await?;
    let renewed = endpoint.store().since(from);
    let certificates = "/v2/certificates";
    let expected = [
        format!("POST {certificates}"),
        "GET /v2/load_balancers/ID".into(),
        "PUT /v2/load_balancers/ID".into(),
        format!("DELETE {certificates}/ID"),
    ];
    assert_eq!(renewed, expected, "the old one goes last");
    assert_eq!(shown(&endpoint).1.leaf, second.leaf_pem());
    // Whoever starts anew knows it by its name; nothing of the key is shown or planned.
    let observed = provider.observe(&me).await?;
    let key = second.key_pem();
    let told = format!("{observed:?} {:?}", provider.plan(&me, Some(&with(&first)), &observed)?);
    assert!(!told.contains(key.lines().nth(1).unwrap()), "{told}");
    settle(&provider, &me, None).await?;
    assert!(endpoint.store().is_empty());
    Ok(())
}

#[tokio::test]
async fn a_certificate_whose_upload_was_not_answered_is_not_uploaded_twice() -> Result<()> {
    let endpoint = DigitalOceanEndpoint::start().await?;
    let (provider, me) = (provider(&endpoint, Some("k8s")), owner("u1"));
    endpoint.store().fail_change(1, Fault::BrokenAfter);
    let wanted = Desired { certificate: Some(certificate("web.example")), ..desired(443, &[1]) };
    settle(&provider, &me, Some(&wanted)).await?;
    assert_eq!(endpoint.store().certificates.len(), 1);
    Ok(())
}

#[tokio::test]
async fn what_the_service_wants_shown_is_shown() -> Result<()> {
    let endpoint = DigitalOceanEndpoint::start().await?;
    let (provider, me) = (provider(&endpoint, Some("k8s")), owner("u1"));
    let mut wanted = desired(80, &[1]);
    let observed = settle(&provider, &me, Some(&wanted)).await?;
    let built = provider.built(&observed);
    assert_eq!(built.addresses.len(), 1);
    assert_eq!(provider.shown(&wanted, built.clone()), built);
    wanted.options.insert(format!("{DIGITALOCEAN_PREFIX}hostname"), "web.example".into());
    let shown = provider.shown(&wanted, built);
    assert_eq!((shown.addresses.len(), shown.hostname.as_deref()), (0, Some("web.example")));
    Ok(())
}

#[tokio::test]
async fn one_that_is_errored_is_said_and_looked_at_again() -> Result<()> {
    let endpoint = DigitalOceanEndpoint::start().await?;
    let (provider, me, wanted) = (provider(&endpoint, Some("k8s")), owner("u1"), desired(80, &[1]));
    let plan = provider.plan(&me, Some(&wanted), &provider.observe(&me).await?)?;
    provider.apply(&me, &plan.steps[0], None).await?;
    let pending = provider.plan(&me, Some(&wanted), &provider.observe(&me).await?);
    assert!(matches!(pending, Err(ProviderError::Pending(_))), "{pending:?}");
    all_are(&endpoint, "errored");
    let failed = provider.plan(&me, Some(&wanted), &provider.observe(&me).await?);
    assert!(matches!(&failed, Err(ProviderError::Retryable(why)) if why.contains("errored")), "{failed:?}");
    all_are(&endpoint, "active");
    settle(&provider, &me, Some(&wanted)).await?;
    Ok(())
}

#[tokio::test]
async fn who_does_not_answer_is_not_waited_for_longer_than_it_takes() -> Result<()> {
    let silent = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let parameters = DigitalOceanParameters {
        endpoint_url: Some(format!("http://{}", silent.local_addr()?)),
        region: REGION.into(),
        cluster_name: "blue".into(),
        token_secret: "token".into(),
        ..DigitalOceanParameters::default()
    };
    let timeouts = Timeouts { connect: Duration::from_millis(500), request: Duration::from_millis(500) };
    let account = DigitalOceanAccount::without_limits(&parameters, TOKEN, timeouts)?;
    let late = DigitalOceanProvider::new(&parameters, &account).observe(&owner("u1")).await;
    assert!(matches!(&late, Err(ProviderError::Retryable(why)) if why.contains("too late")), "{late:?}");
    Ok(())
}
