//! The backend that was chosen when the process started.

use std::collections::BTreeSet;

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use ipnet::IpNet;
use penstock_model::{Change, Scheduler};

use crate::{
    Applied, ApplyError, Backend, NetfilterError, NetworkNamespace,
    iptables::{Iptables, Variant},
    ipvs::Ipvs,
    nftables::{Nftables, TableWatch, Touched},
};

/// One of the backends.
#[derive(Debug)]
pub enum AnyBackend {
    /// Of mode nftables.
    Nftables(Box<Nftables>),
    /// Of mode iptables.
    Iptables(Variant, Iptables),
    /// Of mode ipvs.
    Ipvs(Ipvs),
}

impl AnyBackend {
    /// The schedulers that Services may name, where there are any.
    #[must_use]
    pub fn schedulers(&self) -> Option<&BTreeSet<Scheduler>> {
        match self {
            Self::Ipvs(backend) => Some(backend.schedulers()),
            Self::Nftables(_) | Self::Iptables(..) => None,
        }
    }

    /// The backend, and what others change of its rules from now on.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn watched(self) -> Result<(Self, BoxStream<'static, Touched>), NetfilterError> {
        match self {
            Self::Nftables(backend) => {
                let (table, own) = TableWatch::open(&NetworkNamespace::Own)?;
                Ok((Self::Nftables(Box::new(backend.known_to(own))), table.into_stream().boxed()))
            }
            Self::Iptables(variant, backend) => {
                let finds = backend.canary().finds().map(|what| Touched::Missing { what });
                Ok((Self::Iptables(variant, backend), finds.boxed()))
            }
            // It puts servers and addresses back by itself.
            Self::Ipvs(mut backend) => {
                let table = backend.take_watch().map(TableWatch::into_stream);
                let touched = table.map_or_else(|| stream::pending().boxed(), StreamExt::boxed);
                Ok((Self::Ipvs(backend), touched))
            }
        }
    }
}

impl Backend for AnyBackend {
    async fn apply(&mut self, changes: &[Change]) -> Result<Applied, ApplyError> {
        match self {
            Self::Nftables(backend) => backend.apply(changes).await,
            Self::Iptables(_, backend) => backend.apply(changes).await,
            Self::Ipvs(backend) => backend.apply(changes).await,
        }
    }

    fn take_service_cidrs(&mut self, cidrs: Vec<IpNet>) {
        match self {
            Self::Nftables(backend) => backend.take_service_cidrs(cidrs),
            Self::Iptables(_, backend) => backend.take_service_cidrs(cidrs),
            Self::Ipvs(backend) => backend.take_service_cidrs(cidrs),
        }
    }

    async fn reload(&mut self, all: &[Change]) -> Result<Applied, ApplyError> {
        match self {
            Self::Nftables(backend) => backend.reload(all).await,
            Self::Iptables(_, backend) => backend.reload(all).await,
            Self::Ipvs(backend) => backend.reload(all).await,
        }
    }
}
