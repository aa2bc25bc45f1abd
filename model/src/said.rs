//! What has been said of the ports of a Service.

use std::sync::Arc;

use crate::{Change, EndpointSet, ObjectKey, PortKey, Protocol, ServicePort};

/// What has been said of one port.
#[derive(Clone, Debug)]
pub(crate) struct SaidPort {
    pub(crate) number: u16,
    pub(crate) protocol: Protocol,
    pub(crate) desired: Arc<ServicePort>,
    /// Of UDP only: the endpoints whose flows may go on, though new ones may have to go elsewhere.
    pub(crate) serving: EndpointSet,
}

impl SaidPort {
    fn id(&self) -> (u16, Protocol) {
        (self.number, self.protocol)
    }

    /// The same port in another list.
    pub(crate) fn find_in<'a>(&self, ports: &'a [Self]) -> Option<&'a Self> {
        find(ports, self.id())
    }

    fn change(&self, service: &Arc<ObjectKey>, desired: Option<Arc<ServicePort>>) -> Change {
        let key = PortKey { service: Arc::clone(service), port: self.number, protocol: self.protocol };
        Change { key, desired }
    }

    /// As said for the first time.
    pub(crate) fn as_new(&self, service: &Arc<ObjectKey>) -> Change {
        self.change(service, Some(Arc::clone(&self.desired)))
    }
}

/// A port in a list, which is in order.
pub(crate) fn find(ports: &[SaidPort], id: (u16, Protocol)) -> Option<&SaidPort> {
    ports.binary_search_by_key(&id, SaidPort::id).ok().map(|at| &ports[at])
}

/// What differs, in order. What is equal stays the value that it was, which others share.
pub(crate) fn differences(
    service: &Arc<ObjectKey>,
    before: &[SaidPort],
    after: &mut [SaidPort],
) -> Vec<Change> {
    let gone =
        before.iter().filter(|port| port.find_in(after).is_none()).map(|port| port.change(service, None));
    let mut changes: Vec<Change> = gone.collect();
    for port in after {
        match port.find_in(before) {
            Some(old) if old.desired == port.desired => port.desired = Arc::clone(&old.desired),
            _ => changes.push(port.as_new(service)),
        }
    }
    changes
}
