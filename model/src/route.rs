//! What happens to a connection, decided once for all backends.

use crate::{Family, Frontend, FrontendKind, ServicePort, Sources, TrafficPolicy};

/// What happens to connections to a frontend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Treatment<'a> {
    /// Who may connect. Others are dropped before anything else happens: also where the route would reject them,
    /// and also pods and the node itself.
    pub sources: &'a Sources,
    /// Where those go who may.
    pub route: Route,
}

/// Where connections to a frontend go. The endpoints are those of the frontend's family, and a set that is named has
/// at least one of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Refused, so that the client knows at once: the Service has no endpoint anywhere.
    Reject,
    /// Dropped: there are endpoints, but none on this node, and policy Local asks for one. Another node may serve the
    /// client, to whom a balancer turns when this one is silent.
    Drop,
    /// All to the same endpoints.
    To {
        /// Which.
        scope: Scope,
        /// Whose source is replaced.
        masquerade: Masquerade,
    },
    /// External policy Local. Pods go to the cluster's endpoints with their source, the node itself goes there with
    /// its source replaced, as if they had gone out to a balancer and come back; the policy is for others only.
    ShortCircuit {
        /// Where others go.
        others: Others,
    },
}

/// Which of a Service port's endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// [`ServicePort::cluster`].
    Cluster,
    /// [`ServicePort::local`].
    Local,
}

/// Whose source is replaced by the node's, so that answers come back through it. Besides, the source of an endpoint
/// that reaches itself always is ([`ServicePort::hairpins`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Masquerade {
    /// That of all who are no pod: a ClusterIP means nothing outside.
    OffCluster,
    /// Everybody's.
    Always,
}

/// Where those go who are neither a pod nor this node, with external policy Local.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Others {
    /// To [`ServicePort::local`], with their source.
    ToLocal,
    /// Nowhere, silently: there is no endpoint on this node.
    Drop,
}

/// Who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sender {
    /// From the cluster's Pod ranges.
    Pod,
    /// From one of this node's own addresses.
    Node,
    /// From anywhere else, other nodes among it.
    Outside,
}

/// What becomes of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Refused.
    Rejected,
    /// Dropped.
    Dropped,
    /// Sent to an endpoint.
    Sent {
        /// To which.
        scope: Scope,
        /// Whether its source is replaced.
        masqueraded: bool,
    },
}

impl Route {
    /// What becomes of a connection that may be made.
    #[must_use]
    pub fn fate(self, sender: Sender) -> Fate {
        let sent = |scope, masqueraded| Fate::Sent { scope, masqueraded };
        match (self, sender) {
            (Self::Reject, _) => Fate::Rejected,
            (Self::Drop, _) | (Self::ShortCircuit { others: Others::Drop }, Sender::Outside) => Fate::Dropped,
            (Self::To { scope, masquerade }, _) => {
                sent(scope, masquerade == Masquerade::Always || sender != Sender::Pod)
            }
            (Self::ShortCircuit { others: Others::ToLocal }, Sender::Outside) => sent(Scope::Local, false),
            (Self::ShortCircuit { .. }, Sender::Pod) => sent(Scope::Cluster, false),
            (Self::ShortCircuit { .. }, Sender::Node) => sent(Scope::Cluster, true),
        }
    }

    /// Whether some connection goes to endpoints of the scope.
    #[must_use]
    pub fn uses(self, scope: Scope) -> bool {
        let senders = [Sender::Pod, Sender::Node, Sender::Outside];
        senders.iter().any(|sender| matches!(self.fate(*sender), Fate::Sent { scope: to, .. } if to == scope))
    }
}

impl ServicePort {
    /// What happens to connections to one of its frontends.
    #[must_use]
    pub fn treatment(&self, frontend: &Frontend) -> Treatment<'_> {
        let filtered = frontend.kind == FrontendKind::LoadBalancer;
        let sources =
            if filtered { self.source_ranges.of(Family::of(frontend.address.ip)) } else { &Sources::All };
        Treatment { sources, route: self.route(frontend) }
    }

    fn route(&self, frontend: &Frontend) -> Route {
        let family = Family::of(frontend.address.ip);
        let has_local = !self.local.of(family).is_empty();
        if self.cluster.of(family).is_empty() {
            return Route::Reject;
        }
        match (frontend.kind.is_external(), has_local) {
            (false, _) if self.internal_policy == TrafficPolicy::Cluster => {
                Route::To { scope: Scope::Cluster, masquerade: Masquerade::OffCluster }
            }
            (false, true) => Route::To { scope: Scope::Local, masquerade: Masquerade::OffCluster },
            (false, false) => Route::Drop,
            (true, _) if self.external_policy == TrafficPolicy::Cluster => {
                Route::To { scope: Scope::Cluster, masquerade: Masquerade::Always }
            }
            (true, true) => Route::ShortCircuit { others: Others::ToLocal },
            (true, false) => Route::ShortCircuit { others: Others::Drop },
        }
    }
}

#[cfg(test)]
mod tests;
