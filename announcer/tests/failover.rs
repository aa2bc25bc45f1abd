//! Two announcer processes on one segment with a real API server, under the RBAC that they are shipped with. All of it
//! lives in one network namespace without a name and without a way out: a bridge with a port for each announcer and
//! one for the client.
#![allow(clippy::unwrap_used, clippy::expect_used)] // Clippy's exception for tests leaves out their functions.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

use k8s_openapi::api::{coordination::v1::Lease, core::v1 as core, events::v1::Event};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams},
    config::Kubeconfig,
};
use nix::{
    sched::{CloneFlags, unshare},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use penstock_announcer::{
    arp::{ArpFrame, Operation},
    election,
    link::LinkWatch,
    mac::Mac,
    packet_socket::{Discovery, PacketSocket},
};
use penstock_e2e::{chart::apply_rbac, control_plane::ControlPlane};
use serde_json::{Value, json};

/// Far more than any of this takes, on any machine.
const LIMIT: Duration = Duration::from_secs(60);
/// How long answers to one question are collected.
const ANSWERS_WITHIN: Duration = Duration::from_millis(100);
/// Questions by which a second owner would be heard.
const QUESTIONS: usize = 3;
const NODES: [&str; 2] = ["n1", "n2"];

fn addresses() -> Vec<Ipv4Addr> {
    (200..208).map(|last| Ipv4Addr::new(203, 0, 113, last)).collect()
}

fn run(program: impl AsRef<std::ffi::OsStr>, arguments: &str) {
    let output = Command::new(program.as_ref()).args(arguments.split_whitespace()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {arguments}: {said}", program.as_ref().display());
}

/// An announcer process; killed when dropped.
struct Process {
    child: Child,
    http_port: u16,
}

impl Process {
    fn start(node: &str, dir: &Path) -> Self {
        let http_port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = File::options().create(true).append(true).open(dir.join(format!("{node}.log"))).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_penstock-announcer"))
            .args(["--node-name", node, "--interface", node])
            .args(["--http-address", &format!("127.0.0.1:{http_port}")])
            .env("KUBECONFIG", dir.join("announcer.kubeconfig"))
            .stderr(log)
            .spawn();
        Self { child: child.unwrap(), http_port }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http_port)).ok()?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    fn metric(&self, name: &str) -> Option<f64> {
        let text = self.get("/metrics")?;
        let line = text.lines().find(|line| line.starts_with(&format!("penstock_announcer_{name} ")))?;
        line.rsplit(' ').next()?.parse().ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Segment {
    control_plane: Option<ControlPlane>,
    client: Client,
    dir: PathBuf,
    macs: BTreeMap<String, Mac>,
    socket: PacketSocket,
    asked: u32,
}

impl Segment {
    async fn new(dir: &Path) -> Self {
        run("ip", "link set lo up");
        run("ip", "link add br0 type bridge");
        run("ip", "link set br0 up");
        for port in ["n1", "n2", "client"] {
            run("ip", &format!("link add {port} type veth peer name {port}-br"));
            run("ip", &format!("link set {port}-br master br0 up"));
            run("ip", &format!("link set {port} up"));
        }
        let control_plane = ControlPlane::start_on_loopback(dir).await.unwrap();
        let client = control_plane.client().await.unwrap();
        let links = LinkWatch::open().unwrap().list().await.unwrap();
        let socket =
            PacketSocket::open(links.iter().find(|l| l.name == "client").unwrap().index, Discovery::Arp)
                .unwrap();
        let macs = links.into_iter().map(|link| (link.name, link.mac)).collect();
        let dir = dir.to_owned();
        let this = Self { control_plane: Some(control_plane), client, dir, macs, socket, asked: 0 };
        this.write_kubeconfig();
        this.apply_all();
        this
    }

    fn write_kubeconfig(&self) {
        let mut config = Kubeconfig::read_from(self.control_plane.as_ref().unwrap().kubeconfig()).unwrap();
        let user = config.auth_infos[0].auth_info.as_mut().unwrap();
        user.impersonate = Some("system:serviceaccount:penstock-system:penstock-announcer".into());
        user.impersonate_groups = Some(vec!["system:authenticated".into()]);
        // JSON is YAML.
        std::fs::write(self.dir.join("announcer.kubeconfig"), serde_json::to_vec(&config).unwrap()).unwrap();
    }

    fn kubectl(&self, arguments: &str) {
        let control_plane = self.control_plane.as_ref().unwrap();
        let kubeconfig = control_plane.kubeconfig();
        run(control_plane.kubectl(), &format!("--kubeconfig {} {arguments}", kubeconfig.display()));
    }

    fn apply_all(&self) {
        let kinds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/yaml");
        self.kubectl(&format!("apply --server-side -f {}", kinds.display()));
        apply_rbac(self.control_plane.as_ref().unwrap(), "announcer").unwrap();
        self.kubectl("wait --for=condition=Established crd --all --timeout=60s");
        let file = self.dir.join("objects.json");
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects()});
        std::fs::write(&file, list.to_string()).unwrap();
        self.kubectl(&format!("apply --server-side -f {}", file.display()));
        self.kubectl(&format!(
            "apply --server-side --subresource=status -f {}",
            self.write_statuses().display()
        ));
    }

    fn write_statuses(&self) -> PathBuf {
        let file = self.dir.join("statuses.json");
        let statuses: Vec<Value> = addresses().iter().map(status).collect();
        std::fs::write(&file, json!({"apiVersion": "v1", "kind": "List", "items": statuses}).to_string())
            .unwrap();
        file
    }

    /// Who answers for the address first, if somebody does soon.
    async fn ask(&mut self, address: Ipv4Addr) -> Option<Mac> {
        self.question(address).await;
        tokio::time::timeout(ANSWERS_WITHIN, self.answer(address)).await.ok()
    }

    async fn question(&mut self, address: Ipv4Addr) {
        self.asked += 1;
        let question = ArpFrame {
            destination: Mac::BROADCAST,
            operation: Operation::Request,
            sender: self.asker(),
            target: (Mac([0; 6]), address),
        };
        self.socket.send(&question.to_bytes()).await.unwrap();
    }

    /// Each question is asked from another address, so that answers to those before are told apart.
    fn asker(&self) -> (Mac, Ipv4Addr) {
        (self.macs["client"], Ipv4Addr::from(0x0a00_0000 + self.asked))
    }

    /// The next answer to the last question.
    async fn answer(&mut self, address: Ipv4Addr) -> Mac {
        loop {
            let frame = ArpFrame::parse(&self.socket.receive().await.unwrap());
            let ours = |f: &ArpFrame| {
                f.operation == Operation::Reply && f.target == self.asker() && f.sender.1 == address
            };
            if let Some(frame) = frame.filter(ours) {
                return frame.sender.0;
            }
        }
    }

    /// Who answers for the address, in order, each once: collected over several questions, so that a second owner
    /// whose answers come later is heard too.
    async fn ask_often(&mut self, address: Ipv4Addr) -> Vec<Mac> {
        let mut macs = Vec::new();
        for _ in 0..QUESTIONS {
            self.question(address).await;
            while let Ok(mac) = tokio::time::timeout(ANSWERS_WITHIN, self.answer(address)).await {
                if !macs.contains(&mac) {
                    macs.push(mac);
                }
            }
        }
        macs
    }

    /// Waits until each address is answered for by the node that `owner` names; returns how long it took.
    async fn settles(&mut self, what: &str, owner: impl Fn(Ipv4Addr) -> Option<&'static str>) -> Duration {
        let start = Instant::now();
        for address in addresses() {
            let wanted = owner(address).map(|node| self.macs[node]);
            // The second look is the dear one: only once the first answer is right.
            while self.ask(address).await != wanted || self.ask_often(address).await != Vec::from_iter(wanted)
            {
                assert!(
                    start.elapsed() < LIMIT,
                    "{what}: {address} is not answered for by {wanted:?}\n{}",
                    self.logs()
                );
            }
        }
        println!("{what}: {} ms", start.elapsed().as_millis());
        start.elapsed()
    }

    fn logs(&self) -> String {
        let read = |node| std::fs::read_to_string(self.dir.join(format!("{node}.log"))).unwrap_or_default();
        NODES.map(|node| format!("--- {node}\n{}", read(node))).concat()
    }
}

fn objects() -> Vec<Value> {
    let ours = |kind: &str, spec: Value| {
        json!({"apiVersion": "penstock.dev/v1alpha1", "kind": kind,
            "metadata": {"name": "all", "namespace": "penstock-system"}, "spec": spec})
    };
    let mut all: Vec<Value> = NODES
        .iter()
        .map(|name| json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}))
        .collect();
    all.push(ours("IPAddressPool", json!({"addresses": ["203.0.113.200-203.0.113.239"]})));
    all.push(ours("L2Advertisement", json!({})));
    for address in addresses() {
        let name = name(&address);
        all.push(json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}));
        all.push(json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": name, "namespace": "default",
                "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4", "endpoints": [{"addresses": ["10.244.0.4"]}], "ports": [{"port": 80}]}));
    }
    all
}

fn name(address: &Ipv4Addr) -> String {
    format!("s{}", address.octets()[3])
}

fn status(address: &Ipv4Addr) -> Value {
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name(address), "namespace": "default"},
        "status": {"loadBalancer": {"ingress": [{"ip": address.to_string()}]}}})
}

fn elected(address: Ipv4Addr) -> Option<&'static str> {
    election::owner(IpAddr::V4(address), NODES)
}

async fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LIMIT, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Threads and processes made by the thread of the test stay in its namespace.
fn in_a_namespace<F: Future<Output = ()>>(test: impl FnOnce(PathBuf) -> F + Send + 'static) {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("network namespaces need root: run the tests as root");
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test(dir.path().to_owned()));
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn addresses_move_when_they_must_and_stay_when_the_api_server_is_away() {
    in_a_namespace(|dir| async move {
        let mut segment = Segment::new(&dir).await;
        let mut n1 = Process::start("n1", &dir);
        let mut n2 = Process::start("n2", &dir);
        segment.settles("both started", elected).await;
        assert!(n1.get("/readyz").unwrap().starts_with("HTTP/1.0 200"));
        let owned = n1.metric("owned_addresses").unwrap() + n2.metric("owned_addresses").unwrap();
        assert!((owned - 8.0).abs() < 0.5, "{owned} owners of 8 addresses");
        assigned(&segment, "s200").await;
        no_lease_is_owned(&segment).await;

        drop(n1); // SIGKILL
        segment.settles("n1 killed", |_| Some("n2")).await;
        n1 = Process::start("n1", &dir);
        segment.settles("n1 back", elected).await;

        n2.signal(Signal::SIGTERM);
        segment.settles("n2 stopped", |_| Some("n1")).await;
        assert!(n2.child.wait().unwrap().success(), "{}", segment.logs());
        n2 = Process::start("n2", &dir);
        segment.settles("n2 back", elected).await;

        let services: Api<core::Service> = Api::default_namespaced(segment.client.clone());
        services.delete("s200", &DeleteParams::default()).await.unwrap();
        let gone = Ipv4Addr::new(203, 0, 113, 200);
        let left = move |address| elected(address).filter(|_| address != gone);
        segment.settles("a Service deleted", left).await;

        segment.control_plane.take();
        for process in [&n1, &n2] {
            wait_for("failed renewals", || {
                process.metric("lease_renewals_total{outcome=\"error\"}").is_some_and(|failed| failed > 5.0)
            })
            .await;
            assert_eq!(process.metric("lease_healthy"), Some(0.0));
        }
        segment.settles("API server away", left).await;
    });
}

/// The garbage collector deletes what a Node owned, and a re-created Node has another UID.
async fn no_lease_is_owned(segment: &Segment) {
    let leases: Api<Lease> = Api::namespaced(segment.client.clone(), "penstock-system");
    let leases = leases.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(leases.len(), NODES.len());
    assert!(leases.iter().all(|lease| lease.metadata.owner_references.is_none()), "{leases:?}");
}

async fn assigned(segment: &Segment, service: &str) {
    let events: Api<Event> = Api::default_namespaced(segment.client.clone());
    let start = Instant::now();
    loop {
        let all = events.list(&ListParams::default()).await.unwrap();
        let about = |e: &&Event| e.regarding.as_ref().is_some_and(|r| r.name.as_deref() == Some(service));
        if all.iter().filter(about).any(|e| e.reason.as_deref() == Some("nodeAssigned")) {
            return;
        }
        assert!(start.elapsed() < LIMIT, "no event nodeAssigned on Service {service}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
