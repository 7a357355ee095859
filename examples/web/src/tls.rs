//! TLS by tokio-rustls, over any stream with tokio's traits.

use std::sync::Arc;

use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};

use crate::BoxError;

/// A certificate with its key.
pub struct Identity {
    /// The certificate, which clients trust.
    pub certificate: CertificateDer<'static>,
    /// Its private key.
    pub key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Generates a certificate for `localhost` and 127.0.0.1, signed by its own key.
    ///
    /// # Errors
    ///
    /// Returns an error if the key cannot be generated.
    pub fn generate() -> Result<Self, BoxError> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
        Ok(Self { certificate: made.cert.der().clone(), key })
    }

    /// Returns the configuration of a server. Its protocols are in the order of its choice: `h2` and `http/1.1`.
    ///
    /// # Errors
    ///
    /// Returns an error if the key does not belong to the certificate.
    pub fn server(&self, protocols: &[&str]) -> Result<Arc<ServerConfig>, rustls::Error> {
        let chain = vec![self.certificate.clone()];
        let config = ServerConfig::builder().with_no_client_auth();
        let mut config = config.with_single_cert(chain, self.key.clone_key())?;
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Arc::new(config))
    }

    /// Returns the configuration of a client that trusts this certificate and no other.
    ///
    /// # Errors
    ///
    /// Returns an error if the certificate is not valid.
    pub fn client(&self, protocols: &[&str]) -> Result<Arc<ClientConfig>, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone())?;
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Arc::new(config))
    }
}
