//! Google's Artifact Registry and Container Registry: an access token, from whoever gives one.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::Granted;
use super::outside::{Outside, Question, Reach};
use crate::registry::access::Ambient;
use crate::registry::identity::is_set;
use crate::registry::reference::is_loopback;
use crate::registry::{Access, Error};

/// Who this is, in messages.
const PROVIDER: &str = "Google's registry";

/// The user name that goes with an access token.
const USERNAME: &str = "oauth2accesstoken";

/// What the token is for.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Where tokens are given out, unless a key names another place.
const TOKEN_SERVER: &str = "https://oauth2.googleapis.com/token";

/// The metadata server of Google's machines.
const METADATA: &str = "metadata.google.internal";

/// How long a signed request for a token is good.
const HOUR: u64 = 3600;

/// Who gives the access token.
#[derive(Clone, Debug)]
pub(in crate::registry) enum Keys {
    /// The source has it.
    Token(SecretString),
    /// The token server, for a signature with a service account's key.
    Account(Account),
    /// The metadata server of the machine.
    Machine,
}

/// A service account.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::registry) struct Account {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    client_email: String,
    #[serde(default)]
    private_key_id: String,
    #[serde(default, deserialize_with = "crate::registry::secret")]
    private_key: SecretString,
    #[serde(default = "token_server")]
    token_uri: String,
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Keys {
    /// Returns what the keys ask for; `None` when they do not speak of Google.
    pub(in crate::registry) fn of(access: &Access) -> Result<Option<Self>, Error> {
        if is_set(&access.gcp_access_token) {
            // A line break at the end is what variables often have.
            let token = access.gcp_access_token.expose_secret().trim();
            return Ok(Some(Self::Token(SecretString::from(token))));
        }
        if is_set(&access.gcp_json_key) {
            return account(&access.gcp_json_key).map(|account| Some(Self::Account(account)));
        }
        Ok(access.gcp_workload_identity.then_some(Self::Machine))
    }

    /// Returns the secrets among the keys.
    pub(in crate::registry) fn secrets(&self) -> Vec<SecretString> {
        match self {
            Self::Token(token) => vec![token.clone()],
            Self::Account(account) => vec![account.private_key.clone()],
            Self::Machine => Vec::new(),
        }
    }

    /// Logs in.
    pub(in crate::registry) async fn login(
        &self,
        outside: &Outside,
        ambient: &Ambient,
    ) -> Result<Granted, Error> {
        let token = match self {
            Self::Token(token) => {
                return Ok(Granted { username: USERNAME.to_owned(), password: token.clone(), lasts: None });
            }
            Self::Account(account) => {
                let assertion = assertion(account, SystemTime::now())?;
                let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
                let question = Question::get(Reach::Far, &account.token_uri)?
                    .post_form(&[("grant_type", grant), ("assertion", &assertion)])
                    .secret(&SecretString::from(assertion));
                outside.json::<Token>(question).await
            }
            Self::Machine => outside.json::<Token>(machine(ambient)?).await.map_err(absent),
        };
        let token = token.map_err(|error| error.at(PROVIDER))?;
        Ok(Granted {
            username: USERNAME.to_owned(),
            password: SecretString::from(token.access_token),
            lasts: token.expires_in.map(Duration::from_secs),
        })
    }
}

/// What is not there cannot come back.
fn absent(error: Error) -> Error {
    match error {
        Error::Unreachable { .. } => Error::NoGrant(
            "there is no metadata server here, so this machine has no service account".to_owned(),
        ),
        other => other,
    }
}

fn machine(ambient: &Ambient) -> Result<Question, Error> {
    let host = ambient.get("GCE_METADATA_HOST").unwrap_or(METADATA);
    let url = format!("http://{host}/computeMetadata/v1/instance/service-accounts/default/token");
    Ok(Question::get(Reach::Machine, &url)?.header("metadata-flavor", "Google"))
}

fn token_server() -> String {
    TOKEN_SERVER.to_owned()
}

/// Reads a JSON key and looks whether it can sign, before anything is sent.
fn account(text: &SecretString) -> Result<Account, Error> {
    let bad = |reason: &str| Error::key("gcp_json_key", reason);
    let account: Account = serde_json::from_str(text.expose_secret())
        .map_err(|_| bad("is not the JSON key of a service account"))?;
    match account.kind.as_str() {
        "service_account" => {}
        // Only known words are repeated: all of the document may be secret.
        kind @ ("authorized_user" | "external_account" | "impersonated_service_account") => {
            return Err(bad(&format!("is of the type `{kind}`, and only `service_account` can be used")));
        }
        _ => return Err(bad("is not the JSON key of a service account")),
    }
    if account.client_email.is_empty() {
        return Err(bad("has no `client_email`"));
    }
    let url = reqwest::Url::parse(&account.token_uri).ok();
    let is_safe = url.is_some_and(|url| url.scheme() == "https" || url.host_str().is_some_and(is_loopback));
    if !is_safe {
        return Err(bad("has a `token_uri` that is no https address"));
    }
    signer(&account)?;
    Ok(account)
}

fn signer(account: &Account) -> Result<RsaKeyPair, Error> {
    let bad = || Error::key("gcp_json_key", "has a `private_key` that is no RSA key in PEM");
    let key =
        PrivateKeyDer::from_pem_slice(account.private_key.expose_secret().as_bytes()).map_err(|_| bad())?;
    match &key {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| bad()),
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()).map_err(|_| bad()),
        _ => Err(bad()),
    }
}

/// Returns the signed request for a token (RFC 7523).
fn assertion(account: &Account, now: SystemTime) -> Result<String, Error> {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": account.private_key_id});
    let claims = json!({
        "iss": account.client_email, "scope": SCOPE, "aud": account.token_uri, "iat": now, "exp": now + HOUR,
    });
    let text = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    let key = signer(account)?;
    let mut signature = vec![0; key.public().modulus_len()];
    let signed = key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature);
    signed.map_err(|_| Error::key("gcp_json_key", "has a `private_key` that cannot sign"))?;
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(json: &serde_json::Value) -> Result<Option<Keys>, String> {
        let access: Access = serde_json::from_value(json.clone()).unwrap();
        Keys::of(&access).map_err(|error| error.to_string())
    }

    #[test]
    fn key_that_cannot_be_used_is_refused_before_anything_is_sent() {
        let pem = "-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----\n";
        for (key, part) in [
            (json!("canary"), "is not the JSON key"),
            (json!({"type": "canary"}), "is not the JSON key"),
            (json!({"type": "authorized_user", "client_email": "a@b"}), "the type `authorized_user`"),
            (json!({"type": "service_account"}), "has no `client_email`"),
            (
                json!({"type": "service_account", "client_email": "a@b", "token_uri": "http://x.io/token"}),
                "no https address",
            ),
            (json!({"type": "service_account", "client_email": "a@b"}), "no RSA key in PEM"),
            (
                json!({"type": "service_account", "client_email": "a@b", "private_key": pem}),
                "no RSA key in PEM",
            ),
        ] {
            let error = keys(&json!({"gcp_json_key": key})).unwrap_err();
            assert!(error.contains(part) && !error.contains("canary"), "{key}: {error}");
        }
    }

    #[test]
    fn each_key_names_another_giver() {
        assert!(matches!(keys(&json!({"gcp_access_token": "t"})), Ok(Some(Keys::Token(_)))));
        assert!(matches!(keys(&json!({"gcp_workload_identity": true})), Ok(Some(Keys::Machine))));
        assert!(matches!(keys(&json!({})), Ok(None)));
    }
}
