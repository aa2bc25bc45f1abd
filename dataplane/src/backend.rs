//! What a way to program the kernel must do. Adding one means one more folder that implements [`Backend`].

use std::future::Future;

use ipnet::IpNet;
use penstock_model::Change;

/// What the kernel holds on our behalf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Programmed {
    /// Frontends, those that are refused for want of endpoints included.
    pub frontends: u64,
    /// Endpoints, counted once for every frontend that leads to them, and for each of its policies.
    pub endpoints: u64,
}

/// What a call did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// How many single additions and removals it took.
    pub operations: usize,
    /// What stands now.
    pub programmed: Programmed,
    /// Whether others changed something meanwhile, perhaps what stands: it is as told only after another
    /// [`Backend::reload`] that is not in doubt.
    pub in_doubt: bool,
}

/// Why it is not known that the kernel holds what was asked for. It holds that or what it held before, never a
/// part.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The nftables transaction was not carried out.
    #[error("the nftables transaction failed")]
    Nftables(#[from] crate::nftables::NftError),
    /// The batch of elements was not carried out.
    #[error("the netlink batch failed")]
    Netlink(#[from] crate::NetfilterError),
    /// `iptables-restore` did not carry out its input.
    #[error("iptables did not take the rules")]
    Iptables(#[from] crate::iptables::IptablesError),
    /// IPVS, or what stands beside it, was not programmed. A part of the changes may have been carried out.
    #[error("IPVS was not programmed")]
    Ipvs(#[from] crate::ipvs::ProgramError),
    /// It is not known what the kernel holds: [`Backend::reload`] comes first.
    #[error("changes were applied before the first load")]
    NotLoaded,
}

/// A way to program the kernel.
pub trait Backend: Send {
    /// Carries out changes in the order of the slice, all or none. The work is that of the changes,
    /// whatever else is programmed.
    ///
    /// After a failure only [`Self::reload`] may follow.
    fn apply(&mut self, changes: &[Change]) -> impl Future<Output = Result<Applied, ApplyError>> + Send;

    /// Takes the Service ranges that the API server has. They count with the next call of the others, besides those that the
    /// backend was made with.
    fn take_service_cidrs(&mut self, cidrs: Vec<IpNet>);

    /// Replaces all that is programmed by `all`, in one step: no packet ever sees neither.
    fn reload(&mut self, all: &[Change]) -> impl Future<Output = Result<Applied, ApplyError>> + Send;

    /// [`Self::reload`] with what was known before the agent started: nobody says that it still holds.
    fn restore(&mut self, all: &[Change]) -> impl Future<Output = Result<Applied, ApplyError>> + Send {
        self.reload(all)
    }
}
