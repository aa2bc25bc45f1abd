//! Lists of label selectors, of which any one is enough, as MetalLB's kinds have them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use kube::core::{Selector, SelectorExt};

/// Alternative selectors, checked once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelectors(Vec<Selector>);

/// A selector that Kubernetes' rules (`LabelSelectorAsSelector` of apimachinery) do not allow. Each says what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelSelectorError {
    /// No such operator.
    #[error("{selector}: the operator {operator:?} is none of In, NotIn, Exists and DoesNotExist")]
    Operator {
        /// Field and position.
        selector: String,
        /// What stands there.
        operator: String,
    },
    /// In or NotIn of nothing.
    #[error("{selector}: the operator {operator} needs values")]
    NoValues {
        /// Field and position.
        selector: String,
        /// The operator.
        operator: String,
    },
    /// Exists or DoesNotExist with values.
    #[error("{selector}: the operator {operator} takes no values")]
    Values {
        /// Field and position.
        selector: String,
        /// The operator.
        operator: String,
    },
}

impl LabelSelectors {
    /// Reads the selectors of a field.
    ///
    /// # Errors
    /// The first that cannot be read. The whole object is refused then: to guess what was meant could admit too many.
    pub fn read(field: &str, objects: &[LabelSelector]) -> Result<Self, LabelSelectorError> {
        let read = |(index, object): (usize, &LabelSelector)| {
            let selector = format!("{field}[{index}]");
            for requirement in object.match_expressions.iter().flatten() {
                check(&selector, requirement)?;
            }
            let operator = |e: kube::core::ParseExpressionError| LabelSelectorError::Operator {
                selector,
                operator: e.to_string(),
            };
            Selector::try_from(object.clone()).map_err(operator)
        };
        Ok(Self(objects.iter().enumerate().map(read).collect::<Result<_, _>>()?))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them matches.
    #[must_use]
    pub fn any_matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().any(|selector| selector.matches(labels))
    }
}

fn check(selector: &str, requirement: &LabelSelectorRequirement) -> Result<(), LabelSelectorError> {
    let (selector, operator) = (selector.to_owned(), requirement.operator.clone());
    let has_values = requirement.values.as_ref().is_some_and(|values| !values.is_empty());
    match (operator.as_str(), has_values) {
        ("In" | "NotIn", true) | ("Exists" | "DoesNotExist", false) => Ok(()),
        ("In" | "NotIn", false) => Err(LabelSelectorError::NoValues { selector, operator }),
        ("Exists" | "DoesNotExist", true) => Err(LabelSelectorError::Values { selector, operator }),
        _ => Err(LabelSelectorError::Operator { selector, operator }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(selectors: &Value) -> Result<LabelSelectors, LabelSelectorError> {
        let objects: Vec<LabelSelector> = serde_json::from_value(selectors.clone()).unwrap();
        LabelSelectors::read("spec.x", &objects)
    }

    #[test]
    fn any_selector_is_enough_and_all_of_its_parts_must_hold() {
        let labels =
            BTreeMap::from([("app".to_owned(), "a".to_owned()), ("tier".to_owned(), "gold".to_owned())]);
        let expression = |key: &str, operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        for (selectors, expected) in [
            (json!([]), false),
            (json!([{}]), true),
            (json!([{"matchLabels": {"app": "b"}}, {"matchLabels": {"app": "a"}}]), true),
            (json!([{"matchLabels": {"app": "a", "tier": "tin"}}]), false),
            (json!([expression("app", "In", &["b", "a"])]), true),
            (json!([expression("app", "NotIn", &["a"])]), false),
            (json!([expression("other", "NotIn", &["a"])]), true),
            (json!([expression("tier", "Exists", &[])]), true),
            (json!([expression("tier", "DoesNotExist", &[])]), false),
        ] {
            assert_eq!(read(&selectors).unwrap().any_matches(&labels), expected, "{selectors}");
        }
    }

    #[test]
    fn each_mistake_names_field_and_position() {
        for (operator, values, sentence) in [
            (
                "Near",
                json!(["a"]),
                r#"spec.x[1]: the operator "Near" is none of In, NotIn, Exists and DoesNotExist"#,
            ),
            ("In", json!([]), "spec.x[1]: the operator In needs values"),
            ("Exists", json!(["a"]), "spec.x[1]: the operator Exists takes no values"),
        ] {
            let selectors =
                json!([{}, {"matchExpressions": [{"key": "k", "operator": operator, "values": values}]}]);
            assert_eq!(read(&selectors).unwrap_err().to_string(), sentence);
        }
    }
}
