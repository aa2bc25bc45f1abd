//! Where plans are carried out: the ledger, and all ways to the kernel.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
    time::Instant,
};

use ipnet::IpNet;
use penstock_model::{Change, Scheduler};
use tokio::task::spawn_blocking;

use super::{
    IpvsConfig,
    codec::{Request, ServerAddress},
    desired::Settings,
    device::{Addresses, Changes, Device, DeviceError, Lost},
    kernel::{IpvsError, IpvsSocket},
    ledger::{Ledger, Observed, Plan},
    mark::Mark,
    rule::Rule,
    snapshot::{self, ConnectionsByServer},
    sysctls::{self, SysctlError},
    table::{self, TABLE},
};
use crate::{
    Applied, NetfilterError, NetworkNamespace,
    nftables::{Batch, LISTENED_TO, Netlink, Nft, NftError, OwnCommits, TableWatch, statements},
};

/// All virtual servers. That of this thread: the process's own is where its first thread is.
const SERVERS: &str = "/proc/thread-self/net/ip_vs";

/// Why it is not known that the kernel holds what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// IPVS.
    #[error(transparent)]
    Ipvs(#[from] IpvsError),
    /// The device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The table.
    #[error("the nftables transaction failed")]
    Nft(#[from] NftError),
    /// Elements of the table.
    #[error("the netlink batch failed")]
    Netlink(#[from] NetfilterError),
    /// A sysctl.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// The list of virtual servers.
    #[error("cannot read {SERVERS}")]
    Snapshot(#[source] std::io::Error),
    /// Changes came before the first load.
    #[error("changes were applied before the first load")]
    NotLoaded,
}

/// What came of a look at what IPVS has.
#[derive(Debug)]
pub(super) enum Audit {
    /// It is as it has to be; what its destinations have.
    Agrees(ConnectionsByServer),
    /// It was not. So many requests have mended it.
    Mended(usize),
    /// The file lacks what the kernel has when it is asked.
    Unseen,
    /// Nothing is loaded.
    Idle,
}

/// The ledger, and all ways to the kernel.
#[derive(Debug)]
pub(super) struct Workshop {
    config: IpvsConfig,
    own_service_cidrs: Vec<IpNet>,
    service_cidrs_differ: bool,
    settings: Settings,
    device: Device,
    addresses: Addresses,
    netlink: Netlink,
    /// Tells the watch over the table which commits are ours.
    own: OwnCommits,
    /// `None` while it is not known whether the answers to something that failed still wait in it.
    socket: Option<IpvsSocket>,
    /// `None` while it is not known what the kernel holds.
    ledger: Option<Ledger>,
}

/// Whether a virtual server is ours to remove: at an address of our device or the node's own, or of a mark of ours.
/// Others' addresses are other programs' business.
pub(super) fn is_ours(address: &ServerAddress, addresses: &Addresses) -> bool {
    match address {
        ServerAddress::Frontend(frontend) => addresses.contains(frontend.ip),
        ServerAddress::Mark(_, mark) => Mark::is_ours(*mark),
    }
}

impl Workshop {
    pub(super) async fn open(config: IpvsConfig) -> Result<(Self, Changes, TableWatch), ProgramError> {
        let tried = spawn_blocking(|| {
            let mut socket = IpvsSocket::open(&NetworkNamespace::Own)?;
            socket.schedulers().map(|schedulers| (socket, schedulers))
        });
        let (socket, available) = tried.await.map_err(IpvsError::Panicked)??;
        if !available.contains(&config.scheduler) {
            return Err(IpvsError::NoScheduler(config.scheduler).into());
        }
        sysctls::check()?;
        let nft = Nft::default();
        nft.check(&table::define(&config.table)).await?;
        let (device, changes) = Device::open()?;
        device.probe().await?;
        let (watch, own) = TableWatch::open_for(&NetworkNamespace::Own, TABLE)?;
        let settings = Settings { scheduler: config.scheduler, available, own_addresses: BTreeSet::new() };
        let workshop = Self {
            own_service_cidrs: config.table.service_cidrs.clone(),
            service_cidrs_differ: false,
            settings,
            device,
            addresses: Addresses::default(),
            netlink: Netlink::new(NetworkNamespace::Own).known_to(own.clone()),
            own,
            socket: Some(socket),
            ledger: None,
            config,
        };
        Ok((workshop, changes, watch))
    }

    /// Those that the kernel has.
    pub(super) fn schedulers(&self) -> &BTreeSet<Scheduler> {
        &self.settings.available
    }

    pub(super) fn take_service_cidrs(&mut self, cidrs: &[IpNet]) {
        self.config.table.service_cidrs = [&self.own_service_cidrs, cidrs].concat();
        self.service_cidrs_differ = true;
    }

    pub(super) async fn apply(&mut self, changes: &[Change]) -> Result<Applied, ProgramError> {
        // Put back once all of it is carried out.
        let mut ledger = self.ledger.take().ok_or(ProgramError::NotLoaded)?;
        let plan = ledger.apply(changes, Instant::now());
        let mut in_doubt = false;
        if self.service_cidrs_differ {
            in_doubt = self.by_program(&table::replace_service_cidrs(&self.config.table)).await?;
            self.service_cidrs_differ = false;
        }
        in_doubt |= self.carry_out(&plan).await?;
        let programmed = ledger.programmed();
        self.ledger = Some(ledger);
        Ok(Applied { operations: plan.len(), programmed, in_doubt })
    }

    /// Runs a script that changes the table. Returns whether somebody else committed something meanwhile.
    async fn by_program(&self, script: &str) -> Result<bool, ProgramError> {
        let paused = self.own.pause()?;
        paused.resume_after(Nft::default().run(script).await.map(|()| 1).map_err(ProgramError::from))
    }

    /// The same for elements. While somebody listens the kernel makes a message for each of them: many pause that.
    async fn change_elements(&mut self, plan: &Plan) -> Result<bool, ProgramError> {
        let elements = plan.removals.len() + plan.additions.len();
        let removals = plan.removals.iter().map(Rule::key);
        let batch = Batch::of_rows(TABLE, removals, plan.additions.iter().map(Rule::row));
        if elements <= LISTENED_TO {
            self.netlink.send(batch).await?;
            return Ok(false);
        }
        let paused = self.own.pause()?;
        paused.resume_after(self.netlink.send(batch).await.map(|()| 1).map_err(ProgramError::from))
    }

    async fn carry_out(&mut self, plan: &Plan) -> Result<bool, ProgramError> {
        let in_doubt = self.change_elements(plan).await?;
        self.ask(plan.requests.clone()).await?;
        // A server is there before its address is, and longer.
        self.device.bind(&plan.bind).await?;
        self.device.unbind(&plan.unbind).await?;
        Ok(in_doubt)
    }

    /// Everything anew. Connections go on: what stands and is wanted is left as it is.
    pub(super) async fn reload(&mut self, all: &[Change]) -> Result<Applied, ProgramError> {
        self.ledger = None;
        sysctls::set_all()?;
        self.device.ensure().await?;
        self.addresses = self.device.addresses().await?;
        self.settings.own_addresses = self.addresses.own.clone();
        let mut ledger = Ledger::new(self.settings.clone());
        let plan = ledger.apply(all, Instant::now());
        let in_doubt = self.replace_table(&plan).await?;
        self.mend(&mut ledger).await?;
        let wanted: BTreeSet<IpAddr> = ledger.vips().collect();
        let missing: Vec<IpAddr> = wanted.difference(&self.addresses.bound).copied().collect();
        let extra: Vec<IpAddr> = self.addresses.bound.difference(&wanted).copied().collect();
        self.device.bind(&missing).await?;
        self.device.unbind(&extra.into_iter().filter(|ip| !is_link_local(*ip)).collect::<Vec<_>>()).await?;
        self.addresses.bound = wanted;
        let programmed = ledger.programmed();
        self.ledger = Some(ledger);
        Ok(Applied { operations: plan.len(), programmed, in_doubt })
    }

    async fn replace_table(&mut self, plan: &Plan) -> Result<bool, ProgramError> {
        let script = table::define(&self.config.table)
            + &statements(TABLE, "add", plan.additions.iter().map(Rule::row));
        let in_doubt = self.by_program(&script).await?;
        self.service_cidrs_differ = false;
        Ok(in_doubt)
    }

    /// Makes IPVS as the ledger says; returns how many requests that took.
    async fn mend(&mut self, ledger: &mut Ledger) -> Result<usize, ProgramError> {
        let observed = self.observe().await?;
        let (addresses, vips) = (&self.addresses, ledger.vips().collect::<BTreeSet<IpAddr>>());
        let ours = |address: &ServerAddress| is_ours(address, addresses) || is_at(address, &vips);
        let requests = ledger.repair(&observed, ours, Instant::now());
        let count = requests.len();
        self.ask(requests).await?;
        Ok(count)
    }

    /// Compares without a netlink call, and mends what differs.
    pub(super) async fn audit(&mut self) -> Result<Audit, ProgramError> {
        let Some(ledger) = &self.ledger else { return Ok(Audit::Idle) };
        let text = spawn_blocking(|| fs::read_to_string(SERVERS)).await.map_err(IpvsError::Panicked)?;
        let there = snapshot::parse(&text.map_err(ProgramError::Snapshot)?);
        let vips = ledger.vips().collect::<BTreeSet<IpAddr>>();
        let ours = |address: &ServerAddress| is_ours(address, &self.addresses) || is_at(address, &vips);
        if ledger.agrees(&there.servers, ours) {
            return Ok(Audit::Agrees(there.connections));
        }
        // Put back whatever comes of it: the next audit sees what is still wrong.
        let Some(mut ledger) = self.ledger.take() else { return Ok(Audit::Idle) };
        let mended = self.mend(&mut ledger).await;
        self.ledger = Some(ledger);
        Ok(match mended? {
            // Where several network namespaces have servers, as the nodes of one machine in kind do, the kernel counts those of
            // others too when it goes on with the next page, and leaves out as many (ip_vs_info_seq_next, Linux 6.1).
            0 => Audit::Unseen,
            requests => Audit::Mended(requests),
        })
    }

    /// What the destinations of those servers have of which some drain, by netlink.
    pub(super) async fn connections(&mut self) -> Result<ConnectionsByServer, ProgramError> {
        let draining = self.ledger.as_ref().map(Ledger::draining).unwrap_or_default();
        let ask = |socket: &mut IpvsSocket, address| Ok((address, socket.connections(address)?));
        self.with_socket(move |socket| draining.into_iter().map(|address| ask(socket, address)).collect())
            .await
    }

    /// Gives the device back what somebody took from it, all of it at once. Returns how many addresses that were.
    pub(super) async fn restore(&mut self, lost: &[Lost]) -> Result<usize, ProgramError> {
        let Some(ledger) = &self.ledger else { return Ok(0) };
        let missing: Vec<IpAddr> = match named(lost) {
            Some(ips) => ips.into_iter().filter(|ip| ledger.has_vip(*ip)).collect(),
            None => {
                self.device.ensure().await?;
                let there = self.device.addresses().await?.bound;
                ledger.vips().filter(|ip| !there.contains(ip)).collect()
            }
        };
        self.device.bind(&missing).await?;
        Ok(missing.len())
    }

    /// What a message of the kernel says that our device has lost.
    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// Removes endpoints whose connections have ended.
    pub(super) async fn drain(&mut self, connections: &ConnectionsByServer) -> Result<(), ProgramError> {
        let Some(ledger) = &mut self.ledger else { return Ok(()) };
        let requests = ledger.drain(connections, Instant::now());
        self.ask(requests).await
    }

    async fn observe(&mut self) -> Result<BTreeMap<ServerAddress, Observed>, ProgramError> {
        self.with_socket(IpvsSocket::observe).await
    }

    async fn ask(&mut self, requests: Vec<Request>) -> Result<(), ProgramError> {
        if requests.is_empty() {
            return Ok(());
        }
        self.with_socket(move |socket| {
            let before = socket.calls();
            let done = socket.carry_out(&requests);
            tracing::debug!(requests = requests.len(), calls = socket.calls() - before, "told IPVS");
            done
        })
        .await
    }

    /// The kernel works within the call that sends.
    async fn with_socket<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut IpvsSocket) -> Result<T, IpvsError> + Send + 'static,
    ) -> Result<T, ProgramError> {
        let socket = self.socket.take();
        let done = spawn_blocking(move || {
            let mut socket = match socket {
                Some(socket) => socket,
                None => IpvsSocket::open(&NetworkNamespace::Own)?,
            };
            let value = work(&mut socket)?;
            Ok::<_, IpvsError>((socket, value))
        });
        let (socket, value) = done.await.map_err(IpvsError::Panicked)??;
        self.socket = Some(socket);
        Ok(value)
    }
}

/// The addresses that were lost; `None` where it has to be looked.
fn named(lost: &[Lost]) -> Option<Vec<IpAddr>> {
    let one = |lost: &Lost| match lost {
        Lost::Address(ip) => Some(*ip),
        Lost::Device | Lost::Track => None,
    };
    lost.iter().map(one).collect()
}

fn is_at(address: &ServerAddress, vips: &BTreeSet<IpAddr>) -> bool {
    matches!(address, ServerAddress::Frontend(frontend) if vips.contains(&frontend.ip))
}

/// What the kernel itself gives every device.
fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}
