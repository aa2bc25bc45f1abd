//! Network load balancers.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    answer::Outcome,
    attributes::{self, Attributes},
    credentials::REGION,
    failure::Failure,
    form::Form,
    mapping::{self, Mapping, Mappings},
    name,
    page::{Page, take_names},
    store::Store,
    tags::{self, Tags},
};

/// What makes a load balancer the same as another in the eyes of the creating call. Tags do not: AWS answers with
/// what is there, with the tags that it has, and so a controller takes over what is another's unless it looks
/// (kubernetes-sigs/aws-load-balancer-controller#3027).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// `internet-facing` or `internal`.
    pub scheme: String,
    /// `ipv4` or `dualstack`.
    pub ip_address_type: String,
    /// Its subnets.
    pub mappings: Mappings,
    /// Their ids, sorted.
    pub security_groups: Vec<String>,
    /// `on` or `off`: without it, no UDP with dualstack.
    pub prefix_for_source_nat: String,
}

/// A network load balancer.
#[derive(Clone, Debug)]
pub struct LoadBalancer {
    /// At most 32 characters.
    pub name: String,
    /// Its VPC, from its subnets.
    pub vpc: String,
    /// What it was asked to be.
    pub shape: Shape,
    /// Its tags.
    pub tags: Tags,
    /// Those that were set.
    pub attributes: Attributes,
    /// When, by the endpoint's clock.
    pub created: Duration,
    /// Whether security groups apply to PrivateLink: `on` or `off`.
    pub private_link_rules: String,
    pub(super) serial: u64,
}

impl LoadBalancer {
    /// Whether it has no public addresses.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        self.shape.scheme == "internal"
    }

    /// The name that it is reached at.
    #[must_use]
    pub fn dns_name(&self) -> String {
        format!("{}-{:016x}.elb.{REGION}.amazonaws.com", self.name, self.serial)
    }

    pub(super) fn attribute(&self, key: &str) -> String {
        let known = attributes::of_load_balancer(self.is_internal());
        attributes::merged(&known, &self.attributes).remove(key).unwrap_or_default()
    }
}

impl Store {
    pub(super) fn create_load_balancer(&mut self, mut form: Form) -> Outcome {
        let name = form.required("Name")?;
        name::check_load_balancer(&name)?;
        if form.word("Type", &["network", "application", "gateway"])?.as_deref() != Some("network") {
            return Err(Failure::validation("This endpoint has only load balancers of type network"));
        }
        let shape = take_shape(&mut form)?;
        let tags = tags::take(&mut form)?;
        form.finish()?;
        tags::check_count(&tags, self.settings.limits.tags)?;
        if let Some((arn, held)) = self.load_balancers.iter().find(|(_, held)| held.name == name) {
            return match held.shape == shape {
                true => Ok(json!({"LoadBalancers": [self.shown_load_balancer(arn, held, true)]})),
                false => Err(Failure::new(
                    "DuplicateLoadBalancerName",
                    format!(
                        "A load balancer with the same name '{name}' exists, but with different settings"
                    ),
                )),
            };
        }
        let vpc = self.check_shape(&shape, None)?;
        if self.load_balancers.len() >= self.settings.limits.load_balancers {
            return Err(Failure::new(
                "TooManyLoadBalancers",
                "The maximum number of load balancers has been reached",
            ));
        }
        let serial = self.next_serial();
        let (arn, created) = (name::load_balancer_arn(&name, serial), self.clock.now());
        let (attributes, private_link_rules) = (Attributes::new(), "on".to_owned());
        let made = LoadBalancer { name, vpc, shape, tags, attributes, created, private_link_rules, serial };
        let shown = self.shown_load_balancer(&arn, &made, true);
        self.load_balancers.insert(arn, made);
        Ok(json!({"LoadBalancers": [shown]}))
    }

    /// Whether a load balancer may be so, apart from `own`, which is changed to it. Returns its VPC.
    pub(super) fn check_shape(&self, shape: &Shape, own: Option<&str>) -> Result<String, Failure> {
        self.check_security_groups(&shape.security_groups)?;
        let (internal, dual) = (shape.scheme == "internal", shape.ip_address_type == "dualstack");
        let others = self.load_balancers.iter().filter(|(arn, _)| Some(arn.as_str()) != own);
        let taken: Vec<&Mapping> = others.flat_map(|(_, other)| other.shape.mappings.values()).collect();
        mapping::check(&shape.mappings, &self.world, internal, dual, &taken)
    }

    pub(super) fn check_security_groups(&self, groups: &[String]) -> Result<(), Failure> {
        match groups.iter().find(|group| !self.world.security_groups.contains(*group)) {
            Some(group) => {
                Err(Failure::new("InvalidSecurityGroup", format!("Security group '{group}' does not exist")))
            }
            None => Ok(()),
        }
    }

    pub(super) fn describe_load_balancers(&self, mut form: Form) -> Outcome {
        let names = take_names(&mut form, "Names")?;
        let arns = take_names(&mut form, "LoadBalancerArns")?;
        let page = Page::take(&mut form, self.settings.limits.page)?;
        form.finish()?;
        if !names.is_empty() && !arns.is_empty() {
            return Err(Failure::validation(
                "Load balancer names and ARNs cannot be specified at the same time",
            ));
        }
        let visible = || self.load_balancers.iter().filter(|(_, held)| self.is_visible(held.created));
        if let Some(name) = names.iter().find(|name| !visible().any(|(_, held)| held.name == **name)) {
            return Err(absent(name));
        }
        if let Some(arn) = arns.iter().find(|wanted| !visible().any(|(arn, _)| arn == *wanted)) {
            name::check_arn("loadbalancer/net", arn)?;
            return Err(absent(arn));
        }
        let all = names.is_empty() && arns.is_empty();
        let wanted = visible().filter(|(arn, held)| all || arns.contains(arn) || names.contains(&held.name));
        let (page, next) = page.of(wanted.map(|(arn, held)| (arn.as_str(), (arn, held))));
        let shown: Value =
            page.into_iter().map(|(arn, held)| self.shown_load_balancer(arn, held, false)).collect();
        Ok(json!({"LoadBalancers": shown, "NextMarker": next}))
    }

    pub(super) fn delete_load_balancer(&mut self, mut form: Form) -> Outcome {
        let arn = form.required("LoadBalancerArn")?;
        form.finish()?;
        name::check_arn("loadbalancer/net", &arn)?;
        if self
            .load_balancers
            .get(&arn)
            .is_some_and(|held| held.attribute("deletion_protection.enabled") == "true")
        {
            let message =
                format!("Load balancer '{arn}' cannot be deleted because deletion protection is enabled");
            return Err(Failure::new("OperationNotPermitted", message));
        }
        // One that is not there is no error, by the documentation of the call.
        self.load_balancers.remove(&arn);
        self.listeners.retain(|_, listener| listener.load_balancer != arn);
        self.note_use();
        Ok(json!({}))
    }

    pub(super) fn load_balancer(&self, arn: &str) -> Result<&LoadBalancer, Failure> {
        name::check_arn("loadbalancer/net", arn)?;
        self.load_balancers.get(arn).ok_or_else(|| absent(arn))
    }

    pub(super) fn load_balancer_mut(&mut self, arn: &str) -> Result<&mut LoadBalancer, Failure> {
        name::check_arn("loadbalancer/net", arn)?;
        self.load_balancers.get_mut(arn).ok_or_else(|| absent(arn))
    }

    fn shown_load_balancer(&self, arn: &str, held: &LoadBalancer, just_made: bool) -> Value {
        let active = !just_made && self.clock.now() >= held.created + self.settings.to_active;
        let shape = &held.shape;
        json!({
            "LoadBalancerArn": arn, "LoadBalancerName": held.name, "DNSName": held.dns_name(),
            "CanonicalHostedZoneId": "Z3F0SRJ5LGBH90", "CreatedTime": Self::date(held.created),
            "Scheme": shape.scheme, "VpcId": held.vpc, "Type": "network",
            "State": {"Code": if active { "active" } else { "provisioning" }},
            "AvailabilityZones": mapping::shown(&shape.mappings, &self.world),
            "SecurityGroups": shape.security_groups, "IpAddressType": shape.ip_address_type,
            "EnablePrefixForIpv6SourceNat": shape.prefix_for_source_nat,
            "EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic":
                (!shape.security_groups.is_empty()).then_some(&held.private_link_rules)
        })
    }
}

fn take_shape(form: &mut Form) -> Result<Shape, Failure> {
    let scheme = form.word("Scheme", &["internet-facing", "internal"])?;
    let ip_address_type = form.word("IpAddressType", &["ipv4", "dualstack"])?;
    let prefix = form.word("EnablePrefixForIpv6SourceNat", &["on", "off"])?.unwrap_or("off".to_owned());
    let ip_address_type = ip_address_type.unwrap_or("ipv4".to_owned());
    if prefix == "on" && ip_address_type != "dualstack" {
        return Err(Failure::configuration("Prefixes for source NAT need the IP address type dualstack"));
    }
    let mut security_groups = form.list("SecurityGroups").unwrap_or_default();
    security_groups.sort();
    Ok(Shape {
        scheme: scheme.unwrap_or("internet-facing".to_owned()),
        ip_address_type,
        mappings: mapping::take(form)?,
        security_groups,
        prefix_for_source_nat: prefix,
    })
}

fn absent(which: &str) -> Failure {
    Failure::new("LoadBalancerNotFound", format!("Load balancers '[{which}]' not found"))
}
