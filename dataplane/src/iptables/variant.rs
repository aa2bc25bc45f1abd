//! The two programs that are called iptables: one writes into nftables, the other into tables of its own.

use penstock_model::Family;
use tokio::process::Command;

use super::program::IptablesError;

/// Which iptables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Variant {
    /// iptables-nft.
    Nft,
    /// iptables-legacy.
    Legacy,
}

impl Variant {
    /// The one that `iptables` is on this machine, which is what others use; iptables-nft where only that has a name.
    ///
    /// # Errors
    /// When there is none.
    pub async fn of_machine() -> Result<Self, IptablesError> {
        let mut first = None;
        for program in ["iptables", "iptables-nft", "iptables-legacy"] {
            match Command::new(program).arg("--version").kill_on_drop(true).output().await {
                Ok(output) => return Ok(Self::of_version(&String::from_utf8_lossy(&output.stdout))),
                Err(source) => {
                    first.get_or_insert(IptablesError::Start { program: program.into(), source });
                }
            }
        }
        Err(first.unwrap_or(IptablesError::Unasked))
    }

    /// From what `iptables --version` prints: `iptables v1.8.9 (nf_tables)`. One from before 1.8 has no other variant.
    fn of_version(text: &str) -> Self {
        if text.contains("nf_tables") { Self::Nft } else { Self::Legacy }
    }

    /// As in the names of the programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nft => "nft",
            Self::Legacy => "legacy",
        }
    }

    /// `iptables-nft-restore` and the like; nothing for `what` is the program itself.
    pub(super) fn program(self, family: Family, what: &str) -> String {
        let program = match family {
            Family::IPv4 => "iptables",
            Family::IPv6 => "ip6tables",
        };
        let dash = if what.is_empty() { "" } else { "-" };
        format!("{program}-{}{dash}{what}", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_tells_which_it_is() {
        assert_eq!(Variant::of_version("iptables v1.8.9 (nf_tables)\n"), Variant::Nft);
        assert_eq!(Variant::of_version("iptables v1.8.9 (legacy)\n"), Variant::Legacy);
        assert_eq!(Variant::of_version("iptables v1.6.1\n"), Variant::Legacy);
        assert_eq!(Variant::Legacy.program(Family::IPv6, "restore"), "ip6tables-legacy-restore");
        assert_eq!(Variant::Nft.program(Family::IPv4, ""), "iptables-nft");
    }
}
