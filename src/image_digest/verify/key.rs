//! Public keys as PEM, and whether a signature is theirs: ECDSA on P-256 and P-384, RSA and Ed25519,
//! as cosign makes them. Pure.

use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;

/// The identifiers of the algorithms, as they stand in a key: DER without tag and length.
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EDWARDS: &[u8] = &[0x2b, 0x65, 0x70];

const SEQUENCE: u8 = 0x30;
const IDENTIFIER: u8 = 0x06;
const BIT_STRING: u8 = 0x03;

/// A public key.
#[derive(Clone)]
pub(in crate::image_digest) struct PublicKey {
    algorithm: &'static dyn VerificationAlgorithm,
    bytes: Vec<u8>,
}

impl PublicKey {
    /// Reads `-----BEGIN PUBLIC KEY-----`.
    pub(in crate::image_digest) fn from_pem(pem: &str) -> Result<Self, String> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| "it has no `-----BEGIN PUBLIC KEY-----`".to_owned())?;
        let (algorithm, parameters, bytes) =
            parts(&der).ok_or_else(|| "what is between its lines is not a key".to_owned())?;
        let algorithm: &'static dyn VerificationAlgorithm = match (algorithm, parameters) {
            (EC, P256) => &ECDSA_P256_SHA256_ASN1,
            (EC, P384) => &ECDSA_P384_SHA256_ASN1,
            (RSA, _) => &RSA_PKCS1_2048_8192_SHA256,
            (EDWARDS, _) => &ED25519,
            _ => return Err("it is neither ECDSA on P-256 or P-384, nor RSA, nor Ed25519".to_owned()),
        };
        Ok(Self { algorithm, bytes: bytes.to_vec() })
    }

    /// Returns whether `signature` is this key's under `message`.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(self.algorithm, &self.bytes).verify(message, signature).is_ok()
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PublicKey").finish_non_exhaustive()
    }
}

/// Takes a key apart: the algorithm, the curve if its parameters name one, and the key itself.
fn parts(der: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (key, rest) = element(der, SEQUENCE)?;
    let (description, key) = element(key, SEQUENCE)?;
    let (algorithm, parameters) = element(description, IDENTIFIER)?;
    let curve = element(parameters, IDENTIFIER).map_or(&[][..], |(curve, _)| curve);
    let (bits, after) = element(key, BIT_STRING)?;
    let bytes = bits.strip_prefix(&[0])?;
    (rest.is_empty() && after.is_empty()).then_some((algorithm, curve, bytes))
}

/// Takes the first element of some DER, which must have this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let size = usize::from(first & 0x7f);
        if !(1..=3).contains(&size) || rest.len() < size {
            return None;
        }
        let (bytes, after) = rest.split_at(size);
        length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        rest = after;
    }
    if found != tag || rest.len() < length { None } else { Some(rest.split_at(length)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_public_key_is_refused_with_the_reason() {
        let armoured = |text: &str| format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n");
        for (pem, reason) in [
            (String::new(), "it has no `-----BEGIN PUBLIC KEY-----`"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----".to_owned(), "it has no"),
            (armoured("AAAA"), "is not a key"),
            // A sequence that ends before its length.
            (armoured("MIIB"), "is not a key"),
            // X25519, which signs nothing.
            (armoured("MCowBQYDK2VuAyEAhSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="), "it is neither"),
        ] {
            let error = PublicKey::from_pem(&pem).map(|_| ()).unwrap_err();
            assert!(error.contains(reason), "{pem}: {error}");
        }
    }

    #[test]
    fn no_bytes_make_the_reader_of_keys_panic() {
        let mut state = 11_u64;
        for _ in 0..20_000 {
            let mut der = vec![SEQUENCE];
            for _ in 0..12 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let byte = u8::try_from(state >> 56).unwrap();
                der.push(if byte < 90 {
                    [SEQUENCE, IDENTIFIER, BIT_STRING, 2, 0, 0x81][usize::from(byte % 6)]
                } else {
                    byte
                });
            }
            assert!(parts(&der).is_none_or(|(_, _, key)| key.len() < der.len()));
        }
    }
}
