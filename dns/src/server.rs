//! The sockets: one of each kind for every core.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use hickory_proto::op::ResponseCode;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::mpsc,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    metrics::{Metrics, Shed},
    resolver::{Pending, Progress, Resolver},
    tcp::{self, Clients},
    transfer::Transfers,
    udp,
    wire::{self, Asked, Received, Reply, Transport},
};

/// How many connections wait for us to take them.
const BACKLOG: i32 = 1024;
/// How many ports are tried where any will do.
const CHOICES: usize = 10;

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for DNS: name another address with --listen, or end who has it")]
pub struct ListenError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// What all sockets share.
#[derive(Clone)]
pub struct Service {
    /// Answers questions.
    pub resolver: Resolver,
    /// Counts them.
    pub metrics: Metrics,
    /// Who may have whole domains.
    pub transfers: Transfers,
}

/// How far a message is.
pub(crate) enum Handled {
    /// It gets no answer.
    Nothing,
    /// These octets.
    Answer(Vec<u8>),
    /// Others have to be asked.
    Later(Box<Later>),
    /// All of a domain, in many messages.
    Transfer(Box<Asked>),
}

/// An answer that others have to be asked for.
pub(crate) struct Later {
    asked: Asked,
    pending: Pending,
    since: Instant,
    transport: Transport,
}

impl Service {
    /// Answers a message as far as that takes no time.
    pub(crate) fn handle(&self, octets: &[u8], client: IpAddr, transport: Transport) -> Handled {
        let since = Instant::now();
        match wire::receive(octets) {
            Received::Drop => Handled::Nothing,
            Received::Reject(code, answer) => {
                self.metrics.answered(code, since.elapsed());
                Handled::Answer(answer)
            }
            Received::Query(asked) => {
                let kind = asked.query.query_type();
                self.metrics.asked(transport, client, kind);
                if self.transfers.permits(kind, client, transport) {
                    return Handled::Transfer(asked);
                }
                match self.resolver.start(&asked.query) {
                    Progress::Done(reply) => Handled::Answer(self.encode(&asked, &reply, transport, since)),
                    Progress::Upstream(pending) => {
                        Handled::Later(Box::new(Later { asked: *asked, pending, since, transport }))
                    }
                }
            }
        }
    }

    /// Asks others, unless too many questions wait for them already.
    pub(crate) async fn finish(&self, later: Later) -> Vec<u8> {
        let Later { asked, pending, since, transport } = later;
        let reply = match self.resolver.forwarder().enter() {
            Some(_place) => self.resolver.finish(pending).await,
            None => return self.refuse(&asked, since, transport),
        };
        self.encode(&asked, &reply, transport, since)
    }

    /// The messages of a transfer.
    pub(crate) async fn transfer(&self, asked: Asked) -> mpsc::Receiver<Vec<u8>> {
        let (since, metrics) = (Instant::now(), self.metrics.clone());
        let begun = move |code| metrics.answered(code, since.elapsed());
        self.transfers.start(self.resolver.index(), asked, begun).await
    }

    fn refuse(&self, asked: &Asked, since: Instant, transport: Transport) -> Vec<u8> {
        self.metrics.shed(Shed::Upstream);
        self.encode(asked, &Reply::of_code(ResponseCode::Refused), transport, since)
    }

    fn encode(&self, asked: &Asked, reply: &Reply, transport: Transport, since: Instant) -> Vec<u8> {
        let octets = asked.encode(reply, transport);
        self.metrics.answered(reply.code, since.elapsed());
        octets
    }
}

/// Sockets that are bound and do not answer yet.
pub struct Listeners {
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
}

impl Listeners {
    /// Binds each address `each` times; the kernel shares the clients out among the sockets. Port 0 is chosen once.
    ///
    /// # Errors
    /// When an address cannot be bound.
    pub fn bind(addresses: &[SocketAddr], each: usize) -> Result<Self, ListenError> {
        let mut bound = Self { udp: Vec::new(), tcp: Vec::new() };
        for address in addresses {
            bound.add(*address, each.max(1)).map_err(|source| ListenError { address: *address, source })?;
        }
        Ok(bound)
    }

    fn add(&mut self, mut address: SocketAddr, each: usize) -> io::Result<()> {
        // The port that was chosen for UDP may be a connection's over TCP.
        let choices = if address.port() == 0 { CHOICES } else { 1 };
        let mut chosen = (1..choices).map(|_| pair(address)).find(Result::is_ok);
        for _ in 0..each {
            let (udp, tcp) = chosen.take().unwrap_or_else(|| pair(address))?;
            address = udp.local_addr()?;
            self.udp.push(udp);
            self.tcp.push(tcp);
        }
        Ok(())
    }

    /// Where is answered, each once.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let mut all: Vec<_> = self.udp.iter().filter_map(|socket| socket.local_addr().ok()).collect();
        all.dedup();
        all
    }

    /// Answers until the token is cancelled.
    pub async fn serve(self, service: Service, until: CancellationToken) {
        let mut tasks = JoinSet::new();
        let clients = Clients::default();
        for socket in self.udp {
            tasks.spawn(udp::serve(Arc::new(socket), service.clone(), until.clone()));
        }
        for listener in self.tcp {
            tasks.spawn(tcp::serve(listener, service.clone(), clients.clone(), until.clone()));
        }
        while tasks.join_next().await.is_some() {}
    }
}

/// Both on the same port.
fn pair(mut address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let udp = UdpSocket::from_std(socket(address, Type::DGRAM, Protocol::UDP)?.into())?;
    address.set_port(udp.local_addr()?.port());
    let tcp = socket(address, Type::STREAM, Protocol::TCP)?;
    tcp.listen(BACKLOG)?;
    Ok((udp, TcpListener::from_std(tcp.into())?))
}

fn socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_port(true)?;
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}
