//! Questions in streams (RFC 7766): each with its length before it, one after the other.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    metrics::Shed,
    server::{Handled, Service},
    transfer,
    wire::{Asked, Transport},
};

/// A client sends its next question within this time, whole, and takes its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// A connection ends after so many questions.
const QUESTIONS: usize = 1000;
/// All clients have so many connections at most.
const CONNECTIONS: usize = 1024;
/// Each has so many at most.
const OF_CLIENT: usize = 64;
/// A listener that fails is left alone for so long.
const PAUSE: Duration = Duration::from_millis(10);

/// Who is connected how often.
#[derive(Clone, Default)]
pub(crate) struct Clients(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection's place; it is free again once this is dropped.
struct Place {
    clients: Clients,
    client: IpAddr,
}

impl Clients {
    fn enter(&self, client: IpAddr) -> Result<Place, Shed> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.values().sum::<usize>() >= CONNECTIONS {
            return Err(Shed::Connections);
        }
        let count = counts.entry(client).or_default();
        if *count >= OF_CLIENT {
            return Err(Shed::Client);
        }
        *count += 1;
        Ok(Place { clients: self.clone(), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.clients.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

pub(crate) async fn serve(
    listener: TcpListener,
    service: Service,
    clients: Clients,
    until: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            () = until.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, client)) => welcome(stream, client, &service, &clients, &until),
            Err(error) => {
                tracing::debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn welcome(
    stream: TcpStream,
    client: SocketAddr,
    service: &Service,
    clients: &Clients,
    until: &CancellationToken,
) {
    let place = match clients.enter(client.ip()) {
        Ok(place) => place,
        Err(reason) => return service.metrics.shed(reason),
    };
    let (service, until) = (service.clone(), until.clone());
    tokio::spawn(async move {
        let _place = place;
        tokio::select! {
            () = until.cancelled() => {}
            ended = converse(stream, client.ip(), &service) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, %client, "a connection ended early");
                }
            }
        }
    });
}

async fn converse(mut stream: TcpStream, client: IpAddr, service: &Service) -> io::Result<()> {
    stream.set_nodelay(true)?;
    for _ in 0..QUESTIONS {
        let question = timeout(PATIENCE, receive(&mut stream)).await??;
        let answer = match service.handle(&question, client, Transport::Tcp) {
            Handled::Nothing => return Ok(()),
            Handled::Answer(answer) => answer,
            Handled::Later(later) => service.finish(*later).await,
            Handled::Transfer(asked) => {
                timeout(transfer::PATIENCE, transfer(&mut stream, service, *asked)).await??;
                continue;
            }
        };
        timeout(PATIENCE, send(&mut stream, &answer)).await??;
    }
    Ok(())
}

async fn transfer(stream: &mut TcpStream, service: &Service, asked: Asked) -> io::Result<()> {
    let mut messages = service.transfer(asked).await;
    while let Some(message) = messages.recv().await {
        timeout(PATIENCE, send(stream, &message)).await??;
    }
    Ok(())
}

async fn receive(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut question = Vec::new();
    // Grows with what has come: the length alone is a promise that nobody need keep.
    let read = AsyncReadExt::take(stream, length.into()).read_to_end(&mut question).await?;
    if read < usize::from(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(question)
}

async fn send(stream: &mut TcpStream, answer: &[u8]) -> io::Result<()> {
    let length = u16::try_from(answer.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut octets = length.to_be_bytes().to_vec();
    octets.extend_from_slice(answer);
    stream.write_all(&octets).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_it_is_left() {
        let (clients, client) = (Clients::default(), |n: u8| IpAddr::from([192, 0, 2, n]));
        let mut places = Vec::new();
        for n in 0..16 {
            places.extend((0..OF_CLIENT).map(|_| clients.enter(client(n)).ok().unwrap()));
        }
        assert_eq!(places.len(), CONNECTIONS);
        assert!(matches!(clients.enter(client(99)), Err(Shed::Connections)));
        places.pop();
        assert!(matches!(clients.enter(client(0)), Err(Shed::Client)));
        assert!(clients.enter(client(99)).is_ok());
    }
}
