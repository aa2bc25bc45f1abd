//! A certificate authority for one cluster, and what it signs. ECDSA P-256 throughout: a whole cluster's keys in
//! milliseconds.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};

/// A certificate and its private key, both PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The private key (PKCS #8).
    pub key: String,
}

impl Identity {
    /// Writes `NAME.crt` and `NAME.key` into `dir` and returns their paths.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, dir: &Path, name: &str) -> Result<(PathBuf, PathBuf)> {
        let certificate = dir.join(format!("{name}.crt"));
        let key = dir.join(format!("{name}.key"));
        write_private(&certificate, &self.certificate)?;
        write_private(&key, &self.key)?;
        Ok((certificate, key))
    }
}

/// Writes a file that only its owner may read.
///
/// # Errors
/// When the file cannot be written.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path).with_context(|| format!("create {}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("write {}", path.display()))
}

/// The cluster's certificate authority.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a new authority and saves it as `ca.crt` and `ca.key` in `dir`.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn create(dir: &Path) -> Result<Self> {
        let key = KeyPair::generate().context("generate the CA's key")?;
        let certificate = authority_params().self_signed(&key).context("sign the CA's certificate")?.pem();
        Identity { certificate: certificate.clone(), key: key.serialize_pem() }.save(dir, "ca")?;
        Ok(Self { certificate, issuer: Issuer::new(authority_params(), key) })
    }

    /// Reads the authority that [`Authority::create`] saved in `dir`.
    ///
    /// # Errors
    /// When the files are missing or are not what `create` wrote.
    pub fn load(dir: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = dir.join(name);
            fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
        };
        let key = KeyPair::from_pem(&read("ca.key")?).context("parse the CA's key")?;
        Ok(Self { certificate: read("ca.crt")?, issuer: Issuer::new(authority_params(), key) })
    }

    /// The authority's certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A client certificate: to the API server `user` is the user name and `group` its group. One group at most: rcgen
    /// keeps one organization a name. Who needs more impersonates.
    ///
    /// # Errors
    /// When a name cannot be part of a certificate.
    pub fn client(&self, user: &str, group: Option<&str>) -> Result<Identity> {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(user, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, user)
    }

    /// A serving certificate for these names and addresses; also valid as a client's (etcd and kubelets are both).
    ///
    /// # Errors
    /// When a name cannot be part of a certificate.
    pub fn server(&self, common_name: &str, names: &[&str], addresses: &[IpAddr]) -> Result<Identity> {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(common_name, None);
        for name in names {
            let name = (*name).try_into().with_context(|| format!("{name:?} is not a DNS name"))?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        params.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, common_name)
    }

    fn sign(&self, mut params: CertificateParams, whose: &str) -> Result<Identity> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().with_context(|| format!("generate the key of {whose}"))?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .with_context(|| format!("sign the certificate of {whose}"))?;
        Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

/// A key pair for signing ServiceAccount tokens, saved as `NAME.key` and `NAME.pub` in `dir`.
///
/// # Errors
/// When the files cannot be written.
pub fn signing_key(dir: &Path, name: &str) -> Result<()> {
    let key = KeyPair::generate().context("generate the token signing key")?;
    write_private(&dir.join(format!("{name}.key")), &key.serialize_pem())?;
    write_private(&dir.join(format!("{name}.pub")), &key.public_key_pem())
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject("penstock-e2e", None);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params
}

/// Kubernetes reads the user from the common name and the group from the organization.
fn subject(common_name: &str, organization: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loaded_authority_signs_under_the_certificate_that_was_saved() {
        let dir = tempfile::tempdir().unwrap();
        let created = Authority::create(dir.path()).unwrap();
        let loaded = Authority::load(dir.path()).unwrap();
        assert_eq!(created.certificate(), loaded.certificate());
        let identity = loaded.client("alice", Some("system:masters")).unwrap();
        assert!(identity.certificate.starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(identity.key.starts_with("-----BEGIN PRIVATE KEY-----"));
    }

    #[test]
    fn keys_are_readable_by_their_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        signing_key(dir.path(), "sa").unwrap();
        let mode = fs::metadata(dir.path().join("sa.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
