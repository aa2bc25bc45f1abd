//! The process that answers the cluster's DNS.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    thread::available_parallelism,
    time::Duration,
};

use anyhow::Result;
use clap::Parser;
use penstock_dns::{
    cluster,
    config::Config,
    forwarder::Forwarder,
    index::RecordIndex,
    metrics::Metrics,
    resolver::{Resolver, SharedIndex},
    server::{Listeners, Service},
    state,
    transfer::Transfers,
    web,
};
use penstock_runtime::{
    ProcessFlags, Readiness, StateFile, Telemetry, init_telemetry, report_exit, shutdown_on_signal,
};
use tokio_util::sync::CancellationToken;

/// Questions are answered after this time, whether all objects were seen or not: other names need none of them.
const LONGEST_START: Duration = Duration::from_secs(5);
/// How often it is looked whether they were.
const LOOK: Duration = Duration::from_millis(50);

/// Answers names of Services, endpoints and Pods, and asks other resolvers for other names.
#[derive(Parser)]
#[command(version)]
struct Flags {
    #[command(flatten)]
    process: ProcessFlags,

    /// Address and port to answer on, over UDP and TCP (may be repeated).
    #[arg(long, value_name = "ADDRESS", default_values = ["0.0.0.0:53"])]
    listen: Vec<SocketAddr>,

    /// Configuration file; all of it may be left out.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Address of this server's own Pod, by which it finds the Service that it is behind (may be repeated).
    #[arg(long = "own-address", env = "POD_IPS", value_delimiter = ',', value_name = "ADDRESS")]
    own_addresses: Vec<IpAddr>,

    /// File in which what is known is kept over a restart, for when the API server is away then; nowhere by default.
    #[arg(long, value_name = "FILE")]
    state_file: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    report_exit("penstock-dns", execute(Flags::parse()).await)
}

async fn execute(flags: Flags) -> Result<()> {
    let _telemetry = init_telemetry(&flags.process, "penstock-dns")?;
    let config = flags.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
    let records = config.records(flags.own_addresses)?;
    let forwarder = Forwarder::new(&config.upstreams()?)?;
    let client = penstock_runtime::client().await?;
    let (stop, telemetry) = (shutdown_on_signal()?, Telemetry::new(env!("CARGO_PKG_VERSION")));
    let metrics = Metrics::default();
    telemetry.register_as_named(|registry| metrics.register(registry));

    let (pod_names, readiness) = (records.pod_names, telemetry.readiness.clone());
    let synced = Readiness::default();
    let index = SharedIndex::new(RecordIndex::new(records));
    let file = flags.state_file.map(|path| StateFile::new(&path, state::FORMAT));
    file.as_ref().inspect(|file| state::restore(file, &index));
    let listeners = Listeners::bind(&flags.listen, available_parallelism().map_or(1, Into::into))?;
    let service = Service {
        resolver: Resolver::new(index.clone(), forwarder),
        metrics,
        transfers: Transfers::to(config.transfers_to()?),
    };
    let ended = CancellationToken::new();
    let work = async {
        wait_for_objects(&synced, &stop).await;
        tracing::info!(addresses = ?listeners.addresses(), synced = synced.is_ready(), "answering");
        let lame = Duration::from_secs(config.lame_duck_seconds);
        let served = listeners.serve(service, ended.clone());
        tokio::join!(served, end(&stop, &synced, &readiness, lame, &ended));
        Ok::<(), anyhow::Error>(())
    };
    let web = web::serve(telemetry, flags.process.http_address(9783), ended.clone());
    let kept = async {
        if let Some(file) = file {
            state::keep(file, index.clone(), synced.clone(), ended.clone()).await;
        }
        Ok(())
    };
    tokio::select! {
        done = async { tokio::try_join!(work, async { Ok(web.await?) }, kept) } => done.map(|_| ()),
        () = cluster::follow(client, index.clone(), pod_names, synced.clone()) => Ok(()),
    }
}

async fn wait_for_objects(synced: &Readiness, stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        waited = tokio::time::timeout(LONGEST_START, until(synced)) => {
            if waited.is_err() {
                tracing::warn!("not all objects were seen yet: names that are unknown are answered with SERVFAIL");
            }
        }
    }
}

async fn until(synced: &Readiness) {
    while !synced.is_ready() {
        tokio::time::sleep(LOOK).await;
    }
}

/// Ready once all objects were seen, and until the process is asked to end. Who asks after that is still answered
/// for a while, until nobody is sent here any more.
async fn end(
    stop: &CancellationToken,
    synced: &Readiness,
    readiness: &Readiness,
    lame: Duration,
    ended: &CancellationToken,
) {
    let ready = async {
        until(synced).await;
        readiness.set_ready();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = ready => {}
    }
    readiness.set(false);
    tracing::info!(seconds = lame.as_secs(), "ending, and answering meanwhile");
    tokio::time::sleep(lame).await;
    ended.cancel();
}
