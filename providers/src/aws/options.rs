//! What annotations ask of a network load balancer: those of AWS's own controller, with its meaning. What is unknown,
//! malformed or contradicts something else is refused; nothing is silently left out.

use std::net::Ipv4Addr;

use penstock_crds::AwsParameters;
use penstock_model::Protocol;
use serde::{Deserialize, Serialize};

use super::{
    attributes::{ACCESS_LOGS, ACCESS_LOGS_BUCKET, ACCESS_LOGS_PREFIX, CROSS_ZONE, PROXY_PROTOCOL},
    reading::{Pairs, Reading, Text, adopted_arn, read},
    tags,
};
use crate::{Desired, ProviderError};

/// Whether clients outside the VPC can reach a balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// Within the VPC and what is connected to it.
    Internal,
    /// From the Internet.
    InternetFacing,
}

/// The families of a balancer's addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpAddressType {
    /// IPv4 only.
    #[default]
    Ipv4,
    /// Both.
    Dualstack,
}

/// Where a balancer sends to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetType {
    /// NodePorts of instances.
    #[default]
    Instance,
    /// Addresses of endpoints.
    Ip,
}

/// How targets are asked whether they take traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum CheckProtocol {
    /// A connection.
    Tcp,
    /// A request.
    Http,
    /// A request over TLS.
    Https,
}

/// What is said of health checks; the rest follows from the Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CheckOptions {
    pub(super) protocol: Option<CheckProtocol>,
    /// `None`: the traffic's.
    pub(super) port: Option<Option<u16>>,
    pub(super) path: Option<String>,
    pub(super) interval: Option<u16>,
    pub(super) timeout: Option<u16>,
    pub(super) healthy: Option<u16>,
    pub(super) unhealthy: Option<u16>,
    pub(super) success_codes: Option<String>,
}

/// What is said of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TlsOptions {
    /// ARNs; the first is for clients that name no host.
    pub(super) certificates: Vec<String>,
    /// Of the Service; `None`: all.
    pub(super) ports: Option<Vec<u16>>,
    pub(super) policy: Option<String>,
    /// Targets get TLS as well.
    pub(super) to_targets: bool,
    pub(super) alpn: Option<String>,
}

/// All that annotations and the class's defaults say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) adopt: Option<String>,
    pub(super) name: Option<String>,
    pub(super) scheme: Option<Scheme>,
    pub(super) ip_address_type: Option<IpAddressType>,
    pub(super) target_type: TargetType,
    pub(super) subnets: Option<Vec<String>>,
    pub(super) eip_allocations: Vec<String>,
    pub(super) private_addresses: Vec<Ipv4Addr>,
    pub(super) security_groups: Vec<String>,
    pub(super) tags: Pairs,
    pub(super) attributes: Pairs,
    pub(super) group_attributes: Pairs,
    pub(super) listener_attributes: Vec<OfPort>,
    pub(super) check: CheckOptions,
    pub(super) tls: Option<TlsOptions>,
}

/// Attributes of the listener of one port of the Service.
pub(super) type OfPort = ((Protocol, u16), Pairs);

/// The attributes that hold for all target groups, and their value where an annotation of their own asks for them.
type Shorthand<'a> = Option<(Text<'a>, Pairs)>;

impl Options {
    /// # Errors
    /// [`ProviderError::User`] that names the annotation, and what to change.
    pub(super) fn read(parameters: &AwsParameters, desired: &Desired) -> Result<Self, ProviderError> {
        let mut reading = read(parameters, &desired.options);
        let target_type = target_type(&mut reading)?;
        let options = Self {
            adopt: adopted_arn(&desired.options)?,
            name: reading.take("name").map(name).transpose()?,
            scheme: scheme(&mut reading)?,
            ip_address_type: reading.take("ip-address-type").map(ip_address_type).transpose()?,
            target_type,
            subnets: reading.take("subnets").map(|text| text.ids("subnet-")).transpose()?,
            eip_allocations: reading.take("eip-allocations").map_or(Ok(vec![]), |t| t.ids("eipalloc-"))?,
            private_addresses: reading.take("private-ipv4-addresses").map_or(Ok(vec![]), ipv4_addresses)?,
            security_groups: reading.take("security-groups").map_or(Ok(vec![]), |t| t.ids("sg-"))?,
            tags: reading.take("additional-resource-tags").map_or(Ok(Pairs::new()), tags::additional)?,
            attributes: balancer_attributes(&mut reading)?,
            group_attributes: group_attributes(&mut reading)?,
            listener_attributes: listener_attributes(&mut reading)?,
            check: CheckOptions::read(&mut reading)?,
            tls: TlsOptions::read(&mut reading, desired)?,
        };
        // Read by the operator, which leaves out the nodes that do not have them.
        reading.take("target-node-labels").map(|text| text.pairs()).transpose()?;
        reading.finish()?;
        Ok(options)
    }
}

/// Whether balancers of the Service send to its endpoints themselves; what cannot be read is refused later.
pub(super) fn target_type_of(parameters: &AwsParameters, annotations: &Pairs) -> TargetType {
    target_type(&mut read(parameters, annotations)).unwrap_or_default()
}

/// `type` says which controller is meant, and once said which targets.
fn target_type(reading: &mut Reading<'_>) -> Result<TargetType, ProviderError> {
    use TargetType::{Instance, Ip};
    let kind = reading.take("type");
    let by_kind =
        kind.map(|t| t.one_of(&[("nlb", None), ("external", None), ("nlb-ip", Some(Ip))])).transpose()?;
    let own = reading.take("nlb-target-type");
    let own = own
        .map(|text| text.one_of(&[("instance", Instance), ("ip", Ip)]).map(|own| (text, own)))
        .transpose()?;
    match (by_kind.flatten(), own) {
        (Some(Ip), Some((text, Instance))) => {
            Err(text.refuse("is \"instance\", but the annotation type is \"nlb-ip\": remove one of the two"))
        }
        (by_kind, own) => Ok(own.map(|(_, own)| own).or(by_kind).unwrap_or_default()),
    }
}

fn name(text: Text<'_>) -> Result<String, ProviderError> {
    let name = text.text();
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let wrong = name.is_empty() || name.len() > 32 || !name.chars().all(fits);
    if wrong || name.starts_with('-') || name.ends_with('-') || name.starts_with("internal-") {
        return Err(text.refuse(format!(
            "is {name:?}: a name has at most 32 letters, digits and hyphens, none at its ends, and does not begin with internal-"
        )));
    }
    Ok(name.to_owned())
}

/// `internal` is the older key for the same.
fn scheme(reading: &mut Reading<'_>) -> Result<Option<Scheme>, ProviderError> {
    use Scheme::{Internal, InternetFacing};
    let known = [("internal", Internal), ("internet-facing", InternetFacing)];
    let (own, older) = (reading.take("scheme"), reading.take("internal"));
    let own = own.map(|text| text.one_of(&known)).transpose()?;
    let said = older
        .map(|text| text.flag().map(|yes| (text, if yes { Internal } else { InternetFacing })))
        .transpose()?;
    match (own, said) {
        (Some(own), Some((text, older))) if own != older => {
            Err(text.refuse("says something else than the annotation scheme: remove it"))
        }
        (own, said) => Ok(own.or(said.map(|(_, older)| older))),
    }
}

fn ip_address_type(text: Text<'_>) -> Result<IpAddressType, ProviderError> {
    text.one_of(&[("ipv4", IpAddressType::Ipv4), ("dualstack", IpAddressType::Dualstack)])
}

fn ipv4_addresses(text: Text<'_>) -> Result<Vec<Ipv4Addr>, ProviderError> {
    let read = |item: &str| {
        item.parse().map_err(|_| text.refuse(format!("holds {item:?}, which is not an IPv4 address")))
    };
    text.list()?.into_iter().map(read).collect()
}

/// Attributes of a balancer, from one annotation or from those of their own.
fn balancer_attributes(reading: &mut Reading<'_>) -> Result<Pairs, ProviderError> {
    let mut attributes = reading.take("attributes").map_or(Ok(Pairs::new()), attribute_pairs)?;
    let cross_zone = reading.take("cross-zone-load-balancing-enabled");
    let cross_zone =
        cross_zone.map(|text| text.flag().map(|yes| (text, pair(CROSS_ZONE, yes)))).transpose()?;
    add(&mut attributes, cross_zone, "attributes")?;
    add(&mut attributes, access_logs(reading)?, "attributes")?;
    let on = |key: &str| attributes.get(key).is_some_and(|value| value == "true");
    if on(ACCESS_LOGS) && attributes.get(ACCESS_LOGS_BUCKET).is_none_or(String::is_empty) {
        return Err(ProviderError::refused(
            "access logs are on without a bucket: add the annotation access-log-s3-bucket-name",
        ));
    }
    Ok(attributes)
}

fn access_logs<'a>(reading: &mut Reading<'a>) -> Result<Shorthand<'a>, ProviderError> {
    let enabled = reading.take("access-log-enabled");
    let bucket = reading.take("access-log-s3-bucket-name");
    let prefix = reading.take("access-log-s3-bucket-prefix");
    let Some(on) = enabled else {
        return match bucket.or(prefix) {
            Some(text) => Err(text.refuse("says nothing without the annotation access-log-enabled: add it")),
            None => Ok(None),
        };
    };
    let mut attributes = pair(ACCESS_LOGS, on.flag()?);
    attributes.extend(bucket.map(|text| (ACCESS_LOGS_BUCKET.to_owned(), text.text().to_owned())));
    attributes.extend(prefix.map(|text| (ACCESS_LOGS_PREFIX.to_owned(), text.text().to_owned())));
    Ok(Some((on, attributes)))
}

fn group_attributes(reading: &mut Reading<'_>) -> Result<Pairs, ProviderError> {
    let mut attributes = reading.take("target-group-attributes").map_or(Ok(Pairs::new()), attribute_pairs)?;
    let proxy = reading.take("proxy-protocol");
    let proxy = proxy.map(|text| text.one_of(&[("*", ())]).map(|()| text)).transpose()?;
    add(&mut attributes, proxy.map(|text| (text, pair(PROXY_PROTOCOL, true))), "target-group-attributes")?;
    Ok(attributes)
}

fn listener_attributes(reading: &mut Reading<'_>) -> Result<Vec<OfPort>, ProviderError> {
    let read = |(place, text): (&str, Text<'_>)| {
        let (protocol, port) = place.split_once('-').unwrap_or((place, ""));
        let protocol = match protocol {
            "TCP" | "TLS" | "TCP_UDP" => Some(Protocol::Tcp),
            "UDP" => Some(Protocol::Udp),
            _ => None,
        };
        let place = protocol.zip(port.parse().ok().filter(|port: &u16| *port != 0));
        let place = place.ok_or_else(|| text.refuse("must end with PROTOCOL-PORT, such as TCP-443"))?;
        Ok((place, text.pairs()?))
    };
    reading.take_all("listener-attributes.").into_iter().map(read).collect()
}

/// Attributes that are on or off are neither `True` nor `1`.
fn attribute_pairs(text: Text<'_>) -> Result<Pairs, ProviderError> {
    let pairs = text.pairs()?;
    let flag = |key: &str| key.ends_with(".enabled") && key != "load_balancing.cross_zone.enabled";
    match pairs.iter().find(|(key, value)| flag(key) && !matches!(value.as_str(), "true" | "false")) {
        Some((key, value)) => {
            Err(text.refuse(format!("gives {key} the value {value:?}: it must be true or false")))
        }
        None => Ok(pairs),
    }
}

fn pair(key: &str, on: bool) -> Pairs {
    Pairs::from([(key.to_owned(), on.to_string())])
}

/// What both say must be the same.
fn add(attributes: &mut Pairs, more: Shorthand<'_>, other: &str) -> Result<(), ProviderError> {
    let Some((text, more)) = more else { return Ok(()) };
    for (key, value) in more {
        match attributes.get(&key).filter(|said| **said != value) {
            Some(said) => {
                let what =
                    format!("asks for {key}={value}, but the annotation {other} for {said}: remove one");
                return Err(text.refuse(what));
            }
            None => attributes.insert(key, value),
        };
    }
    Ok(())
}
