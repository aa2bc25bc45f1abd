//! The nftables backend, in the shared layout: no chain, no rule and no map belongs to one Service. A
//! frontend is an element of a map to a number that stands for a `chain`, an endpoint an element of one global map (per
//! protocol and family) with the frontend and an index as its key, and chains exist per *number* of endpoints. A change
//! costs a handful of elements, because nothing that grows with the cluster has to be rewritten, read back or walked through.
//!
//! Between its lookups a packet carries what was found in `meta priority`, the only scratch register that is not somebody
//! else's: the kernel sets it anew for IPv4 that it forwards, and we reset it behind the translation. So the first packet of a
//! translated connection has the usual priority, whatever its socket asked for.
//!
//! [`Slots`] decide (pure), a [`Transaction`] is the decision. What changes elements alone goes to the kernel by [`Netlink`];
//! new chains, and loads that take the place of others, are written down by `text` and run by [`Nft`]. A `row` says how an element stands in its set, for both.

mod batch;
mod chain;
mod chain_rules;
mod netlink;
mod nft;
mod predecessor;
mod row;
mod slots;
mod table;
mod text;
mod token;
mod touch;
mod transaction;
mod watch;

pub(crate) use batch::Batch;
pub use chain::{Chain, Choice, Send, Target};
pub use netlink::Netlink;
pub use nft::{Nft, NftError};
pub(crate) use row::{Field, Row};
pub use slots::Slots;
pub use table::TableConfig;
pub(crate) use table::{FAMILIES, frontend, ranges_of, rejection, source_ranges};
pub use text::encode as script;
pub(crate) use text::statements;
pub use touch::Touched;
pub use transaction::{Element, ElementKey, Transaction};
pub use watch::{OwnCommits, OwnPort, Paused, TableWatch};

use std::iter;

use ipnet::IpNet;
use penstock_model::Change;
use predecessor::Predecessor;
use table::TABLE;

use crate::{Applied, ApplyError, Backend};

/// Programs the table `inet penstock` and touches no other.
#[derive(Debug)]
pub struct Nftables {
    nft: Nft,
    netlink: Netlink,
    config: TableConfig,
    /// Those of the configuration that it was made with.
    own_service_cidrs: Vec<IpNet>,
    /// Whether the kernel has other Service ranges than the configuration.
    service_cidrs_differ: bool,
    /// What the kernel holds; `None` while that is unknown.
    slots: Option<Slots>,
    /// Whoever looks for changes by others has to know ours.
    own: Option<OwnCommits>,
}

/// While somebody listens, the kernel makes a message of 4 KiB for every element of a transaction: larger ones pause that.
pub(crate) const LISTENED_TO: usize = 1024;
/// Of a load by netlink, how many elements go in one commit: a message takes some 100 bytes for each.
const FILLED_AT_ONCE: usize = 8192;

impl Nftables {
    /// A backend that has not looked at the kernel yet.
    #[must_use]
    pub fn new(nft: Nft, config: TableConfig) -> Self {
        let netlink = Netlink::new(nft.namespace().clone());
        let own_service_cidrs = config.service_cidrs.clone();
        Self { nft, netlink, config, own_service_cidrs, service_cidrs_differ: false, slots: None, own: None }
    }

    /// A backend whose commits a [`TableWatch`] knows as ours. Before the first call of the others.
    #[must_use]
    pub fn known_to(mut self, own: OwnCommits) -> Self {
        self.netlink = self.netlink.known_to(own.clone());
        self.own = Some(own);
        self
    }

    /// Tells the kernel of changes. Returns whether it is in doubt that they stand as told.
    async fn carry_out(&mut self, transaction: &Transaction) -> Result<bool, ApplyError> {
        if self.service_cidrs_differ {
            let ranges = table::replace_service_cidrs(&self.config);
            let doubt = self.by_program(&(ranges + &text::encode(transaction, &self.config))).await?;
            self.service_cidrs_differ = false;
            Ok(doubt)
        } else if Netlink::takes(transaction) {
            let paused = if transaction.len() > LISTENED_TO { self.pause()? } else { None };
            let done = self.netlink.run(transaction).await;
            end_of(paused, done.map(|()| 1).map_err(ApplyError::from))
        } else {
            self.by_program(&text::encode(transaction, &self.config)).await
        }
    }

    /// Runs a script that changes something.
    async fn by_program(&self, script: &str) -> Result<bool, ApplyError> {
        let paused = self.pause()?;
        end_of(paused, self.nft.run(script).await.map(|()| 1).map_err(ApplyError::from))
    }

    /// The next commit is ours, and the watch hears neither of it nor of others.
    fn pause(&self) -> Result<Option<Paused>, ApplyError> {
        Ok(self.own.as_ref().map(OwnCommits::pause).transpose()?)
    }

    /// Puts the transaction's content in the place of whatever stands there. Returns how many commits that took.
    async fn load(&mut self, transaction: &Transaction) -> Result<u32, ApplyError> {
        let before = Predecessor::look(self.nft.namespace()).await?;
        if before.is_nothing() {
            return self.fill(transaction).await;
        }
        let content = table::define(&self.config) + &text::encode(transaction, &self.config);
        self.replace(&before, &(content + &table::hooks(&self.config))).await.map(|()| 1)
    }

    /// Where nothing stands, nothing has to change at once: packets do not come to the table before the last step, and the
    /// kernel alone takes elements in half the time of the `nft` program.
    async fn fill(&mut self, transaction: &Transaction) -> Result<u32, ApplyError> {
        let chains = chain_rules::make(&transaction.chains, &self.config);
        self.nft.run(&(table::define(&self.config) + &chains)).await?;
        let mut commits = 2;
        for part in transaction.adds.chunks(FILLED_AT_ONCE) {
            self.netlink.send(Batch::of_rows(TABLE, iter::empty(), part.iter().map(Row::of))).await?;
            commits += 1;
        }
        self.nft.run(&table::hooks(&self.config)).await?;
        Ok(commits)
    }

    /// In one step. Which endpoint each client has is kept, unless nft finds that it does not fit.
    async fn replace(&self, before: &Predecessor, script: &str) -> Result<(), ApplyError> {
        match self.nft.run(&(before.clear() + script)).await {
            Err(NftError::Refused(why)) if before.has_kept() => {
                tracing::warn!(
                    why,
                    "the table is made anew: clients with session affinity may change their endpoint"
                );
            }
            done => return Ok(done?),
        }
        Ok(self.nft.run(&(table::remove() + script)).await?)
    }
}

/// Returns whether somebody else committed meanwhile, be it to our table or another.
fn end_of(paused: Option<Paused>, commits: Result<u32, ApplyError>) -> Result<bool, ApplyError> {
    match paused {
        Some(paused) => paused.resume_after(commits),
        None => commits.map(|_| false),
    }
}

impl Backend for Nftables {
    async fn apply(&mut self, changes: &[Change]) -> Result<Applied, ApplyError> {
        let mut slots = self.slots.take().ok_or(ApplyError::NotLoaded)?;
        let transaction = slots.apply(changes);
        let in_doubt = self.carry_out(&transaction).await?;
        let programmed = slots.programmed();
        self.slots = Some(slots);
        Ok(Applied { operations: transaction.len(), programmed, in_doubt })
    }

    fn take_service_cidrs(&mut self, cidrs: Vec<IpNet>) {
        self.config.service_cidrs = [self.own_service_cidrs.clone(), cidrs].concat();
        self.service_cidrs_differ = true;
    }

    async fn reload(&mut self, all: &[Change]) -> Result<Applied, ApplyError> {
        self.slots = None;
        let mut slots = Slots::default();
        let transaction = slots.apply(all);
        let paused = self.pause()?;
        let in_doubt = end_of(paused, self.load(&transaction).await)?;
        self.service_cidrs_differ = false;
        let programmed = slots.programmed();
        self.slots = Some(slots);
        Ok(Applied { operations: transaction.len(), programmed, in_doubt })
    }
}

/// Finds out whether the kernel takes the rules, and changes nothing.
///
/// # Errors
/// When nft cannot be run, or the kernel lacks what a rule needs, or the right is missing (CAP_NET_ADMIN).
pub async fn probe(nft: &Nft, config: &TableConfig) -> Result<(), NftError> {
    nft.check(&(table::remove() + &table::define(config) + &table::hooks(config))).await
}

/// Removes the table `inet penstock` and nothing else; it is no error if there is none.
///
/// # Errors
/// When nft cannot be run or refuses.
pub async fn cleanup(nft: &Nft) -> Result<(), NftError> {
    nft.run(&table::remove()).await
}

#[cfg(test)]
mod tests;
