//! Tags of resources.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{failure::Failure, form::Form};

/// Keys and values.
pub type Tags = BTreeMap<String, String>;

/// The parameter `Tags` of a creating call or of `AddTags`.
pub(super) fn take(form: &mut Form) -> Result<Tags, Failure> {
    let mut tags = Tags::new();
    for mut member in form.structures("Tags").unwrap_or_default() {
        let (key, value) = (member.required("Key")?, member.take("Value").unwrap_or_default());
        member.finish()?;
        check(&key, &value)?;
        if tags.insert(key.clone(), value).is_some() {
            return Err(Failure::new("DuplicateTagKeys", format!("The tag key '{key}' was specified twice")));
        }
    }
    Ok(tags)
}

/// Whether AWS lets a tag be set.
pub(super) fn check(key: &str, value: &str) -> Result<(), Failure> {
    let allowed = |c: char| c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@".contains(c);
    if key.is_empty() || key.chars().count() > 128 || !key.chars().all(allowed) {
        return Err(Failure::validation(format!("The tag key '{key}' is not valid")));
    }
    if value.chars().count() > 256 || !value.chars().all(allowed) {
        return Err(Failure::validation(format!("The value of the tag '{key}' is not valid")));
    }
    if key.to_ascii_lowercase().starts_with("aws:") {
        return Err(Failure::validation(format!("The tag key '{key}' is reserved for AWS")));
    }
    Ok(())
}

/// Refuses more than there may be.
pub(super) fn check_count(tags: &Tags, most: usize) -> Result<(), Failure> {
    if tags.len() > most {
        return Err(Failure::new("TooManyTags", format!("A resource has at most {most} tags")));
    }
    Ok(())
}

/// As answers have them.
pub(super) fn shown(tags: &Tags) -> Value {
    tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect()
}
