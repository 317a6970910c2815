//! Public keys, and whether a signature is theirs: ECDSA on P-256 and P-384, RSA and Ed25519. A key
//! that no signature could be verified with is refused by its kind. Pure.

use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey,
    VerificationAlgorithm,
};

use super::pem;

type Algorithms = &'static [&'static dyn VerificationAlgorithm];

/// cosign hashes as it befits the size of the key, before its version 3 with SHA-256 whatever the key,
/// and keys of a cloud as they are set up there.
const ON_P256: Algorithms = &[&ECDSA_P256_SHA256_ASN1, &ECDSA_P256_SHA384_ASN1];
const ON_P384: Algorithms = &[&ECDSA_P384_SHA384_ASN1, &ECDSA_P384_SHA256_ASN1];
const BY_RSA: Algorithms =
    &[&RSA_PKCS1_2048_8192_SHA256, &RSA_PKCS1_2048_8192_SHA384, &RSA_PKCS1_2048_8192_SHA512];
const BY_EDWARDS: Algorithms = &[&ED25519];

/// The identifiers of the algorithms, as they stand in a key: DER without tag and length.
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EDWARDS: &[u8] = &[0x2b, 0x65, 0x70];

/// Those that are only named.
const NAMES: [(&[u8], &str); 8] = [
    (&[0x2b, 0x81, 0x04, 0x00, 0x23], "P-521"),
    (&[0x2b, 0x81, 0x04, 0x00, 0x21], "P-224"),
    (&[0x2b, 0x81, 0x04, 0x00, 0x0a], "secp256k1"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a], "RSASSA-PSS"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01], "DSA"),
    (&[0x2b, 0x65, 0x71], "Ed448"),
    (&[0x2b, 0x65, 0x6e], "X25519"),
    (&[0x2b, 0x65, 0x6f], "X448"),
];

/// The sizes of RSA keys that are verified, in bits.
const RSA_SIZES: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The lengths of a key and a signature of Ed25519, which no other kind here has.
const EDWARDS_KEY: usize = 32;
const EDWARDS_SIGNATURE: usize = 64;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const IDENTIFIER: u8 = 0x06;
const BIT_STRING: u8 = 0x03;

/// In front of the bytes of a point on a curve when both its coordinates are there.
const WHOLE_POINT: u8 = 0x04;

/// A public key.
#[derive(Clone)]
pub(in crate::image_digest) struct PublicKey {
    algorithms: Algorithms,
    bytes: Vec<u8>,
}

/// Why a text is of no use as a key.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::image_digest) enum Unusable {
    /// It is no public key.
    NoKey(String),
    /// It is a key of this kind, which nothing here verifies.
    Kind(String),
}

impl PublicKey {
    /// Reads `-----BEGIN PUBLIC KEY-----`, and `-----BEGIN RSA PUBLIC KEY-----` as cosign does.
    pub(in crate::image_digest) fn from_pem(text: &str) -> Result<Self, Unusable> {
        let (label, der) = pem::read(text).map_err(Unusable::NoKey)?;
        if label == pem::Label::RsaPublicKey {
            return Self::of_parts(RSA, &[], &der);
        }
        let (algorithm, curve, bytes) = parts(&der).ok_or_else(garbled)?;
        Self::of_parts(algorithm, curve, bytes)
    }

    fn of_parts(algorithm: &[u8], curve: &[u8], bytes: &[u8]) -> Result<Self, Unusable> {
        let algorithms = match (algorithm, curve) {
            (EC, P256) => point(bytes, 32, ON_P256)?,
            (EC, P384) => point(bytes, 48, ON_P384)?,
            (RSA, _) => modulus(bytes)?,
            (EDWARDS, _) if bytes.len() == EDWARDS_KEY => BY_EDWARDS,
            (EDWARDS, _) => return Err(garbled()),
            (EC, []) => return Err(Unusable::Kind("ECDSA on a curve without a name".to_owned())),
            (EC, curve) => return Err(Unusable::Kind(format!("ECDSA on {}", name(curve)))),
            (other, _) => return Err(Unusable::Kind(name(other))),
        };
        Ok(Self { algorithms, bytes: bytes.to_vec() })
    }

    /// Returns whether `signature` is this key's under `message`.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let verifies = |algorithm: &&'static dyn VerificationAlgorithm| {
            UnparsedPublicKey::new(*algorithm, &self.bytes).verify(message, signature).is_ok()
        };
        self.algorithms.iter().any(verifies)
    }

    /// Returns whether a signature that this key does not verify may be its own all the same:
    /// cosign 3 signs by Ed25519ph, which hashes first.
    pub(super) fn may_have_prehashed(&self, signature: &[u8]) -> bool {
        self.bytes.len() == EDWARDS_KEY && signature.len() == EDWARDS_SIGNATURE
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PublicKey").finish_non_exhaustive()
    }
}

fn garbled() -> Unusable {
    Unusable::NoKey("what is between its lines is not a key".to_owned())
}

/// Returns the algorithms when the key is a point whose coordinates have so many bytes.
fn point(bytes: &[u8], size: usize, algorithms: Algorithms) -> Result<Algorithms, Unusable> {
    match bytes {
        [WHOLE_POINT, coordinates @ ..] if coordinates.len() == 2 * size => Ok(algorithms),
        [2 | 3, x @ ..] if x.len() == size => Err(Unusable::Kind("ECDSA with a compressed point".to_owned())),
        _ => Err(garbled()),
    }
}

/// Returns the algorithms when the size of an RSA key is one that is verified.
fn modulus(bytes: &[u8]) -> Result<Algorithms, Unusable> {
    let number = element(bytes, SEQUENCE).and_then(|(numbers, _)| element(numbers, INTEGER));
    let (number, _) = number.ok_or_else(garbled)?;
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let first = number.get(zeros).ok_or_else(garbled)?;
    let bits = (number.len() - zeros) * 8 - first.leading_zeros() as usize;
    if RSA_SIZES.contains(&bits) { Ok(BY_RSA) } else { Err(Unusable::Kind(format!("RSA of {bits} bits"))) }
}

/// Returns what people call an algorithm or a curve, or its number.
fn name(identifier: &[u8]) -> String {
    let known = NAMES.iter().find(|(known, _)| *known == identifier);
    known.map_or_else(|| format!("the kind `{}`", dotted(identifier)), |(_, name)| (*name).to_owned())
}

/// Writes an identifier as numbers with dots. The first one holds two: 40 times the one and the other.
fn dotted(identifier: &[u8]) -> String {
    let (mut numbers, mut number) = (Vec::new(), 0_u64);
    for byte in identifier {
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if numbers.is_empty() {
                let first = (number / 40).min(2);
                numbers.push(first);
                number -= first * 40;
            }
            numbers.push(number);
            number = 0;
        }
    }
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
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
mod tests;
