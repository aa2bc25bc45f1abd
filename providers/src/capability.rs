//! What a provider can do, checked before any call.

use penstock_model::Protocol;
use serde::Serialize;

use crate::{Desired, ProviderError};

/// The abilities of a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// The provider's name, for messages.
    pub provider: &'static str,
    /// Protocols that it balances.
    pub protocols: Vec<Protocol>,
    /// Two protocols on one balancer.
    pub mixed_protocols: bool,
    /// The most ports of one balancer; `None`: no limit of its own.
    pub max_ports: Option<usize>,
    /// Whether anything outside the cluster is created. If so the finalizer is written in a call of its own
    /// before the first step; if not, it goes with the status in one write.
    pub creates_outside: bool,
    /// Whether it sends to the nodes' NodePorts. If so it is told of the nodes.
    pub sends_to_nodes: bool,
}

impl Capabilities {
    /// Whether `desired` is possible at all.
    ///
    /// # Errors
    /// [`ProviderError::User`] that names the first thing which is not.
    pub fn check(&self, desired: &Desired) -> Result<(), ProviderError> {
        let mut protocols: Vec<Protocol> = desired.frontends.iter().map(|f| f.protocol).collect();
        protocols.sort_unstable();
        protocols.dedup();
        if let Some(protocol) = protocols.iter().find(|p| !self.protocols.contains(p)) {
            return Err(ProviderError::refused(format!(
                "provider {} does not balance {protocol}: remove the port or choose another class",
                self.provider
            )));
        }
        if protocols.len() > 1 && !self.mixed_protocols {
            return Err(ProviderError::refused(format!(
                "provider {} cannot mix protocols on one balancer: use one Service for each protocol",
                self.provider
            )));
        }
        let by_nodes = self.sends_to_nodes && desired.endpoints.is_none();
        if let Some(port) = desired.frontends.iter().find(|f| by_nodes && f.node_port.is_none()) {
            return Err(ProviderError::refused(format!(
                "provider {} sends to NodePorts and port {} has none: set spec.allocateLoadBalancerNodePorts to true",
                self.provider, port.port
            )));
        }
        match self.max_ports {
            Some(most) if desired.frontends.len() > most => Err(ProviderError::refused(format!(
                "provider {} allows {most} ports on one balancer, the Service has {}",
                self.provider,
                desired.frontends.len()
            ))),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Frontend;

    fn capabilities() -> Capabilities {
        Capabilities {
            provider: "test",
            protocols: vec![Protocol::Tcp, Protocol::Udp],
            mixed_protocols: false,
            max_ports: Some(2),
            creates_outside: true,
            sends_to_nodes: false,
        }
    }

    fn refusal(protocols: &[Protocol]) -> String {
        let frontend = |(i, protocol): (usize, &Protocol)| Frontend {
            protocol: *protocol,
            port: 80 + u16::try_from(i).unwrap(),
            node_port: None,
        };
        let frontends = protocols.iter().enumerate().map(frontend).collect();
        let desired = Desired { frontends, ..Desired::default() };
        capabilities().check(&desired).err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_a_provider_cannot_do_is_refused_before_any_call() {
        use Protocol::{Sctp, Tcp, Udp};
        assert_eq!(refusal(&[Tcp, Tcp]), "");
        assert!(refusal(&[Sctp]).contains("does not balance SCTP"));
        assert!(refusal(&[Tcp, Udp]).contains("cannot mix protocols"));
        assert!(refusal(&[Tcp, Tcp, Tcp]).contains("allows 2 ports"));
    }

    #[test]
    fn a_provider_that_needs_node_ports_says_which_field_gives_them() {
        let frontend = Frontend { protocol: Protocol::Tcp, port: 80, node_port: None };
        let desired = Desired { frontends: vec![frontend], ..Desired::default() };
        let refused = Capabilities { sends_to_nodes: true, ..capabilities() }.check(&desired).unwrap_err();
        assert!(refused.to_string().contains("spec.allocateLoadBalancerNodePorts"), "{refused}");
    }
}
