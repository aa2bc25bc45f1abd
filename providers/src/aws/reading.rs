//! Annotations of the provider, each taken once: what is left at the end is unknown.

use std::collections::BTreeMap;

use penstock_crds::{AWS_ADOPT, AWS_PREFIX, AwsParameters};

use crate::ProviderError;

/// Key and value pairs of one annotation, and maps of attributes and tags everywhere.
pub type Pairs = BTreeMap<String, String>;

/// What is not read yet, by the key without its prefix.
pub(super) struct Reading<'a> {
    left: BTreeMap<&'a str, Text<'a>>,
}

/// What an annotation says, and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    key: &'a str,
    text: &'a str,
    of_class: bool,
}

impl<'a> Reading<'a> {
    /// The Service's annotations come before the class's defaults.
    pub(super) fn new(parameters: &'a AwsParameters, annotations: &'a Pairs) -> Self {
        let text =
            |(key, text): (&'a String, &'a String), of_class| Text { key, text: text.trim(), of_class };
        let defaults = parameters.defaults.iter().map(|pair| text(pair, true)).map(|t| (t.key, t));
        let own = annotations.iter().filter_map(|pair| {
            let key = pair.0.strip_prefix(AWS_PREFIX)?;
            Some((key, Text { key, ..text(pair, false) }))
        });
        Self { left: defaults.chain(own).collect() }
    }

    pub(super) fn take(&mut self, key: &str) -> Option<Text<'a>> {
        self.left.remove(key)
    }

    /// All keys that begin so, with what follows.
    pub(super) fn take_all(&mut self, prefix: &str) -> Vec<(&'a str, Text<'a>)> {
        let found: Vec<&str> = self.left.keys().copied().filter(|key| key.starts_with(prefix)).collect();
        let take = |key: &'a str| self.left.remove(key).map(|text| (&key[prefix.len()..], text));
        found.into_iter().filter_map(take).collect()
    }

    /// # Errors
    /// The first annotation that nobody took.
    pub(super) fn finish(self) -> Result<(), ProviderError> {
        match self.left.into_values().next() {
            Some(text) if UNSUPPORTED.contains(&text.key) => {
                Err(text.refuse("is not supported by Penstock: remove it"))
            }
            Some(text) => Err(text.refuse("is not known: check how it is written, or remove it")),
            None => Ok(()),
        }
    }
}

/// Keys of AWS's own controller, or of the in-tree one, that mean something we do not do.
const UNSUPPORTED: [&str; 9] = [
    "access-log-emit-interval",
    "connection-draining-enabled",
    "connection-idle-timeout",
    "enable-prefix-for-ipv6-source-nat",
    "extra-security-groups",
    "inbound-sg-rules-on-private-link-traffic",
    "ipv6-addresses",
    "manage-backend-security-group-rules",
    "multi-cluster-target-group",
];

impl<'a> Text<'a> {
    /// One sentence that names the annotation.
    pub(super) fn refuse(&self, what: impl AsRef<str>) -> ProviderError {
        let place = if self.of_class {
            format!("spec.aws.defaults.{} of the class", self.key)
        } else {
            format!("annotation {AWS_PREFIX}{}", self.key)
        };
        ProviderError::refused(format!("{place} {}", what.as_ref()))
    }

    fn wants(&self, what: &str) -> ProviderError {
        self.refuse(format!("is {:?}: it must be {what}", self.text))
    }

    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    /// Whether it is the class's, for whoever it concerns.
    pub(super) fn is_of_class(&self) -> bool {
        self.of_class
    }

    pub(super) fn flag(&self) -> Result<bool, ProviderError> {
        self.text.parse().map_err(|_| self.wants("true or false"))
    }

    /// The value that belongs to the text.
    pub(super) fn one_of<T: Copy>(&self, known: &[(&str, T)]) -> Result<T, ProviderError> {
        let found = known.iter().find(|(text, _)| *text == self.text).map(|(_, value)| *value);
        let names = || known.iter().map(|(text, _)| *text).collect::<Vec<_>>().join(" or ");
        found.ok_or_else(|| self.wants(&names()))
    }

    pub(super) fn number(&self, range: std::ops::RangeInclusive<u16>) -> Result<u16, ProviderError> {
        let number = self.text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| self.wants(&format!("a number from {} to {}", range.start(), range.end())))
    }

    /// A list with commas, without anything twice.
    pub(super) fn list(&self) -> Result<Vec<&'a str>, ProviderError> {
        let items: Vec<&str> = self.text.split(',').map(str::trim).collect();
        if items.iter().any(|item| item.is_empty()) {
            return Err(self.wants("a list with commas, without empty places"));
        }
        match (1..items.len()).find(|at| items[..*at].contains(&items[*at])) {
            Some(twice) => Err(self.refuse(format!("names {:?} twice: remove one", items[twice]))),
            None => Ok(items),
        }
    }

    /// A list of identities that begin so.
    pub(super) fn ids(&self, prefix: &str) -> Result<Vec<String>, ProviderError> {
        let items = self.list()?;
        let id = |item: &&str| item.len() > prefix.len() && item.starts_with(prefix) && is_plain(item);
        match items.iter().find(|item| !id(item)) {
            Some(wrong) => Err(self.refuse(format!(
                "names {wrong:?}: only identities that begin with {prefix} can be given, not names or tags"
            ))),
            None => Ok(items.into_iter().map(ToOwned::to_owned).collect()),
        }
    }

    /// `key=value,key=value`; the value of a key must not be missing, but may be empty.
    pub(super) fn pairs(&self) -> Result<Pairs, ProviderError> {
        let mut pairs = Pairs::new();
        for item in self.list()? {
            let (key, value) =
                item.split_once('=').ok_or_else(|| self.wants("a list of KEY=VALUE with commas"))?;
            let (key, value) = (key.trim(), value.trim());
            if key.is_empty() {
                return Err(self.wants("a list of KEY=VALUE with commas"));
            }
            if pairs.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(self.refuse(format!("gives {key:?} twice: remove one")));
            }
        }
        Ok(pairs)
    }
}

fn is_plain(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// # Errors
/// An ARN that is not one of a network load balancer.
pub(super) fn adopted_arn(annotations: &Pairs) -> Result<Option<String>, ProviderError> {
    let Some(arn) = annotations.get(AWS_ADOPT).map(|arn| arn.trim()) else { return Ok(None) };
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let fits = matches!(parts[..], ["arn", _, "elasticloadbalancing", _, _, rest]
        // The emulator moto writes /app/ for every balancer.
        if rest.starts_with("loadbalancer/net/") || rest.starts_with("loadbalancer/app/"));
    if !fits {
        return Err(ProviderError::refused(format!(
            "annotation {AWS_ADOPT} is {arn:?}: it must be the ARN of a network load balancer"
        )));
    }
    Ok(Some(arn.to_owned()))
}
