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
//! loads and new chains are written down by `text` and run by [`Nft`]. A `row` says how an element stands in its set, for both.

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

pub use chain::{Chain, Choice, Send, Target};
pub use netlink::Netlink;
pub use nft::{Nft, NftError};
pub use slots::Slots;
pub use table::TableConfig;
pub use text::encode as script;
pub use touch::Touched;
pub use transaction::{Element, ElementKey, Transaction};
pub use watch::{OwnCommits, OwnPort, Paused, TableWatch};

use ipnet::IpNet;
use penstock_model::Change;
use predecessor::Predecessor;

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
}

impl Nftables {
    /// A backend that has not looked at the kernel yet.
    #[must_use]
    pub fn new(nft: Nft, config: TableConfig) -> Self {
        let netlink = Netlink::new(nft.namespace().clone());
        let own_service_cidrs = config.service_cidrs.clone();
        Self { nft, netlink, config, own_service_cidrs, service_cidrs_differ: false, slots: None }
    }

    /// Tells the kernel of changes.
    async fn carry_out(&mut self, transaction: &Transaction) -> Result<(), ApplyError> {
        if self.service_cidrs_differ {
            let ranges = table::replace_service_cidrs(&self.config);
            self.nft.run(&(ranges + &text::encode(transaction, &self.config))).await?;
            self.service_cidrs_differ = false;
        } else if Netlink::takes(transaction) {
            self.netlink.run(transaction).await?;
        } else {
            self.nft.run(&text::encode(transaction, &self.config)).await?;
        }
        Ok(())
    }

    /// Puts the script's content in the place of whatever stands there, in one step. Which endpoint each client has is kept,
    /// unless nft finds that it does not fit.
    async fn replace(&self, script: &str) -> Result<(), ApplyError> {
        let before = Predecessor::look(self.nft.namespace()).await?;
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

impl Backend for Nftables {
    async fn apply(&mut self, changes: &[Change]) -> Result<Applied, ApplyError> {
        let mut slots = self.slots.take().ok_or(ApplyError::NotLoaded)?;
        let transaction = slots.apply(changes);
        self.carry_out(&transaction).await?;
        let programmed = slots.programmed();
        self.slots = Some(slots);
        Ok(Applied { operations: transaction.len(), programmed })
    }

    fn take_service_cidrs(&mut self, cidrs: Vec<IpNet>) {
        self.config.service_cidrs = [self.own_service_cidrs.clone(), cidrs].concat();
        self.service_cidrs_differ = true;
    }

    async fn reload(&mut self, all: &[Change]) -> Result<Applied, ApplyError> {
        self.slots = None;
        let mut slots = Slots::default();
        let transaction = slots.apply(all);
        let script = table::define(&self.config) + &text::encode(&transaction, &self.config);
        self.replace(&script).await?;
        self.service_cidrs_differ = false;
        let programmed = slots.programmed();
        self.slots = Some(slots);
        Ok(Applied { operations: transaction.len(), programmed })
    }
}

/// Removes the table `inet penstock` and nothing else; it is no error if there is none.
///
/// # Errors
/// When nft cannot be run or refuses.
pub async fn cleanup(nft: &Nft) -> Result<(), NftError> {
    nft.run(&table::remove()).await
}
