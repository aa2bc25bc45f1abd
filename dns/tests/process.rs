//! A penstock-dns process and a real API server.
#![allow(clippy::unwrap_used, clippy::expect_used)] // Clippy's exception for tests leaves out their functions.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query},
    rr::{Name, RecordType},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use penstock_e2e::control_plane::ControlPlane;

/// Far more than any of this takes, on any machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The ClusterIP is the API server's choice.
const OBJECTS: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: peers, namespace: default}
spec: {clusterIP: None, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: peers-1, namespace: default, labels: {kubernetes.io/service-name: peers}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints: [{addresses: [172.0.0.2]}, {addresses: [172.0.0.3], conditions: {ready: false}}]
"#;

/// A process; killed when dropped.
struct Process {
    child: Child,
    log: PathBuf,
    http: SocketAddr,
}

impl Process {
    fn start(dir: &Path, kubeconfig: &Path) -> Self {
        let http = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (log, config) = (dir.join("dns.log"), dir.join("dns.yaml"));
        fs::write(&config, "upstreams: []\nlameDuckSeconds: 2\n").unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_penstock-dns"))
            .args(["--listen", "127.0.0.1:0", "--http-address", &http.to_string(), "--config"])
            .arg(config)
            .arg("--state-file")
            .arg(dir.join("dns.state"))
            .env("KUBECONFIG", kubeconfig)
            .stderr(File::create(&log).unwrap())
            .spawn();
        Self { child: child.unwrap(), log, http }
    }

    /// Where it answers, once it does.
    fn address(&self) -> SocketAddr {
        let said = || {
            let log = fs::read_to_string(&self.log).unwrap();
            let (_, rest) = log.split_once("addresses=[")?;
            rest.split_once(']').map(|(address, _)| address.parse().unwrap())
        };
        until("the process answers", said)
    }

    fn http(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.http).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The code, and the data of the answers. An answer that is lost is asked for again.
fn ask(server: SocketAddr, name: &str, record_type: RecordType) -> (String, Vec<String>) {
    let mut question = Message::new(1, MessageType::Query, OpCode::Query);
    question.add_query(Query::query(Name::from_ascii(name).unwrap(), record_type));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    socket.connect(server).unwrap();
    let answer = until("an answer", || {
        socket.send(&question.to_vec().unwrap()).unwrap();
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).ok()?;
        Some(Message::from_vec(&buffer[..length]).unwrap())
    });
    let data = answer.answers.iter().map(|record| record.data.to_string()).collect();
    (answer.metadata.response_code.to_string(), data)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_answers_what_the_api_server_has_and_goes_on_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let control_plane = ControlPlane::start_on_loopback(dir.path()).await.unwrap();
    let objects = dir.path().join("objects.yaml");
    fs::write(&objects, OBJECTS).unwrap();
    let kubectl = |args: &[&str]| control_plane.run_kubectl(args).unwrap();
    kubectl(&["apply", "-f", &objects.display().to_string()]);
    let ip = kubectl(&["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"]);
    let kubeconfig = control_plane.kubeconfig();
    let mut process = Process::start(dir.path(), &kubeconfig);
    let server = process.address();

    assert_eq!(ask(server, "web.default.svc.cluster.local.", RecordType::A).1, [ip.trim()]);
    assert_eq!(ask(server, "peers.default.svc.cluster.local.", RecordType::A).1, ["172.0.0.2"]);
    let reverse: Vec<&str> = ip.trim().rsplit('.').collect();
    let name = format!("{}.in-addr.arpa.", reverse.join("."));
    assert_eq!(ask(server, &name, RecordType::PTR).1, ["web.default.svc.cluster.local."]);
    until("it is ready", || process.http("/ready").contains("200 OK").then_some(()));
    assert!(process.http("/metrics").contains("coredns_dns_requests_total{"));

    // A change is answered.
    kubectl(&["delete", "service", "web"]);
    until("the Service is gone", || {
        let (code, data) = ask(server, "web.default.svc.cluster.local.", RecordType::A);
        (data.is_empty() && code.contains("Non-Existent")).then_some(())
    });

    // What is known is answered without the API server.
    drop(control_plane);
    assert_eq!(ask(server, "peers.default.svc.cluster.local.", RecordType::A).1, ["172.0.0.2"]);

    // Who is asked to end is not ready, answers for a while, and ends.
    kill(Pid::from_raw(process.child.id().cast_signed()), Signal::SIGTERM).unwrap();
    until("it is no longer ready", || process.http("/ready").contains("503").then_some(()));
    assert_eq!(ask(server, "peers.default.svc.cluster.local.", RecordType::A).1, ["172.0.0.2"]);
    assert!(process.child.wait().unwrap().success());

    // What was known last is answered after a restart without the API server, and what was not may exist.
    let process = Process::start(dir.path(), &kubeconfig);
    let server = process.address();
    assert_eq!(ask(server, "peers.default.svc.cluster.local.", RecordType::A).1, ["172.0.0.2"]);
    let (code, data) = ask(server, "web.default.svc.cluster.local.", RecordType::A);
    assert!(data.is_empty() && code.contains("Server Failure"), "{code}");
    assert!(process.http("/ready").contains("503"));
}
