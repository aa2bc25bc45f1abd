//! L2Advertisements, read once from their objects.

use std::collections::BTreeSet;

use penstock_crds::{L2Advertisement, LabelSelectorError};

use crate::selection::Selection;

/// The interfaces that a node answers on for an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceSelection {
    /// Those that hold one of the node's InternalIPs, or those of `--interface`.
    pub default: bool,
    /// These, by name.
    pub named: BTreeSet<String>,
}

impl InterfaceSelection {
    /// Adds what another advertisement selects.
    pub fn extend(&mut self, other: &Self) {
        self.default |= other.default;
        self.named.extend(other.named.iter().cloned());
    }
}

/// An L2Advertisement: which addresses, from which nodes, on which interfaces.
#[derive(Clone, Debug)]
pub struct Advertisement {
    selection: Selection,
    /// The interfaces it announces on.
    pub interfaces: InterfaceSelection,
}

impl AsRef<Selection> for Advertisement {
    fn as_ref(&self) -> &Selection {
        &self.selection
    }
}

impl Advertisement {
    /// Reads an advertisement.
    ///
    /// # Errors
    /// As [`Selection::read`].
    pub fn from_object(object: &L2Advertisement) -> Result<Self, LabelSelectorError> {
        let spec = &object.spec;
        Ok(Self {
            selection: Selection::read(
                &spec.ip_address_pools,
                &spec.ip_address_pool_selectors,
                &spec.service_selectors,
                &spec.node_selectors,
            )?,
            interfaces: InterfaceSelection {
                default: spec.interfaces.is_empty(),
                named: spec.interfaces.iter().cloned().collect(),
            },
        })
    }
}
