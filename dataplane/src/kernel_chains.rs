//! Which chains stand in the kernel, whoever made them. Asked once, at the start, without a program: in mode iptables there
//! may be no nft.

use std::{collections::BTreeSet, io};

use netlink_packet_core::NLM_F_DUMP;
use nix::errno::Errno;
use tokio::task::spawn_blocking;

use crate::netfilter::{Data, Message, NetfilterError, NetfilterSocket, NetworkNamespace, Reply, attribute};

/// `enum nft_chain_attributes`.
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;

/// A chain, by the family and name of its table and by its own name.
type Chain = (String, String, String);

/// All chains of nftables, those that an iptables of today makes included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelChains(BTreeSet<Chain>);

impl KernelChains {
    /// Those of the network namespace of this thread.
    ///
    /// # Errors
    /// When the kernel does not say: this needs CAP_NET_ADMIN.
    pub async fn read() -> Result<Self, NetfilterError> {
        let read =
            spawn_blocking(list).await.map_err(|panic| NetfilterError::Send(io::Error::other(panic)))?;
        Ok(Self(read?.iter().filter_map(chain).collect()))
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

impl<'a> FromIterator<[&'a str; 3]> for KernelChains {
    /// From families (`ip`, `inet`, …), tables and chains.
    fn from_iter<I: IntoIterator<Item = [&'a str; 3]>>(chains: I) -> Self {
        Self(chains.into_iter().map(|chain| chain.map(str::to_owned).into()).collect())
    }
}

fn list() -> Result<Vec<Data>, NetfilterError> {
    let mut socket = NetfilterSocket::open(&NetworkNamespace::Own)?;
    let question = Message {
        kind: Message::kind(libc::NFNL_SUBSYS_NFTABLES, libc::NFT_MSG_GETCHAIN),
        flags: NLM_F_DUMP,
        sequence: socket.take_sequence(1),
        ..Message::default()
    };
    let mut bytes = Vec::new();
    question.emit(&mut bytes);
    socket.send(&bytes)?;
    let mut chains = Vec::new();
    loop {
        for reply in socket.receive()?.ok_or(NetfilterError::Unanswered)? {
            match reply {
                Reply::Data(data) => chains.push(data),
                Reply::Done(_) => return Ok(chains),
                // A kernel without nf_tables has none.
                Reply::Refused(why) if [Errno::EINVAL, Errno::EOPNOTSUPP].contains(&why.errno) => {
                    return Ok(Vec::new());
                }
                Reply::Refused(why) => {
                    return Err(NetfilterError::Refused { what: "list the chains".into(), why });
                }
            }
        }
    }
}

fn chain(data: &Data) -> Option<Chain> {
    let text = |kind| {
        let bytes = attribute(&data.attributes, kind)?;
        Some(String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned())
    };
    Some((family(data.family).to_owned(), text(CHAIN_TABLE)?, text(CHAIN_NAME)?))
}

/// As nft names it.
fn family(number: u8) -> &'static str {
    match libc::c_int::from(number) {
        libc::NFPROTO_INET => "inet",
        libc::NFPROTO_IPV4 => "ip",
        libc::NFPROTO_IPV6 => "ip6",
        libc::NFPROTO_ARP => "arp",
        libc::NFPROTO_BRIDGE => "bridge",
        libc::NFPROTO_NETDEV => "netdev",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netfilter::fresh_namespace::{in_fresh_namespace, nft};

    #[test]
    fn chains_are_found_by_their_table_and_its_family() {
        in_fresh_namespace(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let read = || runtime.block_on(KernelChains::read()).unwrap();
            assert_eq!(read(), KernelChains::default());
            nft(
                "add table ip nat\nadd chain ip nat PREROUTING { type nat hook prerouting priority -100; }\n\
                 add chain ip nat KUBE-SERVICES\nadd table inet penstock\nadd chain inet penstock services\n",
            );
            let expected = [
                ["ip", "nat", "PREROUTING"],
                ["ip", "nat", "KUBE-SERVICES"],
                ["inet", "penstock", "services"],
            ];
            let chains = read();
            assert_eq!(chains, expected.into_iter().collect());
            assert!(chains.has_table("inet", "penstock") && chains.has_chain("ip", "nat", "KUBE-SERVICES"));
            assert!(!chains.has_table("ip", "penstock") && !chains.has_table("inet", "nat"));
        });
    }
}
