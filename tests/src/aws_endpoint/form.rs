//! The parameters of a call of the Query protocol: `Name=a&Subnets.member.1=b&Tags.member.1.Key=c`.

use std::{collections::BTreeMap, ops::RangeInclusive, str::FromStr};

use super::failure::Failure;

/// Parameters that nobody has taken yet. What is left in the end is a parameter that the endpoint does not know.
#[derive(Clone, Debug, Default)]
pub(super) struct Form(BTreeMap<String, String>);

impl Form {
    pub(super) fn parse(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    /// All of them, for the log.
    pub(super) fn parameters(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    pub(super) fn required(&mut self, name: &str) -> Result<String, Failure> {
        let absent = || Failure::validation(format!("The parameter {name} is required"));
        self.take(name).filter(|value| !value.is_empty()).ok_or_else(absent)
    }

    pub(super) fn number<T: FromStr + PartialOrd + std::fmt::Display>(
        &mut self,
        name: &str,
        range: RangeInclusive<T>,
    ) -> Result<Option<T>, Failure> {
        let Some(text) = self.take(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.map(Some).ok_or_else(|| {
            let (low, high) = range.into_inner();
            Failure::validation(format!("{name} '{text}' must be between {low} and {high}"))
        })
    }

    /// One of some words.
    pub(super) fn word(&mut self, name: &str, words: &[&str]) -> Result<Option<String>, Failure> {
        match self.take(name) {
            Some(word) if !words.contains(&word.as_str()) => Err(Failure::validation(format!(
                "1 validation error detected: Value '{word}' at '{name}' failed to satisfy constraint: Member must \
                 satisfy enum value set: [{}]",
                words.join(", ")
            ))),
            word => Ok(word),
        }
    }

    /// The members of a list; none where it is absent.
    pub(super) fn list(&mut self, name: &str) -> Option<Vec<String>> {
        let members = self.structures(name)?;
        Some(members.into_iter().filter_map(|mut member| member.take("")).collect())
    }

    /// The members of a list of structures, in their order; none where the list is absent.
    pub(super) fn structures(&mut self, name: &str) -> Option<Vec<Self>> {
        let prefix = format!("{name}.member.");
        let mine: Vec<String> = self.0.keys().filter(|key| key.starts_with(&prefix)).cloned().collect();
        let empty = self.0.remove(name).is_some();
        let mut members: BTreeMap<usize, Self> = BTreeMap::new();
        for key in mine {
            let (index, field) = key[prefix.len()..].split_once('.').unwrap_or((&key[prefix.len()..], ""));
            if let (Ok(index), field) = (index.parse(), field.to_owned())
                && let Some(value) = self.0.remove(&key)
            {
                members.entry(index).or_default().0.insert(field, value);
            }
        }
        (empty || !members.is_empty()).then(|| members.into_values().collect())
    }

    /// Refuses what was not taken: the endpoint would otherwise ignore a wish.
    pub(super) fn finish(self) -> Result<(), Failure> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => {
                Err(Failure::validation(format!("{name} is not a parameter that this endpoint knows")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_keep_their_order_and_nest() {
        let body =
            b"Names.member.2=b&Names.member.1=a&Names.member.10=c&T.member.1.K.member.1=x&T.member.1.V=y&E=";
        let mut form = Form::parse(body);
        assert_eq!(form.list("Names").unwrap(), ["a", "b", "c"]);
        let mut tags = form.structures("T").unwrap();
        assert_eq!(tags[0].list("K").unwrap(), ["x"]);
        assert_eq!(tags[0].take("V").unwrap(), "y");
        assert_eq!((form.list("E"), form.list("F")), (Some(vec![]), None));
        form.finish().unwrap();
    }

    #[test]
    fn what_nobody_takes_is_refused() {
        let mut form = Form::parse(b"Port=0&Other=1");
        assert!(form.number("Port", 1..=65535).unwrap_err().message.contains("between 1 and 65535"));
        assert!(form.finish().unwrap_err().message.starts_with("Other "));
    }
}
