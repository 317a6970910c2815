//! Which servers are trusted: the system's store and the certificates of `ca_certs`.
//!
//! The store is read when the first certificate has to be judged. Reading it is most of what a check
//! costs besides its requests, and a registry on plain http shows no certificate.

use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::Error;

/// Returns the TLS side of an HTTP client that trusts the system's store and `extra`.
pub(super) fn tls(extra: Vec<CertificateDer<'static>>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Verifier { extra, provider: provider.clone(), roots: OnceLock::new() });
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| Error::Client(error.into()))?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Returns the same for others that ask over HTTP, from PEM texts.
pub(crate) fn trusting(ca_certs: &[String]) -> Result<ClientConfig, Error> {
    tls(certificates(ca_certs)?)
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
    fn system_store_is_not_read_before_a_certificate_is_seen() {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Verifier { extra: Vec::new(), provider, roots: OnceLock::new() };
        assert!(!verifier.supported_verify_schemes().is_empty());
        assert!(verifier.roots.get().is_none());
        let name = ServerName::try_from("registry.example.com").unwrap();
        let judged =
            verifier.verify_server_cert(&CertificateDer::from(vec![0]), &[], &name, &[], UnixTime::now());
        assert!(judged.is_err());
        assert!(verifier.roots.get().is_some());
    }
}
