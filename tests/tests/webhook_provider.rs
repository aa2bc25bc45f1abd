//! The provider `webhook` against an endpoint that keeps the contract strictly, and one that breaks it.

#![allow(clippy::unwrap_used)] // a test may panic

use std::{net::IpAddr, time::Duration};

use anyhow::Result;
use penstock_crds::WebhookParameters;
use penstock_model::{Family, ObjectKey, Protocol};
use penstock_providers::{
    Desired, FamilyNeed, Frontend, Owner, Provider, ProviderError, Request, Target,
    webhook::{Observed, Timeouts, WebhookProvider},
};
use penstock_tests::{
    provider_contract::{pass, settle},
    webhook_endpoint::{Fault, WebhookEndpoint},
};

fn provider(url: &str, token: Option<&str>, timeouts: Timeouts) -> WebhookProvider {
    let parameters = WebhookParameters { url: url.to_owned(), token_secret: None };
    WebhookProvider::with_timeouts(&parameters, token.map(ToOwned::to_owned), timeouts).unwrap()
}

async fn both() -> Result<(WebhookEndpoint, WebhookProvider)> {
    let endpoint = WebhookEndpoint::start().await?;
    let provider = provider(&endpoint.url(), None, Timeouts::default());
    Ok((endpoint, provider))
}

fn owner(uid: &str) -> Owner {
    Owner { service: ObjectKey::new("shop", format!("web-{uid}")), uid: uid.into() }
}

fn desired(ports: &[u16], nodes: &[&str]) -> Desired {
    let addresses: Vec<IpAddr> = vec!["198.51.100.1".parse().unwrap()];
    let node = |name: &&str| Target {
        node: (*name).into(),
        provider_id: Some(format!("lab://{name}")),
        addresses: addresses.clone(),
    };
    let frontend =
        |port: &u16| Frontend { protocol: Protocol::Tcp, port: *port, node_port: Some(30000 + *port) };
    Desired {
        families: vec![FamilyNeed { family: Family::IPv4, required: true }],
        frontends: ports.iter().map(frontend).collect(),
        targets: nodes.iter().map(node).collect(),
        ..Desired::default()
    }
}

fn addresses(provider: &WebhookProvider, observed: &Observed) -> Vec<String> {
    provider.built(observed).addresses.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_balancer_lives_with_as_few_calls_as_there_can_be() -> Result<()> {
    let (endpoint, provider) = both().await?;
    let me = owner("u-1");
    let observed = settle(&provider, &me, Some(&desired(&[80], &["a"]))).await?;
    assert_eq!(addresses(&provider, &observed), ["203.0.113.1"]);
    assert_eq!(provider.built(&observed).resources[0].id, "vs-u-1");
    assert_eq!(endpoint.store().since(0), ["GET 404", "PUT 201", "GET 200"]);

    // The record is enough to plan from: another node and another port cost a call each.
    let record = serde_json::to_value(&observed)?;
    let plan = provider.plan(&me, Some(&desired(&[80], &["a"])), &serde_json::from_value(record)?)?;
    assert!(plan.is_empty());
    settle(&provider, &me, Some(&desired(&[80], &["a", "b"]))).await?;
    assert_eq!(endpoint.store().since(3), ["GET 200", "PUT targets 200", "GET 200"]);
    assert_eq!(endpoint.store().balancers["u-1"].targets.len(), 2);
    settle(&provider, &me, Some(&desired(&[80, 443], &["a", "b"]))).await?;
    assert_eq!(endpoint.store().since(6), ["GET 200", "PUT 200", "GET 200"]);
    assert_eq!(endpoint.store().balancers["u-1"].targets.len(), 2, "an update leaves the nodes as they are");

    settle(&provider, &me, None).await?;
    assert_eq!(endpoint.store().since(9), ["GET 200", "DELETE 204", "GET 404"]);
    Ok(())
}

#[tokio::test]
async fn no_two_services_get_one_address_and_a_wish_is_heard() -> Result<()> {
    let (endpoint, provider) = both().await?;
    endpoint.store().addresses.truncate(2);
    let wish = Request { addresses: vec!["203.0.113.2".parse()?], ..Request::default() };
    let asks = Desired { request: wish, ..desired(&[80], &["a"]) };
    let first = settle(&provider, &owner("u-1"), Some(&asks)).await?;
    assert_eq!(addresses(&provider, &first), ["203.0.113.2"]);
    let second = settle(&provider, &owner("u-2"), Some(&desired(&[80], &["a"]))).await?;
    assert_eq!(addresses(&provider, &second), ["203.0.113.1"]);
    let third = settle(&provider, &owner("u-3"), Some(&desired(&[80], &["a"]))).await.unwrap_err();
    assert!(
        matches!(&third, ProviderError::Quota { message, .. } if message.contains("no IPv4 address is left"))
    );
    settle(&provider, &owner("u-1"), None).await?;
    settle(&provider, &owner("u-3"), Some(&asks)).await?;
    Ok(())
}

#[tokio::test]
async fn what_takes_time_is_pending_until_it_is_done() -> Result<()> {
    let (endpoint, provider) = both().await?;
    endpoint.store().unfinished = 2;
    endpoint.store().retry_after = Some(7);
    let (me, wanted) = (owner("u-1"), desired(&[80], &["a"]));
    let pending = ProviderError::Pending(Duration::from_secs(7));
    for _ in 0..3 {
        assert_eq!(pass(&provider, &me, Some(&wanted)).await.unwrap_err(), pending);
    }
    assert!(pass(&provider, &me, Some(&wanted)).await?.is_some());
    assert_eq!(endpoint.store().since(0), ["GET 404", "PUT 202", "GET 200", "GET 200", "GET 200"]);
    for _ in 0..3 {
        assert_eq!(pass(&provider, &me, None).await.unwrap_err(), pending);
    }
    assert!(pass(&provider, &me, None).await?.is_some());
    assert_eq!(endpoint.store().count("DELETE"), 1, "what is going is not deleted again");
    Ok(())
}

#[tokio::test]
async fn each_refusal_is_told_in_the_endpoints_words() -> Result<()> {
    let (endpoint, provider) = both().await?;
    let (me, wanted) = (owner("u-1"), desired(&[22], &["a"]));
    endpoint.store().refused_ports.insert(22);
    let refused = pass(&provider, &me, Some(&wanted)).await.unwrap_err();
    assert!(
        matches!(&refused, ProviderError::User { message, .. } if message.ends_with("port 22 is not allowed here"))
    );
    endpoint.store().refused_ports.clear();
    endpoint.store().quota = Some(0);
    let full = pass(&provider, &me, Some(&wanted)).await.unwrap_err();
    assert!(
        matches!(&full, ProviderError::Quota { message, .. } if message.ends_with("every balancer is taken"))
    );
    endpoint.store().quota = None;
    endpoint.store().throttled = 1;
    endpoint.store().retry_after = Some(30);
    let slow = pass(&provider, &me, Some(&wanted)).await.unwrap_err();
    assert_eq!(slow, ProviderError::Throttled(Duration::from_secs(30)));
    settle(&provider, &me, Some(&wanted)).await?;
    endpoint.store().break_down("u-1", "no uplink");
    let broken = pass(&provider, &me, Some(&wanted)).await.unwrap_err();
    assert!(
        matches!(&broken, ProviderError::Retryable(message) if message.ends_with("no uplink")),
        "{broken}"
    );
    Ok(())
}

#[tokio::test]
async fn the_token_is_sent_and_never_shown() -> Result<()> {
    let (endpoint, _) = both().await?;
    endpoint.store().token = Some("right-token".into());
    let (me, wanted) = (owner("u-1"), desired(&[80], &["a"]));
    for token in [None, Some("wrong-token")] {
        let provider = provider(&endpoint.url(), token, Timeouts::default());
        let error = pass(&provider, &me, Some(&wanted)).await.unwrap_err();
        assert!(matches!(error, ProviderError::Auth(_)), "{error:?}");
        assert!(!format!("{error} {error:?} {provider:?}").contains("wrong-token"), "{error}");
    }
    let provider = provider(&endpoint.url(), Some("right-token\n"), Timeouts::default());
    settle(&provider, &me, Some(&wanted)).await?;
    Ok(())
}

#[tokio::test]
async fn what_is_another_services_stays_as_it_is() -> Result<()> {
    let (endpoint, provider) = both().await?;
    settle(&provider, &owner("u-1"), Some(&desired(&[80], &["a"]))).await?;
    let held = endpoint.store().balancers["u-1"].clone();
    let thief = Owner { service: ObjectKey::new("other", "thief"), uid: "u-1".into() };
    for wanted in [None, Some(&desired(&[443], &["b"]))] {
        let error = pass(&provider, &thief, wanted).await.unwrap_err();
        assert!(matches!(&error, ProviderError::NotOwned(message) if message.contains("web-u-1")), "{error}");
    }
    assert_eq!(endpoint.store().balancers["u-1"], held);
    Ok(())
}

#[tokio::test]
async fn whichever_call_fails_it_ends_as_wanted_and_nothing_is_left() -> Result<()> {
    let faults = [
        Fault::Status(500),
        Fault::Status(503),
        Fault::Status(409),
        Fault::BrokenBefore,
        Fault::BrokenAfter,
        Fault::Endless,
        Fault::Body("<html>".into()),
        Fault::Stranger,
        Fault::Redirect("http://127.0.0.1:1/elsewhere".into()),
    ];
    for fault in faults {
        for call in 0..3 {
            let (endpoint, provider) = both().await?;
            let me = owner("u-1");
            for (ports, nodes) in [(&[80][..], &["a"][..]), (&[80, 443], &["a", "b"])] {
                endpoint.store().fail(call, fault.clone());
                let wanted = desired(ports, nodes);
                let observed = settle(&provider, &me, Some(&wanted)).await?;
                assert_eq!(addresses(&provider, &observed), ["203.0.113.1"], "{fault:?} of call {call}");
                let store = endpoint.store();
                assert_eq!(store.balancers["u-1"].spec.frontends.len(), ports.len());
                assert_eq!(store.balancers["u-1"].targets.len(), nodes.len());
            }
            endpoint.store().fail(call, fault.clone());
            settle(&provider, &me, None).await?;
            assert!(endpoint.store().balancers.is_empty(), "{fault:?} of call {call} orphans");
        }
    }
    Ok(())
}

#[tokio::test]
async fn limits_hold_and_say_which_one_it_was() -> Result<()> {
    let (endpoint, patient) = both().await?;
    let me = owner("u-1");
    let message = |error: ProviderError| match error {
        ProviderError::Retryable(message) => message,
        other => panic!("{other:?}"),
    };
    let short = Timeouts { connect: Duration::from_secs(5), request: Duration::from_millis(100) };
    let hasty = provider(&endpoint.url(), None, short);
    endpoint.store().fail(0, Fault::Hangs);
    let late = message(hasty.observe(&me).await.unwrap_err());
    assert!(late.starts_with("the endpoint did not answer GET (too late"), "{late}");

    // An endless answer is given up after 64 KiB, long before the time is.
    endpoint.store().fail(0, Fault::Endless);
    let long = message(patient.observe(&me).await.unwrap_err());
    assert!(long.contains("longer than 65536 bytes"), "{long}");
    let elsewhere = WebhookEndpoint::start().await?;
    endpoint.store().fail(0, Fault::Redirect(elsewhere.url()));
    let moved = message(patient.observe(&me).await.unwrap_err());
    assert!(moved.contains("redirects are not followed"), "{moved}");
    assert_eq!(elsewhere.store().calls.len(), 0);
    Ok(())
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_told_with_its_cause() -> Result<()> {
    let gone = {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        format!("http://{}/secret-path", listener.local_addr()?)
    };
    let error = provider(&gone, None, Timeouts::default()).observe(&owner("u-1")).await.unwrap_err();
    assert!(matches!(&error, ProviderError::Retryable(m) if m.contains("Connection refused")), "{error}");
    // A URL that leads to another server: its 404 is not taken for "there is no such balancer".
    let endpoint = WebhookEndpoint::start().await?;
    let beside = provider(&endpoint.url().replace("/balancers", "/typo"), None, Timeouts::default());
    let error = pass(&beside, &owner("u-1"), None).await.unwrap_err();
    assert!(matches!(&error, ProviderError::Retryable(m) if m.contains("check the URL")), "{error}");
    Ok(())
}
