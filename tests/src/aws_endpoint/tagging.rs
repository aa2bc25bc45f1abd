//! Calls about tags: those of ELBv2, and the one call of the Resource Groups Tagging API that finds by tags.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    answer::Outcome,
    failure::Failure,
    form::Form,
    name,
    store::Store,
    tags::{self, Tags},
};

/// The most resources of a call.
const MOST: usize = 20;

impl Store {
    pub(super) fn add_tags(&mut self, mut form: Form) -> Outcome {
        let arns = take_arns(&mut form)?;
        let wanted = tags::take(&mut form)?;
        form.finish()?;
        let most = self.settings.limits.tags;
        for arn in &arns {
            let mut tags = self.tags_of(arn)?.clone();
            tags.extend(wanted.clone());
            tags::check_count(&tags, most)?;
        }
        for arn in &arns {
            self.tags_of(arn)?.extend(wanted.clone());
        }
        Ok(json!({}))
    }

    pub(super) fn remove_tags(&mut self, mut form: Form) -> Outcome {
        let arns = take_arns(&mut form)?;
        let keys = form.list("TagKeys").unwrap_or_default();
        form.finish()?;
        arns.iter().try_for_each(|arn| self.tags_of(arn).map(|_| ()))?;
        for arn in &arns {
            self.tags_of(arn)?.retain(|key, _| !keys.contains(key));
        }
        Ok(json!({}))
    }

    pub(super) fn describe_tags(&mut self, mut form: Form) -> Outcome {
        let arns = take_arns(&mut form)?;
        form.finish()?;
        let mut shown = Vec::new();
        for arn in &arns {
            let tags = tags::shown(self.tags_of(arn)?);
            shown.push(json!({"ResourceArn": arn, "Tags": tags}));
        }
        Ok(json!({"TagDescriptions": shown}))
    }

    fn tags_of(&mut self, arn: &str) -> Result<&mut Tags, Failure> {
        if name::check_arn("targetgroup", arn).is_ok() {
            return self.target_group_mut(arn).map(|held| &mut held.tags);
        }
        if name::check_arn("listener/net", arn).is_ok() {
            return self.listener_mut(arn).map(|held| &mut held.tags);
        }
        self.load_balancer_mut(arn).map(|held| &mut held.tags)
    }

    /// `GetResources`: everything with tags that fits, also subnets and certificates.
    pub(super) fn get_resources(&self, body: &[u8]) -> Outcome {
        let wanted: Search = serde_json::from_slice(body)
            .map_err(|error| Failure::new("InvalidParameterException", error.to_string()))?;
        let size = wanted.resources_per_page.unwrap_or(50);
        if !(1..=100).contains(&size) {
            return Err(Failure::new(
                "InvalidParameterException",
                "ResourcesPerPage must be between 1 and 100",
            ));
        }
        let after = wanted.pagination_token.clone().unwrap_or_default();
        let all = self.tagged();
        let mut found: Vec<_> =
            all.iter().filter(|(arn, _, _)| *arn > after).filter(|one| wanted.fits(one)).collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        let next = if found.len() > size { found[size - 1].0.clone() } else { String::new() };
        found.truncate(size);
        let shown: Value = found
            .into_iter()
            .map(|(arn, _, tags)| json!({"ResourceARN": arn, "Tags": tags::shown(tags)}))
            .collect();
        Ok(json!({"ResourceTagMappingList": shown, "PaginationToken": next}))
    }

    /// ARN, type and tags of what has tags.
    fn tagged(&self) -> Vec<(String, &'static str, &Tags)> {
        let balancers = self.load_balancers.iter().filter(|(_, held)| self.is_visible(held.created));
        let balancers =
            balancers.map(|(arn, held)| (arn.clone(), "elasticloadbalancing:loadbalancer", &held.tags));
        let groups = self.target_groups.iter().filter(|(_, held)| self.is_visible(held.created));
        let groups = groups.map(|(arn, held)| (arn.clone(), "elasticloadbalancing:targetgroup", &held.tags));
        let listeners = self.listeners.iter().filter(|(_, held)| self.is_visible(held.created));
        let listeners =
            listeners.map(|(arn, held)| (arn.clone(), "elasticloadbalancing:listener", &held.tags));
        let certificates = self.certificates.iter();
        let certificates = certificates.map(|(arn, held)| (arn.clone(), "acm:certificate", &held.tags));
        let subnets = self.world.subnets.iter();
        let subnets = subnets.map(|(id, held)| (name::subnet_arn(id), "ec2:subnet", &held.tags));
        let all = balancers.chain(groups).chain(listeners).chain(certificates).chain(subnets);
        all.filter(|(_, _, tags)| !tags.is_empty()).collect()
    }
}

fn take_arns(form: &mut Form) -> Result<Vec<String>, Failure> {
    let arns = form.list("ResourceArns").unwrap_or_default();
    match arns.len() {
        0 => Err(Failure::validation("At least one resource ARN must be specified")),
        n if n > MOST => Err(Failure::validation(format!(
            "Cannot specify more than {MOST} resource ARNs in a single call"
        ))),
        _ if arns.iter().collect::<BTreeSet<_>>().len() < arns.len() => {
            Err(Failure::validation("A resource ARN was specified twice"))
        }
        _ => Ok(arns),
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Search {
    #[serde(default)]
    tag_filters: Vec<TagFilter>,
    #[serde(default)]
    resource_type_filters: Vec<String>,
    pagination_token: Option<String>,
    resources_per_page: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct TagFilter {
    key: String,
    #[serde(default)]
    values: Vec<String>,
}

impl Search {
    fn fits(&self, (_, kind, tags): &(String, &'static str, &Tags)) -> bool {
        let service = kind.split(':').next().unwrap_or_default();
        let kinds = &self.resource_type_filters;
        let filter = |filter: &TagFilter| {
            tags.get(&filter.key)
                .is_some_and(|value| filter.values.is_empty() || filter.values.contains(value))
        };
        (kinds.is_empty() || kinds.iter().any(|wanted| wanted == kind || wanted == service))
            && self.tag_filters.iter().all(filter)
    }
}
