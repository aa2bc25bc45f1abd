//! What a mode leaves in the kernel.

use super::{AnyBackend, Mode};
use crate::{
    KernelChains, NetworkNamespace,
    nftables::{self, Nft, NftError},
};

/// A place in the kernel where rules of ours may stand. One mode may have several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleSet {
    /// The table `inet penstock`.
    Nftables,
}

/// Why rules of ours still stand.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// Those of nftables.
    #[error("cannot remove the table inet penstock")]
    Nftables(#[from] NftError),
}

impl RuleSet {
    /// All that there are.
    pub const ALL: [Self; 1] = [Self::Nftables];

    /// The one that a backend writes.
    #[must_use]
    pub fn of(backend: &AnyBackend) -> Self {
        match backend {
            AnyBackend::Nftables(_) => Self::Nftables,
        }
    }

    /// The mode that has it.
    #[must_use]
    pub fn mode(self) -> Mode {
        match self {
            Self::Nftables => Mode::Nftables,
        }
    }

    /// Whether it stands, in the network namespace of this thread.
    #[must_use]
    pub fn stands(self, chains: &KernelChains) -> bool {
        match self {
            Self::Nftables => chains.has_table("inet", "penstock"),
        }
    }

    /// Those that stand.
    #[must_use]
    pub fn standing(chains: &KernelChains) -> Vec<Self> {
        Self::ALL.into_iter().filter(|set| set.stands(chains)).collect()
    }

    /// Removes it and nothing else; it is no error if there is none.
    ///
    /// # Errors
    /// When its program cannot be run or refuses.
    pub async fn remove(self, namespace: &NetworkNamespace) -> Result<(), RemoveError> {
        match self {
            Self::Nftables => Ok(nftables::cleanup(&Nft::inside(namespace)).await?),
        }
    }
}
