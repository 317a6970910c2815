//! Which servers are trusted, and what they are shown: the system's store and the certificates of
//! `ca_certs`, and the certificate of the source.
//!
//! The store is read when the first certificate has to be judged. Reading it is most of what a check
//! costs besides its requests, and a registry on plain http shows no certificate.

use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use secrecy::ExposeSecret;

use super::identity::is_set;
use super::{Access, Error};

/// Returns the TLS side of a client of the registry that the keys lead to.
pub(super) fn of(access: &Access) -> Result<ClientConfig, Error> {
    let verifier = verifier(certificates(&access.ca_certs)?);
    let verifier: Arc<dyn ServerCertVerifier> =
        if access.skip_tls_verify { Arc::new(Unverified(verifier)) } else { Arc::new(verifier) };
    config(verifier, identity(access)?)
}

/// Returns the TLS side of others that ask over HTTP: the system's store and these PEM texts are
/// trusted, and nobody is shown a certificate.
pub(crate) fn trusting(ca_certs: &[String]) -> Result<ClientConfig, Error> {
    config(Arc::new(verifier(certificates(ca_certs)?)), None)
}

/// A certificate with its chain, and the key of it.
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn config(verifier: Arc<dyn ServerCertVerifier>, identity: Option<Identity>) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| Error::Client(error.into()))?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| {
            Error::key("client_cert", &format!("cannot be used with `client_key`: {error}"))
        })?,
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn verifier(extra: Vec<CertificateDer<'static>>) -> Verifier {
    Verifier { extra, provider: Arc::new(ring::default_provider()), roots: OnceLock::new() }
}

/// Reads what is shown to the registry.
fn identity(access: &Access) -> Result<Option<Identity>, Error> {
    match (!access.client_cert.is_empty(), is_set(&access.client_key)) {
        (false, false) => Ok(None),
        (true, false) => Err(Error::Half { given: "client_cert", missing: "client_key" }),
        (false, true) => Err(Error::Half { given: "client_key", missing: "client_cert" }),
        (true, true) => {
            let chain: Result<Vec<_>, _> =
                CertificateDer::pem_slice_iter(access.client_cert.as_bytes()).collect();
            let chain = chain.ok().filter(|chain| !chain.is_empty());
            let chain = chain.ok_or_else(|| Error::key("client_cert", "has no PEM certificate in it"))?;
            let key = PrivateKeyDer::from_pem_slice(access.client_key.expose_secret().as_bytes());
            let key = key.map_err(|_| Error::key("client_key", "has no PEM private key in it"))?;
            Ok(Some((chain, key)))
        }
    }
}

/// Reads the extra roots. One that cannot be used is an error: ignoring it would turn up later as a
/// certificate error that blames the registry.
pub(super) fn certificates(pems: &[String]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let mut found = Vec::new();
    for (position, pem) in pems.iter().enumerate() {
        let bad = |reason: String| Error::Certificate { position, reason };
        let before = found.len();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate =
                certificate.map_err(|error| bad(format!("is not a PEM certificate: {error}")))?;
            RootCertStore::empty()
                .add(certificate.clone())
                .map_err(|error| bad(format!("is not a certificate: {error}")))?;
            found.push(certificate);
        }
        if found.len() == before {
            return Err(bad("has no PEM certificate in it".to_owned()));
        }
    }
    Ok(found)
}

/// The usual verification of rustls, with roots that are read late.
#[derive(Debug)]
struct Verifier {
    extra: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
    /// `None` inside when there is no root at all.
    roots: OnceLock<Option<Arc<WebPkiServerVerifier>>>,
}

impl Verifier {
    /// What cannot be read in the system's store is left out: one bad file among a hundred must not
    /// stop a check, and a root that is missed turns up as a certificate that nobody vouches for.
    fn read(&self) -> Option<Arc<WebPkiServerVerifier>> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.extra.iter().cloned());
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        WebPkiServerVerifier::builder_with_provider(roots.into(), self.provider.clone()).build().ok()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verifier = self.roots.get_or_init(|| self.read()).as_ref();
        // A container whose `/etc/ssl/certs` is empty trusts nobody.
        let verifier = verifier.ok_or(CertificateError::UnknownIssuer)?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Takes any certificate of a server that has the key of it.
#[derive(Debug)]
struct Unverified(Verifier);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_that_is_none_is_an_error_that_names_it() {
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let cases = [
            ("", "has no PEM certificate"),
            ("hello", "has no PEM certificate"),
            (garbage, "is not a certificate"),
        ];
        for (pem, part) in cases {
            let error = certificates(&[pem.to_owned()]).unwrap_err().to_string();
            assert!(error.contains("`ca_certs[0]`") && error.contains(part), "{pem}: {error}");
        }
    }

    #[test]
    fn certificate_to_show_needs_its_key_and_the_other_way_round() {
        let one = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["b".to_owned()]).unwrap();
        let (cert, key) = (one.cert.pem(), one.signing_key.serialize_pem());
        let access = |cert: &str, key: &str| Access {
            client_cert: cert.to_owned(),
            client_key: key.into(),
            ..Access::default()
        };
        assert!(of(&access(&cert, &key)).is_ok());
        let garbage = "-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----\n";
        for (cert, key, part) in [
            (cert.as_str(), "", "`client_cert` is set without `client_key`"),
            ("", key.as_str(), "`client_key` is set without `client_cert`"),
            ("hello", &key, "`client_cert` has no PEM certificate"),
            (&cert, "canary", "`client_key` has no PEM private key"),
            (&cert, garbage, "`client_cert` cannot be used with `client_key`"),
            (&cert, &other.signing_key.serialize_pem(), "`client_cert` cannot be used with `client_key`"),
        ] {
            let error = of(&access(cert, key)).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn system_store_is_not_read_before_a_certificate_is_seen() {
        let verifier = verifier(Vec::new());
        assert!(!verifier.supported_verify_schemes().is_empty());
        assert!(verifier.roots.get().is_none());
        let name = ServerName::try_from("registry.example.com").unwrap();
        let judged =
            verifier.verify_server_cert(&CertificateDer::from(vec![0]), &[], &name, &[], UnixTime::now());
        assert!(judged.is_err());
        assert!(verifier.roots.get().is_some());
    }
}
