//! The server behind every endpoint: it answers with its name, the port, and the source address that it saw. By TCP one
//! answer for each line, so that a connection can be kept; by UDP one for each packet.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result};

use crate::flows::judgement::Answer;

/// A server.
#[derive(Debug, Clone)]
pub struct Echo {
    /// The name that it answers with.
    pub name: String,
    /// The ports that it listens on, by TCP and by UDP, at every address.
    pub ports: Vec<u16>,
    /// The file that exists once it listens.
    pub ready_file: PathBuf,
}

impl Echo {
    /// The arguments of `penstock-e2e` that make [`Echo::run`] run.
    pub fn args(&self) -> Vec<String> {
        let mut args = vec![
            "echo".into(),
            format!("--name={}", self.name),
            format!("--ready-file={}", self.ready_file.display()),
        ];
        args.extend(self.ports.iter().map(|port| format!("--port={port}")));
        args
    }

    /// Serves until the process ends.
    ///
    /// # Errors
    /// When a port is taken.
    pub fn run(&self) -> Result<()> {
        for port in &self.ports {
            // Both families: IPV6_V6ONLY is off.
            let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, *port));
            let tcp = TcpListener::bind(any).with_context(|| format!("listen on TCP port {port}"))?;
            let udp = UdpSocket::bind(any).with_context(|| format!("listen on UDP port {port}"))?;
            let (tcp_name, udp_name) = (format!("{}:{port}", self.name), format!("{}:{port}", self.name));
            thread::spawn(move || serve_tcp(&tcp, &tcp_name));
            thread::spawn(move || serve_udp(&udp, &udp_name));
        }
        fs::write(&self.ready_file, "").with_context(|| format!("write {}", self.ready_file.display()))?;
        loop {
            thread::park();
        }
    }
}

fn serve_tcp(listener: &TcpListener, name: &str) {
    for stream in listener.incoming().flatten() {
        let name = name.to_owned();
        // A client that breaks off is none of the server's business.
        thread::spawn(move || answer_lines(&stream, &name));
    }
}

fn answer_lines(mut stream: &TcpStream, name: &str) -> std::io::Result<()> {
    let answer = render(name, stream.peer_addr()?.ip());
    for line in BufReader::new(stream).lines() {
        line?;
        stream.write_all(answer.as_bytes())?;
    }
    Ok(())
}

fn serve_udp(socket: &UdpSocket, name: &str) {
    let mut buffer = [0; 64];
    loop {
        // Errors are those of answers sent before; whoever asked sees that none came.
        if let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(render(name, peer.ip()).as_bytes(), peer);
        }
    }
}

fn render(name: &str, source: IpAddr) -> String {
    format!("{name} {}\n", source.to_canonical())
}

/// Reads what a server said.
pub fn parse(line: &str) -> Option<Answer> {
    let (server, source) = line.trim().split_once(' ')?;
    let (by, port) = server.rsplit_once(':')?;
    Some(Answer { by: by.to_owned(), port: port.parse().ok()?, source: source.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        let mapped: IpAddr = "::ffff:10.244.1.11".parse().unwrap();
        let answer = parse(&render("a1:8080", mapped)).unwrap();
        assert_eq!(answer, Answer { by: "a1".into(), port: 8080, source: "10.244.1.11".parse().unwrap() });
        assert_eq!(parse("HTTP/1.1 400 Bad Request"), None);
    }
}
