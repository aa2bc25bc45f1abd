//! What a step does.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::spec::{Droplets, Spec};

/// A step of this provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// `GET` and `PUT`: an existing balancer gets our mark, and nothing else of it changes.
    Adopt {
        /// The balancer.
        id: String,
        /// With the mark.
        name: String,
    },
    /// `POST` of a certificate. The certificate itself is in no plan.
    UploadCertificate {
        /// With the mark, and the beginning of the fingerprint.
        name: String,
    },
    /// `POST` of the balancer.
    Create {
        /// What it is.
        spec: Spec,
        /// What it sends to.
        droplets: Droplets,
    },
    /// `GET` and `PUT` of the whole object.
    Update {
        /// The balancer.
        id: String,
        /// What is to be of it. Everything else stays.
        spec: Spec,
        /// Where it is to send by another way than before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        droplets: Option<Droplets>,
    },
    /// `POST` of Droplets.
    AddDroplets {
        /// The balancer.
        id: String,
        /// Those that come.
        droplets: BTreeSet<u64>,
    },
    /// `DELETE` of Droplets.
    RemoveDroplets {
        /// The balancer.
        id: String,
        /// Those that go.
        droplets: BTreeSet<u64>,
    },
    /// `DELETE` of the balancer.
    Delete {
        /// The balancer.
        id: String,
    },
    /// `DELETE` of a certificate that was uploaded.
    DeleteCertificate {
        /// The certificate.
        id: String,
    },
}

impl Action {
    /// Calls that it costs.
    pub(super) fn calls(&self) -> u32 {
        match self {
            Self::Adopt { .. } | Self::Update { .. } => 2,
            _ => 1,
        }
    }

    /// The balancer that it is about; `None` where it makes something new, or is about a certificate.
    pub(super) fn balancer(&self) -> Option<&str> {
        match self {
            Self::Adopt { id, .. }
            | Self::Update { id, .. }
            | Self::AddDroplets { id, .. }
            | Self::RemoveDroplets { id, .. }
            | Self::Delete { id } => Some(id),
            Self::UploadCertificate { .. } | Self::Create { .. } | Self::DeleteCertificate { .. } => None,
        }
    }
}
