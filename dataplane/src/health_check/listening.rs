//! The open ports of one Service. As kube-proxy, each family has a listener of its own, which counts the endpoints of
//! that family: a balancer that comes by IPv6 sends its connections by IPv6.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use axum::{Router, response::IntoResponse};
use penstock_model::{Family, HealthCheck, ObjectKey};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::answer::Answer;
use crate::{
    ProxyHealth,
    http_port::{self, Reach},
    proxy_health::Now,
};

/// One family's listener.
#[derive(Debug, Default)]
pub(crate) struct Listening {
    ready: Arc<AtomicU32>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    task: JoinHandle<()>,
    until: CancellationToken,
}

impl Listening {
    /// Opens the port if it is not open.
    ///
    /// # Errors
    /// The operating system's. A node that does not have the family needs nobody who listens.
    pub(crate) fn open(
        &mut self,
        service: &Arc<ObjectKey>,
        (family, port): (Family, u16),
        health: &ProxyHealth,
    ) -> io::Result<()> {
        if self.open.is_some() {
            return Ok(());
        }
        match http_port::bind(http_port::unspecified(family, port), Reach::OneFamily) {
            Ok(listener) => {
                let router = router(Arc::clone(service), Arc::clone(&self.ready), health.clone());
                let until = CancellationToken::new();
                let task = tokio::spawn(http_port::serve(listener, router, until.clone()));
                self.open = Some(Open { task, until });
                Ok(())
            }
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What is said from now on.
    pub(crate) fn set_ready(&self, ready: u32) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// Ends when the port is free.
    pub(crate) async fn close(self) {
        if let Some(Open { task, until }) = self.open {
            until.cancel();
            // It ends by itself; if it panicked its socket is gone too.
            drop(task.await);
        }
    }
}

/// How many endpoints of the family there are.
pub(crate) fn ready(check: &HealthCheck, family: Family) -> u32 {
    match family {
        Family::IPv4 => check.ready_v4,
        Family::IPv6 => check.ready_v6,
    }
}

/// Answers every path and method alike.
fn router(service: Arc<ObjectKey>, ready: Arc<AtomicU32>, health: ProxyHealth) -> Router {
    Router::new().fallback(move || {
        let answer = Answer {
            service: &service,
            local_endpoints: ready.load(Ordering::Relaxed),
            proxy_healthy: health.is_healthy(Now::read()),
        };
        std::future::ready(answer.into_response())
    })
}
