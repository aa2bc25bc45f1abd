//! What a listener is asked to be, and whether it may.

use super::{failure::Failure, form::Form, store::Store};

/// Everything of a listener that calls set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Where it listens.
    pub port: u16,
    /// `TCP`, `TLS`, `UDP` or `TCP_UDP`.
    pub protocol: String,
    /// The ARN of the group that it forwards to.
    pub target_group: String,
    /// The default certificate of TLS.
    pub certificate: Option<String>,
    /// Of TLS.
    pub ssl_policy: Option<String>,
    /// Of TLS.
    pub alpn_policy: Option<String>,
}

const PROTOCOLS: [&str; 7] = ["TCP", "TLS", "UDP", "TCP_UDP", "HTTP", "HTTPS", "GENEVE"];
const ALPN_POLICIES: [&str; 5] = ["HTTP1Only", "HTTP2Only", "HTTP2Optional", "HTTP2Preferred", "None"];
const DEFAULT_SSL_POLICY: &str = "ELBSecurityPolicy-2016-08";

impl Wish {
    /// The parameters of a creating call, or those of a change over what is.
    pub(super) fn take(form: &mut Form, held: Option<&Self>) -> Result<Self, Failure> {
        let port = form.number("Port", 1..=u16::MAX)?.or(held.map(|held| held.port));
        let port = port.ok_or_else(|| Failure::validation("A listener port must be specified"))?;
        let protocol = form.word("Protocol", &PROTOCOLS)?.or(held.map(|held| held.protocol.clone()));
        let protocol =
            protocol.ok_or_else(|| Failure::validation("A listener protocol must be specified"))?;
        if PROTOCOLS[4..].contains(&protocol.as_str()) {
            let message = format!("Listener protocol '{protocol}' must be one of 'TCP, TLS, UDP, TCP_UDP'");
            return Err(Failure::validation(message));
        }
        let target_group = take_action(form)?.or(held.map(|held| held.target_group.clone()));
        let target_group =
            target_group.ok_or_else(|| Failure::validation("A default action must be specified"))?;
        let mut wish =
            Self { port, protocol, target_group, certificate: None, ssl_policy: None, alpn_policy: None };
        wish.take_tls(form, held)?;
        Ok(wish)
    }

    fn take_tls(&mut self, form: &mut Form, held: Option<&Self>) -> Result<(), Failure> {
        let certificate = take_certificate(form)?;
        let ssl_policy = form.take("SslPolicy");
        let alpn_policy = take_alpn(form)?;
        if self.protocol != "TLS" {
            if certificate.is_some() || ssl_policy.is_some() || alpn_policy.is_some() {
                let message = format!(
                    "Certificates, a security policy and an ALPN policy cannot be specified for {} listeners",
                    self.protocol
                );
                return Err(Failure::configuration(message));
            }
            return Ok(());
        }
        let before = held.filter(|held| held.protocol == "TLS");
        self.certificate = certificate.or(before.and_then(|held| held.certificate.clone()));
        self.ssl_policy = ssl_policy
            .or(before.and_then(|held| held.ssl_policy.clone()))
            .or(Some(DEFAULT_SSL_POLICY.to_owned()));
        self.alpn_policy = alpn_policy.or(before.and_then(|held| held.alpn_policy.clone()));
        if self.certificate.is_none() {
            return Err(Failure::validation("A certificate must be specified for TLS listeners"));
        }
        if let Some(policy) =
            self.ssl_policy.as_ref().filter(|policy| !policy.starts_with("ELBSecurityPolicy-"))
        {
            return Err(Failure::new("SSLPolicyNotFound", format!("SSL policy '{policy}' not found")));
        }
        Ok(())
    }
}

fn take_certificate(form: &mut Form) -> Result<Option<String>, Failure> {
    let mut arns = Vec::new();
    for mut member in form.structures("Certificates").unwrap_or_default() {
        arns.push(member.required("CertificateArn")?);
        member.finish()?;
    }
    if arns.len() > 1 {
        return Err(Failure::validation("Exactly one certificate must be specified; add others afterwards"));
    }
    Ok(arns.pop())
}

fn take_alpn(form: &mut Form) -> Result<Option<String>, Failure> {
    let mut policies = form.list("AlpnPolicy").unwrap_or_default();
    match policies.iter().find(|policy| !ALPN_POLICIES.contains(&policy.as_str())) {
        Some(policy) => Err(Failure::new("ALPNPolicyNotFound", format!("ALPN policy '{policy}' not found"))),
        None if policies.len() > 1 => Err(Failure::validation("Only one ALPN policy can be specified")),
        None => Ok(policies.pop()),
    }
}

/// The one action, which forwards to one target group.
fn take_action(form: &mut Form) -> Result<Option<String>, Failure> {
    let Some(mut actions) = form.structures("DefaultActions") else { return Ok(None) };
    let (Some(mut action), true) = (actions.pop(), actions.is_empty()) else {
        return Err(Failure::validation("Exactly one default action must be specified"));
    };
    if action.required("Type")? != "forward" {
        let message = "Only forward is an action of a network load balancer";
        return Err(Failure::new("InvalidLoadBalancerAction", message));
    }
    action.take("Order");
    let direct = action.take("TargetGroupArn");
    let mut groups = Vec::new();
    for mut group in action.structures("ForwardConfig.TargetGroups").unwrap_or_default() {
        groups.push(group.required("TargetGroupArn")?);
        group.take("Weight");
        group.finish()?;
    }
    action.finish()?;
    groups.extend(direct);
    groups.dedup();
    match groups.len() {
        1 => Ok(groups.pop()),
        _ => Err(Failure::validation("This endpoint has only actions with exactly one target group")),
    }
}

impl Store {
    /// Whether a listener of this load balancer may be so.
    pub(super) fn check_wish(&self, wish: &Wish, balancer: &str) -> Result<(), Failure> {
        let held = self.load_balancer(balancer)?;
        let group = self.target_group(&wish.target_group)?;
        let of_group = group.kind.protocol.as_str();
        // https://docs.aws.amazon.com/elasticloadbalancing/latest/network/load-balancer-target-groups.html
        let fits = match wish.protocol.as_str() {
            "TCP" => ["TCP", "TCP_UDP"].contains(&of_group),
            "TLS" => ["TCP", "TLS"].contains(&of_group),
            "UDP" => ["UDP", "TCP_UDP"].contains(&of_group),
            of_listener => of_listener == of_group,
        };
        if !fits {
            let message = format!(
                "The listener and its associated target group '{}' have incompatible protocols: '{}' and '{of_group}'",
                wish.target_group, wish.protocol
            );
            return Err(Failure::new("IncompatibleProtocols", message));
        }
        if group.kind.vpc != held.vpc {
            let message = format!("The target group '{}' is in another VPC", wish.target_group);
            return Err(Failure::configuration(message));
        }
        let shape = &held.shape;
        let datagrams = matches!(wish.protocol.as_str(), "UDP" | "TCP_UDP");
        if datagrams && shape.ip_address_type == "dualstack" && shape.prefix_for_source_nat == "off" {
            let message = format!("Protocol {} is not supported on a dualstack load balancer", wish.protocol);
            return Err(Failure::configuration(message));
        }
        if self
            .users()
            .get(wish.target_group.as_str())
            .is_some_and(|users| users.iter().any(|arn| *arn != balancer))
        {
            let message = format!(
                "The following target groups cannot be associated with more than one load balancer: {}",
                wish.target_group
            );
            return Err(Failure::new("TargetGroupAssociationLimit", message));
        }
        wish.certificate.as_ref().map_or(Ok(()), |arn| self.check_certificate(arn))
    }
}
