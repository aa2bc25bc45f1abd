//! What stands for the API of DigitalOcean, on loopback: load balancers and certificates. It remembers what it was asked for,
//! refuses what the API's description does not have, and fails when it is told to. Its types are its own and not the
//! provider's, so that a mistake on one side shows.
//!
//! It does as the API's public description says (github.com/digitalocean/openapi): a `PUT` replaces the whole object, and
//! what it leaves out is reset to its default; a new balancer gets its address after some looks at it; pages have at most 200
//! entries; refusals have `id` and `message`; answers tell how many calls are left.
//!
//! What it leaves out: traffic, health of Droplets, times between two changes of the size, global balancers
//! and their fields (`domains`, `glb_settings`), Let's Encrypt, IPv6, internal balancers, the calls for forwarding rules
//! (`/forwarding_rules`), projects and VPCs (their ids are taken as they come), and the limit for a minute. Where the
//! description does not say how a refusal reads (a quota, a certificate in use, a name that is taken), the sentence is made
//! up, and so is that what asks to be validated only (`validate_only`, which the description does not have: the field is that of
//! DigitalOcean's own client) is answered 204 where all is well. It lets two balancers have the same name, so that who creates one twice is seen.

mod certificate;
mod fault;
mod refusal;
mod rule;
mod server;
mod store;
mod wish;

pub use certificate::Certificate;
pub use fault::Fault;
pub use rule::{HealthCheck, Rule};
pub use server::DigitalOceanEndpoint;
pub use store::{Balancer, Call, REGION, Store, TOKEN};
pub use wish::Wish;
