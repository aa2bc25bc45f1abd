//! A watch, event by event.

use std::time::Duration;

use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use tokio::{sync::mpsc, time::Instant};

use super::{
    Shared,
    answer::{AnyBody, BoxError, gone_line},
    fault::EventFault,
};

/// How long events are lost before the client is told to list anew.
pub const LOSS: Duration = Duration::from_millis(300);

/// Pieces of an answer that may be under way.
const UNDER_WAY: usize = 16;

type Out = mpsc::Sender<Result<Frame<Bytes>, BoxError>>;

/// The body that the client reads; `upstream` is read by a task of its own.
pub(super) fn body(shared: Shared, collection: String, upstream: AnyBody) -> AnyBody {
    let (out, receiver) = mpsc::channel(UNDER_WAY);
    tokio::spawn(async move {
        tokio::select! {
            () = out.closed() => {}
            () = pump(&shared, &collection, upstream, &out) => {}
        }
    });
    let stream = futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|frame| (frame, receiver))
    });
    StreamBody::new(stream).boxed_unsync()
}

/// Ends with the watch, be it by a fault.
async fn pump(shared: &Shared, collection: &str, mut upstream: AnyBody, out: &Out) {
    let mut buffer = Vec::new();
    while let Some(frame) = upstream.frame().await {
        let data = match frame {
            Ok(frame) => frame.into_data().unwrap_or_default(),
            Err(error) => return send(out, Err(error)).await,
        };
        buffer.extend_from_slice(&data);
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Bytes = buffer.drain(..=end).collect();
            match shared.meet_event(collection, &line) {
                None => send(out, Ok(line)).await,
                Some(EventFault::Duplicate) => {
                    send(out, Ok(line.clone())).await;
                    send(out, Ok(line)).await;
                }
                Some(fault) => return end_with(fault, &line, upstream, out).await,
            }
        }
    }
}

async fn end_with(fault: EventFault, line: &Bytes, upstream: AnyBody, out: &Out) {
    match fault {
        EventFault::Drop => {
            lose(upstream).await;
            send(out, Ok(gone_line())).await;
        }
        EventFault::Gone | EventFault::Duplicate => send(out, Ok(gone_line())).await,
        EventFault::Truncate => {
            send(out, Ok(line.slice(..line.len() / 2))).await;
            send(out, Err("the fault proxy broke the connection".into())).await;
        }
        EventFault::Silence => out.closed().await,
    }
}

/// Reads on and forgets, for as long as events are to be lost.
async fn lose(mut upstream: AnyBody) {
    let end = Instant::now() + LOSS;
    while let Ok(Some(_)) = tokio::time::timeout_at(end, upstream.frame()).await {}
    tokio::time::sleep_until(end).await;
}

/// A client that is gone is noticed by the caller.
async fn send(out: &Out, piece: Result<Bytes, BoxError>) {
    let _ = out.send(piece.map(Frame::data)).await;
}
