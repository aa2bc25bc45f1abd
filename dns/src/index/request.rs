//! What a name below a cluster's domain asks for.

/// What the labels left of the domain mean. All is in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// The domain itself, or `svc` or `pod` below it: they exist and have no records.
    Node,
    /// `ns.dns`: the domain's name server.
    NameServer,
    /// `namespace.svc` or `namespace.pod`.
    Namespace(Branch, String),
    /// `label.namespace.pod`; up to two labels before are ignored.
    Pod { namespace: String, label: String },
    /// `service.namespace.svc`, and what of it.
    Service { namespace: String, service: String, part: Part },
    /// No name of the scheme.
    Unknown,
}

/// The two branches of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Branch {
    Service,
    Pod,
}

/// What of a Service a name asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    /// `_port._protocol`, without the underscores, which may be missing. Empty means any.
    Port {
        port: String,
        protocol: String,
    },
    /// A hostname or a dashed address.
    Endpoint(String),
}

impl Part {
    /// Port and protocol that are asked for; empty means any.
    pub(crate) fn port(&self) -> (&str, &str) {
        if let Self::Port { port, protocol } = self { (port, protocol) } else { ("", "") }
    }

    pub(crate) fn endpoint(&self) -> Option<&str> {
        if let Self::Endpoint(label) = self { Some(label) } else { None }
    }
}

impl Request {
    /// Reads the labels left of the domain, the leftmost first.
    pub(crate) fn parse(mut labels: Vec<String>) -> Self {
        let Some(branch) = labels.pop() else { return Self::Node };
        let branch = match branch.as_str() {
            "svc" => Branch::Service,
            "pod" => Branch::Pod,
            "dns" if labels == ["ns"] => return Self::NameServer,
            _ => return Self::Unknown,
        };
        let Some(namespace) = labels.pop() else { return Self::Node };
        let Some(own) = labels.pop() else { return Self::Namespace(branch, namespace) };
        match (branch, part(&labels)) {
            (_, None) => Self::Unknown,
            (Branch::Pod, Some(_)) => Self::Pod { namespace, label: own },
            (Branch::Service, Some(part)) => Self::Service { namespace, service: own, part },
        }
    }
}

/// `None` for more labels than names have.
fn part(labels: &[String]) -> Option<Part> {
    let bare = |label: &str| label.strip_prefix('_').unwrap_or(label).to_owned();
    match labels {
        [] => Some(Part::Whole),
        [endpoint] => Some(Part::Endpoint(endpoint.clone())),
        [port, protocol] => Some(Part::Port { port: bare(port), protocol: bare(protocol) }),
        _ => None,
    }
}
