//! What the fault proxy does to calls and watches, before an API of a few lines.

#![allow(clippy::unwrap_used)] // a test may panic

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::Result;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use penstock_tests::fault_proxy::{
    Call, CallFault, EventFault, FaultProxy, Kill, Plan, Upstream, WatchEvent,
};
use tokio::net::TcpListener;

const EVENT: &str = "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\"}}}\n";

/// An API that counts what it commits, with the proxy before it.
struct Stage {
    proxy: FaultProxy,
    committed: Arc<AtomicUsize>,
    killed: Arc<AtomicUsize>,
}

impl Stage {
    async fn set() -> Result<Self> {
        let (committed, killed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let base = format!("http://{}", api(committed.clone()).await?).parse()?;
        let count = killed.clone();
        let kill: Kill = Arc::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let proxy = FaultProxy::start(Upstream::http(base), kill).await?;
        Ok(Self { proxy, committed, killed })
    }

    /// Method, path; the status and body of the answer, if there is one.
    async fn call(&self, method: Method, path: &str) -> Result<(u16, String)> {
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let uri = format!("{}{path}", self.proxy.url());
        let request = Request::builder().method(method).uri(uri).body(Full::default())?;
        let response = client.request(request).await?;
        let status = response.status().as_u16();
        Ok((status, String::from_utf8(response.into_body().collect().await?.to_bytes().to_vec())?))
    }

    /// The call that meets the fault: its status, how often it was committed and its caller killed.
    async fn meets(&self, fault: CallFault) -> (Option<u16>, usize, usize) {
        let call = Call { method: "POST".into(), path: "/things".into(), occurrence: 1 };
        self.proxy.begin(Plan::OneCall(call, fault));
        let before = (self.committed.load(Ordering::SeqCst), self.killed.load(Ordering::SeqCst));
        let status = self.call(Method::POST, "/things").await.ok().map(|(status, _)| status);
        let entry = &self.proxy.log()[0];
        assert_eq!((entry.number, entry.status, self.proxy.fired()), (Some(1), status, 1));
        let committed = self.committed.load(Ordering::SeqCst) - before.0;
        (status, committed, self.killed.load(Ordering::SeqCst) - before.1)
    }

    async fn watch(&self, fault: EventFault) -> Result<String> {
        let event =
            WatchEvent { collection: "things".into(), name: "a".into(), kind: "ADDED".into(), occurrence: 1 };
        self.proxy.begin(Plan::OneEvent(event, fault));
        Ok(self.call(Method::GET, "/things?watch=true").await?.1)
    }
}

async fn api(committed: Arc<AtomicUsize>) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let committed = committed.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                if request.method() != Method::GET {
                    committed.fetch_add(1, Ordering::SeqCst);
                }
                let watch = request.uri().query().is_some_and(|query| query.contains("watch"));
                let body = if watch { EVENT.repeat(2) } else { "done".to_owned() };
                async { Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from(body))) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(address)
}

#[tokio::test]
async fn a_call_is_committed_answered_and_its_caller_killed_as_the_fault_says() -> Result<()> {
    let stage = Stage::set().await?;
    assert_eq!(stage.meets(CallFault::KillBefore).await, (None, 0, 1));
    assert_eq!(stage.meets(CallFault::KillCommitted).await, (None, 1, 1));
    assert_eq!(stage.meets(CallFault::Conflict).await, (Some(409), 0, 0));
    assert_eq!(stage.meets(CallFault::TooManyRequests).await, (Some(429), 0, 0));
    assert_eq!(stage.meets(CallFault::ErrorBefore).await, (Some(500), 0, 0));
    assert_eq!(stage.meets(CallFault::ErrorCommitted).await, (Some(500), 1, 0));
    assert_eq!(stage.meets(CallFault::LostReply).await, (None, 1, 0));
    let killed = stage.killed.load(Ordering::SeqCst);
    assert_eq!(stage.meets(CallFault::KillReplied).await.0, Some(200));
    penstock_e2e::wait::until("the kill", std::time::Duration::from_secs(10), || async {
        let now = stage.killed.load(Ordering::SeqCst);
        Ok(if now > killed {
            penstock_e2e::wait::Look::Ready(())
        } else {
            penstock_e2e::wait::Look::NotYet(now.to_string())
        })
    })
    .await
}

#[tokio::test]
async fn only_the_call_that_is_meant_meets_the_fault() -> Result<()> {
    let stage = Stage::set().await?;
    let second = Call { method: "POST".into(), path: "/things".into(), occurrence: 2 };
    stage.proxy.begin(Plan::OneCall(second, CallFault::Conflict));
    let mut statuses = Vec::new();
    for (method, path) in [
        (Method::POST, "/things"),
        (Method::POST, "/others"),
        (Method::GET, "/things"),
        (Method::POST, "/things"),
        (Method::PUT, "/apis/coordination.k8s.io/v1/namespaces/a/leases/b"),
        (Method::POST, "/things"),
    ] {
        statuses.push(stage.call(method, path).await?.0);
    }
    assert_eq!(statuses, [200, 200, 200, 409, 200, 200]);
    let numbers: Vec<_> = stage.proxy.log().iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, [Some(1), Some(2), None, Some(3), None, Some(4)], "neither reads nor Leases count");
    Ok(())
}

#[tokio::test]
async fn a_watch_loses_repeats_and_breaks_as_the_fault_says() -> Result<()> {
    let stage = Stage::set().await?;
    assert_eq!(stage.watch(EventFault::Duplicate).await?, EVENT.repeat(3));
    assert!(stage.watch(EventFault::Truncate).await.is_err(), "the connection breaks");
    for fault in [EventFault::Gone, EventFault::Drop] {
        let text = stage.watch(fault).await?;
        assert!(text.contains("\"code\":410") && !text.contains("ADDED"), "{fault}: {text}");
    }
    assert_eq!(stage.proxy.events().len(), 1, "what is lost is not counted");
    Ok(())
}
