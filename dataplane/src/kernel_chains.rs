//! Which chains stand in the kernel, whoever made them. Asked once, at the start.

use std::{collections::BTreeSet, io, time::Duration};

use tokio::{process::Command, time::timeout};

/// Tens of thousands of kube-proxy's chains take less than a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why it is not known.
#[derive(Debug, thiserror::Error)]
pub enum KernelChainsError {
    /// nft cannot be run.
    #[error("cannot run nft to see which chains there are: install the package nftables")]
    Start(#[source] io::Error),
    /// It does not end.
    #[error("nft did not list the chains within {PATIENCE:?}")]
    TimedOut,
    /// It refuses.
    #[error("nft does not list the chains: {0}")]
    Refused(String),
}

/// A chain, by the family and name of its table and by its own name.
type Chain = (String, String, String);

/// All chains of nftables, those that an iptables of today makes included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelChains(BTreeSet<Chain>);

impl KernelChains {
    /// Those of the network namespace that this process runs in.
    ///
    /// # Errors
    /// When nft does not say.
    pub async fn read() -> Result<Self, KernelChainsError> {
        let mut command = Command::new("nft");
        command.args(["list", "chains"]).kill_on_drop(true);
        let output = timeout(PATIENCE, command.output()).await.map_err(|_| KernelChainsError::TimedOut)?;
        let output = output.map_err(KernelChainsError::Start)?;
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr);
            return Err(KernelChainsError::Refused(complaint.trim().chars().take(200).collect()));
        }
        Ok(Self::parse(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Reads what `nft list chains` prints.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let (mut chains, mut table) = (BTreeSet::new(), None);
        for line in text.lines() {
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["table", family, name, "{"] => table = Some((family, name)),
                ["chain", chain, "{"] => {
                    let named = table.map(|(family, name)| [family, name, chain].map(str::to_owned));
                    chains.extend(named.map(|[family, name, chain]| (family, name, chain)));
                }
                _ => {}
            }
        }
        Self(chains)
    }

    /// Whether a table has a chain.
    #[must_use]
    pub fn has_table(&self, family: &str, table: &str) -> bool {
        self.0.iter().any(|chain| (chain.0.as_str(), chain.1.as_str()) == (family, table))
    }

    /// Whether there is this chain.
    #[must_use]
    pub fn has_chain(&self, family: &str, table: &str, chain: &str) -> bool {
        self.0.contains(&[family, table, chain].map(str::to_owned).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_found_by_their_family_and_name() {
        let chains = KernelChains::parse(
            "# Warning: table ip nat is managed by iptables-nft, do not touch!\ntable ip nat {\n\tchain PREROUTING {\n\
             \t\ttype nat hook prerouting priority dstnat; policy accept;\n\t}\n\tchain KUBE-SERVICES {\n\t}\n}\n\
             table inet penstock {\n\tchain services {\n\t}\n}\n",
        );
        assert!(chains.has_table("inet", "penstock") && chains.has_table("ip", "nat"));
        assert!(!chains.has_table("ip", "penstock") && !chains.has_table("inet", "nat"));
        assert_eq!(KernelChains::parse(""), KernelChains::default());
    }
}
