//! Until a server has seen something: asked again and again.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::population::{is_headless, name, service};
use crate::bench::spread::Spread;
use crate::dns_oracle::object::{Object, carry_out};
use crate::dns_oracle::servers::plain;

/// A datagram that is lost is sent again after this.
const AGAIN: Duration = Duration::from_millis(50);
/// Between two looks; what is measured is no finer.
const PAUSE: Duration = Duration::from_micros(500);
/// It bounds the wait for what never comes.
const LIMIT: Duration = Duration::from_secs(120);

/// Seconds from `since` until the server answers a name with an address.
///
/// # Errors
/// When it never does.
pub(super) async fn until_answered(server: SocketAddr, name: &str, since: Instant) -> Result<f64> {
    let question = plain(name).octets;
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(server).await?;
    loop {
        if has_address(&socket, &question).await {
            return Ok(since.elapsed().as_secs_f64());
        }
        ensure!(since.elapsed() < LIMIT, "{server} does not answer {name} within {} s", LIMIT.as_secs());
        tokio::time::sleep(PAUSE).await;
    }
}

/// A refused datagram is an error of the socket: nobody listens yet.
async fn has_address(socket: &UdpSocket, question: &[u8]) -> bool {
    let mut answer = [0; 1500];
    if socket.send(question).await.is_err() {
        return false;
    }
    match timeout(AGAIN, socket.recv(&mut answer)).await {
        Ok(Ok(length)) => length > 12 && answer[3] & 0x0f == 0 && answer[6..8] != [0, 0],
        _ => false,
    }
}

/// Milliseconds from the API server's answer to a creation until the server answers the new name.
///
/// # Errors
/// When the API server refuses, or the name is never answered.
pub(super) async fn changes(
    client: &kube::Client,
    server: SocketAddr,
    first: usize,
    count: usize,
) -> Result<Spread> {
    let mut all = Vec::new();
    let new: Vec<usize> = (first..).filter(|number| !is_headless(*number)).take(count).collect();
    for number in new {
        let object: Object = service(number);
        carry_out(client, &[], &[&object]).await?;
        all.push(until_answered(server, &name(number), Instant::now()).await? * 1e3);
        carry_out(client, &[&object], &[]).await?;
    }
    Ok(all.into_iter().collect())
}
