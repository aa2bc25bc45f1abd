//! Where requests are forwarded to.

use http::{HeaderName, Request, Response, Uri, header, request::Parts};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};

use super::answer::{AnyBody, BoxError};

/// Headers that belong to one connection, or that the next hop sets anew.
const OWN: [HeaderName; 6] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
];

/// Where requests are forwarded to.
pub enum Upstream {
    /// An API server, as the identity of this client, which also knows its TLS.
    ApiServer(kube::Client),
    /// Any HTTP API below a base address, as `http://127.0.0.1:1234`.
    Http {
        /// Scheme and authority.
        base: Uri,
        /// Keeps the connections.
        client: Box<HttpClient<HttpConnector, Full<Bytes>>>,
    },
}

impl Upstream {
    /// An HTTP API below `base`.
    #[must_use]
    pub fn http(base: Uri) -> Self {
        Self::Http { base, client: Box::new(HttpClient::builder(TokioExecutor::new()).build_http()) }
    }

    /// Forwards a request.
    ///
    /// # Errors
    /// When there is no answer.
    pub(super) async fn send(&self, parts: &Parts, body: Bytes) -> Result<Response<AnyBody>, BoxError> {
        match self {
            Self::ApiServer(client) => {
                let request = request(parts, parts.uri.clone(), kube::client::Body::from(body));
                Ok(client.send(request).await?.map(|body| body.map_err(BoxError::from).boxed_unsync()))
            }
            Self::Http { base, client } => {
                let mut uri = parts.uri.clone().into_parts();
                (uri.scheme, uri.authority) = (base.scheme().cloned(), base.authority().cloned());
                let request = request(parts, Uri::from_parts(uri)?, Full::new(body));
                Ok(client.request(request).await?.map(|body| body.map_err(BoxError::from).boxed_unsync()))
            }
        }
    }
}

fn request<B>(parts: &Parts, uri: Uri, body: B) -> Request<B> {
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = parts.headers.clone();
    for name in OWN {
        request.headers_mut().remove(name);
    }
    request
}
