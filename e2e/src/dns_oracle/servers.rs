//! The servers, as processes: CoreDNS and penstock-dns with the same setting, and one that knows names of others.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cluster::harness_program;
use crate::process::{Ledger, Process, Sandbox, Spec};
use crate::tools;
use crate::wait::{Look, until};

use super::exchange::{Wait, ask};
use super::names::Topic;
use super::packet::Query;
use super::population::OWN_ADDRESS;
use super::question::{A, Question, Setting, Transport};

/// How long a server may take to answer; it bounds the wait for a broken one.
const READY: Duration = Duration::from_secs(60);
/// All ports are free: the servers have a network namespace of their own.
const OTHERS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5300);

/// The names of others.
const ZONE: &str = include_str!("example.test.zone");
const REVERSE_ZONE: &str = "$ORIGIN 113.0.203.in-addr.arpa.\n@ 300 IN SOA ns.example.test. hostmaster.example.test. 1 7200 900 \
    1209600 60\n@ 300 IN NS ns.example.test.\n9 300 IN PTR www.example.test.\n";

/// All other names.
const NOWHERE: &str = "template ANY ANY {\n        rcode NXDOMAIN\n        \
    authority \". 60 IN SOA ns.example.test. hostmaster.example.test. 1 7200 900 1209600 60\"\n    }";

/// Both servers with one setting.
#[derive(Debug)]
pub struct Pair {
    /// The setting.
    pub setting: Setting,
    /// Where CoreDNS answers.
    pub coredns: SocketAddr,
    /// Where penstock-dns answers.
    pub penstock: SocketAddr,
    processes: Vec<Process>,
}

/// The programs.
#[derive(Debug, Clone)]
pub struct Programs {
    pub(crate) coredns: PathBuf,
    pub(crate) penstock: PathBuf,
}

impl Programs {
    /// Finds ours beside this program, and builds CoreDNS unless the cache has it.
    ///
    /// # Errors
    /// When ours is not built, or CoreDNS cannot be.
    pub fn find() -> Result<Self> {
        let penstock = harness_program()?.with_file_name("penstock-dns");
        ensure!(
            penstock.is_file(),
            "{} is not built; run: cargo build --bin penstock-dns",
            penstock.display()
        );
        Ok(Self { coredns: tools::coredns()?, penstock })
    }
}

/// Starts the server that knows names of others, and waits until it answers.
///
/// # Errors
/// When it cannot be started or does not answer.
pub async fn start_others(programs: &Programs, ledger: &Ledger, dir: &Path) -> Result<Process> {
    write(&dir.join("example.test.zone"), ZONE)?;
    write(&dir.join("reverse.zone"), REVERSE_ZONE)?;
    let (port, dir_text) = (OTHERS.port(), dir.display());
    let block =
        |zone: &str, content: &str| format!("{zone}:{port} {{\n    bind 127.0.0.1\n    {content}\n}}\n");
    let corefile = [
        block("example.test", &format!("file {dir_text}/example.test.zone")),
        block("113.0.203.in-addr.arpa", &format!("file {dir_text}/reverse.zone")),
        block(".", NOWHERE),
    ]
    .concat();
    let process = coredns(programs, ledger, dir, "others", &corefile)?;
    until_answers(&process, OTHERS, "www.example.test").await?;
    Ok(process)
}

impl Pair {
    /// Starts both and waits until they answer.
    ///
    /// # Errors
    /// When one cannot be started or does not answer.
    pub async fn start(
        programs: &Programs,
        ledger: &Ledger,
        dir: &Path,
        kubeconfig: &Path,
        setting: Setting,
        number: u16,
    ) -> Result<Self> {
        let on = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port + number));
        let (theirs, ours) = (on(5310), on(5320));
        let corefile = corefile(&setting, kubeconfig, theirs.port());
        let oracle = coredns(programs, ledger, dir, &format!("coredns-{number}"), &corefile)?;
        let config = dir.join(format!("dns-{number}.yaml"));
        write(&config, &configuration(&setting))?;
        let args = [
            "--listen",
            &ours.to_string(),
            "--http-address",
            &on(9780).to_string(),
            "--config",
            &config.display().to_string(),
            "--own-address",
            &OWN_ADDRESS.to_string(),
        ];
        let spec = Spec {
            name: format!("penstock-dns-{number}"),
            program: programs.penstock.clone(),
            args: args.map(str::to_owned).to_vec(),
            env: vec![("KUBECONFIG".into(), kubeconfig.display().to_string())],
            sandbox: Sandbox { die_with_parent: true, ..Sandbox::default() },
        };
        let processes = vec![oracle, ledger.spawn(&spec)?];
        let name = format!("kubernetes.default.svc.{}", setting.domains[0]);
        until_answers(&processes[0], theirs, &name).await?;
        until_answers(&processes[1], ours, &name).await?;
        Ok(Self { setting, coredns: theirs, penstock: ours, processes })
    }

    /// An error when one has ended.
    ///
    /// # Errors
    /// When one has ended, with the end of its log.
    pub fn check(&self) -> Result<()> {
        self.processes.iter().try_for_each(Process::check)
    }
}

/// As most clusters have it (kubeadm's), with `any`, which answers ANY by RFC 8482, and without keeping what changes.
pub(crate) fn corefile(setting: &Setting, kubeconfig: &Path, port: u16) -> String {
    let domains = setting.domains.join(" ");
    let own = format!("{domains} in-addr.arpa ip6.arpa");
    format!(
        ".:{port} {{\n    errors\n    any\n    kubernetes {own} {{\n        kubeconfig {}\n        pods {}\n        \
         fallthrough in-addr.arpa ip6.arpa\n    }}\n    forward . {OTHERS}\n    cache 30 {{\n        \
         disable success {own}\n        disable denial {own}\n    }}\n    loadbalance\n}}\n",
        kubeconfig.display(),
        setting.pods
    )
}

pub(crate) fn configuration(setting: &Setting) -> String {
    let domains = setting.domains.join(", ");
    format!("clusterDomains: [{domains}]\npodNames: {}\nupstreams: ['{OTHERS}']\n", setting.pods)
}

fn coredns(programs: &Programs, ledger: &Ledger, dir: &Path, name: &str, corefile: &str) -> Result<Process> {
    let path = dir.join(format!("{name}.corefile"));
    write(&path, corefile)?;
    ledger.spawn(&Spec {
        name: name.to_owned(),
        program: programs.coredns.clone(),
        args: vec!["-conf".into(), path.display().to_string()],
        env: Vec::new(),
        sandbox: Sandbox { die_with_parent: true, ..Sandbox::default() },
    })
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

/// A question for the addresses of a name.
pub fn plain(name: &str) -> Question {
    let labels = name.split('.').map(|label| label.as_bytes().to_vec()).collect();
    let query = Query { name: labels, record_type: A, class: 1, op_code: 0, flags: 0x0100, edns: None };
    let octets = query.encode();
    Question { topic: Topic::Service, transport: Transport::Udp, query, damage: None, octets }
}

/// CoreDNS cannot be reached before it answers: a refused datagram is an error on the socket.
async fn until_answers(process: &Process, server: SocketAddr, name: &str) -> Result<()> {
    let question = plain(name);
    until(&format!("an answer of {}", process.name()), READY, || async {
        process.check()?;
        Ok(match ask(server, &question, 1, Wait::Short).await {
            // A code of 0: the name is there.
            Ok(Some(answer)) if answer.get(3).is_some_and(|flags| flags & 0x0f == 0) => Look::Ready(()),
            answer => Look::NotYet(format!("{answer:?}")),
        })
    })
    .await
}
