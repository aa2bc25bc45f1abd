//! What the endpoint remembers, and which call does what with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    acm::Certificate,
    answer::Outcome,
    clock::Clock,
    failure::Failure,
    fault::{Counted, Fault, FaultPlan},
    form::Form,
    listener::Listener,
    load_balancer::LoadBalancer,
    request_log::RequestLog,
    settings::Settings,
    target_group::TargetGroup,
    throttle::{Class, Throttle},
    world::World,
};

/// What the endpoint has, was asked, and how it behaves. Everything is by ARN.
#[derive(Debug)]
pub struct Store {
    /// The knobs.
    pub settings: Settings,
    /// Its time.
    pub clock: Clock,
    /// What is around.
    pub world: World,
    /// What it was asked.
    pub log: RequestLog,
    /// See there.
    pub load_balancers: BTreeMap<String, LoadBalancer>,
    /// See there.
    pub target_groups: BTreeMap<String, TargetGroup>,
    /// See there.
    pub listeners: BTreeMap<String, Listener>,
    /// See there.
    pub certificates: BTreeMap<String, Certificate>,
    faults: FaultPlan,
    throttle: Throttle,
    serial: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self::new(Settings::default(), Clock::running())
    }
}

impl Store {
    /// An empty account.
    #[must_use]
    pub fn new(settings: Settings, clock: Clock) -> Self {
        Self {
            settings,
            clock,
            world: World::default(),
            log: RequestLog::default(),
            load_balancers: BTreeMap::new(),
            target_groups: BTreeMap::new(),
            listeners: BTreeMap::new(),
            certificates: BTreeMap::new(),
            faults: FaultPlan::default(),
            throttle: Throttle::default(),
            serial: 0,
        }
    }

    /// The `nth` call of the action from now on (1: the next) goes wrong.
    pub fn fail(&mut self, action: &str, nth: usize, fault: Fault) {
        self.faults.add(Counted::Of(action.to_owned()), nth, fault);
    }

    /// The `nth` call of any action from now on (1: the next) goes wrong.
    pub fn fail_any(&mut self, nth: usize, fault: Fault) {
        self.faults.add(Counted::Any, nth, fault);
    }

    /// The `nth` call from now on (1: the next) that changes something goes wrong.
    pub fn fail_change(&mut self, nth: usize, fault: Fault) {
        self.faults.add(Counted::Changes, nth, fault);
    }

    /// Whether faults that were planned have not happened.
    #[must_use]
    pub fn faults_left(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Whether nothing is left that somebody made.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.load_balancers.is_empty()
            && self.target_groups.is_empty()
            && self.listeners.is_empty()
            && self.certificates.is_empty()
    }

    /// The load balancer with this name.
    #[must_use]
    pub fn balancer_named(&self, name: &str) -> Option<(&str, &LoadBalancer)> {
        self.load_balancers.iter().find(|(_, held)| held.name == name).map(|(arn, held)| (arn.as_str(), held))
    }

    pub(super) fn next_fault(&mut self, action: &str) -> Option<Fault> {
        self.faults.meet(action)
    }

    pub(super) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        // Spread, so that the order of the ARNs is not the order of creation: nobody may count on that.
        self.serial.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16
    }

    /// Whether describes show what was created then.
    pub(super) fn is_visible(&self, created: Duration) -> bool {
        self.clock.now() >= created + self.settings.describe_lag
    }

    /// The load balancers of each target group.
    pub(super) fn users(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut users: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for held in self.listeners.values() {
            users.entry(&held.wish.target_group).or_default().insert(&held.load_balancer);
        }
        users
    }

    /// After a listener came, changed or went: which target groups and certificates are in use since when.
    pub(super) fn note_use(&mut self) {
        let now = self.clock.now();
        let used: BTreeSet<&str> =
            self.listeners.values().map(|held| held.wish.target_group.as_str()).collect();
        for (arn, group) in &mut self.target_groups {
            match (group.attached, used.contains(arn.as_str())) {
                (None, true) => group.attached = Some(now),
                (Some(_), false) => (group.attached, group.released) = (None, Some(now)),
                _ => {}
            }
        }
        let listeners = self.listeners.values();
        let used: BTreeSet<&String> =
            listeners.flat_map(|held| held.wish.certificate.iter().chain(&held.more_certificates)).collect();
        for (arn, certificate) in &mut self.certificates {
            let attached = used.contains(arn);
            if certificate.attached && !attached {
                certificate.released = Some(now);
            }
            certificate.attached = attached;
        }
    }

    /// The endpoint's time as a date: it begins with 2026.
    pub(super) fn date(at: Duration) -> String {
        let seconds = i64::try_from(Self::seconds(at)).unwrap_or_default();
        jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
    }

    /// As seconds since 1970.
    pub(super) fn seconds(at: Duration) -> u64 {
        1_767_225_600 + at.as_secs()
    }

    /// A call of ELBv2.
    pub(super) fn elbv2(&mut self, action: &str, form: Form) -> Outcome {
        let now = self.clock.now();
        let rates = self.settings.rates;
        if rates.is_some_and(|rates| !self.throttle.admit(&rates, Class::of(action), now)) {
            return Err(Failure::new(&self.settings.throttling_code, "Rate exceeded"));
        }
        match action {
            "CreateLoadBalancer" => self.create_load_balancer(form),
            "DescribeLoadBalancers" => self.describe_load_balancers(form),
            "DeleteLoadBalancer" => self.delete_load_balancer(form),
            "SetSubnets" => self.set_subnets(form),
            "SetSecurityGroups" => self.set_security_groups(form),
            "SetIpAddressType" => self.set_ip_address_type(form),
            "DescribeLoadBalancerAttributes" => self.describe_load_balancer_attributes(form),
            "ModifyLoadBalancerAttributes" => self.modify_load_balancer_attributes(form),
            "CreateTargetGroup" => self.create_target_group(form),
            "DescribeTargetGroups" => self.describe_target_groups(form),
            "ModifyTargetGroup" => self.modify_target_group(form),
            "DeleteTargetGroup" => self.delete_target_group(form),
            "DescribeTargetGroupAttributes" => self.describe_target_group_attributes(form),
            "ModifyTargetGroupAttributes" => self.modify_target_group_attributes(form),
            "RegisterTargets" => self.register_targets(form),
            "DeregisterTargets" => self.deregister_targets(form),
            "DescribeTargetHealth" => self.describe_target_health(form),
            "CreateListener" => self.create_listener(form),
            "DescribeListeners" => self.describe_listeners(form),
            "ModifyListener" => self.modify_listener(form),
            "DeleteListener" => self.delete_listener(form),
            "DescribeListenerAttributes" => self.describe_listener_attributes(form),
            "ModifyListenerAttributes" => self.modify_listener_attributes(form),
            "AddListenerCertificates" => self.add_listener_certificates(form),
            "RemoveListenerCertificates" => self.remove_listener_certificates(form),
            "DescribeListenerCertificates" => self.describe_listener_certificates(form),
            "AddTags" => self.add_tags(form),
            "RemoveTags" => self.remove_tags(form),
            "DescribeTags" => self.describe_tags(form),
            _ => Err(Failure::new("InvalidAction", format!("This endpoint has no action {action}"))),
        }
    }

    /// A call of ACM or of the tagging API.
    pub(super) fn other(&mut self, action: &str, body: &[u8]) -> Outcome {
        match action {
            "ImportCertificate" => self.import_certificate(body),
            "GetCertificate" => self.get_certificate(body),
            "DescribeCertificate" => self.describe_certificate(body),
            "DeleteCertificate" => self.delete_certificate(body),
            "ListCertificates" => self.list_certificates(body),
            "AddTagsToCertificate" => self.add_tags_to_certificate(body),
            "ListTagsForCertificate" => self.list_tags_for_certificate(body),
            "GetResources" => self.get_resources(body),
            _ => Err(Failure::new(
                "UnknownOperationException",
                format!("This endpoint has no action {action}"),
            )),
        }
    }
}
