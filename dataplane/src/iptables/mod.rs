//! The iptables backend, for machines without nftables and for people who read iptables.
//!
//! kube-proxy has one chain of all Services, which a connection walks through and each change writes anew. Here addresses
//! lead through a `tree` of small chains, and a Service port has at most four chains of its own (`port`); the endpoints of
//! a chain are single rules. So a change writes the chains that differ, and a first packet walks through some dozens of
//! rules. A [`State`](state::State) decides (pure), an `input` is the decision in the words of `iptables-restore
//! --noflush`, [`Programs`] run it: one step for each family and table.
//!
//! | Rules | nat | filter |
//! |---|---|---|
//! | always, for each family | 9 and one for each Pod range | 11 and one for each Service range |
//! | a ClusterIP | | 1 |
//! | its port with endpoints | 2 (1 without a Pod range) | |
//! | an external frontend with endpoints | 1 | 1 if it has source ranges or drops |
//! | a frontend without endpoints | | 1, and 1 for each source range |
//! | a port with external frontends | 2; with policy Local 3 and one for each Pod range; 1 for each source range | |
//! | an endpoint, for each policy that leads to it | 1; 2 with affinity | |
//! | an address of an endpoint on this node | 1 | |
//! | branches of a tree | 1 for each, at most 32 keys to a branch | likewise |

mod canary;
mod chains;
mod fixed;
mod input;
mod name;
mod port;
mod probe;
mod program;
mod standing;
mod state;
mod tree;
mod variant;

pub use canary::Canary;
pub use probe::probe;
pub use program::{IptablesError, Programs};
pub use variant::Variant;

/// The chain that shows, in the table nat, that rules of this backend stand.
pub const FIRST_CHAIN: &str = name::SERVICES;

use std::path::Path;

use chains::{Patch, Table};
use ipnet::IpNet;
use penstock_model::{Change, Family};
use standing::Standing;
use state::State;

use crate::{Applied, ApplyError, Backend, Programmed, nftables::TableConfig};

/// Programs chains whose names begin with `PENSTOCK-`, and the jumps to them.
#[derive(Debug)]
pub struct Iptables {
    programs: Programs,
    config: TableConfig,
    /// Those of the configuration that it was made with.
    own_service_cidrs: Vec<IpNet>,
    /// What the kernel holds; `None` while that is unknown.
    states: Option<Vec<State>>,
    families: Vec<Family>,
}

impl Iptables {
    /// A backend that has not looked at the kernel yet.
    #[must_use]
    pub fn new(programs: Programs, config: TableConfig) -> Self {
        let own_service_cidrs = config.service_cidrs.clone();
        Self { programs, config, own_service_cidrs, states: None, families: families() }
    }

    /// Looks for what others take away.
    #[must_use]
    pub fn canary(&self) -> Canary {
        Canary::new(self.programs.clone())
    }

    /// The families together.
    fn take(&mut self, states: Vec<State>, operations: usize) -> Applied {
        let sum = |all: Programmed, one: Programmed| Programmed {
            frontends: all.frontends + one.frontends,
            endpoints: all.endpoints + one.endpoints,
        };
        let programmed = states.iter().map(State::programmed).fold(Programmed::default(), sum);
        self.states = Some(states);
        // Each program's part is one step; who else writes is not seen.
        Applied { operations, programmed, in_doubt: false }
    }

    async fn load(&self, family: Family, state: &State) -> Result<usize, IptablesError> {
        let standing = look(&self.programs, family).await?;
        let chains = state.chains();
        let rules = chains.values().map(Vec::len).sum();
        self.programs.restore(family, &input::of_load(&standing, chains)).await?;
        Ok(rules)
    }
}

/// A kernel may have been started without IPv6.
pub(crate) fn families() -> Vec<Family> {
    let has_ipv6 = Path::new("/proc/net/if_inet6").exists();
    [Family::IPv4, Family::IPv6].into_iter().filter(|family| *family == Family::IPv4 || has_ipv6).collect()
}

async fn look(programs: &Programs, family: Family) -> Result<Standing, IptablesError> {
    let mut standing = Standing::default();
    for table in Table::ALL {
        standing.add(table, &programs.save(family, table.name()).await?);
    }
    Ok(standing)
}

impl Backend for Iptables {
    async fn apply(&mut self, changes: &[Change]) -> Result<Applied, ApplyError> {
        let mut states = self.states.take().ok_or(ApplyError::NotLoaded)?;
        let mut operations = 0;
        for (family, state) in self.families.iter().zip(&mut states) {
            let mut patch: Patch = state.set_config(&self.config);
            patch.extend(state.apply(changes));
            if !patch.is_empty() {
                self.programs.restore(*family, &input::of_patch(&patch)).await?;
            }
            operations += patch.len();
        }
        Ok(self.take(states, operations))
    }

    fn take_service_cidrs(&mut self, cidrs: Vec<IpNet>) {
        self.config.service_cidrs = [self.own_service_cidrs.clone(), cidrs].concat();
    }

    async fn reload(&mut self, all: &[Change]) -> Result<Applied, ApplyError> {
        self.states = None;
        let (mut states, mut operations) = (Vec::new(), 0);
        for family in &self.families {
            let mut state = State::new(*family, &self.config);
            state.apply(all);
            operations += self.load(*family, &state).await?;
            states.push(state);
        }
        Ok(self.take(states, operations))
    }
}

/// Removes our chains and the jumps to them, and nothing else; it is no error if there are none.
///
/// # Errors
/// When a program cannot be run or refuses.
pub async fn cleanup(programs: &Programs) -> Result<(), IptablesError> {
    for family in families() {
        let standing = look(programs, family).await?;
        if !standing.is_empty() {
            programs.restore(family, &input::of_removal(&standing)).await?;
        }
    }
    Ok(())
}
