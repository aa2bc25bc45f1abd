//! The chains that frontends share, and the numbers by which the big maps name them.
//!
//! A map whose values are verdicts is walked through by the kernel whenever one is added or removed: a change would cost
//! more the more frontends there are. So a frontend's value is a number, and one small verdict map leads from the numbers
//! to the chains. Numbers are functions of what a chain does, so that they are the same after a restart.

use penstock_model::{Masquerade, Scope};

/// Set in every number that stands in `meta priority` on our behalf, so that it can be told from everybody else's.
pub(super) const OURS: u32 = 1 << 31;
const STICKY: u32 = 1 << 29;
const TOKEN: u32 = 2 << 29;
const FIXED: u32 = 3 << 29;
const MASQUERADE: u32 = 27;
const LOCAL: u32 = 1 << 26;
/// What is left for counts and seconds. No API server holds that many endpoints.
const REST: u32 = LOCAL - 1;

/// Chains for this many successive counts are made together: one that nobody had before has to go through the `nft`
/// program, which takes longer than everything else.
const BLOCK: u32 = 64;

/// How one of the endpoints is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Choice {
    /// At random among so many.
    Random(u32),
    /// The one that the client had within so many seconds; otherwise at random.
    Sticky(u32),
}

/// Sends connections to endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Send {
    /// Whose source is replaced, hairpins apart.
    pub masquerade: Option<Masquerade>,
    /// To which endpoints.
    pub scope: Scope,
    /// How one is chosen.
    pub choice: Choice,
}

/// A chain that is made when the first frontend needs it and stays until the next load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Chain {
    /// Chooses the token of one of so many endpoints, for a client that has none.
    Token(Scope, u32),
    /// Sends.
    Send(Send),
}

/// What happens to connections to a frontend that has endpoints somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// Dropped.
    Drop,
    /// Decided by the client: inside or outside of the cluster.
    ShortCircuit,
    /// Sent to an endpoint.
    Send(Send),
}

impl Send {
    /// Without masquerading: where the chain that masquerades leads.
    #[must_use]
    pub fn plain(self) -> Self {
        Self { masquerade: None, ..self }
    }

    fn number(self) -> u32 {
        let (kind, rest) = match self.choice {
            Choice::Random(count) => (0, count),
            Choice::Sticky(seconds) => (STICKY, seconds),
        };
        let masquerade = match self.masquerade {
            None => 0,
            Some(Masquerade::OffCluster) => 1,
            Some(Masquerade::Always) => 2,
        };
        OURS | kind | masquerade << MASQUERADE | scope_bit(self.scope) | rest.min(REST)
    }

    fn name(self) -> String {
        let masquerade = match self.masquerade {
            None => "",
            Some(Masquerade::OffCluster) => "cluster-",
            Some(Masquerade::Always) => "external-",
        };
        let scope = local(self.scope);
        match self.choice {
            Choice::Random(count) => format!("{masquerade}pick{scope}-{count}"),
            Choice::Sticky(seconds) => format!("{masquerade}sticky{scope}-{seconds}s"),
        }
    }
}

impl Chain {
    /// Its name in the table.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Token(scope, count) => format!("token{}-{count}", local(scope)),
            Self::Send(send) => send.name(),
        }
    }

    /// The number that leads to it.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Token(scope, count) => OURS | TOKEN | scope_bit(scope) | count.min(REST),
            Self::Send(send) => send.number(),
        }
    }

    /// All that are made together with it: what it leads to, and for some counts around its own.
    pub(super) fn block(self) -> Vec<Self> {
        match self {
            Self::Token(scope, count) => block(count).map(|count| Self::Token(scope, count)).collect(),
            Self::Send(send) => {
                let all: Vec<Send> = match send.choice {
                    Choice::Random(count) => {
                        block(count).map(|count| Send { choice: Choice::Random(count), ..send }).collect()
                    }
                    Choice::Sticky(_) => vec![send],
                };
                all.into_iter().flat_map(|send| [Self::Send(send.plain()), Self::Send(send)]).collect()
            }
        }
    }
}

impl Target {
    /// The number that stands for it.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Drop => OURS | FIXED,
            Self::ShortCircuit => OURS | FIXED | 1,
            Self::Send(send) => send.number(),
        }
    }
}

/// What names of chains and maps carry for the endpoints of the node.
pub(super) fn local(scope: Scope) -> &'static str {
    match scope {
        Scope::Cluster => "",
        Scope::Local => "-local",
    }
}

fn scope_bit(scope: Scope) -> u32 {
    match scope {
        Scope::Cluster => 0,
        Scope::Local => LOCAL,
    }
}

fn block(count: u32) -> impl Iterator<Item = u32> {
    let first = count.saturating_sub(1) / BLOCK * BLOCK;
    (1..=BLOCK).map(move |n| first.saturating_add(n))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn some() -> Vec<Chain> {
        let mut chains = Vec::new();
        for scope in [Scope::Cluster, Scope::Local] {
            for n in [1, 64, 65, 86_400, 100_000] {
                chains.push(Chain::Token(scope, n));
                for masquerade in [None, Some(Masquerade::OffCluster), Some(Masquerade::Always)] {
                    for choice in [Choice::Random(n), Choice::Sticky(n)] {
                        chains.push(Chain::Send(Send { masquerade, scope, choice }));
                    }
                }
            }
        }
        chains
    }

    #[test]
    fn every_chain_has_a_name_and_a_number_of_its_own() {
        let chains: BTreeSet<Chain> = some().into_iter().flat_map(Chain::block).collect();
        let by_number: BTreeMap<u32, Chain> = chains.iter().map(|c| (c.number(), *c)).collect();
        let by_name: BTreeMap<String, Chain> = chains.iter().map(|c| (c.name(), *c)).collect();
        assert_eq!((by_number.len(), by_name.len()), (chains.len(), chains.len()));
        for target in [Target::Drop, Target::ShortCircuit] {
            assert!(!by_number.contains_key(&target.number()), "{target:?}");
        }
        assert!(by_number.keys().all(|number| number & OURS != 0));
    }

    #[test]
    fn a_block_has_the_chain_and_where_it_leads() {
        for chain in some() {
            let block = chain.block();
            assert!(block.contains(&chain), "{chain:?}");
            for made in &block {
                if let Chain::Send(send) = made {
                    assert!(block.contains(&Chain::Send(send.plain())), "{made:?}");
                }
            }
        }
    }
}
