//! A TCP port that answers HTTP. Those of the node agent are open to whoever reaches the node, so that a client may
//! neither hold a connection for long in silence nor take all of the process' file descriptors.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use penstock_model::Family;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;

/// Connections of one port at a time; the next ones wait until one of them ends.
const CONNECTIONS: usize = 128;
/// How long a connection may be silent before the end of its next request's headers.
const SILENCE: Duration = Duration::from_secs(30);
/// The pause after a connection could not be taken, as when file descriptors are short.
const PAUSE: Duration = Duration::from_millis(200);
const BACKLOG: i32 = 128;

/// Which clients a listener hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Those of the address's family.
    OneFamily,
    /// Those of both, where the address is that of all interfaces.
    BothFamilies,
}

/// Binds an address.
///
/// # Errors
/// The operating system's.
pub(crate) fn bind(address: SocketAddr, reach: Reach) -> io::Result<TcpListener> {
    if reach == Reach::OneFamily || !address.ip().is_unspecified() {
        return listen(address, true);
    }
    let both = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port());
    listen(both, false).or_else(|error| match error.raw_os_error() {
        Some(libc::EAFNOSUPPORT) => listen(unspecified(Family::IPv4, address.port()), true),
        _ => Err(error),
    })
}

/// All addresses of a family.
pub(crate) fn unspecified(family: Family, port: u16) -> SocketAddr {
    let ip = match family {
        Family::IPv4 => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        Family::IPv6 => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(ip, port)
}

fn listen(address: SocketAddr, one_family: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(one_family)?;
    }
    // Connections of a predecessor that linger are no reason to refuse.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Answers until the token is cancelled. The port is free when this ends; connections end with their current answer.
pub(crate) async fn serve(listener: TcpListener, router: Router, until: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        tokio::select! {
            () = until.cancelled() => return,
            taken = accept(&listener, &places) => match taken {
                Ok((stream, place)) => drop(tokio::spawn(answer(stream, place, router.clone(), until.clone()))),
                Err(error) => {
                    tracing::debug!(%error, "a connection could not be taken");
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

async fn answer(stream: TcpStream, place: OwnedSemaphorePermit, router: Router, until: CancellationToken) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(SILENCE);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = until.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
    drop(place);
}
