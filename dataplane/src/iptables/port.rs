//! What one Service port needs: chains of its own, and rules at its addresses. Pure.
//!
//! | Chain | What it does |
//! |---|---|
//! | `SVC`, `LOC` | chooses one of the endpoints, of the cluster or of this node, and translates |
//! | `EXT` | what external policy says: masquerade, or who goes where |
//! | `FWL` | source ranges: lets through to `EXT` |
//!
//! What none of them translates is refused or dropped in the table filter: there the address is still the frontend's.

use std::net::SocketAddr;

use ipnet::IpNet;
use penstock_model::{
    Family, Frontend, FrontendKind, Masquerade, Others, PortKey, Route, Scope, ServicePort, Sources,
};

use super::{
    chains::{Chains, Rules, Table},
    name::{MARK, MARK_OFF_CLUSTER, REJECT, digest, hashed},
    tree::Key,
};

const SCOPES: [Scope; 2] = [Scope::Cluster, Scope::Local];

/// What a Service port adds to the rules of a family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    /// Its own chains.
    pub(super) chains: Chains,
    /// Where its frontends lead.
    pub(super) services: Vec<(Key, Rules)>,
    /// What becomes of packets to its addresses that are not translated.
    pub(super) refusals: Vec<(Key, Rules)>,
    /// Endpoints that may reach themselves.
    pub(super) hairpins: Vec<(Key, Rules)>,
}

/// A Service port in a family.
pub(super) struct Port<'a> {
    pub(super) key: &'a PortKey,
    pub(super) desired: &'a ServicePort,
    pub(super) family: Family,
    /// The Pod ranges of the family.
    pub(super) cluster_cidrs: &'a [IpNet],
}

impl Port<'_> {
    /// All that it needs.
    pub(super) fn share(&self) -> Share {
        let mut share = Share::default();
        for frontend in self.frontends() {
            let key = Key::of(frontend.address);
            share.services.extend(self.service(frontend).map(|rules| (key, rules)));
            share.refusals.extend(self.refusal(frontend).map(|rules| (key, rules)));
            self.add_chains(frontend, &mut share.chains);
        }
        share.refusals.extend(self.cluster_ips().map(|ip| (ip, vec![format!("-j {REJECT}")])));
        let hairpins = self.desired.hairpins().into_iter().filter(|ip| Family::of(*ip) == self.family);
        let masquerade = |ip| format!("-d {ip} -j MASQUERADE --random-fully");
        share.hairpins = hairpins.map(|ip| (Key::all_of(ip), vec![masquerade(ip)])).collect();
        share
    }

    /// How many frontends, and endpoints of each of them and of its policies.
    pub(super) fn count(&self) -> (u64, u64) {
        let of = |frontend: &Frontend| {
            let route = self.desired.treatment(frontend).route;
            SCOPES
                .iter()
                .filter(|scope| route.uses(**scope))
                .map(|scope| self.endpoints(*scope).len())
                .sum::<usize>()
        };
        let endpoints: usize = self.frontends().map(of).sum();
        (self.frontends().count() as u64, endpoints as u64)
    }

    fn frontends(&self) -> impl Iterator<Item = &Frontend> {
        self.desired.frontends.iter().filter(|frontend| Family::of(frontend.address.ip) == self.family)
    }

    fn cluster_ips(&self) -> impl Iterator<Item = Key> {
        let ips = self.frontends().filter(|f| f.kind == FrontendKind::ClusterIp).map(|f| f.address.ip);
        let ips: std::collections::BTreeSet<_> = ips.collect();
        ips.into_iter().map(Key::all_of)
    }

    fn endpoints(&self, scope: Scope) -> &[SocketAddr] {
        match scope {
            Scope::Cluster => self.desired.cluster.of(self.family),
            Scope::Local => self.desired.local.of(self.family),
        }
    }

    fn name(&self, kind: &str) -> String {
        hashed(kind, &self.key.to_string())
    }

    fn chooser(&self, scope: Scope) -> String {
        match scope {
            Scope::Cluster => self.name("SVC"),
            Scope::Local => self.name("LOC"),
        }
    }

    /// Shown beside the rule that leads to the Service.
    fn comment(&self) -> String {
        // Nothing that the program could read as something else; a comment has at most 255 bytes.
        let is_plain = |letter: &char| letter.is_ascii_alphanumeric() || "-./:".contains(*letter);
        let text: String = self.key.to_string().chars().filter(is_plain).take(255).collect();
        format!("-m comment --comment \"{text}\"")
    }

    /// Where a frontend leads in the table nat; `None` if nothing of it is translated.
    fn service(&self, frontend: &Frontend) -> Option<Rules> {
        let treatment = self.desired.treatment(frontend);
        let goto = |chain: String| format!("{} -g {chain}", self.comment());
        match (treatment.route, treatment.sources) {
            (Route::Reject | Route::Drop, _) => None,
            (Route::To { scope, masquerade: Masquerade::OffCluster }, Sources::All) => {
                let chooser = goto(self.chooser(scope));
                if self.cluster_cidrs.is_empty() {
                    return Some(vec![chooser]);
                }
                Some(vec![format!("-j {MARK_OFF_CLUSTER}"), chooser])
            }
            (_, Sources::All) => Some(vec![goto(self.name("EXT"))]),
            (_, Sources::Only(_)) => Some(vec![goto(self.name("FWL"))]),
        }
    }

    /// What becomes of what was not translated; `None` if all of it was.
    fn refusal(&self, frontend: &Frontend) -> Option<Rules> {
        let treatment = self.desired.treatment(frontend);
        let drop = || "-j DROP".to_owned();
        match (treatment.route, treatment.sources) {
            (Route::Reject, Sources::All) => Some(vec![format!("-j {REJECT}")]),
            (Route::Reject, Sources::Only(nets)) => {
                Some(nets.iter().map(|net| format!("-s {net} -j {REJECT}")).chain([drop()]).collect())
            }
            (Route::Drop | Route::ShortCircuit { others: Others::Drop }, _) | (_, Sources::Only(_)) => {
                Some(vec![drop()])
            }
            (_, Sources::All) => None,
        }
    }

    fn add_chains(&self, frontend: &Frontend, chains: &mut Chains) {
        let treatment = self.desired.treatment(frontend);
        for scope in SCOPES.into_iter().filter(|scope| treatment.route.uses(*scope)) {
            chains.entry((Table::Nat, self.chooser(scope))).or_insert_with(|| self.choose(scope));
        }
        let external = self.external(treatment.route);
        if let Sources::Only(nets) = treatment.sources
            && external.is_some()
        {
            let rules = nets.iter().map(|net| format!("-s {net} -g {}", self.name("EXT"))).collect();
            chains.insert((Table::Nat, self.name("FWL")), rules);
        }
        if let Some(rules) = external {
            chains.insert((Table::Nat, self.name("EXT")), rules);
        }
    }

    /// What external policy does; all external frontends have the same route. `None` where nothing is translated, and for
    /// ClusterIPs.
    fn external(&self, route: Route) -> Option<Rules> {
        match route {
            Route::To { scope, masquerade: Masquerade::Always } => {
                Some(vec![format!("-j {MARK}"), format!("-g {}", self.chooser(scope))])
            }
            Route::ShortCircuit { others } => Some(self.short_circuit(others)),
            Route::To { masquerade: Masquerade::OffCluster, .. } | Route::Reject | Route::Drop => None,
        }
    }

    fn short_circuit(&self, others: Others) -> Rules {
        let cluster = self.chooser(Scope::Cluster);
        let pods = self.cluster_cidrs.iter().map(|net| format!("-s {net} -g {cluster}"));
        let node = ["-j", "-g"].into_iter().zip([MARK, &cluster]);
        let node = node.map(|(verb, chain)| format!("-m addrtype --src-type LOCAL {verb} {chain}"));
        let others = (others == Others::ToLocal).then(|| format!("-g {}", self.chooser(Scope::Local)));
        pods.chain(node).chain(others).collect()
    }

    /// One endpoint: the one that the client had, or any.
    fn choose(&self, scope: Scope) -> Rules {
        let endpoints = self.endpoints(scope);
        let had = self.desired.affinity_seconds.into_iter().flat_map(|seconds| {
            endpoints.iter().map(move |to| {
                let list = self.list(*to);
                // Prolonged with each connection.
                let recent = format!("-m recent --name {list} --update --seconds {seconds} --reap --rsource");
                self.translate(&recent, *to)
            })
        });
        let left = (1..=endpoints.len()).rev();
        let any = endpoints.iter().zip(left).map(|(to, left)| self.translate(&self.any_of(left, *to), *to));
        had.chain(any).collect()
    }

    /// This one of so many that are left, and remembers it.
    fn any_of(&self, left: usize, to: SocketAddr) -> String {
        let remember = self
            .desired
            .affinity_seconds
            .map(|_| format!("-m recent --name {} --set --rsource", self.list(to)));
        let chance = (left > 1).then(|| {
            // No API server holds so many endpoints that a number of 53 bits would not tell them apart.
            format!("-m statistic --mode random --probability {:.11}", 1.0 / left as f64)
        });
        chance.into_iter().chain(remember).collect::<Vec<_>>().join(" ")
    }

    /// The clients of an endpoint: the same for all frontends and policies of the port.
    fn list(&self, to: SocketAddr) -> String {
        format!("penstock-{}", digest(&format!("{} {to}", self.key)))
    }

    fn translate(&self, matches: &str, to: SocketAddr) -> String {
        let space = if matches.is_empty() { "" } else { " " };
        format!("-p {} {matches}{space}-j DNAT --to-destination {to}", self.key.protocol.lower())
    }
}
