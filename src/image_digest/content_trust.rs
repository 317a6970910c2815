//! `content_trust` of registry-image: read, so that check and get of such a pipeline work, and
//! refused by put. Notary v1 has no future, and an image that is pushed without the signature that
//! was asked for is worse than none.

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

use super::Error;
use crate::registry::{or_default, secret};

/// Signing with Notary v1.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ContentTrust {
    /// The Notary server.
    #[serde(deserialize_with = "or_default")]
    #[schemars(with = "String")]
    pub server: String,
    /// The id of the repository's key.
    #[serde(deserialize_with = "or_default")]
    #[schemars(with = "String")]
    pub repository_key_id: String,
    /// The repository's key.
    #[serde(deserialize_with = "secret")]
    #[schemars(with = "String")]
    pub repository_key: SecretString,
    /// The passphrase of the repository's key.
    #[serde(deserialize_with = "secret")]
    #[schemars(with = "String")]
    pub repository_passphrase: SecretString,
    /// The private key to show to the server.
    #[serde(deserialize_with = "secret")]
    #[schemars(with = "String")]
    pub tls_key: SecretString,
    /// The certificate to show to the server.
    #[serde(deserialize_with = "or_default")]
    #[schemars(with = "String")]
    pub tls_cert: String,
    /// User name at the server.
    #[serde(deserialize_with = "or_default")]
    #[schemars(with = "String")]
    pub username: String,
    /// Password at the server.
    #[serde(deserialize_with = "secret")]
    #[schemars(with = "String")]
    pub password: SecretString,
    /// Scopes of the token.
    #[serde(deserialize_with = "or_default")]
    #[schemars(with = "String")]
    pub scopes: String,
}

/// Refuses to put what would have to be signed; an empty key asks for nothing.
pub(super) fn refuse(asked: Option<&ContentTrust>) -> Result<(), Error> {
    match asked {
        Some(ContentTrust { server, repository_key_id, .. })
            if !server.is_empty() || !repository_key_id.is_empty() =>
        {
            Err(Error::ContentTrust)
        }
        _ => Ok(()),
    }
}
