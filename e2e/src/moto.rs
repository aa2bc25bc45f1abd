//! moto, the emulator of AWS that others keep, as a process on loopback: an opinion besides our own endpoint's. What it
//! gets wrong about load balancers is listed in `tests/tests/aws_moto`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::control_plane::free_ports;
use crate::packages;
use crate::process::{Ledger, Process, Sandbox, Spec};
use crate::tools;
use crate::wait::{Look, until};

/// The region whose network [`Moto`] knows.
pub const REGION: &str = "eu-central-1";

/// How long it may take until it answers; it bounds the wait for a broken one.
const START: Duration = Duration::from_secs(60);

/// How often a start is tried again: the port was free a moment ago, but another program may have taken it.
const ATTEMPTS: usize = 3;

/// A running moto with an empty account. It ends with the value, and with this program however that ends.
pub struct Moto {
    port: u16,
    process: Process,
    /// The VPC that an account has from the start.
    pub vpc: String,
    /// Its subnets, sorted by zone.
    pub subnets: Vec<String>,
    /// The security group that the VPC has from the start.
    pub security_group: String,
    _directory: tempfile::TempDir,
}

impl Moto {
    /// Installs what the cache does not have, and starts it on a free port.
    ///
    /// # Errors
    /// When it cannot be installed or ends early; the message has the end of its log.
    pub async fn start() -> Result<Self> {
        let prepare = || packages::ensure_for_python().and_then(|()| tools::moto());
        let python = tokio::task::spawn_blocking(prepare).await.context("install moto")??;
        let mut attempt = 1;
        loop {
            match Self::attempt(&python).await {
                Err(error)
                    if attempt < ATTEMPTS && format!("{error:#}").contains("Address already in use") =>
                {
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn attempt(python: &std::path::Path) -> Result<Self> {
        let directory = tempfile::tempdir().context("make a directory for moto's log")?;
        let [port] = free_ports()?;
        let args = ["-I", "-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()];
        let spec = Spec {
            name: "moto".to_owned(),
            program: python.to_owned(),
            args: args.map(ToOwned::to_owned).to_vec(),
            env: Vec::new(),
            sandbox: Sandbox { die_with_parent: true, ..Sandbox::default() },
        };
        let process = Ledger::open(directory.path())?.spawn(&spec)?;
        let (vpc, subnets, security_group) = (String::new(), Vec::new(), String::new());
        let mut this = Self { port, process, vpc, subnets, security_group, _directory: directory };
        until("the start of moto", START, || async {
            this.process.check()?;
            Ok(match this.send("GET /moto-api/", "", "").await {
                Ok(_) => Look::Ready(()),
                Err(error) => Look::NotYet(format!("{error:#}")),
            })
        })
        .await?;
        this.look_around().await?;
        Ok(this)
    }

    /// The endpoint URL for every service of the SDK. Any key and secret are right.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Forgets everything but the network that an account has from the start, which is then another.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn reset(&mut self) -> Result<()> {
        self.send("POST /moto-api/reset", "", "").await?;
        self.look_around().await
    }

    /// An address of its own for an internet-facing load balancer: its allocation id.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn allocate_address(&self) -> Result<String> {
        let answer = self.ec2("Action=AllocateAddress&Domain=vpc").await?;
        elements(&answer, "allocationId").pop().context("moto gave no address")
    }

    async fn look_around(&mut self) -> Result<()> {
        let subnets = self.ec2("Action=DescribeSubnets").await?;
        let ids = elements(&subnets, "subnetId");
        let mut pairs: Vec<_> = elements(&subnets, "availabilityZone").into_iter().zip(ids).collect();
        pairs.sort();
        self.subnets = pairs.into_iter().map(|(_, id)| id).collect();
        self.vpc = elements(&subnets, "vpcId").pop().context("moto has no VPC")?;
        let groups = self.ec2("Action=DescribeSecurityGroups").await?;
        self.security_group = elements(&groups, "groupId").pop().context("moto has no security group")?;
        Ok(())
    }

    /// A call of EC2, whose SDK would be compiled for minutes. moto reads no more of a signature than its scope.
    async fn ec2(&self, body: &str) -> Result<String> {
        let credential = format!("Credential=K/20260101/{REGION}/ec2/aws4_request");
        let headers = format!(
            "Authorization: AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=0\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n"
        );
        self.send("POST /", &headers, &format!("{body}&Version=2016-11-15")).await
    }

    async fn send(&self, what: &str, headers: &str, body: &str) -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.context("connect to moto")?;
        let (length, port) = (body.len(), self.port);
        let head =
            format!("{what} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {length}\r\n{headers}\r\n");
        stream.write_all(format!("{head}{body}").as_bytes()).await.context("ask moto")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.context("read moto's answer")?;
        ensure!(answer.split(' ').nth(1) == Some("200"), "moto answers {what} with {answer}");
        Ok(answer)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        if let Err(error) = self.process.kill() {
            eprintln!("{error:#}");
        }
    }
}

/// The texts of all elements with this name, in their order.
fn elements(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let texts = xml.split(&open).skip(1);
    texts.filter_map(|rest| rest.split_once(&close).map(|(text, _)| text.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_by_their_whole_name() {
        let xml = "<a><subnetId>x</subnetId><subnetIds>z</subnetIds></a><subnetId>y</subnetId>";
        assert_eq!(elements(xml, "subnetId"), ["x", "y"]);
    }
}
