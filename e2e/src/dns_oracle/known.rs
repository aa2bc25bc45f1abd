//! Where penstock-dns and CoreDNS are known to differ, and why. `docs/dns.md` has the same list for readers.

use std::net::Ipv6Addr;

use super::answer::{Answer, Content};
use super::packet::Damage;
use super::population::OF_NAMES;
use super::question::{NS, PTR, Question, SOA, Setting, TXT, Transport};

/// The most that penstock-dns sends in a datagram.
const LARGEST_DATAGRAM: usize = 1232;

/// A question with both answers.
#[derive(Debug, Clone)]
pub struct Case<'a> {
    /// What was asked.
    pub question: &'a Question,
    /// With which setting.
    pub setting: &'a Setting,
    /// What penstock-dns says.
    pub ours: &'a Answer,
    /// What CoreDNS says.
    pub theirs: &'a Answer,
}

/// A difference.
pub struct Known {
    /// What differs, and why.
    pub reason: &'static str,
    /// Whether it is this. Called for answers that differ.
    applies: fn(&Case<'_>) -> bool,
}

/// All that are known.
pub const KNOWN: &[Known] = &[
    Known { reason: "TXT of a name that exists without records: no data here, NXDOMAIN there", applies: txt },
    Known {
        reason: "SOA of a name that does not exist: NXDOMAIN here, or passed on if it is an address's, no data there",
        applies: soa,
    },
    Known {
        reason: "AA and RA of a forwarded answer: AA is ours to deny and RA is ours to offer; CoreDNS passes on",
        applies: forwarded,
    },
    Known {
        reason: "slices with names in place of addresses: nothing here, several CNAMEs of one name there (RFC 2181 10.1)",
        applies: of_names,
    },
    Known {
        reason: "an address in a slice that no Service has: CoreDNS falls silent over a name with an empty label",
        applies: orphan,
    },
    Known {
        reason: "labels before an address's name below ip6.arpa: passed on here, ignored there (RFC 3596 2.5)",
        applies: long_reverse,
    },
    Known { reason: "a class other than IN: refused here, answered as IN there", applies: class },
    Known { reason: "NOTIFY: NOTIMP here, answered as a query there", applies: notify },
    Known {
        reason: "AD of a question that is refused as malformed or not known: not repeated here (RFC 6840 5.8)",
        applies: authentic,
    },
    Known {
        reason: "a record that is missing or a wrong OPT record: FORMERR here, not read there (RFC 6891 6.1.1)",
        applies: malformed,
    },
    Known {
        reason: "an EDNS version other than 0: DO is repeated here (RFC 3225 3), not there",
        applies: version,
    },
    Known { reason: "a datagram of more than 1232 octets: cut off here, sent there", applies: large },
    Known {
        reason: "aliases of others that lead to no record: left out here (hickory-resolver drops them), passed on there",
        applies: aliases_of_others,
    },
    Known {
        reason: "names below invalid: NXDOMAIN here without asking (RFC 6761 6.4), passed on there",
        applies: invalid,
    },
    Known {
        reason: "ns.dns, and NS of a domain, in upper case: as in lower case here, NXDOMAIN or no data there",
        applies: name_server,
    },
    Known {
        reason: "svc, pod and ns.dns below in-addr.arpa and ip6.arpa: passed on here, answered there",
        applies: branch_of_addresses,
    },
    Known {
        reason: "dns-version: it may be kept for 28800 seconds here, for the 30 of its cache there",
        applies: version_time,
    },
    Known {
        reason: "an answer that just fits a datagram with names compressed further: cut off here, whole there",
        applies: compressed,
    },
    Known {
        reason: "a question that is cut off behind the header or the type: FORMERR here, SERVFAIL or answered there",
        applies: cut_off,
    },
    Known { reason: "PTR of ns.dns: no data here, NXDOMAIN there", applies: name_server_ptr },
    Known {
        reason: "a Pod's IPv6 address that is not in its shortest form, where Pods are verified: the Pod here, NXDOMAIN there",
        applies: long_address,
    },
];

/// The difference that explains a case.
pub fn explain(case: &Case<'_>) -> Option<&'static str> {
    KNOWN.iter().find(|known| (known.applies)(case)).map(|known| known.reason)
}

impl<'a> Case<'a> {
    /// Both, if both say something.
    fn both(&self) -> Option<(&'a Content, &'a Content)> {
        self.ours.content().zip(self.theirs.content())
    }

    /// Both, if these are their codes.
    fn codes(&self, ours: &str, theirs: &str) -> Option<(&'a Content, &'a Content)> {
        self.both().filter(|(one, two)| one.code == ours && two.code == theirs)
    }

    /// Whether a question of this type got these codes, and both no answer.
    fn is_empty(&self, record_type: u16, ours: &str, theirs: &str) -> bool {
        let empty = |content: &Content| content.answers.is_empty();
        self.question.query.record_type == record_type
            && self.codes(ours, theirs).is_some_and(|(one, two)| empty(one) && empty(two))
    }
}

fn txt(case: &Case<'_>) -> bool {
    case.is_empty(TXT, "NoError", "NXDomain") && ours_is_own(case)
}

fn soa(case: &Case<'_>) -> bool {
    let passed_on = case.is_empty(SOA, "NoError", "NoError") && !ours_is_own(case);
    case.is_empty(SOA, "NXDomain", "NoError") || passed_on && case.question.name().ends_with(".arpa.")
}

/// Whether the answer is from the cluster's records.
fn ours_is_own(case: &Case<'_>) -> bool {
    case.ours.content().is_some_and(|content| content.authoritative)
}

fn forwarded(case: &Case<'_>) -> bool {
    let offered = |(ours, theirs): (&Content, &Content)| {
        ours.recursion_available && !ours.authoritative && ours.of_others() == theirs.of_others()
    };
    case.both().is_some_and(offered)
}

fn of_names(case: &Case<'_>) -> bool {
    case.question.name().contains(&format!("{OF_NAMES}.pod.svc."))
}

fn orphan(case: &Case<'_>) -> bool {
    *case.theirs == Answer::Silence && case.ours.content().is_some() && is_reverse(case)
}

fn is_reverse(case: &Case<'_>) -> bool {
    case.question.query.record_type == PTR && case.question.name().ends_with(".arpa.")
}

fn long_reverse(case: &Case<'_>) -> bool {
    const WITH_AN_ADDRESS: usize = 34;
    let name = &case.question.query.name;
    is_reverse(case) && name.len() > WITH_AN_ADDRESS && case.question.name().ends_with(".ip6.arpa.")
}

fn class(case: &Case<'_>) -> bool {
    case.question.query.class != 1 && case.ours.content().is_some_and(|content| content.code == "Refused")
}

fn notify(case: &Case<'_>) -> bool {
    const NOTIFY: u8 = 4;
    let refused = case.ours.content().is_some_and(|content| content.code == "NotImp");
    case.question.query.op_code == NOTIFY && refused
}

fn authentic(case: &Case<'_>) -> bool {
    let repeated = |(ours, theirs): (&Content, &Content)| {
        let rejected = ["FormErr", "NotImp"].contains(&ours.code.as_str());
        rejected
            && theirs.authentic
            && Content { authentic: false, length: 0, ..theirs.clone() }
                == Content { length: 0, ..ours.clone() }
    };
    case.both().is_some_and(repeated)
}

fn malformed(case: &Case<'_>) -> bool {
    use Damage::{LongOption, NamedOpt, NoAnswer, NoRecords, TwoOpts};
    let unread = [LongOption, NamedOpt, NoAnswer, NoRecords, TwoOpts];
    let refused = case.ours.content().is_some_and(|content| content.code == "FormErr");
    case.question.damage.is_some_and(|damage| unread.contains(&damage)) && refused
}

fn version(case: &Case<'_>) -> bool {
    let only_edns = |(ours, theirs): (&Content, &Content)| {
        let bare = |content: &Content| Content { edns: None, length: 0, ..content.clone() };
        bare(ours) == bare(theirs) && ours.edns.is_some() && theirs.edns.is_some()
    };
    let other = case.question.query.edns.as_ref().is_some_and(|edns| edns.version > 0);
    other && case.both().is_some_and(only_edns)
}

fn large(case: &Case<'_>) -> bool {
    let cut = |(ours, theirs): (&Content, &Content)| {
        ours.truncated && !theirs.truncated && theirs.length > LARGEST_DATAGRAM && ours.code == theirs.code
    };
    case.question.transport == Transport::Udp && case.both().is_some_and(cut)
}

/// All that CoreDNS has besides are aliases in the zone of others.
fn aliases_of_others(case: &Case<'_>) -> bool {
    let only_aliases = |(ours, theirs): (&Content, &Content)| {
        let alias = |record: &String| record.contains("example.test. TTL IN CNAME ");
        let besides = || theirs.answers.iter().filter(|record| !ours.answers.contains(record));
        let all_there = ours.answers.iter().all(|record| theirs.answers.contains(record));
        ours.code == theirs.code && all_there && besides().all(alias) && besides().next().is_some()
    };
    case.both().is_some_and(only_aliases)
}

fn invalid(case: &Case<'_>) -> bool {
    let without =
        |(ours, theirs): (&Content, &Content)| ours.answers == theirs.answers && ours.authorities.is_empty();
    case.question.name().ends_with(".invalid.") && case.codes("NXDomain", "NXDomain").is_some_and(without)
}

fn name_server(case: &Case<'_>) -> bool {
    let name = case.question.name();
    let domains = || case.setting.domains.iter();
    let is_it = domains().any(|domain| name == format!("ns.dns.{domain}."));
    let of_domain =
        domains().any(|domain| name == format!("{domain}.")) && case.question.query.record_type == NS;
    let upper = case.question.query.name.iter().flatten().any(u8::is_ascii_uppercase);
    let nothing = case.codes("NoError", "NoError").is_some_and(|(_, theirs)| theirs.answers.is_empty());
    upper && (is_it && case.codes("NoError", "NXDomain").is_some() || of_domain && nothing)
}

fn branch_of_addresses(case: &Case<'_>) -> bool {
    let name = case.question.name();
    let below = |label: &str| ["in-addr", "ip6"].iter().any(|zone| name == format!("{label}.{zone}.arpa."));
    ["svc", "pod", "ns.dns"].into_iter().any(below) && case.codes("NXDomain", "NoError").is_some()
}

fn version_time(case: &Case<'_>) -> bool {
    let time =
        |content: &Content| content.answers.first().and_then(|a| a.split(' ').nth(1)).map(str::to_owned);
    let times = |(ours, theirs): (&Content, &Content)| (time(ours), time(theirs));
    let expected = (Some("28800".to_owned()), Some("30".to_owned()));
    case.question.name().starts_with("dns-version.") && case.both().map(times) == Some(expected)
}

/// Only where CoreDNS' answer has four fifths of what the client takes: ours cannot be much longer.
fn compressed(case: &Case<'_>) -> bool {
    const WITHOUT_EDNS: usize = 512;
    let size = case.question.query.edns.as_ref().map_or(WITHOUT_EDNS, |edns| usize::from(edns.size));
    let limit = size.clamp(WITHOUT_EDNS, LARGEST_DATAGRAM);
    let is_cut = |(ours, theirs): (&Content, &Content)| {
        ours.truncated && !theirs.truncated && theirs.length * 10 > limit * 8 && ours.code == theirs.code
    };
    case.question.transport == Transport::Udp && case.both().is_some_and(is_cut)
}

fn name_server_ptr(case: &Case<'_>) -> bool {
    let name = case.question.name();
    let is_it = case.setting.domains.iter().any(|domain| name == format!("ns.dns.{domain}."));
    is_it && case.is_empty(PTR, "NoError", "NXDomain")
}

fn cut_off(case: &Case<'_>) -> bool {
    let refused = case.ours.content().is_some_and(|content| content.code == "FormErr");
    case.question.damage == Some(Damage::Cut) && refused && case.theirs.content().is_some()
}

fn long_address(case: &Case<'_>) -> bool {
    let name = case.question.name();
    let mut labels = name.split('.').skip_while(|label| !label.contains('-'));
    let text = labels.next().unwrap_or_default().replace('-', ":");
    let longer = text.parse().is_ok_and(|ip: Ipv6Addr| ip.to_string() != text);
    case.setting.pods == "verified"
        && name.contains(".pod.")
        && longer
        && case.codes("NoError", "NXDomain").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns_oracle::servers::plain;

    fn explained(record_type: u16, ours: Content, theirs: Content) -> Option<&'static str> {
        let mut question = plain("web.default.svc.cluster.local");
        question.query.record_type = record_type;
        let setting = Setting { domains: vec!["cluster.local"], pods: "disabled" };
        let (ours, theirs) = (Answer::Message(Box::new(ours)), Answer::Message(Box::new(theirs)));
        explain(&Case { question: &question, setting: &setting, ours: &ours, theirs: &theirs })
    }

    fn content(code: &str) -> Content {
        Content { code: code.into(), authoritative: true, ..Content::default() }
    }

    #[test]
    fn only_what_is_in_the_table_is_explained() {
        assert!(explained(TXT, content("NoError"), content("NXDomain")).is_some());
        assert!(explained(TXT, content("NXDomain"), content("NoError")).is_none());
        assert!(explained(1, content("NoError"), content("NXDomain")).is_none());
    }

    #[test]
    fn forwarded_answers_differ_in_two_bits_alone() {
        let ours = Content { authoritative: false, recursion_available: true, ..content("NoError") };
        assert!(explained(1, ours.clone(), content("NoError")).is_some());
        let other = Content { answers: vec!["a".into()], ..content("NoError") };
        assert!(explained(1, ours, other).is_none());
    }

    #[test]
    fn the_documents_have_the_same_list() {
        let document = include_str!("../../../docs/dns.md");
        for known in KNOWN {
            assert!(document.contains(known.reason), "docs/dns.md lacks: {}", known.reason);
        }
    }
}
