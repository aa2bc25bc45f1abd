//! Whether the announcer of one Pod is ready, by an abstract Unix socket that bears the Pod's name. Over HTTP, on a port of the
//! node, not the one that stands by would answer but the one that it shall follow.

use std::io;

use tokio::net::UnixListener;

use crate::abstract_socket;

/// Nobody said so.
#[derive(Debug, thiserror::Error)]
#[error("the announcer of Pod {pod} is not ready: nobody listens on the abstract Unix socket {socket:?}")]
pub struct NotReady {
    pod: String,
    socket: String,
    #[source]
    source: io::Error,
}

fn socket(succession_socket: &str, pod: &str) -> String {
    format!("{succession_socket}/{pod}")
}

/// Asks whether the announcer of a Pod on this node is ready.
///
/// # Errors
/// When it is not, or is not there.
pub fn ask(succession_socket: &str, pod: &str) -> Result<(), NotReady> {
    let socket = socket(succession_socket, pod);
    let connected = abstract_socket::connect(&socket).map(drop);
    connected.map_err(|source| NotReady { pod: pod.to_owned(), socket, source })
}

/// Says from now on that this Pod's announcer is ready, for as long as the process lives.
pub(crate) fn say(succession_socket: &str, pod: &str) -> io::Result<()> {
    tokio::spawn(answer(abstract_socket::bind(&socket(succession_socket, pod))?));
    Ok(())
}

/// To be connected is the answer.
async fn answer(listener: UnixListener) {
    while listener.accept().await.is_ok() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pod_is_ready_once_it_says_so_and_no_other() {
        let name = format!("penstock-test-{}-readiness", std::process::id());
        let error = ask(&name, "announcer-1").unwrap_err().to_string();
        assert!(error.contains("announcer-1 is not ready"), "{error}");
        say(&name, "announcer-1").unwrap();
        for _ in 0..300 {
            ask(&name, "announcer-1").unwrap();
            tokio::task::yield_now().await;
        }
        ask(&name, "announcer-2").unwrap_err();
    }
}
