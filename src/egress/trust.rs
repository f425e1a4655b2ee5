//! Whom TLS believes, and TLS towards a host.

use std::{fmt, io, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::domain::network::{Destination, Host};

/// The certificate authorities that are believed.
#[derive(Clone)]
pub struct Trust {
    connector: TlsConnector,
}

/// Why there is nobody to believe.
#[derive(Debug, Error)]
pub enum TrustError {
    #[error(
        "this host has no certificate authorities: install its package of CA certificates, or name a file of them in SSL_CERT_FILE"
    )]
    None,
    #[error("the bundle of certificate authorities cannot be read: {0}")]
    Unreadable(String),
    #[error("the bundle of certificate authorities is empty")]
    Empty,
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// Why there is no secure connection.
#[derive(Debug, Error)]
#[error("no secure connection to {destination}: {source}")]
pub struct TlsFault {
    pub destination: Destination,
    pub source: io::Error,
}

impl Trust {
    /// Those that the host's own programs believe: its certificate files, or what `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` name. Reads files.
    pub fn of_host() -> Result<Self, TrustError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        // A host has some that are of no use; they are no reason to believe nobody.
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 { Err(TrustError::None) } else { Self::of(roots) }
    }

    /// Those of a PEM bundle, and no others.
    pub fn of_bundle(pem: &[u8]) -> Result<Self, TrustError> {
        let unreadable = |error: &dyn fmt::Display| TrustError::Unreadable(error.to_string());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| unreadable(&error))?;
            roots.add(certificate).map_err(|error| unreadable(&error))?;
        }
        if roots.is_empty() { Err(TrustError::Empty) } else { Self::of(roots) }
    }

    fn of(roots: RootCertStore) -> Result<Self, TrustError> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { connector: TlsConnector::from(Arc::new(config)) })
    }

    /// TLS on an open stream, with a host that proves to be who it was called.
    pub async fn secure<S>(&self, stream: S, destination: &Destination) -> Result<TlsStream<S>, TlsFault>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let fault = |source| TlsFault { destination: destination.clone(), source };
        let name = match &destination.host {
            Host::Address(address) => ServerName::from(*address),
            Host::Name(name) => ServerName::try_from(name.clone()).map_err(io::Error::other).map_err(fault)?,
        };
        self.connector.connect(name, stream).await.map_err(fault)
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").finish_non_exhaustive()
    }
}
