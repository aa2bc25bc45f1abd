//! Why there is no session, in words for people.

use std::{fmt, time::Duration};

use super::{PeerError, wire::Notification};

/// Why there is no session with a router, or the last one ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing was tried yet.
    NotTried,
    /// Nothing is tried.
    Refused(PeerError),
    /// A socket could not be had or set up.
    Socket(String),
    /// No connection: the system's error.
    Connect(String),
    /// The router does not answer at all.
    NoAnswer {
        /// For how long.
        within: Duration,
        /// Whether a password is set.
        password: bool,
    },
    /// The connection broke.
    Broken(String),
    /// The router closed the connection without a word; whether it had said who it is.
    Closed {
        /// Whether an OPEN had come.
        after_open: bool,
    },
    /// The router said why.
    Received(Notification),
    /// We said why.
    Sent(Notification),
    /// It was ended here.
    Stopped,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTried => f.write_str("not tried yet"),
            Self::Refused(error) => write!(f, "not tried: {error}"),
            Self::Socket(error) => write!(f, "no socket for it: {error}"),
            Self::Connect(error) => write!(f, "no connection: {error}"),
            Self::NoAnswer { within, password } => no_answer(f, *within, *password),
            Self::Broken(error) => write!(f, "the connection broke: {error}"),
            Self::Closed { after_open: false } => f.write_str(
                "the router closed the connection before it said anything; it may not have this node's address as a \
                 neighbour",
            ),
            Self::Closed { after_open: true } => f.write_str("the router closed the connection"),
            Self::Received(notification) => said(f, "the router ended it", notification),
            Self::Sent(notification) => said(f, "ended from here", notification),
            Self::Stopped => f.write_str("ended from here"),
        }
    }
}

/// A kernel drops segments whose TCP-MD5 signature is wrong, or there, or missing, without a word (RFC 2385 section 2).
fn no_answer(f: &mut fmt::Formatter<'_>, within: Duration, password: bool) -> fmt::Result {
    write!(
        f,
        "no answer within {within:?}; is the router's address right, and is it reachable on its port? "
    )?;
    f.write_str(if password {
        "A router with another password, or with none, does not answer either"
    } else {
        "A router that wants a password does not answer either"
    })
}

fn said(f: &mut fmt::Formatter<'_>, who: &str, notification: &Notification) -> fmt::Result {
    write!(f, "{who}: {notification}")?;
    match notification.advice() {
        Some(advice) => write!(f, "; {advice}"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bgp::wire::Cause;

    #[test]
    fn reasons_say_what_to_look_at() {
        let shown = |reason: Reason| reason.to_string();
        assert_eq!(
            shown(Reason::Received(Cause::BadPeerAs.into())),
            "the router ended it: OPEN Message Error, Bad Peer AS; compare the AS numbers of both sides"
        );
        assert_eq!(shown(Reason::Sent(Cause::BfdDown.into())), "ended from here: Cease, BFD Down");
        let silent = |password| Reason::NoAnswer { within: Duration::from_secs(10), password }.to_string();
        assert!(
            silent(true).starts_with("no answer within 10s;") && silent(true).contains("another password")
        );
        assert!(silent(false).contains("wants a password"));
        assert!(shown(Reason::Closed { after_open: false }).contains("neighbour"));
        assert!(shown(Reason::Refused(PeerError::AsZero)).contains("0 is no AS"));
    }
}
