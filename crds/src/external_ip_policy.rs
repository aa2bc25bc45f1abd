//! ExternalIPPolicy: which namespaces may use which addresses as `spec.externalIPs`.

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{AddressRangeError, address_range::cidr};

/// Stands for every namespace.
const EVERY_NAMESPACE: &str = "*";

/// Lets the Services of some namespaces have externalIPs in some networks. Without any policy no externalIP is
/// served anywhere: whoever may create a Service could otherwise take any address's traffic (CVE-2020-8554).
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "penstock.dev",
    version = "v1alpha1",
    kind = "ExternalIPPolicy",
    plural = "externalippolicies",
    status = "ExternalIPPolicyStatus",
    shortname = "extippolicy",
    category = "penstock",
    printcolumn(name = "Namespaces", type_ = "string", json_path = ".spec.namespaces"),
    printcolumn(name = "CIDRs", type_ = "string", json_path = ".spec.cidrs"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Accepted')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Accepted')].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ExternalIPPolicySpec {
    /// Names of namespaces, or the single entry `*` for every namespace.
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 63)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(n, n == '*' || n.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'))")
        .message("every entry must be the name of a namespace, or * for every namespace"))]
    #[x_kube(validation = Rule::new("self.size() == 1 || !self.exists(n, n == '*')")
        .message("* stands for every namespace: leave the other entries out"))]
    pub namespaces: Vec<String>,

    /// The networks that an externalIP may lie in, of either family: `203.0.113.0/28`, `2001:db8::7/128`. Several
    /// policies for a namespace add up.
    #[schemars(length(min = 1, max = 256), inner(length(max = 64)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(c, isCIDR(c))")
        .message("every entry must be a CIDR (203.0.113.0/28)"))]
    #[x_kube(validation = Rule::new(
        "self.all(c, !isCIDR(c) || (cidr(c) == cidr(c).masked() && cidr(c).prefixLength() > 0))"
    ).message("a CIDR must have no host bits set and must not be /0"))]
    pub cidrs: Vec<String>,
}

/// What became of a policy.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalIPPolicyStatus {
    /// `Accepted`, or why not.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Why a policy allows nothing. Each says what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExternalIPPolicyError {
    /// For nobody.
    #[error("spec.namespaces is empty: name the namespaces, or write * for every namespace")]
    NoNamespace,
    /// No namespace can have this name.
    #[error("spec.namespaces: {0:?} is not the name of a namespace: write one, or * for every namespace")]
    Namespace(String),
    /// Everybody, and somebody.
    #[error("spec.namespaces: * stands for every namespace: leave the other entries out")]
    Everybody,
    /// Nothing is allowed.
    #[error("spec.cidrs is empty: write the networks that externalIPs may lie in")]
    NoCidr,
    /// A network that cannot be read.
    #[error("spec.cidrs: {0}")]
    Cidr(#[from] AddressRangeError),
}

impl ExternalIPPolicySpec {
    /// What it allows: networks, each with the namespace that may use it; `None` is every namespace. Objects
    /// stored before a rule existed may still hold anything: one bad entry and the whole policy allows nothing.
    ///
    /// # Errors
    /// The first entry that cannot be read.
    pub fn grants(&self) -> Result<Vec<(Option<String>, IpNet)>, ExternalIPPolicyError> {
        let namespaces = self.namespaces()?;
        if self.cidrs.is_empty() {
            return Err(ExternalIPPolicyError::NoCidr);
        }
        let cidrs = self.cidrs.iter().map(|text| cidr(text)).collect::<Result<Vec<IpNet>, _>>()?;
        let pairs = namespaces.iter().flat_map(|n| cidrs.iter().map(|cidr| (n.clone(), *cidr)));
        Ok(pairs.collect())
    }

    fn namespaces(&self) -> Result<Vec<Option<String>>, ExternalIPPolicyError> {
        if self.namespaces.is_empty() {
            return Err(ExternalIPPolicyError::NoNamespace);
        }
        if self.namespaces == [EVERY_NAMESPACE] {
            return Ok(vec![None]);
        }
        if self.namespaces.iter().any(|name| name == EVERY_NAMESPACE) {
            return Err(ExternalIPPolicyError::Everybody);
        }
        match self.namespaces.iter().find(|name| !is_label(name)) {
            Some(name) => Err(ExternalIPPolicyError::Namespace(name.clone())),
            None => Ok(self.namespaces.iter().cloned().map(Some).collect()),
        }
    }
}

/// RFC 1123, as the names of namespaces are.
fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len())
        && text.chars().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(
        namespaces: &[&str],
        cidrs: &[&str],
    ) -> Result<Vec<(Option<String>, IpNet)>, ExternalIPPolicyError> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        ExternalIPPolicySpec { namespaces: owned(namespaces), cidrs: owned(cidrs) }.grants()
    }

    #[test]
    fn each_namespace_gets_each_network() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let of = |name: &str| Some(name.to_owned());
        assert_eq!(
            grants(&["a", "b"], &["80.11.12.0/28", "2001:db8::7/128"]).unwrap(),
            [
                (of("a"), net("80.11.12.0/28")),
                (of("a"), net("2001:db8::7/128")),
                (of("b"), net("80.11.12.0/28")),
                (of("b"), net("2001:db8::7/128")),
            ]
        );
        assert_eq!(grants(&["*"], &["80.11.12.0/28"]).unwrap(), [(None, net("80.11.12.0/28"))]);
    }

    #[test]
    fn what_was_stored_before_a_rule_existed_is_refused_in_one_sentence() {
        let good = "80.11.12.0/28";
        let cases: [(&[&str], &[&str], &str); 10] = [
            (&[], &[good], "spec.namespaces is empty"),
            (&["*", "a"], &[good], "leave the other entries out"),
            (&["a*"], &[good], r#""a*" is not the name of a namespace"#),
            (&[""], &[good], r#""" is not the name of a namespace"#),
            (&["a"], &[], "spec.cidrs is empty"),
            (&["a"], &[good, "80.11.12.10"], r#"spec.cidrs: "80.11.12.10" is not a CIDR"#),
            (&["a"], &["80.11.12.1-80.11.12.9"], "is not a CIDR"),
            (&["a"], &["80.11.12.10/28"], "write 80.11.12.0/28 if the whole network is meant"),
            (&["a"], &["0.0.0.0/0"], "is every address there is"),
            (&["a"], &["::ffff:80.11.12.0/124"], "is not an IP address"),
        ];
        for (namespaces, cidrs, sentence) in cases {
            let error = grants(namespaces, cidrs).unwrap_err().to_string();
            assert!(error.contains(sentence), "{namespaces:?} {cidrs:?}: {error}");
        }
    }
}
