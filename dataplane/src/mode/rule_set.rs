//! What a mode leaves in the kernel.

use penstock_model::Family;

use super::{AnyBackend, Mode};
use crate::{
    KernelChains, NetworkNamespace,
    iptables::{self, FIRST_CHAIN, IptablesError, Programs, Variant},
    ipvs::{self, ProgramError},
    legacy_iptables,
    nftables::{self, Nft, NftError},
};

/// A place in the kernel where rules of ours may stand. One mode may have several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleSet {
    /// The table `inet penstock`.
    Nftables,
    /// Chains of iptables, by its variant.
    Iptables(Variant),
    /// The table `inet penstock-ipvs`, the device of this name, and virtual servers.
    Ipvs,
}

/// Why rules of ours still stand.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// Those of nftables.
    #[error("cannot remove the table inet penstock")]
    Nftables(#[from] NftError),
    /// Those of iptables.
    #[error("cannot remove the chains PENSTOCK-… of iptables")]
    Iptables(#[from] IptablesError),
    /// Those of IPVS.
    #[error("cannot remove the virtual servers of mode ipvs")]
    Ipvs(#[from] ProgramError),
}

impl RuleSet {
    /// All that there are.
    pub const ALL: [Self; 4] =
        [Self::Nftables, Self::Iptables(Variant::Nft), Self::Iptables(Variant::Legacy), Self::Ipvs];

    /// The one that a backend writes.
    #[must_use]
    pub fn of(backend: &AnyBackend) -> Self {
        match backend {
            AnyBackend::Nftables(_) => Self::Nftables,
            AnyBackend::Iptables(variant, _) => Self::Iptables(*variant),
            AnyBackend::Ipvs(_) => Self::Ipvs,
        }
    }

    /// The mode that has it.
    #[must_use]
    pub fn mode(self) -> Mode {
        match self {
            Self::Nftables => Mode::Nftables,
            Self::Iptables(_) => Mode::Iptables,
            Self::Ipvs => Mode::Ipvs,
        }
    }

    /// Whether it stands, in the network namespace of this thread.
    #[must_use]
    pub fn stands(self, chains: &KernelChains) -> bool {
        match self {
            Self::Nftables => chains.has_table("inet", "penstock"),
            Self::Iptables(Variant::Nft) => {
                ["ip", "ip6"].iter().any(|family| chains.has_chain(family, "nat", FIRST_CHAIN))
            }
            Self::Iptables(Variant::Legacy) => [Family::IPv4, Family::IPv6]
                .into_iter()
                .any(|family| legacy_iptables::has_nat_chain(family, FIRST_CHAIN).unwrap_or_default()),
            Self::Ipvs => chains.has_table("inet", "penstock-ipvs"),
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
            Self::Iptables(variant) => {
                Ok(iptables::cleanup(&Programs::new(variant, namespace.clone())).await?)
            }
            // It works in the process's own network namespace only.
            Self::Ipvs => Ok(ipvs::cleanup().await?),
        }
    }
}
