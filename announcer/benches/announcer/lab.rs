//! Two nodes, an API server and a client. The nodes share this process's namespace: each is its port on the bridge, an
//! announcer, and what answers packets that come in by the port.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use kube::Client;
use penstock_announcer::{election, link::LinkWatch, mac::Mac};
use penstock_e2e::{
    chart::apply_rbac,
    control_plane::ControlPlane,
    namespace::Namespace,
    process::{Ledger, Process, Sandbox, Spec},
    relay::Relay,
};
use serde_json::{Value, json};

use crate::traffic::Forwarding;

/// Far more than any of this takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// The nodes' names, which are those of their ports.
pub(crate) const NODES: [&str; 2] = ["n1", "n2"];
/// What a node is called by what answers its packets.
pub(crate) const VICTIM: u8 = 1;

/// Addresses are set by hand: no detection of duplicates, and ARP only for what is on the interface that is asked.
const SYSCTLS: [(&str, &str); 8] = [
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/conf/all/arp_ignore", "1"),
    ("ipv4/conf/default/arp_ignore", "1"),
    ("ipv4/conf/all/arp_announce", "2"),
    ("ipv6/conf/all/accept_dad", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
];

/// A node.
pub(crate) struct Node {
    pub(crate) name: &'static str,
    pub(crate) mac: Mac,
    pub(crate) relay: Relay,
    pub(crate) forwarding: Forwarding,
    kubeconfig: PathBuf,
    process: Option<Process>,
}

impl Node {
    pub(crate) fn start(&mut self, ledger: &Ledger) -> Result<()> {
        let spec = Spec {
            name: self.name.to_owned(),
            program: env!("CARGO_BIN_EXE_penstock-announcer").into(),
            args: ["--node-name", self.name, "--interface", self.name, "--http-address", "127.0.0.1:0"]
                .map(str::to_owned)
                .into(),
            env: vec![("KUBECONFIG".to_owned(), self.kubeconfig.display().to_string())],
            sandbox: Sandbox { die_with_parent: true, ..Sandbox::default() },
        };
        self.process = Some(ledger.spawn(&spec)?);
        Ok(())
    }

    pub(crate) fn process(&self) -> Result<&Process> {
        self.process.as_ref().with_context(|| format!("{} was never started", self.name))
    }
}

/// All of it.
pub(crate) struct Lab {
    pub(crate) nodes: [Node; 2],
    pub(crate) client: Namespace,
    pub(crate) api: Client,
    pub(crate) ledger: Ledger,
    /// One of each family; the election gives both to the first node.
    pub(crate) addresses: [IpAddr; 2],
    directory: PathBuf,
    control_plane: ControlPlane,
}

impl Lab {
    pub(crate) async fn start(directory: &Path) -> Result<Self> {
        let client = network()?;
        let addresses = [elected(|n| Ipv4Addr::new(203, 0, 113, 100 + n).into())?, elected(address_v6)?];
        for address in addresses {
            ip(&format!("addr add {address} dev lo"))?;
        }
        let control_plane = ControlPlane::start_on_loopback(directory).await?;
        let api = control_plane.client().await?;
        definitions(&control_plane)?;
        let nodes = [
            node(&control_plane, NODES[0], VICTIM, &addresses).await?,
            node(&control_plane, NODES[1], VICTIM + 1, &addresses).await?,
        ];
        let ledger = Ledger::open(directory.join("announcers"))?;
        let directory = directory.to_owned();
        let mut this = Self { nodes, client, api, ledger, addresses, directory, control_plane };
        this.apply("objects", &objects(), "")?;
        let both = addresses.map(|ip| json!({"ip": ip.to_string()}));
        let mut service = service("both");
        service["status"] = json!({"loadBalancer": {"ingress": both}});
        this.apply("status", &[service], "--subresource=status")?;
        for node in &mut this.nodes {
            node.start(&this.ledger)?;
        }
        Ok(this)
    }

    fn apply(&self, name: &str, objects: &[Value], flag: &str) -> Result<()> {
        let file = self.directory.join(format!("{name}.json"));
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        fs::write(&file, list.to_string()).context("write objects")?;
        let file = file.display().to_string();
        let args = ["apply", "--server-side", "-f", &file, flag];
        let args: Vec<&str> = args.into_iter().filter(|arg| !arg.is_empty()).collect();
        self.control_plane.run_kubectl(&args).map(drop)
    }

    /// Takes the first node off the segment, or puts it back. Its carrier stays: a switch has lost its uplink.
    pub(crate) fn set_on_segment(&self, there: bool) -> Result<()> {
        let master = if there { "master br0" } else { "nomaster" };
        ip(&format!("link set {}-br {master}", NODES[0]))
    }

    /// Cuts the first node's way to the API server, or mends it.
    pub(crate) fn set_reaches_api(&self, reaches: bool) {
        self.nodes[0].relay.set_open(reaches);
    }

    /// The ends of the announcers' logs.
    pub(crate) fn logs(&self) -> String {
        let log = |node: &Node| node.process().map(Process::log_tail).unwrap_or_default();
        self.nodes.iter().map(|node| format!("{}:\n{}", node.name, log(node))).collect()
    }
}

fn address_v6(n: u8) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 0x200 + u16::from(n)).into()
}

fn elected(address: impl Fn(u8) -> IpAddr) -> Result<IpAddr> {
    let mut all = (0..100).map(address);
    all.find(|ip| election::owner(*ip, NODES) == Some(NODES[0])).context("the first node is never elected")
}

fn network() -> Result<Namespace> {
    for (key, value) in SYSCTLS {
        fs::write(format!("/proc/sys/net/{key}"), value).with_context(|| format!("set {key}"))?;
    }
    ip("link set lo up")?;
    ip("link add br0 type bridge mcast_snooping 0")?;
    ip("link set br0 up")?;
    for (name, host) in NODES.into_iter().zip(11..) {
        ip(&format!("link add {name} type veth peer name {name}-br"))?;
        ip(&format!("link set {name}-br master br0 up"))?;
        ip(&format!("link set {name} up"))?;
        ip(&format!("addr add 203.0.113.{host}/24 dev {name}"))?;
        ip(&format!("addr add 2001:db8:113::{host}/64 dev {name} nodad"))?;
    }
    let client = Namespace::new()?;
    ip(&format!("link add client type veth peer name eth0 netns {}", client.path().display()))?;
    ip("link set client master br0 up")?;
    client.ip("link set eth0 up")?;
    client.ip("addr add 203.0.113.1/24 dev eth0")?;
    client.ip("addr add 2001:db8:113::1/64 dev eth0 nodad")?;
    Ok(client)
}

/// In this process's namespace.
pub(crate) fn ip(arguments: &str) -> Result<()> {
    let output = Command::new("ip").args(arguments.split_whitespace()).stdin(Stdio::null()).output();
    let output = output.context("run ip")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {arguments} failed: {}", said.trim());
    Ok(())
}

fn definitions(control_plane: &ControlPlane) -> Result<()> {
    let kinds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/yaml").display().to_string();
    control_plane.run_kubectl(&["apply", "--server-side", "-f", &kinds])?;
    apply_rbac(control_plane, "announcer")?;
    let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
    control_plane.run_kubectl(&established).map(drop)
}

async fn node(
    control_plane: &ControlPlane,
    name: &'static str,
    number: u8,
    addresses: &[IpAddr],
) -> Result<Node> {
    let server = control_plane.server();
    let target: SocketAddr =
        server.trim_start_matches("https://").parse().context("read the API server's URL")?;
    let relay = Relay::start(target).await?;
    let shared = control_plane.service_account_kubeconfig("penstock-system", "penstock-announcer").await?;
    let text = fs::read_to_string(&shared).context("read a kubeconfig")?;
    let kubeconfig = shared.with_file_name(format!("{name}.kubeconfig"));
    fs::write(&kubeconfig, text.replace(&server, &format!("https://127.0.0.1:{}", relay.port())))
        .context("write a kubeconfig")?;
    let links = LinkWatch::open().context("look at interfaces")?.list().await.context("list interfaces")?;
    let link = links.into_iter().find(|link| link.name == name).context("a node has no port")?;
    let forwarding = Forwarding::start(name, number, addresses)?;
    Ok(Node { name, mac: link.mac, relay, forwarding, kubeconfig, process: None })
}

/// A Service that every node may announce.
pub(crate) fn service(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}})
}

/// Its endpoints, without which nobody may.
pub(crate) fn slice(name: &str) -> Value {
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
        "endpoints": [{"addresses": ["10.244.0.4"]}], "ports": [{"port": 80}]})
}

fn objects() -> Vec<Value> {
    let ours = |kind: &str, spec: Value| {
        json!({"apiVersion": "penstock.dev/v1alpha1", "kind": kind,
            "metadata": {"name": "all", "namespace": "penstock-system"}, "spec": spec})
    };
    let pools =
        json!({"addresses": ["203.0.113.100-203.0.113.199", "2001:db8:113::200/119", "198.18.0.0/16"]});
    let mut all = vec![ours("IPAddressPool", pools), ours("L2Advertisement", json!({}))];
    all.extend(NODES.map(|name| json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})));
    all.extend([service("both"), slice("both")]);
    all
}
