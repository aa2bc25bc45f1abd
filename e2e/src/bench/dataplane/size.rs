//! How much there is: Services, and endpoints of each.

use std::fmt;
use std::str::FromStr;

/// So many Services with so many endpoints each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size {
    /// Services.
    pub services: usize,
    /// Endpoints of each.
    pub endpoints: usize,
}

impl Size {
    /// A size.
    pub const fn new(services: usize, endpoints: usize) -> Self {
        Self { services, endpoints }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.services, self.endpoints)
    }
}

impl FromStr for Size {
    type Err = String;

    /// `10000x5`, also `10k×5`.
    fn from_str(text: &str) -> Result<Self, String> {
        let read = |part: &str| match part.strip_suffix('k') {
            Some(thousands) => thousands.parse().ok().map(|n: usize| n * 1000),
            None => part.parse().ok(),
        };
        let parts = text.split_once(['x', '×']).and_then(|(a, b)| Some((read(a)?, read(b)?)));
        match parts {
            // A slice has at most 100 endpoints as controllers make it, and the Service range has 65,534 addresses.
            Some((services @ 20..=60_000, endpoints @ 2..=60)) => Ok(Self { services, endpoints }),
            _ => Err(format!(
                "{text} is not a size such as 10000x5: 20 to 60,000 Services with 2 to 60 endpoints each"
            )),
        }
    }
}

/// The sizes in the order in which they are reached: those that grow out of one another share a control plane, because
/// creating Services takes longer than measuring.
pub fn growing(sizes: &[Size]) -> Vec<Vec<Size>> {
    let mut sizes = sizes.to_vec();
    sizes.sort_by_key(|size| (size.endpoints, size.services));
    sizes.dedup();
    sizes.chunk_by(|a, b| a.endpoints == b.endpoints).map(<[Size]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!("10k×5".parse(), Ok(Size::new(10_000, 5)));
        assert_eq!("5000x50".parse(), Ok(Size::new(5000, 50)));
        assert_eq!(Size::new(5000, 50).to_string(), "5000x50");
        for bad in ["", "10", "10x", "x5", "5x5", "1000x100", "100kx5"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_grows_shares_a_control_plane() {
        let all = ["20kx5", "5kx50", "1kx5", "10kx5", "1kx5"].map(|text| text.parse().unwrap());
        let [one, ten, twenty] = [1000, 10_000, 20_000].map(|services| Size::new(services, 5));
        assert_eq!(growing(&all), [vec![one, ten, twenty], vec![Size::new(5000, 50)]]);
    }
}
