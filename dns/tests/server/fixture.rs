//! A server on loopback, and clients.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query},
    rr::{Name, Record, RecordType},
};
use penstock_dns::{
    forwarder::{Forwarder, Upstreams},
    index::{Kind, PodNames, RecordConfig, RecordIndex, Zones},
    metrics::Metrics,
    resolver::{Resolver, SharedIndex},
    server::{Listeners, Service},
    transfer::Transfers,
};
use penstock_model::ObjectKey;
use prometheus_client::{encoding::text::encode, registry::Registry};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// An answer comes within this time, however slow the machine is.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// A client asks again after this time, as real ones do: datagrams may be lost.
const AGAIN: Duration = Duration::from_secs(4);

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    metrics: Metrics,
    _stop: DropGuard,
}

impl Running {
    pub(crate) async fn start() -> Self {
        Self::with(cluster(), &Upstreams::default()).await
    }

    /// Clients on loopback may have whole domains.
    pub(crate) async fn with_transfers() -> Self {
        let loopback = "127.0.0.0/8".parse().unwrap();
        Self::serve(cluster(), &Upstreams::default(), Transfers::to(vec![loopback])).await
    }

    pub(crate) async fn unsynced() -> Self {
        Self::with(RecordIndex::new(config()), &Upstreams::default()).await
    }

    pub(crate) async fn with_upstreams(upstreams: &Upstreams) -> Self {
        Self::with(cluster(), upstreams).await
    }

    async fn with(index: RecordIndex, upstreams: &Upstreams) -> Self {
        Self::serve(index, upstreams, Transfers::default()).await
    }

    async fn serve(index: RecordIndex, upstreams: &Upstreams, transfers: Transfers) -> Self {
        let resolver = Resolver::new(SharedIndex::new(index), Forwarder::new(upstreams).unwrap());
        let listeners = Listeners::bind(&[(Ipv4Addr::LOCALHOST, 0).into()], 2).unwrap();
        let (address, stop) = (listeners.addresses()[0], CancellationToken::new());
        let metrics = Metrics::default();
        let service = Service { resolver, metrics: metrics.clone(), transfers };
        tokio::spawn(listeners.serve(service, stop.clone()));
        Self { address, metrics, _stop: stop.drop_guard() }
    }

    /// What `/metrics` says.
    pub(crate) fn metrics(&self) -> String {
        let (mut registry, mut text) = (Registry::default(), String::new());
        self.metrics.register(&mut registry);
        encode(&mut text, &registry).unwrap();
        text
    }
}

fn config() -> RecordConfig {
    let zones = Zones::new(&["cluster.local".into(), "second.test".into()]).unwrap();
    RecordConfig { zones, ttl: 5, pod_names: PodNames::Disabled, own_addresses: Vec::new() }
}

fn cluster() -> RecordIndex {
    let mut index = RecordIndex::new(config());
    let object = |name: &str| json!({"name": name, "namespace": "testns"});
    let http = json!([{"name": "http", "port": 80, "protocol": "TCP"}]);
    index.apply_namespace(&serde_json::from_value(json!({"metadata": {"name": "testns"}})).unwrap());
    let specs = [
        ("svc", json!({"clusterIPs": ["10.0.0.1"], "ports": http})),
        ("many", json!({"clusterIP": "None", "ports": http})),
        ("external", json!({"type": "ExternalName", "externalName": "www.example.test"})),
        ("across", json!({"type": "ExternalName", "externalName": "svc.testns.svc.second.test"})),
    ];
    for (name, spec) in &specs {
        let service = json!({"metadata": object(name), "spec": spec});
        index.apply_service(&serde_json::from_value(service).unwrap());
    }
    let endpoints: Vec<Value> = (0..100).map(|n| json!({"addresses": [format!("172.1.0.{n}")]})).collect();
    let mut metadata = object("many-1");
    metadata["labels"] = json!({"kubernetes.io/service-name": "many"});
    let slice = json!({"metadata": metadata, "addressType": "IPv4", "ports": http, "endpoints": endpoints});
    index.apply_slice(&serde_json::from_value(slice).unwrap());
    let services = specs.iter().map(|(name, _)| ObjectKey::new("testns", *name)).collect();
    index.retain(Kind::Service, &services);
    index.retain(Kind::Slice, &BTreeSet::from([ObjectKey::new("testns", "many-1")]));
    index.retain(Kind::Namespace, &BTreeSet::from([ObjectKey::new("", "testns")]));
    index
}

pub(crate) fn question(name: &str, record_type: RecordType) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), record_type));
    message
}

pub(crate) fn read(octets: &[u8]) -> Message {
    Message::from_vec(octets).unwrap()
}

pub(crate) async fn ask_udp(server: &Running, message: &Message) -> Message {
    let asked = message.to_vec().unwrap();
    let octets = octets_udp(server, &asked).await.expect("an answer");
    let answer = read(&octets);
    assert_eq!(answer.metadata.id, message.metadata.id);
    answer
}

/// `None` where no answer comes to several attempts.
pub(crate) async fn octets_udp(server: &Running, octets: &[u8]) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.connect(server.address).await.unwrap();
    let mut buffer = vec![0; 65_535];
    for _ in 0..5 {
        socket.send(octets).await.unwrap();
        if let Ok(Ok(length)) = timeout(AGAIN, socket.recv(&mut buffer)).await {
            return Some(buffer[..length].to_vec());
        }
    }
    None
}

pub(crate) async fn ask_tcp(server: &Running, message: &Message) -> Message {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    send_tcp(&mut stream, &message.to_vec().unwrap()).await;
    read(&receive_tcp(&mut stream).await.expect("an answer"))
}

pub(crate) async fn send_tcp(stream: &mut TcpStream, octets: &[u8]) {
    let length = u16::try_from(octets.len()).unwrap().to_be_bytes();
    stream.write_all(&[&length, octets].concat()).await.unwrap();
}

/// `None` where the server closes instead.
pub(crate) async fn receive_tcp(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let received = async {
        let length = stream.read_u16().await.ok()?;
        let mut octets = vec![0; length.into()];
        stream.read_exact(&mut octets).await.ok()?;
        Some(octets)
    };
    timeout(DEADLINE, received).await.expect("an answer or an end in time")
}

pub(crate) fn text(records: &[Record]) -> Vec<String> {
    records.iter().map(|r| format!("{} {} {} {}", r.name, r.ttl, r.record_type(), r.data)).collect()
}
