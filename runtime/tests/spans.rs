//! Spans reach a collector, and whatever the collector does, the work does not wait for it. Telemetry belongs to a
//! whole process, so every test starts one: this file again, as the test `process`.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may panic

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use clap::Parser;
use penstock_runtime::{ProcessFlags, init_telemetry, report_exit};
use tokio::{
    net::{TcpListener, TcpStream},
    process::Command,
    sync::mpsc,
    time::timeout,
};

/// More than one batch (512) and the queue (2048) hold, by more than four batches.
const SPANS: usize = 5_000;
/// A process that hangs longer does so for ever; the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(120);
/// Work, or an end, that waited for a collector that never answers would wait for four batches, 10 s each.
const WAITED: Duration = Duration::from_secs(30);

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    process: ProcessFlags,
}

/// What the other tests start: work of one process, with flags from the environment as any program has them.
#[tokio::test]
#[ignore = "is started by the other tests, in a process of its own"]
async fn process() {
    let flags = Flags::try_parse_from(["process"]).unwrap().process;
    let start = Instant::now();
    let telemetry = match init_telemetry(&flags, "penstock-test") {
        Ok(telemetry) => telemetry,
        Err(error) => {
            let _ = report_exit("penstock-test", Err(error.into()));
            std::process::exit(7);
        }
    };
    for _ in 0..SPANS {
        tracing::info_span!(target: "hyper::client", "foreign").in_scope(|| ());
        tracing::info_span!(target: "penstock_operator", "reconcile", namespace = "shop", name = "web")
            .in_scope(|| tracing::debug!("one of many"));
    }
    println!("worked {}", start.elapsed().as_millis());
    let end = Instant::now();
    drop(telemetry);
    println!("ended {}", end.elapsed().as_millis());
}

/// Runs the test `process`, with these variables in its environment.
async fn run(variables: &[(&str, &str)]) -> Output {
    let mut process = Command::new(std::env::current_exe().unwrap());
    process.args(["process", "--exact", "--ignored", "--nocapture"]).env_remove("PENSTOCK_LOG");
    process.env_remove("OTEL_EXPORTER_OTLP_ENDPOINT").envs(variables.iter().copied());
    let output = process.stdin(Stdio::null()).kill_on_drop(true).output();
    timeout(DEADLINE, output).await.expect("the process ends").unwrap()
}

/// The time that the process says it took to do `what`.
fn took(output: &Output, what: &str) -> Duration {
    let text = String::from_utf8_lossy(&output.stdout);
    let found = text.lines().find_map(|line| line.strip_prefix(what)?.trim().parse().ok());
    Duration::from_millis(found.unwrap_or_else(|| panic!("no {what:?} in {text}")))
}

fn lines(output: &Output, with: &str) -> usize {
    String::from_utf8_lossy(&output.stderr).lines().filter(|line| line.contains(with)).count()
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// A collector that passes on what it is sent, and answers each request so.
async fn collector(answer: StatusCode) -> (String, mpsc::UnboundedReceiver<(HeaderMap, Bytes)>) {
    let (requests, received) = mpsc::unbounded_channel();
    let take = move |State(requests): State<mpsc::UnboundedSender<_>>, headers: HeaderMap, body: Bytes| async move {
        requests.send((headers, body)).unwrap();
        answer
    };
    let (listener, url) = listener().await;
    let router = Router::new().route("/v1/traces", post(take)).with_state(requests);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, received)
}

fn holds(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn a_collector_gets_our_spans_and_no_others() {
    let (url, mut received) = collector(StatusCode::OK).await;
    // Where little is logged, as much is sent.
    let output = run(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &url), ("PENSTOCK_LOG", "error")]).await;
    assert!(output.status.success(), "{output:?}");
    let mut batches = 0;
    while let Ok((headers, body)) = received.try_recv() {
        assert_eq!(headers["content-type"], "application/x-protobuf");
        for text in ["service.name", "penstock-test", "reconcile", "namespace", "shop", "name", "web"] {
            assert!(holds(&body, text), "{text} is missing");
        }
        assert!(!holds(&body, "foreign") && !holds(&body, "one of many"));
        batches += 1;
    }
    assert!((1..SPANS / 100).contains(&batches), "{SPANS} spans came in {batches} batches");
}

#[tokio::test]
async fn without_the_flag_nobody_is_called() {
    let (url, mut received) = collector(StatusCode::OK).await;
    // The variable of the specification that names a collector past our flag.
    for empty in [None, Some(("OTEL_EXPORTER_OTLP_ENDPOINT", ""))] {
        let others = [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url.as_str())];
        let variables: Vec<_> = others.into_iter().chain(empty).collect();
        let output = run(&variables).await;
        assert!(output.status.success(), "{output:?}");
        assert!(received.try_recv().is_err(), "{variables:?}");
    }
}

#[tokio::test]
async fn a_collector_that_is_away_or_refuses_is_said_once() {
    let (gone, url) = listener().await;
    drop(gone);
    let (refusing, _received) = collector(StatusCode::SERVICE_UNAVAILABLE).await;
    for url in [url, refusing] {
        let output = run(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &url)]).await;
        assert!(output.status.success(), "{output:?}");
        assert_eq!(lines(&output, "the collector does not take spans"), 1, "{output:?}");
        // Nor by the libraries, in their words, for each batch.
        assert_eq!(lines(&output, "ExportError") + lines(&output, "Export.Failed"), 0, "{output:?}");
        assert!(took(&output, "worked") < WAITED && took(&output, "ended") < WAITED, "{output:?}");
    }
}

#[tokio::test]
async fn a_collector_that_never_answers_delays_neither_the_work_nor_the_end() {
    let (listener, url) = listener().await;
    let hold = tokio::spawn(async move {
        let mut held: Vec<TcpStream> = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let output = run(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &url)]).await;
    hold.abort();
    assert!(output.status.success(), "{output:?}");
    assert!(took(&output, "worked") < WAITED, "{output:?}");
    assert!(took(&output, "ended") < WAITED, "{output:?}");
    assert_eq!(lines(&output, "the collector did not take the last spans"), 1, "{output:?}");
}

#[tokio::test]
async fn a_wrong_url_ends_the_process_with_one_sentence() {
    let output = run(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")]).await;
    assert!(!output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("penstock-test: --otlp-endpoint \"collector:4318\" is not http://"), "{text}");
}
