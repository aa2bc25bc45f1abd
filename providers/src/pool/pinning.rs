//! Whom a pool serves: `spec.serviceAllocation`.
//!
//! As in MetalLB (v0.15.2, `addressPoolServiceAllocationsFromCR` and `isPoolCompatibleWithService`): the Service is in
//! a namespace that is named or selected, if either is given, and matches one of the Service selectors, if any is
//! given; also where it asks for the pool. Unlike there, namespace selectors that match no namespace let nobody in:
//! MetalLB resolves them to a list of names, and takes the empty list for no restriction.

use std::collections::BTreeSet;

use penstock_crds::{LabelSelectorError, LabelSelectors, ServiceAllocation};

use super::rejection::Rejection;
use crate::Selection;

/// Whom a pool serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pinning {
    /// The lowest comes first.
    pub priority: u32,
    /// Namespaces by name.
    pub namespaces: BTreeSet<String>,
    /// Namespaces by label.
    pub namespace_selectors: LabelSelectors,
    /// Services by label.
    pub service_selectors: LabelSelectors,
}

impl Pinning {
    /// Reads the field.
    ///
    /// # Errors
    /// A selector that cannot be read.
    pub fn read(spec: &ServiceAllocation) -> Result<Self, LabelSelectorError> {
        const FIELD: &str = "spec.serviceAllocation";
        // 0 is the last; what is negative was stored before the rule that refuses it, and is taken as not given.
        let priority = u32::try_from(spec.priority).ok().filter(|priority| *priority > 0);
        let selectors = |name: &str, list| LabelSelectors::read(&format!("{FIELD}.{name}"), list);
        Ok(Self {
            priority: priority.unwrap_or(u32::MAX),
            namespaces: spec.namespaces.iter().cloned().collect(),
            namespace_selectors: selectors("namespaceSelectors", &spec.namespace_selectors)?,
            service_selectors: selectors("serviceSelectors", &spec.service_selectors)?,
        })
    }

    /// Whether the pool serves the Service.
    ///
    /// # Errors
    /// What does not match.
    pub fn admits(&self, selection: &Selection) -> Result<(), Rejection> {
        let everywhere = self.namespaces.is_empty() && self.namespace_selectors.is_empty();
        let here = everywhere
            || self.namespaces.contains(&selection.namespace)
            || self.namespace_selectors.any_matches(&selection.namespace_labels);
        if !here {
            return Err(Rejection::Namespace(selection.namespace.clone()));
        }
        let selected =
            self.service_selectors.is_empty() || self.service_selectors.any_matches(&selection.labels);
        if selected { Ok(()) } else { Err(Rejection::ServiceLabels) }
    }
}
