//! On what terms a Service shares an address.

use std::{collections::BTreeSet, fmt, net::IpAddr};

use k8s_openapi::api::core::v1 as core;
use penstock_crds::ALLOW_SHARED_IP;
use penstock_model::{ObjectKey, Protocol, Service};
use serde::{Deserialize, Serialize};

use crate::{Desired, Sharing, desired::sharing};

/// A port that a Service takes on its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsedPort {
    /// The number.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

impl fmt::Display for UsedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, self.protocol)
    }
}

/// On what terms a Service shares an address: MetalLB's rules (`metallb.io/allow-shared-ip`), except that a Service
/// with policy Local may also join one with policy Cluster of the same selector, as its documentation says and its
/// code (v0.15.2, `BackendKey`) does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terms {
    /// Key, policy and selector.
    #[serde(flatten)]
    pub sharing: Sharing,
    /// The ports.
    pub ports: BTreeSet<UsedPort>,
}

impl Terms {
    /// The terms of what a Service wants; `None` if it shares with nobody.
    #[must_use]
    pub fn of(desired: &Desired) -> Option<Self> {
        let ports = desired.frontends.iter().map(|f| UsedPort { port: f.port, protocol: f.protocol });
        Some(Self { sharing: desired.sharing.clone()?, ports: ports.collect() })
    }

    /// The terms of a Service, also of one whose other wishes cannot be read, or which is on its way out.
    #[must_use]
    pub fn of_object(object: &core::Service) -> Option<Self> {
        let service = Service::from_object(object);
        let ports = service.ports.iter().map(|p| UsedPort { port: p.port, protocol: p.protocol });
        Some(Self { sharing: sharing(object, &service)?, ports: ports.collect() })
    }
}

/// Why a Service cannot have an address that another has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// The address.
    pub ip: IpAddr,
    /// Who has it.
    pub holder: ObjectKey,
    /// On what the two do not agree.
    pub cause: ClashCause,
}

/// On what two Services do not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClashCause {
    /// One of them shares with nobody.
    NotShared,
    /// The holder's key is this one.
    Key(String),
    /// Both have this port.
    Port(UsedPort),
    /// One has policy Local, and they have other endpoints.
    Policy,
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ip, holder, cause } = self;
        match cause {
            ClashCause::NotShared => write!(
                f,
                "Service {holder} holds {ip}: to share it, both Services need the same annotation {ALLOW_SHARED_IP}"
            ),
            ClashCause::Key(key) => write!(
                f,
                "Service {holder} holds {ip} with the annotation {ALLOW_SHARED_IP} {key:?}: \
                 to share it, give this Service the same"
            ),
            ClashCause::Port(port) => {
                write!(f, "Service {holder} has port {port} of {ip}: change spec.ports of one of the two")
            }
            ClashCause::Policy => write!(
                f,
                "Service {holder} holds {ip}: to share it, spec.externalTrafficPolicy of both must be Cluster \
                 or their spec.selector the same"
            ),
        }
    }
}

impl std::error::Error for Clash {}
