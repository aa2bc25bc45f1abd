//! Work inside a network namespace: asynchronous, with connections that begin there, as the measured programs' own do.

use std::future::Future;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::sync::oneshot;

use crate::netns;

/// Runs `work` to its end on a thread inside a namespace; all connections that it makes begin there. It ends early when
/// the returned future is dropped.
///
/// # Errors
/// Those of `work`, or when the namespace cannot be entered.
pub async fn run<T, F>(netns: &str, work: impl FnOnce() -> F + Send + 'static) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>>,
{
    let netns = netns.to_owned();
    let (_wanted, unwanted) = oneshot::channel::<()>();
    let thread = tokio::task::spawn_blocking(move || {
        netns::within(&netns, || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.context("start a runtime")?.block_on(async {
                tokio::select! {
                    done = work() => done,
                    _ = unwanted => bail!("interrupted"),
                }
            })
        })
    });
    thread.await.context("wait for work inside a namespace")?
}

/// Runs `work`, which blocks, on a thread inside a namespace. It has to be bounded by itself.
///
/// # Errors
/// Those of `work`, or when the namespace cannot be entered.
pub async fn run_blocking<T: Send + 'static>(
    netns: &str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let netns = netns.to_owned();
    let thread = tokio::task::spawn_blocking(move || netns::within(&netns, work));
    thread.await.context("wait for work inside a namespace")?
}

/// Connects and reads one byte: the name of the endpoint. Leaves no connection behind that would wait for its end.
///
/// # Errors
/// What the kernel says, and that nothing came within the time.
pub fn ask_name(to: SocketAddr, patience: Duration) -> std::io::Result<u8> {
    let stream = TcpStream::connect_timeout(&to, patience)?;
    read_name(stream, patience)
}

/// The second half of [`ask_name`].
///
/// # Errors
/// As there.
pub fn read_name(mut stream: TcpStream, patience: Duration) -> std::io::Result<u8> {
    use std::io::Read;
    stream.set_read_timeout(Some(patience))?;
    let mut name = [0];
    stream.read_exact(&mut name)?;
    // With a reset: neither end keeps a socket in TIME_WAIT, of which thousands would use the ports up.
    nix::sys::socket::setsockopt(
        &stream,
        nix::sys::socket::sockopt::Linger,
        &libc::linger { l_onoff: 1, l_linger: 0 },
    )?;
    Ok(name[0])
}
