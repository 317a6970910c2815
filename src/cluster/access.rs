//! The keys that describe a cluster, and which of the three kinds of access they mean: a pasted
//! kubeconfig, a server with a token, or the service account of the pod that runs this.

use std::path::Path;

use kube::Config;
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, de};

use super::error::Error;
use super::kubeconfig;

/// Where Kubernetes mounts a pod's own credentials.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// How to reach a cluster.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// A kubeconfig, pasted. Excludes `server`, `token` and `certificate_authority`.
    #[serde(deserialize_with = "text_or_mapping")]
    #[schemars(with = "Option<String>")]
    pub kubeconfig: Option<SecretString>,
    /// The URL of the API server. Needs `token`.
    #[serde(deserialize_with = "optional_text")]
    pub server: Option<String>,
    /// A service account's token.
    #[serde(deserialize_with = "optional_secret")]
    #[schemars(with = "Option<String>")]
    pub token: Option<SecretString>,
    /// The certificates that the API server is trusted by: PEM text, or base64 of it.
    #[serde(deserialize_with = "optional_text")]
    pub certificate_authority: Option<String>,
    /// The context of the kubeconfig to use; empty or absent: its current one.
    #[serde(deserialize_with = "optional_text")]
    pub context: Option<String>,
    /// Whether to talk to a server whose certificate nobody vouches for.
    #[serde(deserialize_with = "flag")]
    pub insecure_skip_tls_verify: bool,
    /// The namespace; empty or absent: the context's, else `default`.
    #[serde(deserialize_with = "optional_text")]
    pub namespace: Option<String>,
}

impl Access {
    /// Reads the keys into a client configuration; no connection is made.
    pub(super) async fn config(&self) -> Result<Config, Error> {
        let mut config = match (&self.kubeconfig, self.server.as_deref(), &self.token) {
            (Some(text), None, None) => self.pasted(text).await?,
            (Some(_), server, _) => {
                let key = if server.is_some() { "server" } else { "token" };
                return Err(Error::KeysExclude { one: "kubeconfig", other: key });
            }
            (None, Some(server), Some(token)) => self.with_token(server, token).await?,
            (None, Some(_), None) => return Err(Error::KeyMissing { given: "server", missing: "token" }),
            (None, None, Some(_)) => return Err(Error::KeyMissing { given: "token", missing: "server" }),
            (None, None, None) => self.in_pod()?,
        };
        if self.insecure_skip_tls_verify || config.accept_invalid_certs {
            config.accept_invalid_certs = true;
            // No root is consulted then; naming none keeps a missing system store from mattering.
            config.root_cert = Some(Vec::new());
            config.root_cert_file = None;
        }
        config.default_namespace = config.default_namespace.trim().to_owned();
        if let Some(namespace) = &self.namespace {
            config.default_namespace.clone_from(namespace);
        }
        if config.default_namespace.is_empty() {
            "default".clone_into(&mut config.default_namespace);
        }
        Ok(config)
    }

    async fn pasted(&self, text: &SecretString) -> Result<Config, Error> {
        if self.certificate_authority.is_some() {
            return Err(Error::KeysExclude { one: "kubeconfig", other: "certificate_authority" });
        }
        let parsed = kubeconfig::parse(text.expose_secret())?;
        kubeconfig::config(parsed, self.context.as_deref(), self.insecure_skip_tls_verify).await
    }

    async fn with_token(&self, server: &str, token: &SecretString) -> Result<Config, Error> {
        if self.context.is_some() {
            return Err(Error::KeyMissing { given: "context", missing: "kubeconfig" });
        }
        let certificates = self.certificate_authority.as_deref().map(kubeconfig::certificates).transpose()?;
        let parsed = kubeconfig::of_token(server, token, certificates)?;
        kubeconfig::config(parsed, None, self.insecure_skip_tls_verify).await
    }

    fn in_pod(&self) -> Result<Config, Error> {
        for (given, key) in
            [(&self.certificate_authority, "certificate_authority"), (&self.context, "context")]
        {
            if given.is_some() {
                let missing = if key == "context" { "kubeconfig" } else { "server" };
                return Err(Error::KeyMissing { given: key, missing });
            }
        }
        if !Path::new(SERVICE_ACCOUNT).exists() {
            return Err(Error::NoAccess);
        }
        Config::incluster().map_err(|source| Error::InCluster { why: source.to_string() })
    }
}

/// Reads text; empty text counts as absent, which is what an unset variable of a pipeline gives.
///
/// # Errors
///
/// Returns serde's error for anything but text.
pub fn optional_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.filter(|text| !text.trim().is_empty()))
}

/// Reads a secret; its value is in no error.
///
/// # Errors
///
/// Returns an error that names only the expected type.
pub fn optional_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Ok(deserializer.deserialize_any(Secret { mapping: Mapping::Refused })?.0)
}

/// Reads a secret document: text, or the mapping that a pipeline variable holds when its author
/// forgot the `|`.
///
/// # Errors
///
/// Returns an error that names only the expected type.
pub fn text_or_mapping<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Ok(deserializer.deserialize_any(Secret { mapping: Mapping::Accepted })?.0)
}

/// Reads `true` or `false`, also as text: `fly -v` passes every variable as text.
///
/// # Errors
///
/// Returns an error that names the accepted values.
pub fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Flag {
        Bool(bool),
        Text(String),
        Absent(()),
        Other(IgnoredAny),
    }
    match Flag::deserialize(deserializer)? {
        Flag::Bool(value) => Ok(value),
        Flag::Absent(()) => Ok(false),
        Flag::Text(text) => match text.trim() {
            "true" => Ok(true),
            "false" | "" => Ok(false),
            _ => Err(D::Error::custom(format!("expected true or false, got `{text}`"))),
        },
        Flag::Other(_) => Err(D::Error::custom("expected true or false")),
    }
}

enum Mapping {
    Accepted,
    Refused,
}

struct Secret {
    mapping: Mapping,
}

struct Given(Option<SecretString>);

impl Secret {
    fn refuse<E: de::Error>(&self, found: &str) -> E {
        E::custom(format!("expected text, got {found}"))
    }
}

impl<'de> Visitor<'de> for Secret {
    type Value = Given;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Given, E> {
        Ok(Given((!text.trim().is_empty()).then(|| SecretString::from(text.to_owned()))))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Given, E> {
        Ok(Given(None))
    }

    fn visit_none<E: de::Error>(self) -> Result<Given, E> {
        Ok(Given(None))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Given, E> {
        Err(self.refuse("a boolean"))
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Given, E> {
        Err(self.refuse("a number"))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Given, E> {
        Err(self.refuse("a number"))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Given, E> {
        Err(self.refuse("a number"))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, _: A) -> Result<Given, A::Error> {
        Err(self.refuse("a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Given, A::Error> {
        match self.mapping {
            Mapping::Refused => Err(self.refuse("a mapping")),
            Mapping::Accepted => {
                let value = serde_json::Value::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(Given(Some(SecretString::from(value.to_string()))))
            }
        }
    }
}
