//! Opens and closes the ports.

use std::{collections::BTreeMap, future::pending, io, sync::Arc, time::Duration};

use penstock_model::{Family, HealthCheck, ObjectKey};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    desired::{Desired, Step},
    listening::{Listening, ready},
};
use crate::{HealthChecks, ProxyHealth, ServiceEvents};

const FAMILIES: [Family; 2] = [Family::IPv4, Family::IPv6];
/// The pause after a port could not be opened; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The servers of all Services.
#[derive(Debug)]
pub struct Servers {
    desired: Desired,
    running: BTreeMap<Arc<ObjectKey>, Server>,
    health: ProxyHealth,
    events: ServiceEvents,
}

/// The server of one Service.
#[derive(Debug)]
struct Server {
    port: u16,
    listening: [Listening; 2],
    /// When what could not be opened is tried again, and the pause after that.
    retry: Option<(Instant, Duration)>,
}

impl Servers {
    /// No server yet. They say whether the proxy is healthy, and complain in events.
    #[must_use]
    pub fn new(health: ProxyHealth, events: ServiceEvents) -> Self {
        Self { desired: Desired::default(), running: BTreeMap::new(), health, events }
    }

    /// Serves what there is to say, until nobody says more or the token is cancelled; then all ports are closed.
    pub async fn run(mut self, mut checks: watch::Receiver<HealthChecks>, until: CancellationToken) {
        checks.mark_changed();
        loop {
            tokio::select! {
                () = until.cancelled() => break,
                changed = checks.changed() => match changed {
                    Ok(()) => {
                        let steps = self.desired.take(&checks.borrow_and_update());
                        self.carry_out(steps).await;
                    }
                    Err(_) => break,
                },
                () = time_to_retry(&self.running) => self.retry(),
            }
        }
        for (_, server) in std::mem::take(&mut self.running) {
            server.close().await;
        }
    }

    async fn carry_out(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Stop(service) => {
                    if let Some(server) = self.running.remove(&service) {
                        server.close().await;
                    }
                }
                Step::Start(service, check) => self.start(service, check),
                Step::Change(service, check) => {
                    if let Some(server) = self.running.get(&service) {
                        server.set_ready(&check);
                    }
                }
            }
        }
    }

    fn start(&mut self, service: Arc<ObjectKey>, check: HealthCheck) {
        let mut server = Server { port: check.port, listening: Default::default(), retry: None };
        server.set_ready(&check);
        if let Err(error) = server.open(&service, &self.health) {
            self.events.failed_to_start_health_check(&service, check.port, &error);
            server.retry = Some((Instant::now() + FIRST_PAUSE, FIRST_PAUSE * 2));
        }
        self.running.insert(service, server);
    }

    /// Tries again what is due. That it fails again is not said again.
    fn retry(&mut self) {
        let now = Instant::now();
        for (service, server) in &mut self.running {
            let Some((_, pause)) = server.retry.filter(|(at, _)| *at <= now) else { continue };
            server.retry = match server.open(service, &self.health) {
                Ok(()) => {
                    tracing::info!(%service, port = server.port, "the health check is served now");
                    None
                }
                Err(_) => Some((now + pause, (pause * 2).min(LONGEST_PAUSE))),
            };
        }
    }
}

impl Server {
    /// Opens what is not open. Each family stands for itself.
    fn open(&mut self, service: &Arc<ObjectKey>, health: &ProxyHealth) -> io::Result<()> {
        let port = self.port;
        let opened = FAMILIES.into_iter().zip(&mut self.listening);
        let results = opened.map(|(family, listening)| listening.open(service, (family, port), health));
        results.collect::<Vec<_>>().into_iter().collect()
    }

    fn set_ready(&self, check: &HealthCheck) {
        let listening = FAMILIES.into_iter().zip(&self.listening);
        listening.for_each(|(family, listening)| listening.set_ready(ready(check, family)));
    }

    async fn close(self) {
        for listening in self.listening {
            listening.close().await;
        }
    }
}

/// Never ends if nothing waits.
async fn time_to_retry(running: &BTreeMap<Arc<ObjectKey>, Server>) {
    match running.values().filter_map(|server| server.retry).map(|(at, _)| at).min() {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}
