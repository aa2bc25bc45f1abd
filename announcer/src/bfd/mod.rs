//! Bidirectional Forwarding Detection (RFC 5880) over one hop (RFC 5881) and several (RFC 5883): whether a peer can still
//! be reached, many times a second.
//!
//! ```text
//! sockets: one listener per family and kind ─> Dispatcher's table (whose packet is it?) ─> a task per session ─> News
//!                                                                        its own socket <─┘ (Session, pure)
//! ```
//!
//! # Tasks
//! - A task per listener reads packets, discards what [`packet`] and the table refuse, and passes on what is left. It ends
//!   when no session needs it.
//! - A task per session owns its [`session::Session`] and the socket that it sends from. When it is to end, it says so to
//!   its peer first.
//!
//! # What there is not
//! Authentication, echo packets, and demand mode at this end. A peer that asks for demand mode is obeyed.

pub mod dispatcher;
pub mod packet;
pub mod profile;
pub mod session;
mod sockets;
mod table;
mod task;

pub use dispatcher::{Dispatcher, News, SessionKey, Status};
pub use packet::{Diagnostic, Packet, State};
pub use profile::{Profile, ProfileError};
pub use session::{Change, Reason};
pub use sockets::SocketError;
