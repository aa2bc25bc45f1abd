//! Which flows the kernel is asked for. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use netlink_packet_core::NLM_F_DUMP;
use penstock_model::{FrontendAddress, Protocol};

use super::{
    StaleFlows,
    flow::{End, Flow, MESSAGE_GET, TUPLE_ORIGINAL, TUPLE_REPLY, half_tuple, protocol_tuple},
};
use crate::netfilter::{Attributes, Message, protocol_number};

/// `CTA_FILTER` of `enum ctattr_type`.
const FILTER: u16 = 25;
/// `enum ctattr_filter`.
const FILTER_ORIGINAL: u16 = 1;
const FILTER_REPLY: u16 = 2;
/// `CTA_FILTER_F_…` of the kernel's `nf_internals.h`: which parts of a tuple are compared.
const COMPARE_PROTOCOL: u32 = 1 << 3;
const COMPARE_ADDRESS: [u32; 2] = [1 << 0, 1 << 1];
const COMPARE_PORT: [u32; 2] = [1 << 4, 1 << 5];

/// All stale flows of one frontend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) frontend: FrontendAddress,
    /// Who answers them; `None` for whoever does.
    endpoints: Option<BTreeSet<SocketAddr>>,
}

/// One question a frontend.
pub(super) fn questions(stale: &[StaleFlows]) -> Vec<Question> {
    let mut frontends = BTreeMap::new();
    for StaleFlows { frontend, endpoint } in stale {
        let endpoints = frontends.entry(*frontend).or_insert_with(|| Some(BTreeSet::new()));
        match (&mut *endpoints, endpoint) {
            (Some(all), Some(endpoint)) => drop(all.insert(*endpoint)),
            _ => *endpoints = None,
        }
    }
    frontends.into_iter().map(|(frontend, endpoints)| Question { frontend, endpoints }).collect()
}

impl Question {
    /// The request for a list. A single endpoint is compared by the kernel too.
    pub(super) fn message(&self, sequence: u32) -> Message {
        let protocol = protocol_number(self.frontend.protocol);
        let mut flags = Attributes::default().with(FILTER_ORIGINAL, &self.compared(End::Destination));
        let original = half_tuple(protocol, self.destination(), End::Destination);
        let mut attributes = Attributes::default().with_nested(TUPLE_ORIGINAL, &original);
        if let Some(endpoint) = self.only_endpoint() {
            flags = flags.with(FILTER_REPLY, &self.compared(End::Source));
            attributes = attributes.with_nested(TUPLE_REPLY, &half_tuple(protocol, endpoint, End::Source));
        }
        let family = if self.frontend.ip.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        list(family, sequence, attributes.with_nested(FILTER, &flags))
    }

    /// The kernel's comparison of IPv6 addresses is the wrong way round, in 6.18 too: it lists the flows of all
    /// addresses but the one at hand (`ctnetlink_filter_match_tuple` negates `ipv6_addr_cmp`, which is zero for equal ones).
    fn compared(&self, end: End) -> [u8; 4] {
        let address = if self.frontend.ip.is_ipv4() { COMPARE_ADDRESS[end as usize] } else { 0 };
        (address | COMPARE_PROTOCOL | COMPARE_PORT[end as usize]).to_ne_bytes()
    }

    /// Whether it is asked for. The kernel may list more: see `compared`, and those before 5.8 compare nothing.
    pub(super) fn matches(&self, flow: &Flow) -> bool {
        flow.protocol == protocol_number(self.frontend.protocol)
            && flow.destination == self.destination()
            && self.endpoints.as_ref().is_none_or(|endpoints| endpoints.contains(&flow.answered_by))
    }

    pub(super) fn destination(&self) -> SocketAddr {
        SocketAddr::new(self.frontend.ip, self.frontend.port)
    }

    fn only_endpoint(&self) -> Option<SocketAddr> {
        let endpoints = self.endpoints.as_ref()?;
        endpoints.first().filter(|_| endpoints.len() == 1).copied()
    }
}

/// The request for all UDP flows of a family.
pub(super) fn all_udp(family: libc::c_int, sequence: u32) -> Message {
    let udp = protocol_number(Protocol::Udp);
    let flags = Attributes::default().with(FILTER_ORIGINAL, &COMPARE_PROTOCOL.to_ne_bytes());
    let attributes = Attributes::default().with_nested(TUPLE_ORIGINAL, &protocol_tuple(udp));
    list(family, sequence, attributes.with_nested(FILTER, &flags))
}

fn list(family: libc::c_int, sequence: u32, attributes: Attributes) -> Message {
    Message {
        kind: Message::kind(libc::NFNL_SUBSYS_CTNETLINK, MESSAGE_GET),
        flags: NLM_F_DUMP,
        sequence,
        family: family as u8,
        version: 0,
        resource: 0,
        attributes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stale(frontend: &str, endpoint: Option<&str>) -> StaleFlows {
        let frontend: SocketAddr = frontend.parse().unwrap();
        let (ip, port) = (frontend.ip(), frontend.port());
        let frontend = FrontendAddress { ip, protocol: Protocol::Udp, port };
        StaleFlows { frontend, endpoint: endpoint.map(|endpoint| endpoint.parse().unwrap()) }
    }

    #[test]
    fn a_frontend_is_asked_about_once() {
        let (a, b) = (Some("10.244.0.2:53"), Some("10.244.0.3:53"));
        let (dns, other) = ("10.96.0.10:53", "10.96.0.11:53");
        let asked = questions(&[stale(dns, a), stale(other, b), stale(dns, b), stale(dns, a)]);
        let endpoints: Vec<_> = asked.iter().map(|q| q.endpoints.as_ref().map(BTreeSet::len)).collect();
        assert_eq!(endpoints, [Some(2), Some(1)]);
        let asked = questions(&[stale(dns, a), stale(dns, None), stale(dns, b)]);
        assert_eq!(asked, [Question { frontend: stale(dns, None).frontend, endpoints: None }]);
    }

    #[test]
    fn one_endpoint_is_compared_by_the_kernel() {
        let mut bytes = Vec::new();
        let asked = questions(&[stale("10.96.0.10:53", Some("10.244.0.2:5353"))]);
        asked[0].message(3).emit(&mut bytes);
        let mut expected = vec![120, 0, 0, 0, 1, 1, 1, 3, 3, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0];
        expected.extend([36, 0, 1, 0x80, 12, 0, 1, 0x80, 8, 0, 2, 0, 10, 96, 0, 10]);
        expected.extend([20, 0, 2, 0x80, 5, 0, 1, 0, 17, 0, 0, 0, 6, 0, 3, 0, 0, 53, 0, 0]);
        expected.extend([36, 0, 2, 0x80, 12, 0, 1, 0x80, 8, 0, 1, 0, 10, 244, 0, 2]);
        expected.extend([20, 0, 2, 0x80, 5, 0, 1, 0, 17, 0, 0, 0, 6, 0, 2, 0, 0x14, 0xe9, 0, 0]);
        expected.extend([20, 0, 25, 0x80, 8, 0, 1, 0]);
        expected.extend(0x2a_u32.to_ne_bytes());
        expected.extend([8, 0, 2, 0]);
        expected.extend(0x19_u32.to_ne_bytes());
        expected[0] = expected.len() as u8;
        assert_eq!(bytes, expected);
    }

    #[test]
    fn several_endpoints_and_any_are_told_apart_here() {
        let any = &questions(&[stale("[2001:db8:96::10]:53", None)])[0].message(3);
        assert_eq!((any.family, any.attributes.bytes().len()), (10, 60));
        let two = [
            stale("[2001:db8:96::10]:53", Some("[2001:db8::2]:53")),
            stale("[2001:db8:96::10]:53", Some("[2001:db8::3]:53")),
        ];
        assert_eq!(&questions(&two)[0].message(3), any);
    }
}
