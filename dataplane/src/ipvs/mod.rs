//! The IPVS backend. Each frontend with endpoints is a virtual server of the kernel's, told by generic netlink ([`codec`]);
//! addresses of Services are on a device of ours, since IPVS takes only what is sent to local addresses. What IPVS cannot
//! do (masquerading, source ranges, refusals, drops) is one nftables table whose elements change as Services do (`table`).
//!
//! With external policy Local the frontend's own virtual server has the endpoints of the node. Pods and the node itself are
//! for all endpoints: the table gives their first packet a mark that leads to another virtual server (`mark`).
//!
//! The [`Ledger`] decides (pure), [`Ipvs`] carries out, and the [`Caretaker`] puts back what somebody else took away and
//! removes endpoints that have drained. Nobody is told when IPVS is changed: the caretaker reads `/proc/net/ip_vs`.

mod caretaker;
pub mod codec;
mod desired;
mod device;
mod kernel;
mod ledger;
mod mark;
mod rule;
mod snapshot;
mod sysctls;
mod table;
mod workshop;

pub use desired::Settings;
pub use device::DeviceError;
pub use kernel::IpvsError;
pub use ledger::{Ledger, Observed, Plan};
pub use rule::Rule;
pub use sysctls::SysctlError;
pub use workshop::ProgramError;

use std::{collections::BTreeSet, sync::Arc};

use ipnet::IpNet;
use penstock_model::{Change, Scheduler};
use tokio::sync::{Mutex, MutexGuard};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::{caretaker::Caretaker, kernel::IpvsSocket, workshop::Workshop};
use crate::{
    Applied, ApplyError, Backend, NetworkNamespace,
    nftables::{Nft, TableConfig, TableWatch},
};

/// What the backend is told when it starts.
#[derive(Clone, Debug, Default)]
pub struct IpvsConfig {
    /// What the rules depend on.
    pub table: TableConfig,
    /// For Services that name none.
    pub scheduler: Scheduler,
}

/// Programs IPVS in the process's own network namespace.
#[derive(Debug)]
pub struct Ipvs {
    workshop: Arc<Mutex<Workshop>>,
    /// Those of the kernel.
    schedulers: BTreeSet<Scheduler>,
    /// What was heard of Service ranges since the last call.
    service_cidrs: Option<Vec<IpNet>>,
    /// Until somebody asks for it.
    watch: Option<TableWatch>,
    /// Ends the caretaker.
    _caretaker: DropGuard,
}

impl Ipvs {
    /// Finds out what the kernel has, and leaves nothing. Starts the caretaker, which ends with this value.
    ///
    /// # Errors
    /// When something is missing: the sentence names the module.
    pub async fn new(config: IpvsConfig) -> Result<Self, ProgramError> {
        let (workshop, changes, watch) = Workshop::open(config).await?;
        let schedulers = workshop.schedulers().clone();
        let workshop = Arc::new(Mutex::new(workshop));
        let until = CancellationToken::new();
        tokio::spawn(Caretaker::new(workshop.clone(), changes).run(until.clone()));
        Ok(Self {
            workshop,
            schedulers,
            service_cidrs: None,
            watch: Some(watch),
            _caretaker: until.drop_guard(),
        })
    }

    /// Those that the kernel has.
    #[must_use]
    pub fn schedulers(&self) -> &BTreeSet<Scheduler> {
        &self.schedulers
    }

    /// What others change of the table, once. Servers and addresses are put back without a word to anybody.
    pub fn take_watch(&mut self) -> Option<TableWatch> {
        self.watch.take()
    }

    async fn workshop(&mut self) -> MutexGuard<'_, Workshop> {
        let mut workshop = self.workshop.lock().await;
        if let Some(cidrs) = self.service_cidrs.take() {
            workshop.take_service_cidrs(&cidrs);
        }
        workshop
    }
}

impl Backend for Ipvs {
    async fn apply(&mut self, changes: &[Change]) -> Result<Applied, ApplyError> {
        Ok(self.workshop().await.apply(changes).await?)
    }

    fn take_service_cidrs(&mut self, cidrs: Vec<IpNet>) {
        self.service_cidrs = Some(cidrs);
    }

    async fn reload(&mut self, all: &[Change]) -> Result<Applied, ApplyError> {
        Ok(self.workshop().await.reload(all).await?)
    }
}

/// Sets what mode ipvs needs of `/proc/sys`. Those of IPVS are there once the kernel has it.
///
/// # Errors
/// When the kernel has no IPVS, or one cannot be set.
pub async fn set_sysctls() -> Result<(), ProgramError> {
    let opened = tokio::task::spawn_blocking(|| IpvsSocket::open(&NetworkNamespace::Own).map(drop));
    opened.await.map_err(IpvsError::Panicked)??;
    Ok(sysctls::set_all()?)
}

/// Removes what is ours: the table, the device with its addresses, and the virtual servers at these addresses. It is no error
/// if there is none.
///
/// # Errors
/// When the kernel refuses.
pub async fn cleanup() -> Result<(), ProgramError> {
    let (mut device, _changes) = device::Device::open()?;
    device.look().await?;
    let addresses = device.addresses().await?;
    let removed = tokio::task::spawn_blocking(move || {
        let mut socket = match IpvsSocket::open(&NetworkNamespace::Own) {
            Err(IpvsError::Missing) => return Ok(()),
            socket => socket?,
        };
        let observed = socket.observe()?;
        let ours = observed.keys().filter(|address| workshop::is_ours(address, &addresses));
        let requests: Vec<codec::Request> =
            ours.map(|address| codec::Request::DeleteServer(*address)).collect();
        socket.carry_out(&requests)
    });
    removed.await.map_err(IpvsError::Panicked)??;
    device.remove().await?;
    Ok(Nft::default().run(&table::remove()).await?)
}
