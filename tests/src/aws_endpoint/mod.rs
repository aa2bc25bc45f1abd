//! AWS on loopback, as far as network load balancers need it: the Query API of ELBv2, the part of ACM that imports
//! certificates, and `GetResources` of the Resource Groups Tagging API, all at one URL. It remembers what it was asked
//! for, refuses what AWS refuses with the same codes, is as fast and as soon right as [`Settings`] say, and fails when it
//! is told to. It is written from AWS' documentation and what others have seen, not from the provider.
//!
//! ```no_run
//! # async fn f() -> anyhow::Result<()> {
//! use penstock_tests::aws_endpoint::{AwsEndpoint, Fault};
//! let aws = AwsEndpoint::start().await?;
//! aws.store().fail("CreateListener", 1, Fault::DroppedAfter);
//! println!("{}", aws.url()); // the SDK's endpoint_url; ACCESS_KEY with any secret, region REGION
//! assert_eq!(aws.store().log.count("CreateLoadBalancer"), 0);
//! # Ok(())
//! # }
//! ```
//!
//! # What it leaves out
//! - Load balancers of type application and gateway, target types `lambda` and `alb`, QUIC, rules, several target groups
//!   of one action, trust stores, capacity reservations, IPAM, IPv6 addresses of mappings.
//! - The signature's value: it looks at the headers of Signature Version 4, at the access key id, region and service.
//!   Sessions, roles and permissions. Every secret is right.
//! - Quotas other than those of [`Limits`]; targets per zone and registrations per target id. The rates of ACM and of the
//!   tagging API. The capacities of buckets other than that of describes are assumed ([`Rates::aws`]).
//! - Zones of targets: one in a zone without a subnet of the load balancer is served all the same. Instances are
//!   running, unless [`World::instances`] lists those that are. No traffic is forwarded, and no target is ever asked.
//! - Lag of describes after changes and deletions: only what was just created stays unseen for a while.
//! - Of a certificate: names, validity, the size of its key. Names of security policies: any `ELBSecurityPolicy-*` is one.
//! - Messages are like AWS' and not the same. Unknown parameters are refused, where AWS ignores some.

mod acm;
mod answer;
mod attributes;
mod clock;
mod credentials;
mod failure;
mod fault;
mod form;
mod health_check;
mod listener;
mod listener_certificate;
mod listener_wish;
mod load_balancer;
mod load_balancer_change;
mod mapping;
mod name;
mod page;
mod request_log;
mod server;
mod settings;
mod store;
mod summary;
mod tagging;
mod tags;
mod target;
mod target_group;
mod throttle;
mod world;

pub use acm::Certificate;
pub use attributes::Attributes;
pub use clock::Clock;
pub use credentials::{ACCESS_KEY, REGION};
pub use fault::Fault;
pub use health_check::HealthCheck;
pub use listener::Listener;
pub use listener_wish::Wish;
pub use load_balancer::{LoadBalancer, Shape};
pub use mapping::{Mapping, Mappings};
pub use name::ACCOUNT;
pub use request_log::{Call, RequestLog, is_reading};
pub use server::AwsEndpoint;
pub use settings::{Limits, Settings};
pub use store::Store;
pub use tags::Tags;
pub use target::{Target, TargetKey};
pub use target_group::{Kind, TargetGroup};
pub use throttle::{Class, Rate, Rates};
pub use world::{Subnet, VPC, World};
