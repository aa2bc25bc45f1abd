//! Pages of a list.

use super::{failure::Failure, form::Form};

/// The most names or ARNs of a describing call.
const MOST_NAMES: usize = 20;

/// Which part of a list is asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Page {
    after: Option<String>,
    size: usize,
}

impl Page {
    /// The parameters `Marker` and `PageSize`.
    pub(super) fn take(form: &mut Form, most: usize) -> Result<Self, Failure> {
        let size = form.number("PageSize", 1..=most)?.unwrap_or(most);
        Ok(Self { after: form.take("Marker"), size })
    }

    /// The page of `all`, which are sorted by their ARNs, and the marker of the next.
    pub(super) fn of<'a, T>(&self, all: impl Iterator<Item = (&'a str, T)>) -> (Vec<T>, Option<String>) {
        let after = self.after.as_deref().unwrap_or_default();
        let mut rest = all.filter(|(arn, _)| *arn > after).peekable();
        let (mut page, mut last) = (Vec::new(), None);
        while page.len() < self.size {
            let Some((arn, item)) = rest.next() else { break };
            page.push(item);
            last = Some(arn.to_owned());
        }
        let next = if rest.peek().is_some() { last } else { None };
        (page, next)
    }
}

/// A list of names or ARNs of a describing call, which may not be long.
pub(super) fn take_names(form: &mut Form, name: &str) -> Result<Vec<String>, Failure> {
    let names = form.list(name).unwrap_or_default();
    if names.len() > MOST_NAMES {
        return Err(Failure::validation(format!(
            "Up to {MOST_NAMES} {name} can be described in a single call"
        )));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_end_with_the_list() {
        let all = ["a", "b", "c"];
        let items = || all.iter().map(|arn| (*arn, *arn));
        let first = Page { after: None, size: 2 };
        assert_eq!(first.of(items()), (vec!["a", "b"], Some("b".to_owned())));
        let second = Page { after: Some("b".to_owned()), size: 2 };
        assert_eq!(second.of(items()), (vec!["c"], None));
        assert_eq!(Page { after: None, size: 3 }.of(items()).1, None);
    }
}
