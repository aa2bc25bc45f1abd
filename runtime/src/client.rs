//! The way to the API server.

use std::time::Duration;

use kube::{Client, Config};

/// A connection that is not there within this time never will be.
const CONNECT: Duration = Duration::from_secs(5);
/// An answer, or the next event of a watch, comes within this time: watches are asked to end after 30 s. Without
/// it (kube's default) a request on a connection that went silent hangs until TCP gives up, a quarter of an hour.
const READ: Duration = Duration::from_secs(40);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No configuration was found.
    #[error("no API server is configured: set KUBECONFIG or run in a pod with a ServiceAccount")]
    Config(#[source] kube::config::InferConfigError),
    /// The configuration cannot be used.
    #[error("the API server's configuration cannot be used")]
    Client(#[source] Box<kube::Error>),
}

/// A client from KUBECONFIG or the pod's ServiceAccount, with time-outs.
///
/// # Errors
/// When there is no configuration or it cannot be used.
pub async fn client() -> Result<Client, ClientError> {
    let mut config = Config::infer().await.map_err(ClientError::Config)?;
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(READ);
    Client::try_from(config).map_err(|error| ClientError::Client(Box::new(error)))
}
