//! Which Services are ours: pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use penstock_crds::{
    FINALIZER, GROUP, LoadBalancerClass, LoadBalancerClassSpec, ProviderKind, Reason, SERVED_BY,
};

/// Whether a class is in use, or why not.
pub type ClassVerdict = Result<(), (Reason, String)>;

/// What a Service's class means to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Membership<'a> {
    /// Ours: the class's name and parameters.
    Ours(&'a str, &'a LoadBalancerClassSpec),
    /// It names a class of ours that is not there: nothing new is built, nothing old is torn down.
    Missing(String),
    /// Somebody else's.
    Foreign,
}

/// All LoadBalancerClasses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Classes {
    by_name: BTreeMap<String, LoadBalancerClassSpec>,
    default: Option<String>,
}

impl Classes {
    /// Reads all classes; returns what became of each. Of two defaults the older counts.
    #[must_use]
    pub fn judge(objects: &[LoadBalancerClass]) -> (Self, BTreeMap<String, ClassVerdict>) {
        let mut sorted: Vec<&LoadBalancerClass> = objects.iter().collect();
        sorted
            .sort_by_key(|c| (c.metadata.creation_timestamp.as_ref().map(|t| t.0), c.metadata.name.clone()));
        let (mut classes, mut verdicts) = (Self::default(), BTreeMap::new());
        for object in sorted {
            let name = object.metadata.name.clone().unwrap_or_default();
            let verdict = classes.add(&name, &object.spec);
            verdicts.insert(name, verdict);
        }
        (classes, verdicts)
    }

    fn add(&mut self, name: &str, spec: &LoadBalancerClassSpec) -> ClassVerdict {
        self.by_name.insert(name.to_owned(), spec.clone());
        match &self.default {
            Some(first) if spec.default => {
                let message = format!(
                    "LoadBalancerClass {first} is the default already: set spec.default of one to false"
                );
                Err((Reason::Invalid, message))
            }
            _ => {
                self.default = self.default.take().or_else(|| spec.default.then(|| name.to_owned()));
                Ok(())
            }
        }
    }

    /// Whose a Service of type LoadBalancer is. One that names no class stays with the class that serves it, also when
    /// another becomes the default: a change of the default moves nobody's address.
    #[must_use]
    pub fn membership<'a>(&'a self, service: &'a core::Service) -> Membership<'a> {
        let name = match (named_class(service), ours(service)) {
            (Some(_), None) => return Membership::Foreign,
            (_, Some(name)) => Some(name),
            (None, None) => served_by(service).or(self.default.as_deref()),
        };
        let Some(name) = name else {
            return Membership::Missing("no LoadBalancerClass is the default any longer".to_owned());
        };
        match self.by_name.get_key_value(name) {
            Some((name, spec)) => Membership::Ours(name, spec),
            None => Membership::Missing(format!("LoadBalancerClass {name} does not exist: create it")),
        }
    }

    /// The class of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&LoadBalancerClassSpec> {
        self.by_name.get(name)
    }

    /// All, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &LoadBalancerClassSpec)> {
        self.by_name.iter()
    }

    /// Whether some class has this provider.
    #[must_use]
    pub(crate) fn has_provider(&self, provider: ProviderKind) -> bool {
        self.by_name.values().any(|class| class.provider == provider)
    }

    /// The class that serves Services without one.
    #[must_use]
    pub fn default_name(&self) -> Option<&str> {
        self.default.as_deref()
    }
}

fn named_class(service: &core::Service) -> Option<&str> {
    service.spec.as_ref()?.load_balancer_class.as_deref()
}

/// The name of the class of ours that the Service names.
fn ours(service: &core::Service) -> Option<&str> {
    let (group, name) = named_class(service)?.split_once('/')?;
    (group == GROUP).then_some(name)
}

/// Whether somebody else serves the Service, and writes its status.
#[must_use]
pub(crate) fn names_foreign_class(service: &core::Service) -> bool {
    named_class(service).is_some() && ours(service).is_none()
}

/// Whether the Service carries our finalizer.
#[must_use]
pub fn is_marked(service: &core::Service) -> bool {
    service.metadata.finalizers.as_deref().unwrap_or_default().iter().any(|f| f == FINALIZER)
}

/// The class that serves a Service that is marked as ours.
#[must_use]
pub fn served_by(service: &core::Service) -> Option<&str> {
    let said = service.metadata.annotations.as_ref()?.get(SERVED_BY)?;
    is_marked(service).then_some(said.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn class(name: &str, created: &str, default: bool) -> LoadBalancerClass {
        serde_json::from_value(json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "LoadBalancerClass",
            "metadata": {"name": name, "creationTimestamp": created},
            "spec": {"provider": "pool", "default": default}
        }))
        .unwrap()
    }

    fn service(class: Option<&str>) -> core::Service {
        serde_json::from_value(json!({"spec": {"type": "LoadBalancer", "loadBalancerClass": class}})).unwrap()
    }

    #[test]
    fn a_class_is_named_with_our_group_and_the_default_serves_the_rest() {
        let (classes, _) = Classes::judge(&[class("bare", "2026-01-01T00:00:00Z", true)]);
        assert!(matches!(classes.membership(&service(Some("penstock.dev/bare"))), Membership::Ours(..)));
        assert!(matches!(classes.membership(&service(None)), Membership::Ours(..)));
        assert!(matches!(classes.membership(&service(Some("penstock.dev/other"))), Membership::Missing(_)));
        for foreign in ["service.k8s.aws/nlb", "bare", "penstock.dev.evil/bare"] {
            assert_eq!(classes.membership(&service(Some(foreign))), Membership::Foreign, "{foreign}");
        }
    }

    #[test]
    fn a_new_default_moves_nobody() {
        let (classes, _) = Classes::judge(&[
            class("old", "2026-01-01T00:00:00Z", false),
            class("new", "2026-01-02T00:00:00Z", true),
        ]);
        let mut served = service(None);
        served.metadata.annotations = Some([(SERVED_BY.to_owned(), "old".to_owned())].into());
        assert!(matches!(classes.membership(&served), Membership::Ours("new", _)), "without our finalizer");
        served.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
        assert!(matches!(classes.membership(&served), Membership::Ours("old", _)));
        served.metadata.annotations = Some([(SERVED_BY.to_owned(), "gone".to_owned())].into());
        assert!(matches!(classes.membership(&served), Membership::Missing(why) if why.contains("gone")));
    }

    #[test]
    fn the_older_of_two_defaults_counts_and_the_other_is_told() {
        let (_, verdicts) = Classes::judge(&[
            class("a", "2026-01-02T00:00:00Z", true),
            class("b", "2026-01-01T00:00:00Z", true),
        ]);
        assert_eq!(verdicts["b"], Ok(()));
        assert!(verdicts["a"].as_ref().unwrap_err().1.contains("LoadBalancerClass b is the default already"));
    }
}
