//! BGPAdvertisements, read once from their objects, and the names of communities that they use.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use penstock_crds::{BGPAdvertisement, Community as CommunityObject, LabelSelectorError};
use penstock_model::ObjectKey;

use crate::{
    bgp::{Attributes, Community, CommunityError},
    selection::Selection,
};

/// Why an advertisement is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteAdvertisementError {
    /// A selector cannot be read.
    #[error(transparent)]
    Selector(#[from] LabelSelectorError),
    /// No such length of a prefix.
    #[error("spec.{field}: {length} is not a prefix length of the family")]
    Length {
        /// The field.
        field: &'static str,
        /// What stands there.
        length: u8,
    },
    /// Neither a community nor the name of one.
    #[error("spec.communities: {0}, and no Community of this namespace has that name")]
    Community(#[from] CommunityError),
    /// A name that two Communities use differently.
    #[error("spec.communities: Communities disagree about what {0:?} means")]
    Ambiguous(String),
}

/// A BGPAdvertisement: which addresses, from which nodes, to which peers, and what is said of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteAdvertisement {
    selection: Selection,
    lengths: (u8, u8),
    local_pref: Option<u32>,
    med: Option<u32>,
    communities: Vec<String>,
    peers: BTreeSet<String>,
}

impl AsRef<Selection> for RouteAdvertisement {
    fn as_ref(&self) -> &Selection {
        &self.selection
    }
}

impl RouteAdvertisement {
    /// Reads an advertisement. Whether its communities have a meaning is not asked here.
    ///
    /// # Errors
    /// What no prefix or selection can be made of.
    pub fn from_object(object: &BGPAdvertisement) -> Result<Self, RouteAdvertisementError> {
        let spec = &object.spec;
        let length = |field, length: u8, longest: u8| match length {
            1.. if length <= longest => Ok(length),
            _ => Err(RouteAdvertisementError::Length { field, length }),
        };
        Ok(Self {
            selection: Selection::read(
                &spec.ip_address_pools,
                &spec.ip_address_pool_selectors,
                &spec.service_selectors,
                &spec.node_selectors,
            )?,
            lengths: (
                length("aggregationLength", spec.aggregation_length, 32)?,
                length("aggregationLengthV6", spec.aggregation_length_v6, 128)?,
            ),
            local_pref: spec.local_pref,
            med: spec.med,
            communities: spec.communities.clone(),
            peers: spec.peers.iter().cloned().collect(),
        })
    }

    /// The prefix that stands for an address.
    #[must_use]
    pub fn prefix(&self, address: IpAddr) -> IpNet {
        let length = if address.is_ipv4() { self.lengths.0 } else { self.lengths.1 };
        IpNet::new_assert(address, length).trunc()
    }

    /// Whether the peer is told.
    #[must_use]
    pub fn tells(&self, peer: &str) -> bool {
        self.peers.is_empty() || self.peers.contains(peer)
    }

    /// What is said of its prefixes.
    ///
    /// # Errors
    /// A community without a meaning. Nothing is announced then: without `no-export`, for one, a route could
    /// spread further than it was meant to.
    pub fn attributes(&self, names: &CommunityNames) -> Result<Attributes, RouteAdvertisementError> {
        let communities = self.communities.iter().map(|text| names.read(text)).collect::<Result<_, _>>()?;
        Ok(Attributes { local_pref: self.local_pref, med: self.med, communities })
    }
}

/// What Communities call communities.
#[derive(Clone, Debug, Default)]
pub struct CommunityNames {
    objects: BTreeMap<ObjectKey, BTreeMap<String, String>>,
    /// What a name meant last. A name that is deleted while it is used goes on meaning it for as long as this process
    /// lives: to withdraw addresses for it would help nobody.
    last: BTreeMap<String, Community>,
}

impl CommunityNames {
    /// Takes a new or changed object.
    pub fn apply(&mut self, object: &CommunityObject) -> bool {
        let aliases = object.spec.communities.iter().map(|alias| (alias.name.clone(), alias.value.clone()));
        let aliases: BTreeMap<String, String> = aliases.collect();
        for (name, value) in &aliases {
            match value.parse() {
                Ok(community) => {
                    self.last.insert(name.clone(), community);
                }
                Err(error) => tracing::warn!(name, %error, "a Community is not used"),
            }
        }
        let key = ObjectKey::of(&object.metadata);
        self.objects.insert(key, aliases.clone()) != Some(aliases)
    }

    /// Forgets an object.
    pub fn delete(&mut self, key: &ObjectKey) -> bool {
        self.objects.remove(key).is_some()
    }

    /// The keys of all objects.
    #[must_use]
    pub fn keys(&self) -> Vec<ObjectKey> {
        self.objects.keys().cloned().collect()
    }

    fn read(&self, text: &str) -> Result<Community, RouteAdvertisementError> {
        let mut meanings = self.objects.values().filter_map(|aliases| aliases.get(text));
        let Some(meaning) = meanings.next() else {
            let last = self.last.get(text).copied();
            return last.map_or_else(|| text.parse().map_err(Into::into), Ok);
        };
        if meanings.any(|other| other != meaning) {
            return Err(RouteAdvertisementError::Ambiguous(text.to_owned()));
        }
        Ok(meaning.parse()?)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn advertisement(spec: &Value) -> Result<RouteAdvertisement, RouteAdvertisementError> {
        let object = json!({"apiVersion": "penstock.dev/v1alpha1", "kind": "BGPAdvertisement",
            "metadata": {"name": "a"}, "spec": spec});
        RouteAdvertisement::from_object(&serde_json::from_value(object).unwrap())
    }

    fn community(name: &str, alias: &str, value: &str) -> CommunityObject {
        let object = json!({"apiVersion": "penstock.dev/v1alpha1", "kind": "Community",
            "metadata": {"name": name}, "spec": {"communities": [{"name": alias, "value": value}]}});
        serde_json::from_value(object).unwrap()
    }

    fn communities(names: &CommunityNames, texts: &[&str]) -> Result<Vec<String>, String> {
        let read = advertisement(&json!({"communities": texts})).unwrap().attributes(names);
        let shown = |attributes: Attributes| attributes.communities.iter().map(ToString::to_string).collect();
        read.map(shown).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_stands_for_itself_or_for_a_prefix() {
        let prefix = |spec: Value, address: &str| {
            advertisement(&spec).unwrap().prefix(address.parse().unwrap()).to_string()
        };
        assert_eq!(prefix(json!({}), "203.0.113.77"), "203.0.113.77/32");
        assert_eq!(prefix(json!({}), "2001:db8::7"), "2001:db8::7/128");
        assert_eq!(prefix(json!({"aggregationLength": 26}), "203.0.113.77"), "203.0.113.64/26");
        assert_eq!(prefix(json!({"aggregationLengthV6": 64}), "2001:db8::7"), "2001:db8::/64");
    }

    #[test]
    fn lengths_of_the_other_family_are_refused() {
        for (spec, field) in [
            (json!({"aggregationLength": 33}), "aggregationLength"),
            (json!({"aggregationLength": 0}), "aggregationLength"),
            (json!({"aggregationLengthV6": 129}), "aggregationLengthV6"),
        ] {
            let error = advertisement(&spec).unwrap_err().to_string();
            assert!(error.starts_with(&format!("spec.{field}: ")), "{error}");
        }
    }

    #[test]
    fn communities_are_numbers_well_known_or_named() {
        let mut names = CommunityNames::default();
        assert!(names.apply(&community("c", "gold", "65000:7")));
        assert!(!names.apply(&community("c", "gold", "65000:7")), "the same again");
        let read = communities(&names, &["gold", "large:65000:1:2", "no-export"]);
        assert_eq!(read.unwrap(), ["65000:7", "65535:65281", "large:65000:1:2"]);
        let error = communities(&names, &["silver"]).unwrap_err();
        assert!(error.contains("\"silver\"") && error.contains("no Community"), "{error}");
    }

    #[test]
    fn a_name_that_means_two_things_is_refused() {
        let mut names = CommunityNames::default();
        names.apply(&community("c", "gold", "65000:7"));
        names.apply(&community("d", "gold", "65000:7"));
        assert_eq!(communities(&names, &["gold"]).unwrap(), ["65000:7"]);
        names.apply(&community("d", "gold", "65000:8"));
        assert!(communities(&names, &["gold"]).unwrap_err().contains("disagree"));
    }

    #[test]
    fn a_name_that_is_deleted_keeps_its_meaning() {
        let mut names = CommunityNames::default();
        names.apply(&community("c", "gold", "65000:7"));
        assert!(names.delete(&ObjectKey::new("", "c")));
        assert_eq!(communities(&names, &["gold"]).unwrap(), ["65000:7"]);
    }
}
