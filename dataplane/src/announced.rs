//! A backend whose announcer is told which balancers' addresses have rules: after they are programmed, and before they go.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use penstock_model::{Change, FrontendKind, PortKey, ServicePort};

use crate::{Applied, ApplyError, Backend, announcer_link::AnnouncerLink};

/// Another backend, and whom to tell, if anybody.
#[derive(Debug)]
pub struct Announced<B> {
    backend: B,
    link: Option<AnnouncerLink>,
    addresses: Addresses,
}

impl<B: Backend> Announced<B> {
    /// Tells by `link` what `backend` does.
    pub fn new(backend: B, link: Option<AnnouncerLink>) -> Self {
        Self { backend, link, addresses: Addresses::default() }
    }

    /// What is to be loaded, and that nothing else stands soon.
    async fn begin_load(&mut self, all: &[Change]) {
        let Some(link) = &self.link else { return };
        let before = std::mem::take(&mut self.addresses).all();
        self.addresses.take(all);
        link.withdraw(before.difference(&self.addresses.all()).copied().collect()).await;
    }

    async fn end_load(&mut self) {
        if let Some(link) = &self.link {
            link.set(self.addresses.all()).await;
        }
    }
}

impl<B: Backend> Backend for Announced<B> {
    async fn apply(&mut self, changes: &[Change]) -> Result<Applied, ApplyError> {
        let Some(link) = &self.link else { return self.backend.apply(changes).await };
        let moves = self.addresses.take(changes);
        link.withdraw(moves.leaving).await;
        // After a failure everything is loaded, and told, anew.
        let applied = self.backend.apply(changes).await?;
        link.add(moves.coming).await;
        Ok(applied)
    }

    fn take_service_cidrs(&mut self, cidrs: Vec<IpNet>) {
        self.backend.take_service_cidrs(cidrs);
    }

    async fn reload(&mut self, all: &[Change]) -> Result<Applied, ApplyError> {
        self.begin_load(all).await;
        let applied = self.backend.reload(all).await?;
        self.end_load().await;
        Ok(applied)
    }

    async fn restore(&mut self, all: &[Change]) -> Result<Applied, ApplyError> {
        self.begin_load(all).await;
        let applied = self.backend.restore(all).await?;
        self.end_load().await;
        Ok(applied)
    }
}

/// Which ports have which balancers' addresses. An address stands as long as one port has it.
#[derive(Debug, Default)]
struct Addresses {
    ports: BTreeMap<PortKey, Vec<IpAddr>>,
    uses: BTreeMap<IpAddr, usize>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Moves {
    coming: BTreeSet<IpAddr>,
    leaving: BTreeSet<IpAddr>,
}

impl Addresses {
    fn all(&self) -> BTreeSet<IpAddr> {
        self.uses.keys().copied().collect()
    }

    /// What comes and goes with these changes as a whole.
    fn take(&mut self, changes: &[Change]) -> Moves {
        let mut before: BTreeMap<IpAddr, bool> = BTreeMap::new();
        for change in changes {
            let next = change.desired.as_deref().map(addresses).unwrap_or_default();
            let last = self.ports.remove(&change.key).unwrap_or_default();
            for address in next.iter().chain(&last) {
                before.entry(*address).or_insert_with(|| self.uses.contains_key(address));
            }
            next.iter().for_each(|address| *self.uses.entry(*address).or_default() += 1);
            last.iter().for_each(|address| self.release(*address));
            if !next.is_empty() {
                self.ports.insert(change.key.clone(), next);
            }
        }
        let mut moves = Moves::default();
        for (address, stood) in before {
            match (stood, self.uses.contains_key(&address)) {
                (false, true) => moves.coming.insert(address),
                (true, false) => moves.leaving.insert(address),
                _ => continue,
            };
        }
        moves
    }

    fn release(&mut self, address: IpAddr) {
        match self.uses.get_mut(&address) {
            Some(uses) if *uses > 1 => *uses -= 1,
            _ => drop(self.uses.remove(&address)),
        }
    }
}

fn addresses(port: &ServicePort) -> Vec<IpAddr> {
    let of_balancers = port.frontends.iter().filter(|frontend| frontend.kind == FrontendKind::LoadBalancer);
    of_balancers.map(|frontend| frontend.address.ip).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use penstock_model::{Frontend, FrontendAddress, ObjectKey, Protocol};

    use super::*;

    fn change(port: u16, addresses: &[&str]) -> Change {
        let key = PortKey { service: Arc::new(ObjectKey::new("d", "s")), port, protocol: Protocol::Tcp };
        let frontend = |kind, text: &str| Frontend {
            address: FrontendAddress { ip: text.parse().unwrap(), protocol: Protocol::Tcp, port: 80 },
            kind,
        };
        let balancers = addresses.iter().map(|text| frontend(FrontendKind::LoadBalancer, text));
        let frontends =
            [frontend(FrontendKind::ClusterIp, "10.96.0.7")].into_iter().chain(balancers).collect();
        let desired =
            (!addresses.is_empty()).then(|| Arc::new(ServicePort { frontends, ..ServicePort::default() }));
        Change { key, desired }
    }

    fn moves(coming: &[&str], leaving: &[&str]) -> Moves {
        let set = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Moves { coming: set(coming), leaving: set(leaving) }
    }

    #[test]
    fn an_address_comes_with_its_first_port_and_goes_with_its_last() {
        let mut addresses = Addresses::default();
        assert_eq!(addresses.take(&[change(1, &["203.0.113.1"])]), moves(&["203.0.113.1"], &[]));
        assert_eq!(addresses.take(&[change(2, &["203.0.113.1"])]), moves(&[], &[]));
        assert_eq!(addresses.take(&[change(1, &[])]), moves(&[], &[]));
        assert_eq!(addresses.take(&[change(2, &["203.0.113.2"])]), moves(&["203.0.113.2"], &["203.0.113.1"]));
        assert_eq!(addresses.take(&[change(2, &[])]), moves(&[], &["203.0.113.2"]));
        assert!(addresses.uses.is_empty() && addresses.ports.is_empty());
    }

    #[test]
    fn an_address_that_moves_from_port_to_port_stays() {
        let mut addresses = Addresses::default();
        addresses.take(&[change(1, &["203.0.113.1"])]);
        let both = [change(1, &[]), change(2, &["203.0.113.1"])];
        assert_eq!(addresses.take(&both), moves(&[], &[]));
        assert_eq!(addresses.all().len(), 1);
    }
}
