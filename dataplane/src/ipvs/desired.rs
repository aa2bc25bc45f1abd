//! What one Service port needs of IPVS and of the table beside it. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use penstock_model::{
    EndpointSet, Family, Frontend, FrontendAddress, FrontendKind, Masquerade, Others, Protocol, Route,
    Scheduler, Scope, ServicePort, Sources,
};

use super::{
    codec::{ServerAddress, ServerFlags, VirtualServer},
    mark::Mark,
    rule::Rule,
};

/// What holds for all Services of the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// For Services that ask for none, or for one that the kernel does not have.
    pub scheduler: Scheduler,
    /// Those that the kernel has.
    pub available: BTreeSet<Scheduler>,
    /// The node's own addresses: they are not bound a second time, and their other ports stay open.
    pub own_addresses: BTreeSet<IpAddr>,
}

/// A virtual server and who serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) server: VirtualServer,
    /// Whether connections to a destination that is gone may end by themselves.
    pub(super) drains: bool,
    pub(super) destinations: BTreeSet<SocketAddr>,
}

/// What a Service port needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    pub(super) servers: BTreeMap<ServerAddress, Wanted>,
    /// Those of its frontends that have no server now: what a server there still has may drain.
    pub(super) idle: BTreeSet<ServerAddress>,
    pub(super) rules: BTreeSet<Rule>,
}

/// Whether the port needs a mark.
pub(super) fn needs_mark(port: &ServicePort) -> bool {
    port.frontends.iter().any(|f| matches!(port.treatment(f).route, Route::ShortCircuit { .. }))
}

impl View {
    /// What a port needs whose mark has this number. Without a number what would need one is dropped.
    pub(super) fn of(port: &ServicePort, number: Option<u32>, settings: &Settings) -> Self {
        let mut view = Self::default();
        for frontend in &port.frontends {
            view.add(port, frontend, number, settings);
        }
        view.rules.extend(port.hairpins().into_iter().map(Rule::Hairpin));
        view
    }

    fn add(&mut self, port: &ServicePort, frontend: &Frontend, number: Option<u32>, settings: &Settings) {
        let (at, treatment) = (frontend.address, port.treatment(frontend));
        let address = ServerAddress::Frontend(at);
        if frontend.kind != FrontendKind::NodePort && !settings.own_addresses.contains(&at.ip) {
            self.rules.insert(Rule::Vip(at.ip));
        }
        if let Sources::Only(nets) = treatment.sources {
            self.rules.insert(Rule::Firewalled(at));
            self.rules.extend(nets.iter().map(|net| Rule::Source(at, *net)));
        }
        let scope = match treatment.route {
            Route::Reject => {
                self.rules.insert(Rule::Refused(at));
                None
            }
            Route::Drop => {
                self.rules.insert(Rule::Dropped(at));
                None
            }
            Route::To { scope, masquerade } => {
                self.rules.insert(match masquerade {
                    Masquerade::Always => Rule::Always(at),
                    Masquerade::OffCluster => Rule::OffCluster(at),
                });
                Some(scope)
            }
            Route::ShortCircuit { others } => {
                self.short_circuit(port, at, number, settings);
                match others {
                    Others::ToLocal => Some(Scope::Local),
                    Others::Drop => {
                        self.rules.insert(Rule::Dropped(at));
                        None
                    }
                }
            }
        };
        match scope {
            Some(scope) => self.serve(server(address, port, settings), port, (scope, at.protocol)),
            None => drop(self.idle.insert(address)),
        }
    }

    /// Pods and the node go to a virtual server of their own, which all such frontends of the port share.
    fn short_circuit(
        &mut self,
        port: &ServicePort,
        at: FrontendAddress,
        number: Option<u32>,
        settings: &Settings,
    ) {
        let Some(number) = number else { return };
        let family = Family::of(at.ip);
        let mark = Mark::of(number, family);
        self.rules.insert(Rule::Inside(at, mark));
        let server = server(ServerAddress::Mark(family, mark), port, settings);
        self.serve(server, port, (Scope::Cluster, at.protocol));
    }

    fn serve(&mut self, server: VirtualServer, port: &ServicePort, (scope, protocol): (Scope, Protocol)) {
        let endpoints: &EndpointSet = match scope {
            Scope::Cluster => &port.cluster,
            Scope::Local => &port.local,
        };
        let destinations = endpoints.of(server.address.family()).iter().copied().collect();
        let drains = drains(protocol, server.scheduler);
        self.servers.insert(server.address, Wanted { server, drains, destinations });
    }
}

/// A connection of TCP or SCTP has an end. UDP has none: its clients go to another endpoint with their next packet. Scheduler
/// `dh` refuses whoever it would send to a destination without weight, so there it has to go.
fn drains(protocol: Protocol, scheduler: Option<Scheduler>) -> bool {
    protocol != Protocol::Udp && scheduler != Some(Scheduler::Dh)
}

/// Schedulers that go by the client's address look for another destination where that one has no weight, while it drains.
fn flags(scheduler: Scheduler) -> u32 {
    match scheduler {
        // IP_VS_SVC_F_SCHED_MH_FALLBACK is the same bit.
        Scheduler::Sh | Scheduler::Mh => ServerFlags::SH_FALLBACK.0,
        _ => 0,
    }
}

fn server(address: ServerAddress, port: &ServicePort, settings: &Settings) -> VirtualServer {
    let has = |wanted: &Scheduler| settings.available.contains(wanted);
    // By the client's address, so that all frontends of the port lead a client to the same endpoint: what the kernel remembers
    // belongs to one of them.
    let sticky = Some(Scheduler::Sh).filter(has).unwrap_or(settings.scheduler);
    let asked = port.scheduler.filter(has);
    let (scheduler, persistent, timeout) = match (address, port.affinity_seconds) {
        (_, None) => (asked.unwrap_or(settings.scheduler), 0, 0),
        // A persistent server of a mark does not change ports (`ip_vs_sched_persist`).
        (ServerAddress::Mark(..), Some(_)) => (sticky, 0, 0),
        (ServerAddress::Frontend(_), Some(seconds)) => {
            (asked.unwrap_or(sticky), ServerFlags::PERSISTENT.0, seconds)
        }
    };
    let flags = ServerFlags(flags(scheduler) | persistent);
    VirtualServer { address, scheduler: Some(scheduler), flags, timeout }
}
