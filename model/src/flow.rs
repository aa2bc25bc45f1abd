//! UDP flows that connection tracking would keep on sending to an endpoint that is gone. UDP has no end of a
//! connection: a client that goes on with the same port is answered by nobody until the entry has been deleted.

use std::net::SocketAddr;

use crate::{EndpointSet, Family, FrontendAddress, Protocol, said::SaidPort};

/// The flows from any client to an endpoint by way of a frontend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// What clients send to: the original destination.
    pub frontend: FrontendAddress,
    /// Who answers: the source of replies. The frontend's own address and port for flows from before there were
    /// rules for it, which are not translated until they end.
    pub endpoint: SocketAddr,
}

impl Flow {
    fn untranslated(frontend: FrontendAddress) -> Self {
        Self { frontend, endpoint: SocketAddr::new(frontend.ip, frontend.port) }
    }
}

/// The flows of a Service that end, or have to begin anew, with the change of its ports. Not those to endpoints that
/// only got out of reach for new flows: by hints, by policies or because they terminate (as upstream).
pub(crate) fn stale(before: &[SaidPort], after: &[SaidPort]) -> Vec<Flow> {
    let is_udp = |port: &&SaidPort| port.protocol == Protocol::Udp;
    let ended = before.iter().filter(is_udp).flat_map(|old| ended(old, old.find_in(after)));
    let begun = after.iter().filter(is_udp).flat_map(|new| begun(new.find_in(before), new));
    ended.chain(begun).collect()
}

/// To endpoints that are gone, and to all of a frontend that is gone.
fn ended(old: &SaidPort, new: Option<&SaidPort>) -> Vec<Flow> {
    let mut flows = Vec::new();
    for frontend in frontends(old) {
        let left = new.filter(|new| has(new, frontend)).map(|new| &new.serving);
        let gone =
            of_family(&old.serving, frontend).iter().filter(|e| left.is_none_or(|left| !left.contains(e)));
        flows.extend(gone.map(|endpoint| Flow { frontend, endpoint: *endpoint }));
    }
    flows
}

/// Clients may have sent to a frontend before it was one, or had endpoints.
fn begun(old: Option<&SaidPort>, new: &SaidPort) -> Vec<Flow> {
    let served =
        |port: &SaidPort, frontend| has(port, frontend) && !of_family(&port.serving, frontend).is_empty();
    let begun = frontends(new).filter(|f| served(new, *f) && !old.is_some_and(|old| served(old, *f)));
    begun.map(Flow::untranslated).collect()
}

fn frontends(port: &SaidPort) -> impl Iterator<Item = FrontendAddress> {
    port.desired.frontends.iter().map(|frontend| frontend.address)
}

fn has(port: &SaidPort, frontend: FrontendAddress) -> bool {
    frontends(port).any(|known| known == frontend)
}

fn of_family(endpoints: &EndpointSet, frontend: FrontendAddress) -> &[SocketAddr] {
    endpoints.of(Family::of(frontend.ip))
}
