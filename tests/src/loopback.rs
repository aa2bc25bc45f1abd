//! A server on loopback that stands for something outside, and what it has.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Result;
use axum::Router;
use tokio::{net::TcpListener, task::JoinHandle};

/// A free port of loopback.
pub(crate) const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A running server. It ends with the value.
pub(crate) struct Loopback<S> {
    address: SocketAddr,
    store: Arc<Mutex<S>>,
    server: JoinHandle<()>,
}

impl<S: Send + 'static> Loopback<S> {
    /// Starts one with what it has.
    ///
    /// # Errors
    /// When the address cannot be listened at.
    pub(crate) async fn start<F: Future<Output = ()> + Send + 'static>(
        at: SocketAddr,
        store: S,
        serve: impl FnOnce(TcpListener, Arc<Mutex<S>>) -> F,
    ) -> Result<Self> {
        let listener = TcpListener::bind(at).await?;
        let address = listener.local_addr()?;
        let store = Arc::new(Mutex::new(store));
        let server = tokio::spawn(serve(listener, store.clone()));
        Ok(Self { address, store, server })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has. Nothing is answered while the guard lives.
    pub(crate) fn store(&self) -> MutexGuard<'_, S> {
        lock(&self.store)
    }
}

impl<S> Drop for Loopback<S> {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A test that panicked while it looked harms no other.
pub(crate) fn lock<S>(store: &Mutex<S>) -> MutexGuard<'_, S> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves until the task is aborted; it never ends by itself.
pub(crate) async fn serve(listener: TcpListener, router: Router) {
    let _ = axum::serve(listener, router).await;
}
