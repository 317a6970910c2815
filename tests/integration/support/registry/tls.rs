//! A private CA, a certificate of it for the loopback address, and a listener that uses it.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub(super) struct Certificates {
    /// The CA's certificate as PEM.
    pub(super) ca: String,
    /// A certificate of the CA for clients, and its key, as PEM.
    pub(super) client: (String, String),
    server: rustls::ServerConfig,
}

impl Certificates {
    /// Returns certificates for a server that lets everybody in.
    pub(super) fn new() -> Self {
        Self::of(&["127.0.0.1", "localhost"], |_| {})
    }

    /// Returns certificates for a server of these names, with this change to its own.
    pub(super) fn of(names: &[&str], change: impl Fn(&mut CertificateParams)) -> Self {
        let mut leaf = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
        change(leaf.as_mut().unwrap());
        Self::made(leaf.unwrap(), |_| rustls::server::WebPkiClientVerifier::no_client_auth())
    }

    /// Returns certificates for a server that wants one of its clients too.
    pub(super) fn mutual() -> Self {
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        Self::made(CertificateParams::new(names).unwrap(), |ca| {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(ca).unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
                .build()
                .unwrap()
        })
    }

    fn made(
        leaf: CertificateParams,
        verifier: impl Fn(CertificateDer<'static>) -> Arc<dyn ClientCertVerifier>,
    ) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = leaf.signed_by(&key, &ca).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier(ca.der().clone()))
            .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();
        let key = KeyPair::generate().unwrap();
        let client = CertificateParams::new(vec!["worker".to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
        Self { ca: ca.pem(), client: (client.pem(), key.serialize_pem()), server }
    }
}

/// Accepts connections and drops those whose handshake fails.
pub(super) struct TlsListener {
    pub(super) tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl TlsListener {
    pub(super) fn new(tcp: TcpListener, certificates: Certificates) -> Self {
        Self { tcp, acceptor: TlsAcceptor::from(Arc::new(certificates.server)) }
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, address) = self.tcp.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}
