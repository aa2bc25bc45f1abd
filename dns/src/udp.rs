//! Questions in datagrams. What can be answered at once is, in the order in which it came: what does not fit into
//! the socket's buffer meanwhile, the kernel drops.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use crate::{
    metrics::Shed,
    server::{Handled, Service},
    wire::Transport,
};

/// No question is longer; what is, was cut off and cannot be read.
const LONGEST_QUESTION: usize = 4096;
/// A socket that fails is left alone for so long.
const PAUSE: Duration = Duration::from_millis(10);

pub(crate) async fn serve(socket: Arc<UdpSocket>, service: Service, until: CancellationToken) {
    let mut buffer = vec![0; LONGEST_QUESTION];
    loop {
        let received = tokio::select! {
            () = until.cancelled() => return,
            received = socket.recv_from(&mut buffer) => received,
        };
        match received {
            Ok((length, client)) => answer(&socket, &service, &buffer[..length], client),
            Err(error) => pause(&error).await,
        }
    }
}

/// A client that is gone is no failure of ours (ECONNREFUSED from an earlier answer).
async fn pause(error: &io::Error) {
    tracing::debug!(%error, "a datagram could not be received");
    tokio::time::sleep(PAUSE).await;
}

fn answer(socket: &Arc<UdpSocket>, service: &Service, octets: &[u8], client: SocketAddr) {
    match service.handle(octets, client.ip(), Transport::Udp) {
        // A transfer is never permitted here.
        Handled::Nothing | Handled::Transfer(_) => {}
        Handled::Answer(answer) => send(socket, service, &answer, client),
        Handled::Later(later) => {
            let (socket, service) = (Arc::clone(socket), service.clone());
            // Bounded: without a place among those that wait, it ends at once.
            tokio::spawn(async move {
                let answer = service.finish(*later).await;
                send(&socket, &service, &answer, client);
            });
        }
    }
}

/// Nothing waits for a socket whose buffer is full: the client asks again.
fn send(socket: &UdpSocket, service: &Service, answer: &[u8], client: SocketAddr) {
    if let Err(error) = socket.try_send_to(answer, client) {
        tracing::debug!(%error, %client, "an answer could not be sent");
        service.metrics.shed(Shed::Send);
    }
}
