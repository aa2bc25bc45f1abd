//! A row of the table: who sends what to which frontend of which Service, and what has to come of it.

use std::net::SocketAddr;

use anyhow::{Context, Result};

use crate::flows::frontend::{Addresses, Frontend, wire};
use crate::flows::judgement::Expect;
use crate::flows::place::{Family, Protocol, Sender};
use crate::flows::service::Service;

/// A flow of a case.
#[derive(Debug, Clone)]
pub struct Flow {
    /// Who sends.
    pub from: Sender,
    /// The frontend.
    pub to: Frontend,
    /// Another one, that every second attempt goes to.
    pub and: Option<Frontend>,
    /// The Service's port, also for node ports: they are found by it.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// The address family.
    pub family: Family,
    /// What has to come of it.
    pub expect: Expect,
}

/// A Service and the flows to it.
#[derive(Debug, Clone)]
pub struct Case {
    /// What is special about the Service; the beginning of its rows' names.
    pub title: &'static str,
    /// The Service.
    pub service: Service,
    /// The flows.
    pub flows: Vec<Flow>,
}

/// A flow with its name and the socket that it goes to.
#[derive(Debug, Clone)]
pub struct Row {
    /// What it is; no other has this name.
    pub name: String,
    /// Where its attempts go, in turn.
    pub to: Vec<SocketAddr>,
    /// The flow.
    pub flow: Flow,
}

/// What the kernel's own stack has on the node port of a Service that has none.
const NO_NODE_PORT: u16 = 29_999;

impl Case {
    /// A case without flows yet.
    pub fn new(title: &'static str, service: Service) -> Self {
        Self { title, service, flows: Vec::new() }
    }

    /// With a flow to port 80 for each of these protocols and families.
    pub fn flow(mut self, over: &[(Protocol, Family)], from: Sender, to: Frontend, expect: &Expect) -> Self {
        let flow = |(protocol, family): &(Protocol, Family)| Flow {
            from,
            to,
            and: None,
            port: 80,
            protocol: *protocol,
            family: *family,
            expect: expect.clone(),
        };
        self.flows.extend(over.iter().map(flow));
        self
    }

    /// With a flow by TCP over IPv4 to another port.
    pub fn port_flow(mut self, port: u16, from: Sender, to: Frontend, expect: Expect) -> Self {
        let (protocol, family) = (Protocol::Tcp, Family::V4);
        self.flows.push(Flow { from, to, and: None, port, protocol, family, expect });
        self
    }

    /// With every second attempt of the last flows to this frontend too.
    pub fn and(mut self, over: &[(Protocol, Family)], other: Frontend) -> Self {
        let last = self.flows.len().saturating_sub(over.len());
        self.flows.iter_mut().skip(last).for_each(|flow| flow.and = Some(other));
        self
    }

    /// The name of its objects, when it is at this place in the table.
    pub fn object_name(&self, addresses: Addresses) -> String {
        let letters =
            self.title.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
        let slug: String = letters
            .collect::<String>()
            .split('-')
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("-");
        let short: String = slug.chars().take(40).collect();
        format!("f{}-{}", addresses.0, short.trim_end_matches('-'))
    }

    /// Its rows.
    pub fn rows(&self, addresses: Addresses) -> Vec<Row> {
        self.flows.iter().map(|flow| self.row(flow, addresses)).collect()
    }

    fn row(&self, flow: &Flow, addresses: Addresses) -> Row {
        let Flow { from, to, and, port, protocol, family, .. } = flow;
        let node_port = self.service.port(addresses, *protocol, *port).unwrap_or(NO_NODE_PORT);
        let at = if *port == 80 { String::new() } else { format!(" port {port}") };
        let other = and.map(|other| format!(" and {other}")).unwrap_or_default();
        let frontends = [Some(*to), *and].into_iter().flatten();
        Row {
            name: format!("{}: {from} -> {to}{other}{at}, {}", self.title, wire(*protocol, *family)),
            to: frontends.map(|to| addresses.socket(to, *family, *port, node_port)).collect(),
            flow: flow.clone(),
        }
    }
}

/// A case and where it is in the table.
#[derive(Debug, Clone)]
pub struct Numbered {
    /// Its place, which makes its addresses.
    pub addresses: Addresses,
    /// The case.
    pub case: Case,
}

/// Gives every case its place.
///
/// # Errors
/// When there are more cases than places.
pub fn numbered(cases: Vec<Case>) -> Result<Vec<Numbered>> {
    let number = |(place, case): (usize, Case)| {
        let place = u8::try_from(place + 1).ok().filter(|place| *place < 250);
        let place =
            place.context("there are more cases than addresses for them: give Addresses another block")?;
        Ok(Numbered { addresses: Addresses(place), case })
    };
    cases.into_iter().enumerate().map(number).collect()
}
