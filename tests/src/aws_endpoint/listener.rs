//! Listeners, each of which forwards to one target group.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use super::{
    answer::Outcome,
    attributes::{self, Attributes},
    failure::Failure,
    form::Form,
    listener_wish::Wish,
    name,
    page::{Page, take_names},
    store::Store,
    tags::{self, Tags},
};

/// A listener.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The ARN of its load balancer.
    pub load_balancer: String,
    /// What it was asked to be.
    pub wish: Wish,
    /// Certificates besides the default one, which clients choose from by server name.
    pub more_certificates: BTreeSet<String>,
    /// Its tags.
    pub tags: Tags,
    /// Those that were set.
    pub attributes: Attributes,
    /// When, by the endpoint's clock.
    pub created: Duration,
}

impl Store {
    pub(super) fn create_listener(&mut self, mut form: Form) -> Outcome {
        let balancer = form.required("LoadBalancerArn")?;
        self.load_balancer(&balancer)?;
        let wish = Wish::take(&mut form, None)?;
        let tags = tags::take(&mut form)?;
        form.finish()?;
        tags::check_count(&tags, self.settings.limits.tags)?;
        let mut mine = self.listeners.iter().filter(|(_, held)| held.load_balancer == balancer);
        // The call is idempotent by its documentation.
        if let Some((arn, held)) = mine.clone().find(|(_, held)| held.wish.port == wish.port) {
            return match held.wish == wish {
                true => Ok(json!({"Listeners": [shown(arn, held)]})),
                false => Err(duplicate()),
            };
        }
        if mine.by_ref().count() >= self.settings.limits.listeners {
            return Err(Failure::new("TooManyListeners", "The maximum number of listeners has been reached"));
        }
        self.check_wish(&wish, &balancer)?;
        let arn = name::listener_arn(&balancer, self.next_serial());
        let (created, attributes, more_certificates) = (self.clock.now(), Attributes::new(), BTreeSet::new());
        let made = Listener { load_balancer: balancer, wish, more_certificates, tags, attributes, created };
        let shown = shown(&arn, &made);
        self.listeners.insert(arn, made);
        self.note_use();
        Ok(json!({"Listeners": [shown]}))
    }

    pub(super) fn modify_listener(&mut self, mut form: Form) -> Outcome {
        let arn = form.required("ListenerArn")?;
        let held = self.listener(&arn)?;
        let balancer = held.load_balancer.clone();
        let wish = Wish::take(&mut form, Some(&held.wish))?;
        form.finish()?;
        let mut others = self.listeners.iter().filter(|(other, _)| **other != arn);
        if others.any(|(_, other)| other.load_balancer == balancer && other.wish.port == wish.port) {
            return Err(duplicate());
        }
        self.check_wish(&wish, &balancer)?;
        let held = self.listener_mut(&arn)?;
        held.wish = wish;
        let shown = shown(&arn, held);
        self.note_use();
        Ok(json!({"Listeners": [shown]}))
    }

    pub(super) fn delete_listener(&mut self, mut form: Form) -> Outcome {
        let arn = form.required("ListenerArn")?;
        form.finish()?;
        self.listener(&arn)?;
        self.listeners.remove(&arn);
        self.note_use();
        Ok(json!({}))
    }

    pub(super) fn describe_listeners(&self, mut form: Form) -> Outcome {
        let balancer = form.take("LoadBalancerArn");
        let arns = take_names(&mut form, "ListenerArns")?;
        let page = Page::take(&mut form, self.settings.limits.page)?;
        form.finish()?;
        if balancer.is_some() != arns.is_empty() {
            return Err(Failure::validation("You must specify either a load balancer ARN or listener ARNs"));
        }
        if let Some(arn) = &balancer {
            self.load_balancer(arn)?;
        }
        let visible = || self.listeners.iter().filter(|(_, held)| self.is_visible(held.created));
        if let Some(arn) = arns.iter().find(|wanted| !visible().any(|(arn, _)| arn == *wanted)) {
            name::check_arn("listener/net", arn)?;
            return Err(absent(arn));
        }
        let wanted = visible().filter(|(arn, held)| match &balancer {
            Some(balancer) => held.load_balancer == *balancer,
            None => arns.contains(arn),
        });
        let (page, next) = page.of(wanted.map(|(arn, held)| (arn.as_str(), (arn, held))));
        let shown: Value = page.into_iter().map(|(arn, held)| shown(arn, held)).collect();
        Ok(json!({"Listeners": shown, "NextMarker": next}))
    }

    pub(super) fn describe_listener_attributes(&self, mut form: Form) -> Outcome {
        let arn = form.required("ListenerArn")?;
        form.finish()?;
        let held = self.listener(&arn)?;
        let known = attributes::of_listener(&held.wish.protocol);
        Ok(attributes::shown(&attributes::merged(&known, &held.attributes)))
    }

    pub(super) fn modify_listener_attributes(&mut self, mut form: Form) -> Outcome {
        let arn = form.required("ListenerArn")?;
        let wanted = attributes::take(&mut form)?;
        form.finish()?;
        let held = self.listener_mut(&arn)?;
        let (protocol, known) = (&held.wish.protocol, attributes::of_listener(&held.wish.protocol));
        if known.is_empty() {
            return Err(Failure::configuration(format!(
                "A {protocol} listener has no attributes that can be set"
            )));
        }
        attributes::check("Listener", &known, &wanted)?;
        held.attributes.extend(wanted);
        Ok(attributes::shown(&attributes::merged(&known, &held.attributes)))
    }

    pub(super) fn listener(&self, arn: &str) -> Result<&Listener, Failure> {
        name::check_arn("listener/net", arn)?;
        self.listeners.get(arn).ok_or_else(|| absent(arn))
    }

    pub(super) fn listener_mut(&mut self, arn: &str) -> Result<&mut Listener, Failure> {
        name::check_arn("listener/net", arn)?;
        self.listeners.get_mut(arn).ok_or_else(|| absent(arn))
    }
}

fn duplicate() -> Failure {
    Failure::new("DuplicateListener", "A listener already exists on this port for this load balancer")
}

fn absent(which: &str) -> Failure {
    Failure::new("ListenerNotFound", format!("One or more listeners not found: {which}"))
}

fn shown(arn: &str, held: &Listener) -> Value {
    let wish = &held.wish;
    let certificates = wish.certificate.as_ref().map(|arn| json!([{"CertificateArn": arn}]));
    let forward = json!({
        "Type": "forward", "TargetGroupArn": wish.target_group,
        "ForwardConfig": {
            "TargetGroups": [{"TargetGroupArn": wish.target_group, "Weight": 1}],
            "TargetGroupStickinessConfig": {"Enabled": false}
        }
    });
    json!({
        "ListenerArn": arn, "LoadBalancerArn": held.load_balancer, "Port": wish.port, "Protocol": wish.protocol,
        "Certificates": certificates, "SslPolicy": wish.ssl_policy,
        "AlpnPolicy": wish.alpn_policy.as_ref().map(|policy| json!([policy])), "DefaultActions": [forward]
    })
}
