//! The provider `hetzner` against the endpoint that stands for Hetzner Cloud: what it costs, and what only Hetzner does.
//! What holds for every provider is in `provider_contract`.

#![allow(clippy::unwrap_used)] // a test may panic

use std::sync::Arc;

use anyhow::Result;
use penstock_crds::{HETZNER_PREFIX, HetznerParameters};
use penstock_model::{Family, Protocol};
use penstock_providers::{
    Certificate, Desired, FamilyNeed, Frontend, Provider, ProviderError, Sweep, Target,
    hetzner::{HetznerAccount, HetznerProvider},
};
use penstock_tests::{
    hetzner_endpoint::{Fault, HetznerEndpoint},
    provider_contract::{owner, pass, settle},
};

fn parameters(endpoint: &HetznerEndpoint) -> HetznerParameters {
    HetznerParameters {
        cluster_name: "blue".into(),
        token_secret: "hetzner".into(),
        endpoint_url: Some(endpoint.url()),
        defaults: [("location".to_owned(), "fsn1".to_owned())].into(),
        ..HetznerParameters::default()
    }
}

fn provider(parameters: &HetznerParameters) -> HetznerProvider {
    let account = HetznerAccount::without_limits(parameters, Some(HetznerEndpoint::TOKEN)).unwrap();
    HetznerProvider::new(parameters, &account)
}

fn node(number: u64) -> Target {
    Target { node: format!("n{number}"), provider_id: Some(format!("hcloud://{number}")), addresses: vec![] }
}

fn port(port: u16, node_port: u16) -> Frontend {
    Frontend { protocol: Protocol::Tcp, port, node_port: Some(node_port) }
}

fn desired() -> Desired {
    Desired {
        families: vec![FamilyNeed { family: Family::IPv4, required: true }],
        frontends: vec![port(80, 30080), port(443, 30443)],
        targets: vec![node(1), node(2)],
        ..Desired::default()
    }
}

#[tokio::test]
async fn each_change_costs_the_calls_of_its_steps_and_idle_costs_none() -> Result<()> {
    let endpoint = HetznerEndpoint::start().await?;
    endpoint.store().unfinished = 1;
    let (provider, me) = (provider(&parameters(&endpoint)), owner("u1"));
    let mut before = 0;
    let mut cost = || {
        let calls = endpoint.store().since(before);
        before += calls.len();
        calls
    };
    let mut wanted = desired();
    settle(&provider, &me, Some(&wanted)).await?;
    assert_eq!(cost(), ["GET load_balancers", "GET certificates", "POST load_balancers", "GET actions"]);
    settle(&provider, &owner("u2"), Some(&wanted)).await?;
    assert_eq!(cost(), ["POST load_balancers", "GET actions"], "the first list was for all");
    settle(&provider, &me, Some(&wanted)).await?;
    assert_eq!(cost(), [""; 0], "idle");
    wanted.frontends[0].node_port = Some(30081);
    settle(&provider, &me, Some(&wanted)).await?;
    assert_eq!(cost(), ["POST update_service", "GET actions"], "another NodePort");
    wanted.frontends[0].port = 8080;
    settle(&provider, &me, Some(&wanted)).await?;
    assert_eq!(
        cost(),
        ["POST add_service", "GET actions", "POST delete_service", "GET actions"],
        "another port"
    );
    wanted.targets.push(node(3));
    settle(&provider, &me, Some(&wanted)).await?;
    assert_eq!(cost(), ["POST add_target", "GET actions"], "a node more");
    settle(&provider, &me, None).await?;
    assert_eq!(cost(), ["DELETE load_balancer"]);
    assert_eq!(provider.calls().values().sum::<u64>(), endpoint.store().calls.len() as u64);
    Ok(())
}

#[tokio::test]
async fn where_servers_are_labelled_a_node_costs_no_call() -> Result<()> {
    let endpoint = HetznerEndpoint::start().await?;
    endpoint.store().servers.retain(|id, _| *id <= 10);
    let parameters = HetznerParameters { server_selector: Some("node=yes".into()), ..parameters(&endpoint) };
    let (provider, me) = (provider(&parameters), owner("u1"));
    let mut wanted = desired();
    settle(&provider, &me, Some(&wanted)).await?;
    let targets = endpoint.store().balancers.values().next().unwrap().targets.clone();
    assert_eq!(targets[0].label_selector.as_ref().unwrap().selector, "node=yes");
    let before = endpoint.store().calls.len();
    wanted.targets.push(node(3));
    settle(&provider, &me, Some(&wanted)).await?;
    assert_eq!(endpoint.store().since(before), [""; 0]);
    wanted.options.insert(format!("{HETZNER_PREFIX}node-selector"), "zone=a".into());
    let refused = settle(&provider, &me, Some(&wanted)).await.unwrap_err();
    assert!(refused.to_string().contains("serverSelector"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn a_restart_with_a_thousand_services_is_21_lists_and_a_sweep_as_many() -> Result<()> {
    let endpoint = HetznerEndpoint::start().await?;
    let parameters = parameters(&endpoint);
    settle(&provider(&parameters), &owner("u0"), Some(&desired())).await?;
    {
        let mut store = endpoint.store();
        let one = store.balancers.values().next().unwrap().clone();
        for number in 1..1000_u64 {
            let mut more = one.clone();
            (more.id, more.name) = (10_000 + number, format!("b{number}"));
            more.labels.insert("penstock.dev/service-uid".into(), format!("u{number}"));
            store.balancers.insert(more.id, more);
        }
    }
    let before = endpoint.store().calls.len();
    let fresh = provider(&parameters);
    for number in 0..1000 {
        let observed = fresh.observe(&owner(&format!("u{number}"))).await?;
        assert_eq!(observed.balancers.len(), 1);
    }
    let lists = endpoint.store().since(before);
    assert_eq!(lists[..20], ["GET load_balancers"; 20]);
    assert_eq!(lists[20..], ["GET certificates"]);
    endpoint.store().balancers.remove(&10_500);
    let Sweep::Of(differ) = fresh.sweep().await? else { panic!("each") };
    assert_eq!(differ, ["u500".to_owned()].into());
    assert_eq!(endpoint.store().calls.len() - before, 42);
    Ok(())
}

#[tokio::test]
async fn many_that_wait_for_actions_ask_together() -> Result<()> {
    let endpoint = HetznerEndpoint::start().await?;
    endpoint.store().unfinished = 3;
    let provider = Arc::new(provider(&parameters(&endpoint)));
    settle(provider.as_ref(), &owner("first"), Some(&desired())).await?;
    let before = endpoint.store().calls.len();
    let mut all = tokio::task::JoinSet::new();
    for number in 0..20 {
        let provider = provider.clone();
        all.spawn(async move {
            settle(provider.as_ref(), &owner(&format!("u{number}")), Some(&desired())).await.map(|_| ())
        });
    }
    while let Some(done) = all.join_next().await {
        done??;
    }
    let calls = endpoint.store().since(before);
    let polls = calls.iter().filter(|name| *name == "GET actions").count();
    assert_eq!(calls.len() - polls, 20, "one creation each");
    assert!(polls < 60, "alone each would ask three times: {polls}");
    Ok(())
}

fn certificate(name: &str) -> Certificate {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let data = [("tls.crt", made.cert.pem()), ("tls.key", made.signing_key.serialize_pem())];
    let data = data.map(|(key, pem)| (key.to_owned(), k8s_openapi::ByteString(pem.into_bytes())));
    let secret = k8s_openapi::api::core::v1::Secret { data: Some(data.into()), ..Default::default() };
    Certificate::of(&secret, k8s_openapi::jiff::Timestamp::now()).unwrap()
}

#[tokio::test]
async fn a_certificate_from_a_secret_is_uploaded_replaced_and_taken_away() -> Result<()> {
    let faults = [Fault::BrokenAfter, Fault::BrokenBefore, Fault::Committed(504, "timeout".into())];
    for fault in std::iter::once(None).chain(faults.into_iter().map(Some)) {
        let endpoint = HetznerEndpoint::start().await?;
        let (provider, me) = (provider(&parameters(&endpoint)), owner("u1"));
        let with = |name: &str| Desired { certificate: Some(certificate(name)), ..desired() };
        let certificates = || -> Vec<u64> {
            let store = endpoint.store();
            let services = store.balancers.values().flat_map(|balancer| &balancer.services);
            assert!(services.clone().all(|service| service.protocol == "https"));
            services.filter_map(|s| s.http.as_ref()).flat_map(|http| http.certificates.clone()).collect()
        };
        for name in ["a.example", "b.example"] {
            fault.iter().for_each(|fault| endpoint.store().fail("POST certificates", 1, fault.clone()));
            settle(&provider, &me, Some(&with(name))).await?;
            let held: Vec<u64> = endpoint.store().uploaded.keys().copied().collect();
            assert_eq!((held.len(), certificates()), (1, vec![held[0]; 2]), "{fault:?}");
        }
        assert!(!format!("{:?} {provider:?}", endpoint.store().calls).contains("PRIVATE KEY"));
        settle(&provider, &me, Some(&desired())).await?;
        assert!(endpoint.store().uploaded.is_empty());
        settle(&provider, &me, Some(&with("c.example"))).await?;
        settle(&provider, &me, None).await?;
        assert!(endpoint.store().uploaded.is_empty() && endpoint.store().balancers.is_empty());
    }
    Ok(())
}

#[tokio::test]
async fn what_is_protected_stays_and_may_go_once_it_is_not() -> Result<()> {
    let endpoint = HetznerEndpoint::start().await?;
    let (provider, me) = (provider(&parameters(&endpoint)), owner("u1"));
    settle(&provider, &me, Some(&desired())).await?;
    let protect = |on| endpoint.store().balancers.values_mut().for_each(|b| b.protected = on);
    protect(true);
    let refused = settle(&provider, &me, None).await.unwrap_err();
    assert!(
        matches!(&refused, ProviderError::User { message, .. } if message.contains("protect")),
        "{refused}"
    );
    let refused = settle(&provider, &me, None).await.unwrap_err();
    assert!(matches!(&refused, ProviderError::User { .. }), "{refused}");
    assert_eq!(endpoint.store().balancers.len(), 1);
    protect(false);
    settle(&provider, &me, None).await?;
    assert!(endpoint.store().balancers.is_empty());
    Ok(())
}

#[tokio::test]
async fn an_action_that_fails_is_tried_again_or_told() -> Result<()> {
    let endpoint = HetznerEndpoint::start().await?;
    endpoint.store().unfinished = 1;
    let (provider, me, mut wanted) = (provider(&parameters(&endpoint)), owner("u1"), desired());
    settle(&provider, &me, Some(&wanted)).await?;
    wanted.targets.push(node(3));
    endpoint.store().fail("POST add_target", 1, Fault::ActionFails("action_failed".into()));
    let failed = pass(&provider, &me, Some(&wanted)).await.unwrap_err();
    assert!(matches!(failed, ProviderError::Retryable(_)), "{failed:?}");
    settle(&provider, &me, Some(&wanted)).await?;
    assert_eq!(endpoint.store().balancers.values().next().unwrap().targets.len(), 3);
    endpoint.store().fail("POST update_service", 1, Fault::Refused(422, "invalid_input".into()));
    wanted.frontends[0].node_port = Some(30099);
    let refused = settle(&provider, &me, Some(&wanted)).await.unwrap_err();
    assert!(matches!(refused, ProviderError::User { .. }), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn what_another_of_our_own_holds_is_waited_for() -> Result<()> {
    let endpoint = HetznerEndpoint::start().await?;
    let (provider, me, mut wanted) = (provider(&parameters(&endpoint)), owner("u1"), desired());
    settle(&provider, &me, Some(&wanted)).await?;
    for (code, status) in [("locked", 423), ("conflict", 409), ("timeout", 504), ("bad_gateway", 502)] {
        endpoint.store().fail_change(1, Fault::Refused(status, code.into()));
        wanted.frontends[0].node_port = wanted.frontends[0].node_port.map(|port| port + 1);
        let failed = pass(&provider, &me, Some(&wanted)).await.unwrap_err();
        assert!(matches!(failed, ProviderError::Retryable(_)), "{code}: {failed:?}");
        settle(&provider, &me, Some(&wanted)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn when_no_request_is_left_nobody_asks_on() -> Result<()> {
    let endpoint = HetznerEndpoint::start().await?;
    let (provider, me) = (provider(&parameters(&endpoint)), owner("u1"));
    endpoint.store().remaining = Some(1);
    let failed = pass(&provider, &me, Some(&desired())).await.unwrap_err();
    assert!(matches!(failed, ProviderError::Throttled(_)), "{failed:?}");
    assert_eq!(endpoint.store().since(0), ["GET load_balancers", "GET certificates rate_limit_exceeded"]);
    endpoint.store().remaining = None;
    settle(&provider, &me, Some(&desired())).await?;
    assert_eq!(endpoint.store().balancers.len(), 1);
    Ok(())
}
