//! Which clients may connect.

use ipnet::IpNet;
use k8s_openapi::api::core::v1 as core;
use penstock_crds::SOURCE_RANGES;

use super::{DesiredError, annotation};

const FIELD: &str = "spec.loadBalancerSourceRanges";

/// The field, or the annotation where the field is empty, as upstream reads them (k8s.io/cloud-provider,
/// `GetLoadBalancerSourceRanges`). Sorted, so that their order is no change.
pub(super) fn read(object: &core::Service) -> Result<Vec<IpNet>, DesiredError> {
    let field =
        object.spec.as_ref().and_then(|s| s.load_balancer_source_ranges.as_deref()).unwrap_or_default();
    let mut ranges = if field.is_empty() {
        let (_, text) = annotation(object, &[SOURCE_RANGES]).unwrap_or_default();
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(|part| parse(SOURCE_RANGES, part)).collect::<Result<Vec<_>, _>>()?
    } else {
        field.iter().map(|part| parse(FIELD, part.trim())).collect::<Result<Vec<_>, _>>()?
    };
    ranges.sort_unstable();
    ranges.dedup();
    Ok(ranges)
}

fn parse(field: &'static str, text: &str) -> Result<IpNet, DesiredError> {
    let range =
        text.parse::<IpNet>().map_err(|_| DesiredError::SourceRange { field, text: text.to_owned() })?;
    Ok(range.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ranges(field: &[&str], annotation: &str) -> Result<Vec<String>, String> {
        let service = serde_json::from_value(json!({
            "metadata": {"annotations": {SOURCE_RANGES: annotation}}, "spec": {"loadBalancerSourceRanges": field}
        }))
        .unwrap();
        read(&service).map(|r| r.iter().map(ToString::to_string).collect()).map_err(|e| e.to_string())
    }

    #[test]
    fn the_field_comes_before_the_annotation() {
        assert_eq!(ranges(&["10.0.0.0/8"], "192.0.2.0/24").unwrap(), ["10.0.0.0/8"]);
        assert_eq!(
            ranges(&[], "198.51.100.0/24, 192.0.2.0/24").unwrap(),
            ["192.0.2.0/24", "198.51.100.0/24"]
        );
        assert!(ranges(&[], "").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_range_is_named_with_its_field() {
        assert!(ranges(&[], "10.0.0.0").unwrap_err().starts_with(SOURCE_RANGES));
        assert!(ranges(&["nonsense"], "").unwrap_err().contains("\"nonsense\", which is not a CIDR"));
    }
}
