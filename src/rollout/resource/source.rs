//! The `source` of a pipeline: which Deployment of which cluster, and the registry that knows its
//! image.

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

use super::Error;
use crate::cluster::{self, Cluster};
use crate::registry;
use crate::rollout::Target;

/// Where the Deployment is.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// A kubeconfig, pasted. Excludes `server`, `token` and `certificate_authority`. Without any of
    /// these: the service account of the pod that runs this.
    #[serde(default, deserialize_with = "cluster::text_or_mapping")]
    #[schemars(schema_with = "cluster::text_or_mapping_schema")]
    pub kubeconfig: Option<SecretString>,
    /// The URL of the API server; needs `token`.
    #[serde(default, deserialize_with = "cluster::optional_text")]
    pub server: Option<String>,
    /// A service account's token; needs `server`.
    #[serde(default, deserialize_with = "cluster::optional_secret")]
    #[schemars(with = "Option<String>")]
    pub token: Option<SecretString>,
    /// The certificates that `server` is trusted by, as PEM text or base64 of it. Default: the
    /// system's.
    #[serde(default, deserialize_with = "cluster::optional_text")]
    pub certificate_authority: Option<String>,
    /// The context of the kubeconfig to use. Default, also when empty: its current one.
    #[serde(default, deserialize_with = "cluster::optional_text")]
    pub context: Option<String>,
    /// Talk to a server whose certificate nobody vouches for. Default: false.
    #[serde(default, deserialize_with = "cluster::flag")]
    #[schemars(schema_with = "cluster::flag_schema")]
    pub insecure_skip_tls_verify: bool,
    /// The Deployment's namespace. Default: the context's, else `default`.
    #[serde(default, deserialize_with = "cluster::optional_text")]
    pub namespace: Option<String>,
    /// The Deployment's name.
    pub deployment: String,
    /// The container to set the image of. May be left out when the pod has one.
    #[serde(default, deserialize_with = "cluster::optional_text")]
    pub container: Option<String>,
    /// Credentials and trust for the image's registry, which is asked whether a digest exists and
    /// which platform digests belong to it. Default: anonymous.
    #[serde(default)]
    pub registry: registry::Access,
    /// Say more on stderr. Default: false.
    #[serde(default, deserialize_with = "cluster::flag")]
    #[schemars(schema_with = "cluster::flag_schema")]
    pub debug: bool,
}

impl Source {
    /// Refuses names before they become part of a URL.
    pub(super) fn inspect(&self) -> Result<(), Error> {
        let names = [
            ("deployment", Some(&self.deployment)),
            ("namespace", self.namespace.as_ref()),
            ("container", self.container.as_ref()),
        ];
        let wrong =
            names.into_iter().find_map(|(key, name)| Some((key, name.filter(|name| !is_name(name))?)));
        wrong.map_or(Ok(()), |(key, value)| Err(Error::Name { key, value: value.clone() }))
    }

    /// Connects to the cluster that the keys describe.
    pub(super) async fn connect(&self) -> Result<Cluster, cluster::Error> {
        cluster::connect(&cluster::Access {
            kubeconfig: self.kubeconfig.clone(),
            server: self.server.clone(),
            token: self.token.clone(),
            certificate_authority: self.certificate_authority.clone(),
            context: self.context.clone(),
            insecure_skip_tls_verify: self.insecure_skip_tls_verify,
            namespace: self.namespace.clone(),
        })
        .await
    }

    /// Returns what is rolled, in the namespace that the connection settled on.
    pub(super) fn target(&self, cluster: &Cluster) -> Target {
        Target {
            namespace: cluster.namespace.clone(),
            deployment: self.deployment.clone(),
            container: self.container.clone(),
        }
    }
}

/// Returns whether `text` is an RFC 1123 subdomain, which every name here is.
fn is_name(text: &str) -> bool {
    let is_allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 253
        && bytes.iter().copied().all(is_allowed)
        && is_end(bytes.first())
        && is_end(bytes.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_cannot_leave_its_place_in_a_url() {
        for good in ["app", "a", "web-1", "a.b"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "App", "a/b", "../pods", "a b", "-a", "a?x", "a%2f", &"a".repeat(254)] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn only_the_deployment_is_required() {
        let source: Source = serde_json::from_str(r#"{"deployment": "app", "container": ""}"#).unwrap();
        assert_eq!((source.container.as_deref(), source.debug), (None, false));
        let error = serde_json::from_str::<Source>("{}").unwrap_err().to_string();
        assert!(error.contains("missing field `deployment`"), "{error}");
    }

    #[test]
    fn debug_output_keeps_secrets_to_itself() {
        let json = r#"{"deployment": "app", "kubeconfig": "canary", "token": "canary",
                       "registry": {"username": "a", "password": "canary"}}"#;
        let source: Source = serde_json::from_str(json).unwrap();
        assert!(!format!("{source:?}").contains("canary"));
    }
}
