//! An announcer process, a real API server, and a real router (bird) that it speaks BGP with, under the RBAC that the
//! announcer is shipped with. The node and the API server live in one network namespace without a name and without a way
//! out, the router in another.
#![allow(clippy::unwrap_used, clippy::expect_used)] // Clippy's exception for tests leaves out their functions.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    os::{linux::net::SocketAddrExt, unix::net as unix},
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

use k8s_openapi::api::{core::v1 as core, events::v1::Event};
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
use penstock_crds::{NodeAnnouncement, NodeAnnouncementStatus};
use penstock_e2e::{chart::apply_rbac, control_plane::ControlPlane, namespace::Namespace, router::Bird};
use serde_json::{Value, json};

/// Far more than any of this takes, on any machine.
const LIMIT: Duration = Duration::from_secs(60);
const SYSTEM: &str = "penstock-system";
const SOCKET: &str = "penstock-announcer";

/// It takes all routes, wants a password, and watches the node by BFD.
const BIRD: &str = r#"
router id 192.0.2.1;
protocol device { }
protocol bfd { interface "*" { interval 100 ms; multiplier 5; }; }
protocol bgp node {
    local 192.0.2.1 as 64513;
    neighbor 192.0.2.11 as 64512;
    password "s3cret";
    bfd on;
    ipv4 { import all; export none; };
    ipv6 { import all; export none; };
}
"#;

fn run(program: impl AsRef<std::ffi::OsStr>, arguments: &str) {
    let (ok, said) = outcome(program, arguments);
    assert!(ok, "{arguments}: {said}");
}

fn outcome(program: impl AsRef<std::ffi::OsStr>, arguments: &str) -> (bool, String) {
    let output = Command::new(program.as_ref()).args(arguments.split_whitespace()).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// An announcer process; killed when dropped.
struct Process(Child);

impl Process {
    fn start(dir: &Path, more: &[&str]) -> Self {
        let http_port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = File::options().create(true).append(true).open(dir.join("n1.log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_penstock-announcer"))
            .args(["--node-name", "n1", "--http-address", &format!("127.0.0.1:{http_port}")])
            .args(more)
            .env("KUBECONFIG", dir.join("announcer.kubeconfig"))
            .stderr(log)
            .spawn();
        Self(child.unwrap())
    }

    fn stop(mut self) {
        kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The namespace of the test with an API server in it, and the router's namespace at the other end of a cable.
struct Site {
    control_plane: Option<ControlPlane>,
    client: Client,
    dir: PathBuf,
    bird: Bird,
    _rack: Namespace,
}

impl Site {
    async fn new(dir: &Path) -> Self {
        let rack = Namespace::new().unwrap();
        run("ip", "link set lo up");
        run("ip", &format!("link add eth0 type veth peer name eth0 netns {}", rack.path().display()));
        for address in ["192.0.2.11/24", "2001:db8::11/64 nodad"] {
            run("ip", &format!("address add {address} dev eth0"));
        }
        run("ip", "link set eth0 up");
        for arguments in ["link set lo up", "address add 192.0.2.1/24 dev eth0", "link set eth0 up"] {
            rack.ip(arguments).unwrap();
        }
        // To accept a next hop of IPv6 it must be on a network of its own.
        rack.ip("address add 2001:db8::1/64 dev eth0 nodad").unwrap();
        let bird = Bird::start(&rack.path(), BIRD).unwrap();
        let control_plane = ControlPlane::start_on_loopback(dir).await.unwrap();
        let client = control_plane.client().await.unwrap();
        let dir = dir.to_owned();
        let this = Self { control_plane: Some(control_plane), client, dir, bird, _rack: rack };
        this.write_kubeconfig();
        this.apply_all();
        this
    }

    fn control_plane(&self) -> &ControlPlane {
        self.control_plane.as_ref().unwrap()
    }

    fn write_kubeconfig(&self) {
        let mut config = Kubeconfig::read_from(self.control_plane().kubeconfig()).unwrap();
        let user = config.auth_infos[0].auth_info.as_mut().unwrap();
        user.impersonate = Some("system:serviceaccount:penstock-system:penstock-announcer".into());
        user.impersonate_groups = Some(vec!["system:authenticated".into()]);
        // JSON is YAML.
        std::fs::write(self.dir.join("announcer.kubeconfig"), serde_json::to_vec(&config).unwrap()).unwrap();
    }

    fn kubectl(&self, arguments: &str) {
        let (ok, said) = self.tries(arguments);
        assert!(ok, "{arguments}: {said}");
    }

    fn tries(&self, arguments: &str) -> (bool, String) {
        let control_plane = self.control_plane();
        let kubeconfig = control_plane.kubeconfig();
        outcome(control_plane.kubectl(), &format!("--kubeconfig {} {arguments}", kubeconfig.display()))
    }

    fn write(&self, objects: &[Value]) -> PathBuf {
        let file = self.dir.join("objects.json");
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        std::fs::write(&file, list.to_string()).unwrap();
        file
    }

    fn apply(&self, objects: &[Value]) {
        self.kubectl(&format!("apply --server-side -f {}", self.write(objects).display()));
    }

    fn apply_statuses(&self, objects: &[Value]) {
        let file = self.write(objects);
        self.kubectl(&format!("apply --server-side --subresource=status -f {}", file.display()));
    }

    fn apply_all(&self) {
        let kinds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/yaml");
        self.kubectl(&format!("apply --server-side -f {}", kinds.display()));
        apply_rbac(self.control_plane(), "announcer").unwrap();
        self.kubectl("wait --for=condition=Established crd --all --timeout=60s");
        // What the chart's announcer.passwordSecrets gives.
        self.kubectl(&format!(
            "create role secrets -n {SYSTEM} --verb=get,list,watch --resource=secrets --resource-name=md5"
        ));
        self.kubectl(&format!("create rolebinding secrets -n {SYSTEM} --role=secrets --serviceaccount={SYSTEM}:penstock-announcer"));
        self.apply(&objects());
        let addresses = ["192.0.2.11", "2001:db8::11"].map(|ip| json!({"type": "InternalIP", "address": ip}));
        let addresses = json!({"status": {"addresses": addresses}});
        self.kubectl(&format!("patch node n1 --subresource=status --type=merge -p {addresses}"));
        self.apply_statuses(&statuses());
    }

    /// What bird has of a prefix, with all attributes; nothing when it has none.
    fn route(&self, prefix: &str) -> String {
        self.bird.ask(&format!("show route {prefix} all")).unwrap_or_default()
    }

    async fn routed(&self, prefix: &str, wanted: &[&str]) {
        let holds = || {
            let route = self.route(prefix);
            route.contains(prefix) && wanted.iter().all(|text| route.contains(text))
        };
        self.wait_for(&format!("{prefix} at the router with {wanted:?}"), || self.route(prefix), holds).await;
    }

    async fn not_routed(&self, prefix: &str) {
        let what = format!("{prefix} withdrawn");
        self.wait_for(&what, || self.route(prefix), || !self.route(prefix).contains(prefix)).await;
    }

    async fn wait_for(&self, what: &str, show: impl Fn() -> String, holds: impl Fn() -> bool) {
        let start = Instant::now();
        while !holds() {
            let logs = || std::fs::read_to_string(self.dir.join("n1.log")).unwrap_or_default();
            assert!(start.elapsed() < LIMIT, "never: {what}: {}\n{}", show(), logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What the node says of itself, once it says what is wanted.
    async fn says(
        &self,
        what: &str,
        wanted: impl Fn(&NodeAnnouncementStatus) -> bool,
    ) -> NodeAnnouncementStatus {
        let api: Api<NodeAnnouncement> = Api::namespaced(self.client.clone(), SYSTEM);
        let start = Instant::now();
        loop {
            let status =
                api.get_opt("n1").await.unwrap().and_then(|object| object.status).unwrap_or_default();
            if wanted(&status) {
                return status;
            }
            let logs = || std::fs::read_to_string(self.dir.join("n1.log")).unwrap_or_default();
            assert!(start.elapsed() < LIMIT, "never: {what}: {status:#?}\n{}", logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn event(&self, reason: &str, kind: &str) {
        let events: Api<Event> = Api::all(self.client.clone());
        let start = Instant::now();
        loop {
            let all = events.list(&ListParams::default()).await.unwrap().items;
            let about = |e: &Event| e.regarding.as_ref().and_then(|r| r.kind.as_deref()) == Some(kind);
            if all.iter().any(|event| about(event) && event.reason.as_deref() == Some(reason)) {
                return;
            }
            assert!(start.elapsed() < LIMIT, "no event {reason} of a {kind}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn ours(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "penstock.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": SYSTEM}, "spec": spec})
}

const SERVICES: [(&str, &str, &str); 3] = [
    ("four", "203.0.113.200", "10.244.0.4"),
    ("more", "203.0.113.201", "10.244.0.5"),
    ("six", "2001:db8:113::200", "10.244.0.6"),
];

fn objects() -> Vec<Value> {
    let mut all = vec![
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}),
        json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth",
            "metadata": {"name": "md5", "namespace": SYSTEM}, "stringData": {"username": "", "password": "s3cret"}}),
        ours(
            "IPAddressPool",
            "all",
            &json!({"addresses": ["203.0.113.200-203.0.113.239", "2001:db8:113::/64"]}),
        ),
        ours(
            "BFDProfile",
            "fast",
            &json!({"receiveInterval": 100, "transmitInterval": 100, "detectMultiplier": 5}),
        ),
        ours("Community", "names", &json!({"communities": [{"name": "gold", "value": "64512:7"}]})),
        ours(
            "BGPPeer",
            "tor",
            &json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1",
            "passwordSecret": {"name": "md5"}, "bfdProfile": "fast", "connectTime": "1s"}),
        ),
        ours("BGPAdvertisement", "all", &json!({"communities": ["gold", "large:64512:1:2"], "med": 50})),
    ];
    for (name, _, endpoint) in SERVICES {
        all.push(
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}),
        );
        all.push(json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4", "endpoints": [{"addresses": [endpoint]}], "ports": [{"port": 80}]}));
    }
    all
}

fn statuses() -> Vec<Value> {
    let services = SERVICES.map(|(name, address, _)| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
            "status": {"loadBalancer": {"ingress": [{"ip": address}]}}})
    });
    services.into()
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

/// What the dataplane of the node would say.
struct Dataplane(BufReader<unix::UnixStream>);

impl Dataplane {
    async fn connect() -> Self {
        let address = unix::SocketAddr::from_abstract_name(SOCKET).unwrap();
        let start = Instant::now();
        loop {
            match unix::UnixStream::connect_addr(&address) {
                Ok(stream) => return Self(BufReader::new(stream)),
                Err(error) => assert!(start.elapsed() < LIMIT, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Returns when the announcer has done what it asks.
    fn say(&mut self, word: &Value) {
        self.0.get_mut().write_all(format!("{word}\n").as_bytes()).unwrap();
        self.0.read_line(&mut String::new()).unwrap();
    }
}

#[test]
fn routers_know_what_the_node_announces() {
    in_a_namespace(|dir| async move {
        let mut site = Site::new(&dir).await;
        let announcer = Process::start(&dir, &[]);
        let attributes = ["BGP.community: (64512,7)", "BGP.large_community: (64512, 1, 2)", "BGP.med: 50"];
        site.routed("203.0.113.200/32", &attributes).await;
        site.routed("2001:db8:113::200/128", &["BGP.next_hop: 2001:db8::11"]).await;
        let status = site
            .says("the session and its addresses", |status| {
                let all_told =
                    status.addresses.iter().filter(|address| address.peers == ["tor"]).count() == 3;
                status.sessions == "1/1" && all_told && status.peers[0].bfd.as_deref() == Some("Up")
            })
            .await;
        assert_eq!(status.problems, Vec::<String>::new());
        site.event("SessionUp", "BGPPeer").await;

        refused_objects_say_why(&site);
        // A broken object harms only itself.
        site.apply(&[ours("BGPAdvertisement", "broken", &json!({"communities": ["silver"]}))]);
        let named = |status: &NodeAnnouncementStatus| {
            status
                .problems
                .iter()
                .any(|problem| problem.starts_with("BGPAdvertisement broken: ") && problem.contains("silver"))
        };
        site.says("what is wrong", named).await;
        site.routed("203.0.113.200/32", &attributes).await;

        // Routes come and go in one session.
        let services: Api<core::Service> = Api::default_namespaced(site.client.clone());
        services.delete("more", &DeleteParams::default()).await.unwrap();
        site.not_routed("203.0.113.201/32").await;
        site.apply(&[ours(
            "BGPAdvertisement",
            "all",
            &json!({"aggregationLength": 28, "communities": ["no-export"]}),
        )]);
        site.routed("203.0.113.192/28", &["BGP.community: (65535,65281)"]).await;
        site.not_routed("203.0.113.200/32").await;
        let later = site.says("the aggregate", |status| status.peers[0].prefixes == 2).await;
        assert_eq!(later.peers[0].since, status.peers[0].since, "it is the same session");

        // With the API server away nothing is withdrawn; a stopping announcer says goodbye.
        site.control_plane.take();
        let log = || std::fs::read_to_string(dir.join("n1.log")).unwrap();
        site.wait_for("the Lease lapsed", log, || log().contains("our Lease is not renewed")).await;
        site.routed("203.0.113.192/28", &[]).await;
        announcer.stop();
        site.not_routed("203.0.113.192/28").await;
    });
}

fn refused_objects_say_why(site: &Site) {
    let peer = |changes: &Value| {
        let mut spec = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1"});
        for (key, value) in changes.as_object().unwrap() {
            spec[key] = value.clone();
        }
        ours("BGPPeer", "bad", &spec)
    };
    for (object, reason) in [
        (peer(&json!({"dynamicASN": "internal"})), "give either peerASN or dynamicASN"),
        (peer(&json!({"peerAddress": "tor.example"})), "must be an IP address"),
        (peer(&json!({"holdTime": "2s"})), "must be 0s, or from 3s to 65535s"),
        (
            peer(&json!({"holdTime": "9s", "keepaliveTime": "10s"})),
            "keepaliveTime must not be longer than holdTime",
        ),
        (peer(&json!({"ebgpMultiHop": true, "ttlSecurityHops": 2})), "leave ebgpMultiHop out"),
        (peer(&json!({"routerID": "2001:db8::1"})), "must be an IPv4 address"),
        (ours("BFDProfile", "bad", &json!({"echoMode": true})), "the echo function is not supported"),
        (
            ours("BGPAdvertisement", "bad", &json!({"aggregationLength": 33})),
            "should be less than or equal to 32",
        ),
        (
            ours("Community", "bad", &json!({"communities": [{"name": "a", "value": "b"}]})),
            "must be like 65000:100 or large:65000:1:2",
        ),
    ] {
        let (ok, said) = site.tries(&format!("apply --server-side -f {}", site.write(&[object]).display()));
        assert!(!ok && said.contains(reason), "{reason}: {said}");
    }
}

#[test]
fn an_address_is_announced_when_its_rules_stand_and_withdrawn_before_they_go() {
    in_a_namespace(|dir| async move {
        let site = Site::new(&dir).await;
        let _announcer = Process::start(&dir, &["--dataplane-socket", SOCKET]);
        let mut dataplane = Dataplane::connect().await;
        dataplane.say(&json!({"all": ["203.0.113.200"]}));
        site.routed("203.0.113.200/32", &[]).await;
        assert!(!site.route("203.0.113.201/32").contains("203.0.113.201/32"), "nobody forwards it");
        dataplane.say(&json!({"more": ["203.0.113.201"]}));
        site.routed("203.0.113.201/32", &[]).await;
        dataplane.say(&json!({"less": ["203.0.113.200"]}));
        site.not_routed("203.0.113.200/32").await;
        // Its rules stay while the dataplane is away, and so do the routes.
        drop(dataplane);
        Dataplane::connect().await.say(&json!({"more": []}));
        site.routed("203.0.113.201/32", &[]).await;
    });
}
