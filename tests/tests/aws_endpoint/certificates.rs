//! Certificates of ACM, TLS listeners with them, and finding resources by their tags.

use aws_sdk_acm::{
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig},
    error::ProvideErrorMetadata,
    primitives::Blob,
    types::{Filters, KeyAlgorithm},
};
use aws_sdk_elasticloadbalancingv2::types::{Certificate, ProtocolEnum};
use aws_sdk_resourcegroupstagging::types::TagFilter;
use aws_smithy_http_client::Builder;
use penstock_tests::aws_endpoint::{ACCESS_KEY, REGION};

use crate::account::{Account, code, forward};

fn acm(url: &str) -> aws_sdk_acm::Client {
    let config = aws_sdk_acm::config::Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(url)
        .region(Region::new(REGION))
        .credentials_provider(Credentials::new(ACCESS_KEY, "any", None, None, "test"))
        .http_client(Builder::new().build_http())
        .retry_config(RetryConfig::disabled());
    aws_sdk_acm::Client::from_conf(config.build())
}

/// A certificate and its key.
fn pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["web.example".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn blob(text: &str) -> Blob {
    Blob::new(text.as_bytes())
}

#[tokio::test]
async fn a_certificate_is_imported_used_rotated_and_deleted() {
    let account = Account::open().await;
    let acm = acm(&account.aws.url());
    let (certificate, key) = pair();
    let tag = aws_sdk_acm::types::Tag::builder().key("owner").value("web").build().unwrap();
    let import = acm.import_certificate().certificate(blob(&certificate)).private_key(blob(&key));
    let arn = import.tags(tag.clone()).send().await.unwrap().certificate_arn.unwrap();

    // ACM lists certificates with elliptic curves only to those who ask for them.
    assert!(acm.list_certificates().send().await.unwrap().certificate_summary_list().is_empty());
    let curves = Filters::builder().key_types(KeyAlgorithm::EcPrime256v1).build();
    let listed = acm.list_certificates().includes(curves).send().await.unwrap();
    assert_eq!(listed.certificate_summary_list()[0].certificate_arn(), Some(arn.as_str()));
    let tags = acm.list_tags_for_certificate().certificate_arn(&arn).send().await.unwrap();
    assert_eq!(tags.tags(), [tag]);

    let (balancer, group) = (account.balancer("web").await, account.group("g").await);
    let listen = account.elb.create_listener().set_load_balancer_arn(balancer.load_balancer_arn.clone());
    let listen = listen.protocol(ProtocolEnum::Tls).port(443).alpn_policy("HTTP2Preferred");
    let listen = listen.certificates(Certificate::builder().certificate_arn(&arn).build());
    let listener = listen.default_actions(forward(&group)).send().await.unwrap().listeners()[0].clone();
    assert_eq!(listener.certificates()[0].certificate_arn(), Some(arn.as_str()));
    assert_eq!(listener.alpn_policy(), ["HTTP2Preferred"]);

    let (next, next_key) = pair();
    let again = acm.import_certificate().certificate_arn(&arn).certificate(blob(&next));
    again.private_key(blob(&next_key)).send().await.unwrap();
    assert_eq!(account.aws.store().certificates[&arn].imports, 2);
    let used = acm.describe_certificate().certificate_arn(&arn).send().await.unwrap().certificate.unwrap();
    assert_eq!(used.in_use_by(), [balancer.load_balancer_arn.clone().unwrap()]);
    let refused = acm.delete_certificate().certificate_arn(&arn).send().await.unwrap_err();
    assert!(refused.into_service_error().is_resource_in_use_exception());
    account.elb.delete_listener().set_listener_arn(listener.listener_arn).send().await.unwrap();
    acm.delete_certificate().certificate_arn(&arn).send().await.unwrap();
    assert!(account.aws.store().certificates.is_empty());
}

#[tokio::test]
async fn what_is_no_certificate_with_its_key_is_refused_and_no_key_is_kept() {
    let account = Account::open().await;
    let acm = acm(&account.aws.url());
    let ((certificate, key), (_, other)) = (pair(), pair());
    for (certificate, key) in [(certificate.as_str(), other.as_str()), (&certificate, "x"), ("x", &key)] {
        let import = acm.import_certificate().certificate(blob(certificate)).private_key(blob(key));
        assert_eq!(import.send().await.unwrap_err().code(), Some("ValidationException"));
    }
    let absent = acm.describe_certificate().certificate_arn("arn:aws:acm:eu-central-1:1:certificate/x");
    assert!(absent.send().await.unwrap_err().into_service_error().is_resource_not_found_exception());
    let import = acm.import_certificate().certificate(blob(&certificate)).private_key(blob(&key));
    import.send().await.unwrap();
    let kept = format!("{:?}", account.aws.store());
    assert!(kept.contains("BEGIN CERTIFICATE") && !kept.contains("PRIVATE KEY"), "{kept}");
}

#[tokio::test]
async fn a_listener_has_more_certificates_than_its_own() {
    let account = Account::open().await;
    let acm = acm(&account.aws.url());
    let mut arns = Vec::new();
    for _ in 0..2 {
        let (certificate, key) = pair();
        let import = acm.import_certificate().certificate(blob(&certificate)).private_key(blob(&key));
        arns.push(import.send().await.unwrap().certificate_arn.unwrap());
    }
    let of = |arn: &str| Certificate::builder().certificate_arn(arn).build();
    let (balancer, group) = (account.balancer("web").await, account.group("g").await);
    let listen = account.elb.create_listener().set_load_balancer_arn(balancer.load_balancer_arn.clone());
    let listen = listen.protocol(ProtocolEnum::Tls).port(443).certificates(of(&arns[0]));
    let made = listen.default_actions(forward(&group)).send().await.unwrap();
    let listener = made.listeners()[0].listener_arn().unwrap();
    let elb = &account.elb;
    elb.add_listener_certificates().listener_arn(listener).certificates(of(&arns[1])).send().await.unwrap();
    let all = elb.describe_listener_certificates().listener_arn(listener).send().await.unwrap();
    assert_eq!(all.certificates().iter().filter(|one| one.is_default() == Some(true)).count(), 1);
    assert_eq!(all.certificates().len(), 2);
    let own =
        elb.remove_listener_certificates().listener_arn(listener).certificates(of(&arns[0])).send().await;
    assert_eq!(code(own), "OperationNotPermitted");
    elb.remove_listener_certificates()
        .listener_arn(listener)
        .certificates(of(&arns[1]))
        .send()
        .await
        .unwrap();
    acm.delete_certificate().certificate_arn(&arns[1]).send().await.unwrap();
}

#[tokio::test]
async fn resources_are_found_by_their_tags() {
    let account = Account::open().await;
    for name in ["a", "b"] {
        account.balancer(name).await;
        account.group(name).await;
    }
    if let Some(subnet) = account.aws.store().world.subnets.get_mut("subnet-c") {
        subnet.tags.insert("kubernetes.io/role/elb".to_owned(), "1".to_owned());
    }
    let config = aws_sdk_resourcegroupstagging::config::Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(account.aws.url())
        .region(Region::new(REGION))
        .credentials_provider(Credentials::new(ACCESS_KEY, "any", None, None, "test"))
        .http_client(Builder::new().build_http());
    let client = aws_sdk_resourcegroupstagging::Client::from_conf(config.build());
    let found = client.get_resources().tag_filters(TagFilter::builder().key("owner").values("b").build());
    let found = found.resources_per_page(1).into_paginator().items().send().collect::<Vec<_>>().await;
    assert_eq!(found.len(), 2);
    let subnets = client.get_resources().resource_type_filters("ec2:subnet").send().await.unwrap();
    let subnets = subnets.resource_tag_mapping_list();
    assert!(subnets[0].resource_arn().unwrap().ends_with("subnet/subnet-c"));
    assert_eq!(subnets.len(), 1);
}
