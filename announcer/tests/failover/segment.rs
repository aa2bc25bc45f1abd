//! One segment with a real API server, two announcer processes and a client, in the calling thread's network namespace.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

use kube::{Client, config::Kubeconfig};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use penstock_announcer::{link::LinkWatch, mac::Mac};
use penstock_e2e::{chart::apply_rbac, control_plane::ControlPlane, relay::Relay};
use serde_json::{Value, json};

use crate::{LIMIT, NODES, questions::Questions};

/// The last bytes of the addresses; each Service has one of each family.
const LAST: std::ops::Range<u8> = 200..204;

pub(crate) fn addresses() -> Vec<IpAddr> {
    LAST.flat_map(of_service).collect()
}

pub(crate) fn of_service(last: u8) -> [IpAddr; 2] {
    let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, last.into());
    [Ipv4Addr::new(203, 0, 113, last).into(), v6.into()]
}

pub(crate) fn run(program: impl AsRef<std::ffi::OsStr>, arguments: &str) {
    let output = Command::new(program.as_ref()).args(arguments.split_whitespace()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {arguments}: {said}", program.as_ref().display());
}

/// An announcer process; killed when dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    http_port: u16,
}

impl Process {
    pub(crate) fn start(node: &str, dir: &Path) -> Self {
        Self::start_with(node, dir, &[])
    }

    pub(crate) fn start_with(node: &str, dir: &Path, flags: &[&str]) -> Self {
        let http_port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = File::options().create(true).append(true).open(dir.join(format!("{node}.log"))).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_penstock-announcer"))
            .args(["--node-name", node, "--interface", node])
            .args(["--http-address", &format!("127.0.0.1:{http_port}")])
            .args(flags)
            .env("KUBECONFIG", dir.join(format!("{node}.kubeconfig")))
            .stderr(log)
            .spawn();
        Self { child: child.unwrap(), http_port }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    pub(crate) fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http_port)).ok()?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.get("/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.0 200"))
    }

    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
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

pub(crate) struct Segment {
    pub(crate) control_plane: Option<ControlPlane>,
    pub(crate) client: Client,
    dir: PathBuf,
    macs: BTreeMap<String, Mac>,
    questions: Questions,
    /// Each node's way to the API server.
    pub(crate) relays: BTreeMap<&'static str, Relay>,
}

impl Segment {
    pub(crate) async fn new(dir: &Path) -> Self {
        run("ip", "link set lo up");
        // Without a querier snooping would take the questions of Neighbor Discovery for unwanted.
        run("ip", "link add br0 type bridge mcast_snooping 0");
        run("ip", "link set br0 up");
        for port in ["n1", "n2", "client"] {
            run("ip", &format!("link add {port} type veth peer name {port}-br"));
            run("ip", &format!("link set {port}-br master br0 up"));
            run("ip", &format!("link set {port} up"));
        }
        let control_plane = ControlPlane::start_on_loopback(dir).await.unwrap();
        let client = control_plane.client().await.unwrap();
        let links = LinkWatch::open().unwrap().list().await.unwrap();
        let questions = Questions::open(links.iter().find(|l| l.name == "client").unwrap());
        let macs = links.into_iter().map(|link| (link.name, link.mac)).collect();
        let (dir, relays) = (dir.to_owned(), BTreeMap::new());
        let mut this = Self { control_plane: Some(control_plane), client, dir, macs, questions, relays };
        for node in NODES {
            this.relay(node).await;
        }
        this.apply_all();
        this
    }

    async fn relay(&mut self, node: &'static str) {
        let mut config = Kubeconfig::read_from(self.control_plane.as_ref().unwrap().kubeconfig()).unwrap();
        let cluster = config.clusters[0].cluster.as_mut().unwrap();
        let server: SocketAddr =
            cluster.server.as_ref().unwrap().trim_start_matches("https://").parse().unwrap();
        let relay = Relay::start(server).await.unwrap();
        cluster.server = Some(format!("https://127.0.0.1:{}", relay.port()));
        let user = config.auth_infos[0].auth_info.as_mut().unwrap();
        user.impersonate = Some("system:serviceaccount:penstock-system:penstock-announcer".into());
        user.impersonate_groups = Some(vec!["system:authenticated".into()]);
        // JSON is YAML.
        let file = self.dir.join(format!("{node}.kubeconfig"));
        std::fs::write(file, serde_json::to_vec(&config).unwrap()).unwrap();
        self.relays.insert(node, relay);
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
        let statuses: Vec<Value> = LAST.map(status).collect();
        std::fs::write(&file, json!({"apiVersion": "v1", "kind": "List", "items": statuses}).to_string())
            .unwrap();
        file
    }

    /// Waits until each address is answered for by the node that `owner` names; returns how long it took.
    pub(crate) async fn settles(
        &mut self,
        what: &str,
        owner: impl Fn(IpAddr) -> Option<&'static str>,
    ) -> Duration {
        let start = Instant::now();
        for address in addresses() {
            let wanted = owner(address).map(|node| self.macs[node]);
            // The second look is the dear one: only once the first answer is right.
            while self.questions.ask(address).await != wanted
                || self.questions.ask_often(address).await != Vec::from_iter(wanted)
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

    pub(crate) fn logs(&self) -> String {
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
    all.push(ours(
        "IPAddressPool",
        json!({"addresses": ["203.0.113.200-203.0.113.239", "2001:db8:113::/120"]}),
    ));
    all.push(ours("L2Advertisement", json!({})));
    for last in LAST {
        let name = name(last);
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

fn name(last: u8) -> String {
    format!("s{last}")
}

fn status(last: u8) -> Value {
    let both = of_service(last).map(|ip| json!({"ip": ip.to_string()}));
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name(last), "namespace": "default"},
        "status": {"loadBalancer": {"ingress": both}}})
}
