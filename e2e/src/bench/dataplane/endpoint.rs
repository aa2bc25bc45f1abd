//! The server behind endpoints that answer: on one port it says its name and hangs up, on the other it takes what it is
//! sent.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result};

use super::population::{NAME_PORT, SINK_PORT};

/// A server, at every address of its namespace.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// What it says, one byte.
    pub name: u8,
    /// The file that exists once it listens.
    pub ready_file: PathBuf,
}

impl Endpoint {
    /// The arguments of `penstock-e2e` that make [`Endpoint::run`] run.
    pub fn args(&self) -> Vec<String> {
        vec![
            "bench-endpoint".into(),
            format!("--name={}", self.name),
            format!("--ready-file={}", self.ready_file.display()),
        ]
    }

    /// Serves until the process ends.
    ///
    /// # Errors
    /// When a port is taken.
    pub fn run(&self) -> Result<()> {
        let listen = |port| {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).with_context(|| format!("listen on port {port}"))
        };
        let (names, sink) = (listen(NAME_PORT)?, listen(SINK_PORT)?);
        fs::write(&self.ready_file, "").with_context(|| format!("write {}", self.ready_file.display()))?;
        thread::spawn(move || {
            for stream in sink.incoming().flatten() {
                thread::spawn(move || take_all(stream));
            }
        });
        // A client that breaks off is none of the server's business.
        names.incoming().flatten().for_each(|mut stream| drop(stream.write_all(&[self.name])));
        Ok(())
    }
}

fn take_all(mut stream: TcpStream) {
    let mut buffer = vec![0; 1 << 18];
    while stream.read(&mut buffer).is_ok_and(|length| length > 0) {}
}
