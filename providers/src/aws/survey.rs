//! What is asked of AWS: everything of the cluster in bulk, or what there is of one Service.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aws_sdk_elasticloadbalancingv2::types as sdk;
use penstock_crds::AwsParameters;

use super::{
    api::Api,
    call_class::CallClass::Describe,
    conversion,
    failure::Failure,
    observed::{Balancer, Group, Imported, Listener, Observed},
    reading::Pairs,
    spec::Transport,
    tags,
};
use crate::ProviderError;

/// What one answer holds at most.
const PAGE: i32 = 400;
/// What one question about tags takes.
const TAGGED: usize = 20;
/// How the names of our target groups begin: those of others need not be asked for their tags.
const OUR_GROUPS: &str = "k8s-";

/// How long to wait for what AWS does not show yet, and how often before somebody else has a turn.
const UNSEEN: Duration = Duration::from_secs(2);
const LOOKS: u32 = 3;

/// Balancers or groups to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Clue {
    /// Of a balancer.
    BalancerArn(String),
    /// Of a balancer that may have been created.
    BalancerName(String),
    /// Of a target group.
    GroupArn(String),
    /// Of a target group that may have been created.
    GroupName(String),
    /// Of a certificate.
    CertificateArn(String),
    /// There may be one that was imported: it has no name.
    AnyCertificate,
}

impl Api {
    /// All that carries this cluster's name, by the UID of its Service; without listeners, attributes and targets.
    pub(super) async fn survey(
        &self,
        parameters: &AwsParameters,
    ) -> Result<BTreeMap<String, Observed>, ProviderError> {
        let balancers = self.all_balancers(parameters).await?;
        let groups = self.all_groups(parameters).await?;
        let certificates = match self.all_certificates().await {
            // Without the right to list them none was imported, and nobody needs it who names no Secret.
            Err(error) if error.is_terminal() => Vec::new(),
            certificates => certificates?,
        };
        self.sorted_by_owner(parameters, balancers, groups, certificates).await
    }

    /// What there is by some clues, if it is this Service's; whole.
    pub(super) async fn look(
        &self,
        parameters: &AwsParameters,
        uid: &str,
        clues: impl IntoIterator<Item = Clue>,
    ) -> Result<Observed, ProviderError> {
        let (mut balancers, mut groups, mut certificates) = (Vec::new(), Vec::new(), Vec::new());
        for clue in clues {
            match clue {
                Clue::BalancerArn(arn) => balancers.extend(self.balancer(Some(arn), None).await?),
                Clue::BalancerName(name) => balancers.extend(self.balancer(None, Some(name)).await?),
                Clue::GroupArn(arn) => groups.extend(self.group(Some(arn), None).await?),
                Clue::GroupName(name) => groups.extend(self.group(None, Some(name)).await?),
                Clue::CertificateArn(arn) => certificates.extend(self.certificate(arn).await?),
                Clue::AnyCertificate => certificates.extend(self.all_certificates().await?),
            }
        }
        balancers.sort_by(|a, b| a.arn.cmp(&b.arn));
        balancers.dedup_by(|a, b| a.arn == b.arn);
        groups.sort_by(|a, b| a.arn.cmp(&b.arn));
        groups.dedup_by(|a, b| a.arn == b.arn);
        certificates.sort_by(|a, b| a.arn.cmp(&b.arn));
        certificates.dedup_by(|a, b| a.arn == b.arn);
        let mut found = self.sorted_by_owner(parameters, balancers, groups, certificates).await?;
        let mut observed = found.remove(uid).unwrap_or_default();
        self.complete(&mut observed).await?;
        Ok(observed)
    }

    /// Adds listeners, attributes and targets.
    pub(super) async fn complete(&self, observed: &mut Observed) -> Result<(), ProviderError> {
        for balancer in &mut observed.balancers {
            balancer.listeners = self.listeners(&balancer.arn).await?;
            balancer.attributes = self.balancer_attributes(&balancer.arn).await?;
        }
        for group in &mut observed.groups {
            group.attributes = self.group_attributes(&group.arn).await?;
            let request = self.client.describe_target_health().target_group_arn(&group.arn);
            let answer = self.ask("DescribeTargetHealth", Describe, request.send()).await?;
            group.targets =
                answer.target_health_descriptions().iter().filter_map(conversion::health).collect();
        }
        self.look_into_certificates(observed).await?;
        observed.sort();
        Ok(())
    }

    /// Of each ARN; one that is gone meanwhile has none.
    pub(super) async fn tags(&self, arns: &[String]) -> Result<BTreeMap<String, Pairs>, ProviderError> {
        let mut all = BTreeMap::new();
        for chunk in arns.chunks(TAGGED) {
            match self.tags_of(chunk).await {
                Err(failure) if failure.is_not_found() => {
                    for arn in chunk {
                        all.extend(self.or_nothing(self.tags_of(std::slice::from_ref(arn)).await)?);
                    }
                }
                answer => all.extend(answer.map_err(|failure| self.error(Describe, failure))?),
            }
        }
        Ok(all)
    }

    /// Of what was created just now, which AWS may not show at once.
    pub(super) async fn tags_of_new(
        &self,
        arns: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Pairs>, ProviderError> {
        let all: Vec<String> = arns.iter().cloned().collect();
        let mut found = BTreeMap::new();
        for chunk in all.chunks(TAGGED) {
            for attempt in 0.. {
                match self.tags_of(chunk).await {
                    Ok(tags) if chunk.iter().all(|arn| tags.contains_key(arn)) => {
                        found.extend(tags);
                        break;
                    }
                    Err(failure) if !failure.is_not_found() => return Err(self.error(Describe, failure)),
                    _ if attempt == LOOKS => return Err(ProviderError::Pending(UNSEEN)),
                    _ => tokio::time::sleep(UNSEEN).await,
                }
            }
        }
        Ok(found)
    }

    async fn tags_of(&self, arns: &[String]) -> Result<BTreeMap<String, Pairs>, Failure> {
        let request = self.client.describe_tags().set_resource_arns(Some(arns.to_vec()));
        let answer = self.call("DescribeTags", Describe, request.send()).await?;
        let tags = |of: &sdk::TagDescription| pairs(of.tags(), |tag| (&tag.key, &tag.value));
        let described = answer.tag_descriptions().iter();
        Ok(described.filter_map(|of| Some((of.resource_arn.clone()?, tags(of)))).collect())
    }

    async fn sorted_by_owner(
        &self,
        parameters: &AwsParameters,
        balancers: Vec<Balancer>,
        groups: Vec<Group>,
        certificates: Vec<Imported>,
    ) -> Result<BTreeMap<String, Observed>, ProviderError> {
        let arns = balancers.iter().map(|b| &b.arn).chain(groups.iter().map(|g| &g.arn));
        let mut tags = self.tags(&arns.cloned().collect::<Vec<_>>()).await?;
        let mut found: BTreeMap<String, Observed> = BTreeMap::new();
        let uid = |tags: &Pairs| tags::owner_uid(tags, &parameters.cluster_name).map(ToOwned::to_owned);
        for mut balancer in balancers {
            balancer.spec.tags = tags.remove(&balancer.arn).unwrap_or_default();
            if let Some(uid) = uid(&balancer.spec.tags) {
                found.entry(uid).or_default().balancers.push(balancer);
            }
        }
        for mut group in groups {
            group.spec.tags = tags.remove(&group.arn).unwrap_or_default();
            if let Some(uid) = uid(&group.spec.tags) {
                found.entry(uid).or_default().groups.push(group);
            }
        }
        for certificate in certificates {
            if let Some(uid) = uid(&certificate.tags) {
                found.entry(uid).or_default().certificates.push(certificate);
            }
        }
        found.values_mut().for_each(Observed::sort);
        Ok(found)
    }

    async fn all_balancers(&self, parameters: &AwsParameters) -> Result<Vec<Balancer>, ProviderError> {
        let (mut all, mut marker) = (Vec::new(), None);
        loop {
            let request = self.client.describe_load_balancers().page_size(PAGE).set_marker(marker);
            let answer = self.ask("DescribeLoadBalancers", Describe, request.send()).await?;
            all.extend(answer.load_balancers().iter().filter_map(conversion::balancer));
            marker = next(answer.next_marker);
            if marker.is_none() {
                all.retain(|balancer| balancer.vpc_id == parameters.vpc_id);
                return Ok(all);
            }
        }
    }

    async fn all_groups(&self, parameters: &AwsParameters) -> Result<Vec<Group>, ProviderError> {
        let (mut all, mut marker) = (Vec::new(), None);
        loop {
            let request = self.client.describe_target_groups().page_size(PAGE).set_marker(marker);
            let answer = self.ask("DescribeTargetGroups", Describe, request.send()).await?;
            all.extend(answer.target_groups().iter().filter_map(conversion::group));
            marker = next(answer.next_marker);
            if marker.is_none() {
                all.retain(|g: &Group| g.vpc_id == parameters.vpc_id && g.spec.name.starts_with(OUR_GROUPS));
                return Ok(all);
            }
        }
    }

    pub(super) async fn balancer(
        &self,
        arn: Option<String>,
        name: Option<String>,
    ) -> Result<Vec<Balancer>, ProviderError> {
        let list = |item: Option<String>| item.map(|item| vec![item]);
        let request =
            self.client.describe_load_balancers().set_load_balancer_arns(list(arn)).set_names(list(name));
        let answer = self.call("DescribeLoadBalancers", Describe, request.send()).await;
        let found = answer.map(|a| a.load_balancers().iter().filter_map(conversion::balancer).collect());
        self.or_nothing(found)
    }

    pub(super) async fn group(
        &self,
        arn: Option<String>,
        name: Option<String>,
    ) -> Result<Vec<Group>, ProviderError> {
        let list = |item: Option<String>| item.map(|item| vec![item]);
        let request =
            self.client.describe_target_groups().set_target_group_arns(list(arn)).set_names(list(name));
        let answer = self.call("DescribeTargetGroups", Describe, request.send()).await;
        let found = answer.map(|a| a.target_groups().iter().filter_map(conversion::group).collect());
        self.or_nothing(found)
    }

    async fn listeners(&self, balancer: &str) -> Result<Vec<Listener>, ProviderError> {
        let request = self.client.describe_listeners().load_balancer_arn(balancer).page_size(PAGE);
        let answer = self.ask("DescribeListeners", Describe, request.send()).await?;
        let mut listeners: Vec<Listener> =
            answer.listeners().iter().filter_map(conversion::listener).collect();
        for listener in listeners.iter_mut().filter(|listener| listener.spec.protocol == Transport::Tls) {
            let request = self.client.describe_listener_certificates().listener_arn(&listener.arn);
            let answer = self.ask("DescribeListenerCertificates", Describe, request.send()).await?;
            let known = &mut listener.spec.certificates;
            for arn in answer.certificates().iter().filter_map(|c| c.certificate_arn.clone()) {
                if !known.contains(&arn) {
                    known.push(arn);
                }
            }
        }
        for listener in &mut listeners {
            listener.attributes = Some(self.listener_attributes(&listener.arn).await?);
        }
        Ok(listeners)
    }

    async fn listener_attributes(&self, arn: &str) -> Result<Pairs, ProviderError> {
        let request = self.client.describe_listener_attributes().listener_arn(arn);
        let answer = self.ask("DescribeListenerAttributes", Describe, request.send()).await?;
        Ok(pairs(answer.attributes(), |one| (&one.key, &one.value)))
    }

    async fn balancer_attributes(&self, arn: &str) -> Result<Pairs, ProviderError> {
        let request = self.client.describe_load_balancer_attributes().load_balancer_arn(arn);
        let answer = self.ask("DescribeLoadBalancerAttributes", Describe, request.send()).await?;
        Ok(pairs(answer.attributes(), |one| (&one.key, &one.value)))
    }

    async fn group_attributes(&self, arn: &str) -> Result<Pairs, ProviderError> {
        let request = self.client.describe_target_group_attributes().target_group_arn(arn);
        let answer = self.ask("DescribeTargetGroupAttributes", Describe, request.send()).await?;
        Ok(pairs(answer.attributes(), |one| (&one.key, &one.value)))
    }

    /// What is not found is none.
    fn or_nothing<T: Default>(&self, answer: Result<T, Failure>) -> Result<T, ProviderError> {
        match answer {
            Err(failure) if failure.is_not_found() => Ok(T::default()),
            answer => answer.map_err(|failure| self.error(Describe, failure)),
        }
    }
}

/// What a list of them says; one without a key says nothing.
fn pairs<T>(all: &[T], read: impl Fn(&T) -> (&Option<String>, &Option<String>)) -> Pairs {
    let pair = |one: &T| {
        let (key, value) = read(one);
        Some((key.clone()?, value.clone().unwrap_or_default()))
    };
    all.iter().filter_map(pair).collect()
}

/// Where the next page begins, if there is one.
fn next(marker: Option<String>) -> Option<String> {
    marker.filter(|marker| !marker.is_empty())
}
