//! What stands in our table before a load: the names of its chains and sets, never what is in them.

use std::io;

use netlink_packet_core::NLM_F_DUMP;
use tokio::task::spawn_blocking;

use super::{
    table::{KEPT, TABLE},
    touch::is_ours,
};
use crate::netfilter::{
    Attributes, Data, Message, NetfilterError, NetfilterSocket, NetworkNamespace, Reply, attribute,
};

/// `enum nft_chain_attributes`.
const CHAIN_NAME: u16 = 3;
/// `enum nft_set_attributes`.
const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 3;

/// The table that an agent before us, or we ourselves, left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Predecessor {
    chains: Vec<String>,
    /// With the word for it: `set` or `map`.
    sets: Vec<(&'static str, String)>,
}

impl Predecessor {
    /// Looks at the kernel.
    ///
    /// # Errors
    /// When it cannot be asked or does not answer.
    pub(super) async fn look(namespace: &NetworkNamespace) -> Result<Self, NetfilterError> {
        let namespace = namespace.clone();
        let work = move || {
            let mut socket = NetfilterSocket::open(&namespace)?;
            let chains = list(&mut socket, libc::NFT_MSG_GETCHAIN)?;
            let sets = list(&mut socket, libc::NFT_MSG_GETSET)?;
            let chains = chains.iter().filter_map(|chain| text(chain, CHAIN_NAME)).collect();
            Ok(Self { chains, sets: sets.iter().filter_map(set).collect() })
        };
        spawn_blocking(work).await.map_err(|panic| NetfilterError::Send(io::Error::other(panic)))?
    }

    /// Whether there is no such table, or nothing in it.
    pub(super) fn is_nothing(&self) -> bool {
        self.chains.is_empty() && self.sets.is_empty()
    }

    /// Whether there is something to keep.
    pub(super) fn has_kept(&self) -> bool {
        self.sets.iter().any(|(_, name)| is_kept(name))
    }

    /// Takes away all but what is kept. The table is there afterwards.
    pub(super) fn clear(&self) -> String {
        let sets = self.sets.iter().filter(|(_, name)| !is_kept(name));
        let sets = sets.map(|(word, name)| format!("delete {word} {TABLE} {name}\n"));
        let chains = self.chains.iter().map(|name| format!("delete chain {TABLE} {name}\n"));
        // First the rules, then the maps that lead to chains.
        let rules = format!("add table {TABLE}\nflush table {TABLE}\n");
        std::iter::once(rules).chain(sets).chain(chains).collect()
    }
}

fn is_kept(name: &str) -> bool {
    KEPT.contains(&name)
}

fn list(socket: &mut NetfilterSocket, message: libc::c_int) -> Result<Vec<Data>, NetfilterError> {
    let (_, table) = TABLE.split_once(' ').unwrap_or_default();
    let sequence = socket.take_sequence(1);
    let question = Message {
        kind: Message::kind(libc::NFNL_SUBSYS_NFTABLES, message),
        flags: NLM_F_DUMP,
        sequence,
        family: libc::NFPROTO_INET as u8,
        version: 0,
        resource: 0,
        // The kernel lists the sets of this table, but all chains.
        attributes: Attributes::default().with_text(SET_TABLE, table),
    };
    let mut bytes = Vec::new();
    question.emit(&mut bytes);
    socket.send(&bytes)?;
    let mut found = Vec::new();
    loop {
        for reply in socket.receive()?.ok_or(NetfilterError::Unanswered)? {
            match reply {
                Reply::Data(data) => found.extend(Some(data).filter(is_ours)),
                Reply::Done(_) => return Ok(found),
                // There is no such table.
                Reply::Refused(why) if why.errno == nix::errno::Errno::ENOENT => return Ok(Vec::new()),
                Reply::Refused(why) => {
                    let what = format!("list what is in the table {TABLE}");
                    return Err(NetfilterError::Refused { what, why });
                }
            }
        }
    }
}

/// Those without a name for users belong to rules.
fn set(data: &Data) -> Option<(&'static str, String)> {
    let flags = attribute(&data.attributes, SET_FLAGS).and_then(|flags| flags.try_into().ok());
    let flags = u32::from_be_bytes(flags.unwrap_or_default());
    let word = if flags & libc::NFT_SET_MAP as u32 == 0 { "set" } else { "map" };
    let anonymous = flags & libc::NFT_SET_ANONYMOUS as u32 != 0;
    text(data, SET_NAME).filter(|_| !anonymous).map(|name| (word, name))
}

fn text(data: &Data, kind: u16) -> Option<String> {
    let bytes = attribute(&data.attributes, kind)?;
    Some(String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        netfilter::fresh_namespace::{in_fresh_namespace, nft},
        nftables::{TableConfig, table},
    };

    fn look() -> Predecessor {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(Predecessor::look(&NetworkNamespace::Own)).unwrap()
    }

    #[test]
    fn only_what_is_kept_survives_and_only_in_our_table() {
        in_fresh_namespace(|| {
            assert_eq!(look(), Predecessor::default());
            nft("add table ip penstock\nadd chain ip penstock foreign\nadd table inet other\n\
                 add set inet other foreign { type ipv4_addr; }\n");
            assert_eq!(look(), Predecessor::default());
            nft(&table::define(&TableConfig::default()));
            nft("add chain inet penstock old\nadd rule inet penstock old tcp dport { 1, 2 } accept\n\
                 add element inet penstock chains { 1:1 : goto old }\n\
                 add element inet penstock affinity4 { 10.0.0.1 . 8000:0 timeout 60s : 8000:1 }\n");
            let before = look();
            assert!(before.has_kept() && before.chains.contains(&"old".to_owned()));
            assert!(before.sets.contains(&("map", "chains".into())));
            assert!(before.sets.contains(&("set", "refused6".into())));
            nft(&before.clear());
            let left = Predecessor { chains: vec![], sets: KEPT.map(|name| ("map", name.to_owned())).into() };
            assert_eq!(look(), left);
            nft(&(left.clear() + &table::define(&TableConfig::default())));
            nft("delete element inet penstock affinity4 { 10.0.0.1 . 8000:0 }\n");
            assert_eq!(look().chains.len(), before.chains.len() - 1);
        });
    }
}
