//! Servers that answer with their name and the source address that they saw, and the client that asks.

use std::{
    io::{BufRead, BufReader, ErrorKind, Write},
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use penstock_model::Protocol;

use crate::namespace::Namespace;

/// How long one attempt may stay without an answer; the caller tries again until its own deadline.
const PATIENCE: Duration = Duration::from_secs(2);

/// Who answered, and which source address it saw.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Answer {
    /// The server's name.
    pub(crate) by: String,
    /// The client's address as the server saw it.
    pub(crate) seen: IpAddr,
}

/// What came of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A server answered.
    Answered(Answer),
    /// Connection refused: a TCP reset or an ICMP port unreachable.
    Refused,
    /// Nothing.
    Silent,
}

/// Serves TCP and UDP, IPv4 and IPv6, on these ports for as long as the process lives.
pub(crate) fn serve(namespace: &Namespace, name: &'static str, ports: &[u16]) {
    for port in ports {
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, *port));
        let (tcp, udp) = namespace.enter(|| (TcpListener::bind(any).unwrap(), UdpSocket::bind(any).unwrap()));
        thread::spawn(move || serve_tcp(&tcp, name));
        thread::spawn(move || serve_udp(&udp, name));
    }
}

fn serve_tcp(listener: &TcpListener, name: &'static str) {
    for stream in listener.incoming().flatten() {
        thread::spawn(move || answer_lines(&stream, name));
    }
}

/// One answer a line, so that a test can see whether an old connection still works.
fn answer_lines(mut stream: &TcpStream, name: &str) -> std::io::Result<()> {
    let answer = format!("{name} {}\n", stream.peer_addr()?.ip().to_canonical());
    for line in BufReader::new(stream).lines() {
        line?;
        stream.write_all(answer.as_bytes())?;
    }
    Ok(())
}

fn serve_udp(socket: &UdpSocket, name: &str) {
    let mut buffer = [0; 64];
    while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
        let _ = socket.send_to(format!("{name} {}\n", peer.ip().to_canonical()).as_bytes(), peer);
    }
}

/// A TCP connection that stays open.
#[derive(Debug)]
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Connects.
    pub(crate) fn open(from: &Namespace, to: SocketAddr) -> std::io::Result<Self> {
        let stream = from.enter(|| TcpStream::connect_timeout(&to, PATIENCE))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Asks who is at the other end.
    pub(crate) fn ask(&mut self) -> std::io::Result<Answer> {
        self.0.get_mut().write_all(b"?\n")?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        Ok(parse(&line))
    }
}

/// Makes one attempt, with a connection of its own.
pub(crate) fn ask(from: &Namespace, protocol: Protocol, to: SocketAddr) -> Outcome {
    let answer = match protocol {
        Protocol::Tcp => Connection::open(from, to).and_then(|mut connection| connection.ask()),
        Protocol::Udp => ask_udp(from, to),
        Protocol::Sctp => panic!("no SCTP sockets in the standard library"),
    };
    match answer {
        Ok(answer) => Outcome::Answered(answer),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Outcome::Refused,
        Err(_) => Outcome::Silent,
    }
}

fn ask_udp(from: &Namespace, to: SocketAddr) -> std::io::Result<Answer> {
    Datagrams::open(from, to)?.ask()
}

/// A client's UDP socket, whose port stays the same.
#[derive(Debug)]
pub(crate) struct Datagrams(UdpSocket);

impl Datagrams {
    /// Opens one that is connected.
    pub(crate) fn open(from: &Namespace, to: SocketAddr) -> std::io::Result<Self> {
        let any: IpAddr = if to.is_ipv4() { [0, 0, 0, 0].into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = from.enter(|| UdpSocket::bind((any, 0)))?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(socket))
    }

    /// Asks who is at the other end.
    pub(crate) fn ask(&self) -> std::io::Result<Answer> {
        match self.0.send(b"?") {
            // What a rejected packet of the node itself returns; the ICMP error is still to be read.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            sent => drop(sent?),
        }
        let mut buffer = [0; 128];
        let length = self.0.recv(&mut buffer)?;
        Ok(parse(&String::from_utf8_lossy(&buffer[..length])))
    }
}

fn parse(line: &str) -> Answer {
    let (by, seen) = line.trim().split_once(' ').unwrap_or_else(|| panic!("an answer like {line:?}"));
    Answer { by: by.into(), seen: seen.parse().unwrap() }
}
