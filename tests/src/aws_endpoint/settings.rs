//! How the endpoint behaves.

use std::{collections::BTreeSet, time::Duration};

use super::{credentials::ACCESS_KEY, throttle::Rates};

/// The knobs; they hold from the next call on. By default everything is prompt and nothing is throttled.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The access key id that calls have to be signed with.
    pub access_key: String,
    /// How fast calls may come; none: as fast as they like.
    pub rates: Option<Rates>,
    /// The code of a refusal for being too fast. `Throttling` is what clients see; AWS' documentation also names
    /// `ThrottlingException`.
    pub throttling_code: String,
    /// From the creation of a load balancer until its state is active.
    pub to_active: Duration,
    /// From the registration of a target until it is healthy.
    pub to_healthy: Duration,
    /// From the deregistration of a target until it is gone; none: the target group's attribute says it.
    pub draining: Option<Duration>,
    /// So long describes do not show what was just created.
    pub describe_lag: Duration,
    /// So long a target group or certificate stays in use after its last listener is gone.
    pub in_use_lag: Duration,
    /// Targets that never get healthy, by id.
    pub unhealthy: BTreeSet<String>,
    /// How much there may be of what.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            access_key: ACCESS_KEY.to_owned(),
            rates: None,
            throttling_code: "Throttling".to_owned(),
            to_active: Duration::ZERO,
            to_healthy: Duration::ZERO,
            draining: Some(Duration::ZERO),
            describe_lag: Duration::ZERO,
            in_use_lag: Duration::ZERO,
            unhealthy: BTreeSet::new(),
            limits: Limits::default(),
        }
    }
}

impl Settings {
    /// As slow and as strict as AWS: its rates, minutes to get active, and what it just did not shown at once.
    #[must_use]
    pub fn like_aws() -> Self {
        Self {
            rates: Some(Rates::aws()),
            to_active: Duration::from_secs(120),
            to_healthy: Duration::from_secs(30),
            draining: None,
            describe_lag: Duration::from_secs(2),
            in_use_lag: Duration::from_secs(5),
            ..Self::default()
        }
    }
}

/// AWS' default quotas per account and region, most of which it raises on request.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Network load balancers.
    pub load_balancers: usize,
    /// Target groups.
    pub target_groups: usize,
    /// Listeners of a load balancer.
    pub listeners: usize,
    /// Targets of a target group.
    pub targets: usize,
    /// Targets in one call.
    pub targets_per_call: usize,
    /// Certificates of a listener besides its default.
    pub certificates: usize,
    /// Tags of a resource.
    pub tags: usize,
    /// Objects of a page, where the call does not say; also the most that it may say.
    pub page: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            load_balancers: 50,
            target_groups: 3000,
            listeners: 50,
            targets: 1000,
            targets_per_call: 200,
            certificates: 25,
            tags: 50,
            page: 400,
        }
    }
}
