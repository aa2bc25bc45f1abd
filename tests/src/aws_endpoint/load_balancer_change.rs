//! Changes of a load balancer after its creation. Its scheme cannot be changed.

use serde_json::json;

use super::{answer::Outcome, attributes, failure::Failure, form::Form, mapping, store::Store};

impl Store {
    pub(super) fn set_subnets(&mut self, mut form: Form) -> Outcome {
        let arn = form.required("LoadBalancerArn")?;
        let mut shape = self.load_balancer(&arn)?.shape.clone();
        shape.mappings = mapping::take(&mut form)?;
        if let Some(kind) = form.word("IpAddressType", &["ipv4", "dualstack"])? {
            shape.ip_address_type = kind;
        }
        form.finish()?;
        let vpc = self.check_shape(&shape, Some(&arn))?;
        let held = self.load_balancer_mut(&arn)?;
        if held.vpc != vpc {
            return Err(Failure::new("InvalidSubnet", "A load balancer stays in its VPC"));
        }
        held.shape = shape.clone();
        let zones = mapping::shown(&shape.mappings, &self.world);
        Ok(json!({"AvailabilityZones": zones, "IpAddressType": shape.ip_address_type}))
    }

    pub(super) fn set_security_groups(&mut self, mut form: Form) -> Outcome {
        let arn = form.required("LoadBalancerArn")?;
        let mut groups = form.list("SecurityGroups").unwrap_or_default();
        groups.sort();
        let rules = form.word("EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic", &["on", "off"])?;
        form.finish()?;
        let had_none = self.load_balancer(&arn)?.shape.security_groups.is_empty();
        self.check_security_groups(&groups)?;
        if groups.is_empty() || had_none {
            let message = match had_none {
                true => "You cannot add security groups to a load balancer that was created without",
                false => "You cannot remove all security groups of a load balancer",
            };
            return Err(Failure::configuration(message));
        }
        let held = self.load_balancer_mut(&arn)?;
        held.shape.security_groups = groups.clone();
        if let Some(rules) = rules {
            held.private_link_rules = rules;
        }
        let rules = held.private_link_rules.clone();
        Ok(json!({
            "SecurityGroupIds": groups, "EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic": rules
        }))
    }

    pub(super) fn set_ip_address_type(&mut self, mut form: Form) -> Outcome {
        let arn = form.required("LoadBalancerArn")?;
        let kind = form.word("IpAddressType", &["ipv4", "dualstack"])?;
        let kind = kind.ok_or_else(|| Failure::validation("An IP address type must be specified"))?;
        form.finish()?;
        let mut shape = self.load_balancer(&arn)?.shape.clone();
        shape.ip_address_type.clone_from(&kind);
        self.check_shape(&shape, Some(&arn))?;
        let datagrams = |protocol: &str| matches!(protocol, "UDP" | "TCP_UDP");
        let mut mine = self.listeners.values().filter(|listener| listener.load_balancer == arn);
        if kind == "dualstack"
            && shape.prefix_for_source_nat == "off"
            && mine.any(|listener| datagrams(&listener.wish.protocol))
        {
            return Err(Failure::configuration("A load balancer with UDP listeners cannot be dualstack"));
        }
        self.load_balancer_mut(&arn)?.shape = shape;
        Ok(json!({"IpAddressType": kind}))
    }

    pub(super) fn describe_load_balancer_attributes(&self, mut form: Form) -> Outcome {
        let arn = form.required("LoadBalancerArn")?;
        form.finish()?;
        let held = self.load_balancer(&arn)?;
        let known = attributes::of_load_balancer(held.is_internal());
        Ok(attributes::shown(&attributes::merged(&known, &held.attributes)))
    }

    pub(super) fn modify_load_balancer_attributes(&mut self, mut form: Form) -> Outcome {
        let arn = form.required("LoadBalancerArn")?;
        let wanted = attributes::take(&mut form)?;
        form.finish()?;
        let held = self.load_balancer_mut(&arn)?;
        let known = attributes::of_load_balancer(held.is_internal());
        attributes::check("Load balancer", &known, &wanted)?;
        let mut set = held.attributes.clone();
        set.extend(wanted);
        let merged = attributes::merged(&known, &set);
        if merged["access_logs.s3.enabled"] == "true" && merged["access_logs.s3.bucket"].is_empty() {
            return Err(Failure::configuration("The value of 'access_logs.s3.bucket' cannot be empty"));
        }
        held.attributes = set;
        Ok(attributes::shown(&merged))
    }
}
