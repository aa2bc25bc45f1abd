//! Annotations of a provider, each taken once: what is left at the end is unknown.

use std::collections::BTreeMap;

use crate::ProviderError;

/// Key and value pairs of one annotation, and maps of attributes and tags everywhere.
pub type Pairs = BTreeMap<String, String>;

/// Where annotations of a provider stand.
#[derive(Debug)]
pub(crate) struct Place {
    /// How their keys begin.
    pub(crate) prefix: &'static str,
    /// What the class says where a Service does not: `spec.NAME.defaults`.
    pub(crate) defaults: &'static str,
    /// Keys of the cloud's own controller that mean something we do not do.
    pub(crate) unsupported: &'static [&'static str],
}

/// What is not read yet, by the key without its prefix.
pub(crate) struct Reading<'a> {
    place: &'static Place,
    left: BTreeMap<&'a str, Text<'a>>,
}

/// What an annotation says, and where it stands.
#[derive(Clone, Copy)]
pub(crate) struct Text<'a> {
    place: &'static Place,
    key: &'a str,
    text: &'a str,
    of_class: bool,
}

impl<'a> Reading<'a> {
    /// The Service's annotations come before the class's defaults.
    pub(crate) fn new(place: &'static Place, defaults: &'a Pairs, annotations: &'a Pairs) -> Self {
        let text = |(key, text): (&'a String, &'a String), of_class| Text {
            place,
            key,
            text: text.trim(),
            of_class,
        };
        let defaults = defaults.iter().map(|pair| text(pair, true)).map(|t| (t.key, t));
        let own = annotations.iter().filter_map(|pair| {
            let key = pair.0.strip_prefix(place.prefix)?;
            Some((key, Text { key, ..text(pair, false) }))
        });
        Self { place, left: defaults.chain(own).collect() }
    }

    pub(crate) fn take(&mut self, key: &str) -> Option<Text<'a>> {
        self.left.remove(key)
    }

    /// All keys that begin so, with what follows.
    pub(crate) fn take_all(&mut self, prefix: &str) -> Vec<(&'a str, Text<'a>)> {
        let found: Vec<&str> = self.left.keys().copied().filter(|key| key.starts_with(prefix)).collect();
        let take = |key: &'a str| self.left.remove(key).map(|text| (&key[prefix.len()..], text));
        found.into_iter().filter_map(take).collect()
    }

    /// # Errors
    /// The first annotation that nobody took.
    pub(crate) fn finish(self) -> Result<(), ProviderError> {
        match self.left.into_values().next() {
            Some(text) if self.place.unsupported.contains(&text.key) => {
                Err(text.refuse("is not supported by Penstock: remove it"))
            }
            Some(text) => Err(text.refuse("is not known: check how it is written, or remove it")),
            None => Ok(()),
        }
    }
}

impl<'a> Text<'a> {
    /// One sentence that names the annotation.
    pub(crate) fn refuse(&self, what: impl AsRef<str>) -> ProviderError {
        let place = if self.of_class {
            format!("{}.{} of the class", self.place.defaults, self.key)
        } else {
            format!("annotation {}{}", self.place.prefix, self.key)
        };
        ProviderError::refused(format!("{place} {}", what.as_ref()))
    }

    pub(crate) fn wants(&self, what: &str) -> ProviderError {
        self.refuse(format!("is {:?}: it must be {what}", self.text))
    }

    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// Whether it is the class's, for whoever it concerns.
    pub(crate) fn is_of_class(&self) -> bool {
        self.of_class
    }

    pub(crate) fn flag(&self) -> Result<bool, ProviderError> {
        self.text.parse().map_err(|_| self.wants("true or false"))
    }

    /// The value that belongs to the text.
    pub(crate) fn one_of<T: Copy>(&self, known: &[(&str, T)]) -> Result<T, ProviderError> {
        let found = known.iter().find(|(text, _)| *text == self.text).map(|(_, value)| *value);
        let names = || known.iter().map(|(text, _)| *text).collect::<Vec<_>>().join(" or ");
        found.ok_or_else(|| self.wants(&names()))
    }

    pub(crate) fn number(&self, range: std::ops::RangeInclusive<u16>) -> Result<u16, ProviderError> {
        let number = self.text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| self.wants(&format!("a number from {} to {}", range.start(), range.end())))
    }

    /// A list with commas, without anything twice.
    pub(crate) fn list(&self) -> Result<Vec<&'a str>, ProviderError> {
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
    pub(crate) fn ids(&self, prefix: &str) -> Result<Vec<String>, ProviderError> {
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
    pub(crate) fn pairs(&self) -> Result<Pairs, ProviderError> {
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
