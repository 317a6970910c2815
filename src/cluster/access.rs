//! The keys that describe a cluster, and which of the three kinds of access they mean: a pasted
//! kubeconfig, a server with a token, or the service account of the pod that runs this.

use std::path::{Path, PathBuf};

use kube::Config;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::{ExposeSecret, SecretString};
use serde::de::{Deserializer, Error as _, Unexpected};
use serde::{Deserialize, de};
use serde_json::Value;

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
    #[schemars(schema_with = "text_or_mapping_schema")]
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
    #[schemars(schema_with = "flag_schema")]
    pub insecure_skip_tls_verify: bool,
    /// The namespace; empty or absent: the context's, else `default`.
    #[serde(deserialize_with = "optional_text")]
    pub namespace: Option<String>,
    /// Files in the place of `kubeconfig`, in kubectl's order. Only a command line has files.
    #[serde(skip)]
    pub files: Vec<PathBuf>,
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
            (None, None, None) if !self.files.is_empty() => {
                let read = kubeconfig::read(&self.files)?;
                kubeconfig::config(read, self.context.as_deref(), self.insecure_skip_tls_verify).await?
            }
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
    secret(&Value::deserialize(deserializer)?, Mapping::Refused)
}

/// Reads a secret document: text, or the mapping that a pipeline variable holds when its author
/// forgot the `|`.
///
/// # Errors
///
/// Returns an error that names only the expected type.
pub fn text_or_mapping<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    secret(&Value::deserialize(deserializer)?, Mapping::Accepted)
}

/// Reads `true` or `false`, also as text: `fly -v` passes every variable as text.
///
/// # Errors
///
/// Returns an error that names the accepted values.
pub fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    const EXPECTED: &str = "true or false";
    match Value::deserialize(deserializer)? {
        Value::Bool(value) => Ok(value),
        Value::Null => Ok(false),
        Value::String(text) => match text.trim() {
            "true" => Ok(true),
            "false" | "" => Ok(false),
            _ => Err(D::Error::invalid_value(Unexpected::Str(&text), &EXPECTED)),
        },
        Value::Number(_) => Err(D::Error::invalid_type(Unexpected::Other("a number"), &EXPECTED)),
        Value::Array(_) => Err(D::Error::invalid_type(Unexpected::Seq, &EXPECTED)),
        Value::Object(_) => Err(D::Error::invalid_type(Unexpected::Map, &EXPECTED)),
    }
}

/// Reads a whole number, also as text; null and empty text are none.
///
/// # Errors
///
/// Returns an error that says what was `expected`.
pub fn whole_number<'de, D: Deserializer<'de>>(
    deserializer: D,
    expected: &'static str,
) -> Result<Option<u64>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let read = match &value {
        Value::Null => return Ok(None),
        Value::String(text) if text.trim().is_empty() => return Ok(None),
        Value::String(text) => text.trim().parse().ok(),
        Value::Number(number) => number.as_u64(),
        _ => None,
    };
    read.map(Some).ok_or_else(|| D::Error::invalid_value(Unexpected::Other("something else"), &expected))
}

/// Returns the schema of what [`whole_number`] reads.
#[must_use]
pub fn whole_number_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["integer", "string", "null"], "minimum": 0})
}

/// Returns the schema of what [`flag`] reads.
#[must_use]
pub fn flag_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["boolean", "string", "null"], "enum": [true, false, "true", "false", "", null]})
}

/// Returns the schema of what [`text_or_mapping`] reads.
#[must_use]
pub fn text_or_mapping_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["string", "object", "null"]})
}

/// Reads a secret by way of a JSON value, whose variants carry no wording that could show it.
fn secret<E: de::Error>(value: &Value, mapping: Mapping) -> Result<Option<SecretString>, E> {
    let found = match (value, mapping) {
        (Value::Null, _) => return Ok(None),
        (Value::String(text), _) => {
            return Ok((!text.trim().is_empty()).then(|| SecretString::from(text.as_str())));
        }
        (Value::Object(_), Mapping::Accepted) => return Ok(Some(SecretString::from(value.to_string()))),
        (Value::Bool(_), _) => Unexpected::Other("a boolean"),
        (Value::Number(_), _) => Unexpected::Other("a number"),
        (Value::Array(_), _) => Unexpected::Seq,
        (Value::Object(_), Mapping::Refused) => Unexpected::Map,
    };
    Err(E::invalid_type(found, &"text"))
}

/// Whether a mapping stands for the document that it is.
#[derive(Clone, Copy)]
enum Mapping {
    Accepted,
    Refused,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Access, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    async fn refusal(json: &str) -> String {
        read(json).unwrap().config().await.unwrap_err().to_string()
    }

    #[test]
    fn empty_values_of_unset_variables_count_as_absent() {
        let access = read(r#"{"context": "", "namespace": null, "token": " ", "kubeconfig": null}"#).unwrap();
        assert_eq!((access.context, access.namespace), (None, None));
        assert!(access.token.is_none() && access.kubeconfig.is_none());
    }

    #[test]
    fn flag_is_read_as_fly_passes_it() {
        for (given, wanted) in [("true", true), ("\"true\"", true), ("\"false\"", false), ("null", false)] {
            let access = read(&format!(r#"{{"insecure_skip_tls_verify": {given}}}"#)).unwrap();
            assert_eq!(access.insecure_skip_tls_verify, wanted, "{given}");
        }
        let error = read(r#"{"insecure_skip_tls_verify": "yes"}"#).unwrap_err();
        assert!(error.contains("expected true or false"), "{error}");
    }

    #[test]
    fn secret_of_a_wrong_type_is_not_shown() {
        for json in [r#"{"token": 31337}"#, r#"{"token": ["31337"]}"#, r#"{"kubeconfig": 31337}"#] {
            let error = read(json).unwrap_err();
            assert!(error.contains("expected text") && !error.contains("31337"), "{error}");
        }
    }

    #[test]
    fn debug_output_keeps_secrets_to_itself() {
        let access = read(r#"{"kubeconfig": {"users": "canary"}, "token": "canary"}"#).unwrap();
        assert!(!format!("{access:?}").contains("canary"));
    }

    #[tokio::test]
    async fn exactly_one_kind_of_access_is_accepted() {
        for (json, words) in [
            (r#"{"kubeconfig": "a", "server": "https://b"}"#, "`kubeconfig` and `server` are both set"),
            (r#"{"kubeconfig": "a", "token": "b"}"#, "`kubeconfig` and `token` are both set"),
            (r#"{"kubeconfig": "a", "certificate_authority": "b"}"#, "`certificate_authority` are both set"),
            (r#"{"server": "https://b"}"#, "`server` is set without `token`"),
            (r#"{"token": "b"}"#, "`token` is set without `server`"),
            (r#"{"context": "b"}"#, "`context` is set without `kubeconfig`"),
            (r#"{"certificate_authority": "b"}"#, "`certificate_authority` is set without `server`"),
            ("{}", "nothing says which cluster"),
        ] {
            let said = refusal(json).await;
            assert!(said.contains(words), "{json}: {said}");
        }
    }

    #[tokio::test]
    async fn namespace_is_the_key_then_the_context_then_default() {
        let kubeconfig = |namespace: &str| {
            serde_json::json!({
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "k", "user": "", "namespace": namespace}}],
                "clusters": [{"name": "k", "cluster": {"server": "http://127.0.0.1:1"}}],
            })
        };
        for (key, context, wanted) in [("a", "b", "a"), ("", "b", "b"), ("", "", "default")] {
            let json = serde_json::json!({"namespace": key, "kubeconfig": kubeconfig(context)}).to_string();
            assert_eq!(read(&json).unwrap().config().await.unwrap().default_namespace, wanted);
        }
    }
}
