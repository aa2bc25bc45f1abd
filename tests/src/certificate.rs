//! Certificates that nobody trusts, each with its key, as PEM and as a Secret holds them.

use std::sync::OnceLock;

use k8s_openapi::{ByteString, api::core::v1::Secret, jiff::Timestamp};
use penstock_providers::Certificate;

/// A certificate of its own authority, and its key.
///
/// # Panics
/// Never on a machine with random numbers.
#[must_use]
#[allow(clippy::unwrap_used)] // a test may panic
pub fn pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["web.example".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// What the Secret `shop/web-tls` holds before it is rotated and after: the same for as long as the process lives.
///
/// # Panics
/// Never on a machine with random numbers.
#[must_use]
#[allow(clippy::unwrap_used)] // a test may panic
pub fn certificates() -> &'static [Certificate; 2] {
    static BOTH: OnceLock<[Certificate; 2]> = OnceLock::new();
    BOTH.get_or_init(|| {
        [(), ()].map(|()| {
            let (certificate, key) = pair();
            let data = [("tls.crt", certificate), ("tls.key", key)];
            let data = data.map(|(name, text)| (name.to_owned(), ByteString(text.into_bytes())));
            let mut secret = Secret { data: Some(data.into()), ..Secret::default() };
            (secret.metadata.namespace, secret.metadata.name) = (Some("shop".into()), Some("web-tls".into()));
            Certificate::of(&secret, Timestamp::now()).unwrap()
        })
    })
}
