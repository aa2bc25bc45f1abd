//! Tokens: what a client with affinity remembers of its endpoint. Pure.
//!
//! They follow from names and addresses alone, not from indexes, which are history: so affinity outlives changes of other
//! endpoints, and the agent. The upper bits are those of the Service port.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
};

use penstock_model::PortKey;
use sha2::{Digest, Sha256};

use super::chain::OURS;

/// How many bits of a token say which endpoint of the port it is.
const ENDPOINT_BITS: u32 = 17;
const ENDPOINTS: u32 = 1 << ENDPOINT_BITS;
const PORTS: u32 = 1 << (31 - ENDPOINT_BITS);

/// The bits of a token that say which Service port it is of.
pub(super) const PORT: u32 = !(ENDPOINTS - 1);

/// Which Service port has which upper bits.
#[derive(Clone, Debug, Default)]
pub(super) struct PortNumbers(HashMap<u32, PortKey>);

impl PortNumbers {
    /// Gives the port its number, or the next one that is free. With 16384 ports none is: two then share one, and a
    /// client that uses both has affinity with neither.
    pub(super) fn take(&mut self, key: &PortKey) -> u32 {
        let first = hash(&key.to_string()) % PORTS;
        let free = (0..PORTS).map(|n| (first + n) % PORTS).find(|number| !self.0.contains_key(number));
        if let Some(number) = free {
            self.0.insert(number, key.clone());
        }
        OURS | free.unwrap_or(first) << ENDPOINT_BITS
    }

    /// Gives it back.
    pub(super) fn release(&mut self, key: &PortKey, bits: u32) {
        let number = (bits & !OURS) >> ENDPOINT_BITS;
        if self.0.get(&number) == Some(key) {
            self.0.remove(&number);
        }
    }
}

/// The tokens of a port's endpoints: a function of the set, in which those that would be equal get neighbours. Endpoints
/// beyond 131072 get none.
pub(super) fn tokens(port: u32, endpoints: &BTreeSet<SocketAddr>) -> BTreeMap<SocketAddr, u32> {
    let wish = |endpoint: &SocketAddr| (hash(&endpoint.to_string()) % ENDPOINTS, *endpoint);
    let (mut tokens, mut late, mut next) = (BTreeMap::new(), Vec::new(), 0);
    for (wish, endpoint) in endpoints.iter().map(wish).collect::<BTreeSet<_>>() {
        let place = wish.max(next);
        if place < ENDPOINTS {
            tokens.insert(place, endpoint);
            next = place + 1;
        } else {
            late.push(endpoint);
        }
    }
    let free: Vec<u32> = (0..ENDPOINTS).filter(|n| !tokens.contains_key(n)).take(late.len()).collect();
    tokens.extend(free.into_iter().zip(late));
    tokens.into_iter().map(|(token, endpoint)| (endpoint, port | token)).collect()
}

/// The same in every version of this program.
fn hash(text: &str) -> u32 {
    let digest = Sha256::digest(text);
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use penstock_model::{ObjectKey, Protocol};

    use super::*;

    fn key(n: u32) -> PortKey {
        PortKey { service: Arc::new(ObjectKey::new("d", format!("s{n}"))), port: 80, protocol: Protocol::Tcp }
    }

    fn endpoints(count: u32) -> BTreeSet<SocketAddr> {
        (0..count).map(|n| SocketAddr::from((std::net::Ipv4Addr::from(0x0af4_0000 + n), 8080))).collect()
    }

    #[test]
    fn a_token_is_the_same_for_ever() {
        let mut numbers = PortNumbers::default();
        let port = numbers.take(&key(1));
        let endpoint = SocketAddr::from(([10, 244, 0, 2], 8080));
        let token = tokens(port, &BTreeSet::from([endpoint]))[&endpoint];
        assert_eq!((port, token), (0xbb92_0000, 0xbb92_cf2f));
        numbers.release(&key(1), port);
        assert_eq!(numbers.take(&key(1)), port);
    }

    #[test]
    fn ports_have_different_numbers_until_there_are_none_left() {
        let mut numbers = PortNumbers::default();
        let taken: BTreeSet<u32> = (0..PORTS).map(|n| numbers.take(&key(n))).collect();
        assert_eq!(taken.len(), PORTS as usize);
        let shared = numbers.take(&key(PORTS));
        assert!(taken.contains(&shared));
        numbers.release(&key(PORTS), shared);
        assert_eq!(numbers.0.len(), PORTS as usize, "it was not its own");
    }

    #[test]
    fn tokens_differ_and_have_the_ports_bits() {
        for count in [0, 1, 5, 1_000, ENDPOINTS + 7] {
            let tokens = tokens(OURS | 5 << ENDPOINT_BITS, &endpoints(count));
            let values: BTreeSet<u32> = tokens.values().copied().collect();
            assert_eq!((values.len(), tokens.len()), (tokens.len(), count.min(ENDPOINTS) as usize));
            assert!(values.iter().all(|token| token & PORT == OURS | 5 << ENDPOINT_BITS));
        }
    }
}
