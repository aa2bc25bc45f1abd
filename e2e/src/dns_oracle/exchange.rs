//! Questions on their way to a server, and what comes back.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::question::{Question, Transport};

/// How often a question is asked that gets no answer: datagrams may be lost.
const ATTEMPTS: usize = 3;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same where there may well be none, or it is asked again.
const SHORT: Duration = Duration::from_secs(1);

/// How long to wait for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// As long as it may take.
    Long,
    /// Not long: silence is likely.
    Short,
}

impl Wait {
    fn attempts(self) -> (usize, Duration) {
        match self {
            Self::Long => (ATTEMPTS, PATIENCE),
            Self::Short => (1, SHORT),
        }
    }
}

/// Asks a server; `None` when it does not answer.
///
/// # Errors
/// When there is no socket to ask from.
pub async fn ask(server: SocketAddr, question: &Question, id: u16, wait: Wait) -> Result<Option<Vec<u8>>> {
    let octets = with_id(&question.octets, id);
    let (attempts, patience) = wait.attempts();
    for _ in 0..attempts {
        let answer = match question.transport {
            Transport::Udp => timeout(patience, by_datagram(server, &octets)).await,
            Transport::Tcp => timeout(patience, by_stream(server, &octets)).await,
        };
        match answer {
            Ok(Ok(Some(answer))) => return Ok(Some(answer)),
            Ok(Err(error)) => return Err(error),
            Ok(Ok(None)) | Err(_) => {}
        }
    }
    Ok(None)
}

fn with_id(octets: &[u8], id: u16) -> Vec<u8> {
    let mut octets = octets.to_vec();
    octets.iter_mut().zip(id.to_be_bytes()).for_each(|(octet, byte)| *octet = byte);
    octets
}

async fn by_datagram(server: SocketAddr, octets: &[u8]) -> Result<Option<Vec<u8>>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.context("open a socket")?;
    socket.connect(server).await.context("open a socket")?;
    socket.send(octets).await.context("send a question")?;
    let mut answer = vec![0; usize::from(u16::MAX)];
    let length = socket.recv(&mut answer).await.context("receive an answer")?;
    answer.truncate(length);
    Ok(Some(answer))
}

/// A server that ends the connection says nothing.
async fn by_stream(server: SocketAddr, octets: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut stream = TcpStream::connect(server).await.context("connect to a server")?;
    let length = u16::try_from(octets.len()).context("a question is too long")?;
    stream.write_all(&[&length.to_be_bytes(), octets].concat()).await.context("send a question")?;
    let Ok(length) = stream.read_u16().await else { return Ok(None) };
    let mut answer = vec![0; usize::from(length)];
    Ok(stream.read_exact(&mut answer).await.is_ok().then_some(answer))
}
