//! Under which name an operator leads.

use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    str::FromStr,
};

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// An empty one is what a Lease says that nobody holds.
    #[error("an identity must not be empty: give the name of the pod")]
    Empty,
    /// The host's name cannot be read.
    #[error("the host's name cannot be read: give an identity with --identity or POD_NAME")]
    Host(#[source] std::io::Error),
}

/// The name that a Lease's holder goes by; not empty. No two processes alive may have the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity(String);

impl Identity {
    /// For a process that nobody named: the host's name, and a suffix because several may run on one host.
    ///
    /// # Errors
    /// When the host's name cannot be read.
    pub fn of_host() -> Result<Self, IdentityError> {
        let host = nix::unistd::gethostname().map_err(|errno| IdentityError::Host(errno.into()))?;
        // The standard library's hashers are seeded by the system's randomness.
        let random = RandomState::new().build_hasher().finish();
        Ok(Self(format!("{}_{random:016x}", host.to_string_lossy())))
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.trim();
        if name.is_empty() { Err(IdentityError::Empty) } else { Ok(Self(name.to_owned())) }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_never_empty_and_two_of_a_host_differ() {
        assert!(" ".parse::<Identity>().is_err());
        assert_eq!("pod-1".parse::<Identity>().unwrap().to_string(), "pod-1");
        assert_ne!(Identity::of_host().unwrap(), Identity::of_host().unwrap());
    }
}
