//! What a pipeline gives us to get into a registry. Nothing here is sent anywhere; see `auth`.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

mod value;

pub use value::secret;
pub(crate) use value::{document, list, list_or_nothing, or_default, or_nothing};

/// Declares a struct that has the keys of [`Access`] beside its own. serde's `flatten` would do
/// that too, but it forgets where a wrong value stood and which keys are known.
macro_rules! with_access_keys {
    ($(#[$meta:meta])* pub struct $name:ident { $($own:tt)* }) => {
        $(#[$meta])*
        pub struct $name {
            $($own)*
            /// User name; used only together with a password.
            #[serde(default, deserialize_with = "crate::registry::or_default")]
            #[schemars(with = "String")]
            pub username: String,
            /// Password or access token.
            #[serde(default, deserialize_with = "crate::registry::secret")]
            #[schemars(with = "String")]
            pub password: secrecy::SecretString,
            /// A docker config.json, as text or as an object: its `auths` are looked up by host.
            #[serde(default, deserialize_with = "crate::registry::document")]
            #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
            pub docker_config: secrecy::SecretString,
            /// Also try plain http. It does not switch off the verification of certificates.
            #[serde(default, deserialize_with = "crate::registry::or_default")]
            #[schemars(with = "bool")]
            pub insecure: bool,
            /// Accept whatever certificate the registry shows.
            #[serde(default, deserialize_with = "crate::registry::or_default")]
            #[schemars(with = "bool")]
            pub skip_tls_verify: bool,
            /// PEM certificates to trust beside the system's.
            #[serde(default, deserialize_with = "crate::registry::list")]
            #[schemars(with = "Vec<String>")]
            pub ca_certs: Vec<String>,
            /// The certificate to show to the registry, with its chain, as PEM.
            #[serde(default, deserialize_with = "crate::registry::or_default")]
            #[schemars(with = "String")]
            pub client_cert: String,
            /// The private key of `client_cert`, as PEM.
            #[serde(default, deserialize_with = "crate::registry::secret")]
            #[schemars(with = "String")]
            pub client_key: secrecy::SecretString,
            /// A mirror of Docker Hub, asked first by check and get.
            #[serde(default, deserialize_with = "crate::registry::or_nothing")]
            pub registry_mirror: Option<crate::registry::HubMirror>,
            /// Mirrors of any registry, asked first by check and get.
            #[serde(default, deserialize_with = "crate::registry::list")]
            #[schemars(with = "Vec<crate::registry::Mirror>")]
            pub registry_mirrors: Vec<crate::registry::Mirror>,
            /// At most so many requests to a registry at the same time; the default is 32.
            #[serde(default, deserialize_with = "crate::registry::or_nothing")]
            pub max_parallel: Option<std::num::NonZeroU32>,
            /// At most so many requests to a registry in each second; the default is as many as it takes.
            #[serde(default, deserialize_with = "crate::registry::or_nothing")]
            pub max_requests_per_second: Option<std::num::NonZeroU32>,
            /// The region of an ECR; it switches logging in there on.
            #[serde(default, deserialize_with = "crate::registry::or_default")]
            #[schemars(with = "String")]
            pub aws_region: String,
            /// The access key; without it the machine's own identity is used.
            #[serde(default, deserialize_with = "crate::registry::or_default")]
            #[schemars(with = "String")]
            pub aws_access_key_id: String,
            /// The secret of the access key.
            #[serde(default, deserialize_with = "crate::registry::secret")]
            #[schemars(with = "String")]
            pub aws_secret_access_key: secrecy::SecretString,
            /// The session token of a temporary access key.
            #[serde(default, deserialize_with = "crate::registry::secret")]
            #[schemars(with = "String")]
            pub aws_session_token: secrecy::SecretString,
            /// The role to assume.
            #[serde(default, deserialize_with = "crate::registry::or_default")]
            #[schemars(with = "String")]
            pub aws_role_arn: String,
            /// The roles to assume, each with the rights of the one before.
            #[serde(default, deserialize_with = "crate::registry::list")]
            #[schemars(with = "Vec<String>")]
            pub aws_role_arns: Vec<String>,
            /// The account whose registry it is; the default is the account of the credentials.
            #[serde(default, deserialize_with = "crate::registry::or_default")]
            #[schemars(with = "String")]
            pub aws_account_id: String,
            /// Without effect; `aws_account_id` took its place.
            #[serde(default, deserialize_with = "crate::registry::or_default")]
            #[schemars(with = "String")]
            pub aws_ecr_registry_id: String,
            /// Log in to an Azure registry with the machine's identity.
            #[serde(default, deserialize_with = "crate::registry::or_default")]
            #[schemars(with = "bool")]
            pub azure_acr: bool,
            /// The client id of a user-assigned identity.
            #[serde(default, deserialize_with = "crate::registry::or_default")]
            #[schemars(with = "String")]
            pub azure_client_id: String,
            /// The tenant of the registry; the default is what the registry says.
            #[serde(default, deserialize_with = "crate::registry::or_default")]
            #[schemars(with = "String")]
            pub azure_tenant_id: String,
            /// The cloud: `AzurePublic`, `AzureGovernment` or `AzureChina`; the default follows from the host.
            #[serde(default, deserialize_with = "crate::registry::or_default")]
            #[schemars(with = "String")]
            pub azure_environment: String,
            /// `managed_identity` or `workload_identity`; the default is what the machine has.
            #[serde(default, deserialize_with = "crate::registry::or_default")]
            #[schemars(with = "String")]
            pub azure_auth_type: String,
            /// The JSON key of a Google service account, as text or as an object.
            #[serde(default, deserialize_with = "crate::registry::document")]
            #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
            pub gcp_json_key: secrecy::SecretString,
            /// A Google access token.
            #[serde(default, deserialize_with = "crate::registry::secret")]
            #[schemars(with = "String")]
            pub gcp_access_token: secrecy::SecretString,
            /// Log in to a Google registry with the machine's service account.
            #[serde(default, deserialize_with = "crate::registry::or_default")]
            #[schemars(with = "bool")]
            pub gcp_workload_identity: bool,
        }

        impl $name {
            /// Returns the keys that lead into a registry, on the machine that `ambient` tells of.
            #[must_use]
            pub fn access(&self, ambient: &crate::registry::Ambient) -> crate::registry::Access {
                crate::registry::Access {
                    ambient: ambient.clone(),
                    username: self.username.clone(),
                    password: self.password.clone(),
                    docker_config: self.docker_config.clone(),
                    insecure: self.insecure,
                    skip_tls_verify: self.skip_tls_verify,
                    ca_certs: self.ca_certs.clone(),
                    client_cert: self.client_cert.clone(),
                    client_key: self.client_key.clone(),
                    registry_mirror: self.registry_mirror.clone(),
                    registry_mirrors: self.registry_mirrors.clone(),
                    max_parallel: self.max_parallel,
                    max_requests_per_second: self.max_requests_per_second,
                    aws_region: self.aws_region.clone(),
                    aws_access_key_id: self.aws_access_key_id.clone(),
                    aws_secret_access_key: self.aws_secret_access_key.clone(),
                    aws_session_token: self.aws_session_token.clone(),
                    aws_role_arn: self.aws_role_arn.clone(),
                    aws_role_arns: self.aws_role_arns.clone(),
                    aws_account_id: self.aws_account_id.clone(),
                    aws_ecr_registry_id: self.aws_ecr_registry_id.clone(),
                    azure_acr: self.azure_acr,
                    azure_client_id: self.azure_client_id.clone(),
                    azure_tenant_id: self.azure_tenant_id.clone(),
                    azure_environment: self.azure_environment.clone(),
                    azure_auth_type: self.azure_auth_type.clone(),
                    gcp_json_key: self.gcp_json_key.clone(),
                    gcp_access_token: self.gcp_access_token.clone(),
                    gcp_workload_identity: self.gcp_workload_identity,
                }
            }
        }
    };
}
pub(crate) use with_access_keys;

with_access_keys! {
    /// Credentials and trust for one registry.
    #[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    pub struct Access {
        /// What the machine offers.
        #[serde(skip)]
        pub ambient: Ambient,
    }
}

/// A mirror of Docker Hub.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HubMirror {
    /// Its host, and the path in front of the names if it has one.
    #[serde(deserialize_with = "or_default")]
    #[schemars(with = "String")]
    pub host: String,
    /// User name at the mirror.
    #[serde(deserialize_with = "or_default")]
    #[schemars(with = "String")]
    pub username: String,
    /// Password at the mirror.
    #[serde(deserialize_with = "secret")]
    #[schemars(with = "String")]
    pub password: SecretString,
}

/// A mirror of any registry.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mirror {
    /// The host of the registry that is mirrored.
    #[serde(deserialize_with = "or_default")]
    #[schemars(with = "String")]
    pub registry: String,
    /// The host of the mirror, and the path in front of the names if it has one.
    #[serde(deserialize_with = "or_default")]
    #[schemars(with = "String")]
    pub host: String,
    /// User name at the mirror.
    #[serde(deserialize_with = "or_default")]
    #[schemars(with = "String")]
    pub username: String,
    /// Password at the mirror.
    #[serde(deserialize_with = "secret")]
    #[schemars(with = "String")]
    pub password: SecretString,
}

/// The variables that clouds set for the programs on their machines, and that their own tools read.
#[derive(Clone, Debug, Default)]
pub struct Ambient(Arc<BTreeMap<String, SecretString>>);

/// Where docker's logins are kept among the variables; no variable has such a name.
const DOCKER_CONFIG: &str = "docker config.json";

impl Ambient {
    /// What their names start with.
    const PREFIXES: [&str; 5] = ["AWS_", "AZURE_", "IDENTITY_", "GCE_", "GOOGLE_"];

    /// Takes from an environment what tells of the machine.
    #[must_use]
    pub fn of(variables: &BTreeMap<String, String>) -> Self {
        let told = variables.iter().filter(|(name, value)| {
            !value.is_empty() && Self::PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        });
        Self(Arc::new(told.map(|(name, value)| (name.clone(), SecretString::from(value.clone()))).collect()))
    }

    /// Adds the logins that docker keeps on the machine: those of the hosts that they name, and only
    /// where no key says who we are.
    #[must_use]
    pub fn with_docker_config(mut self, text: &SecretString) -> Self {
        Arc::make_mut(&mut self.0).insert(DOCKER_CONFIG.to_owned(), text.clone());
        self
    }

    /// Returns the logins that docker keeps.
    pub(super) fn docker_config(&self) -> Option<&SecretString> {
        self.0.get(DOCKER_CONFIG)
    }

    /// Returns a variable that is set and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(ExposeSecret::expose_secret)
    }
}

impl Access {
    /// Returns whether it says who is to be let in.
    #[must_use]
    pub fn has_login(&self) -> bool {
        let secrets = [&self.docker_config, &self.gcp_json_key, &self.gcp_access_token, &self.client_key];
        self.credentials().is_some()
            || [&self.aws_region, &self.aws_access_key_id, &self.aws_role_arn]
                .into_iter()
                .any(|it| !it.is_empty())
            || !self.aws_role_arns.is_empty()
            || self.azure_acr
            || self.gcp_workload_identity
            || secrets.into_iter().any(|secret| !secret.expose_secret().is_empty())
    }

    /// Returns the credentials when they are complete; half of them counts as none.
    pub(super) fn credentials(&self) -> Option<(&str, &str)> {
        let password = self.password.expose_secret();
        (!self.username.is_empty() && !password.is_empty()).then_some((self.username.as_str(), password))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_credentials_counts_as_none() {
        let access: Access = serde_json::from_str(r#"{"username": "bob"}"#).unwrap();
        assert_eq!(access.credentials(), None);
    }

    #[test]
    fn secret_of_a_wrong_type_is_not_shown() {
        let error = serde_json::from_str::<Access>(r#"{"password": 31337}"#).unwrap_err().to_string();
        assert!(error.contains("a number, expected a string"), "{error}");
        assert!(!error.contains("31337"), "{error}");
    }

    #[test]
    fn debug_output_keeps_the_secrets_to_itself() {
        let access: Access = serde_json::from_str(
            r#"{"username": "bob", "password": "canary", "client_key": "canary",
                "docker_config": {"auths": {"x.io": {"auth": "canary"}}},
                "aws_secret_access_key": "canary", "aws_session_token": "canary",
                "gcp_json_key": "canary", "gcp_access_token": "canary",
                "registry_mirror": {"host": "x", "password": "canary"},
                "registry_mirrors": [{"registry": "y", "host": "x", "password": "canary"}]}"#,
        )
        .unwrap();
        let variables = [("AWS_SECRET_ACCESS_KEY".to_owned(), "canary".to_owned())].into();
        let access = access.access(&Ambient::of(&variables));
        assert_eq!(access.ambient.get("AWS_SECRET_ACCESS_KEY"), Some("canary"));
        assert!(!format!("{access:?}").contains("canary"), "{access:?}");
    }

    #[test]
    fn machine_is_told_of_by_few_variables() {
        let variables = ["AWS_REGION", "PATH", "BUILD_NAME", "IDENTITY_ENDPOINT", "AWS_PROFILE"];
        let mut variables: BTreeMap<String, String> =
            variables.map(|name| (name.to_owned(), "x".to_owned())).into();
        variables.insert("AWS_PROFILE".to_owned(), String::new());
        let ambient = Ambient::of(&variables);
        assert_eq!(ambient.0.keys().collect::<Vec<_>>(), ["AWS_REGION", "IDENTITY_ENDPOINT"]);
    }

    #[test]
    fn null_is_a_key_that_is_not_there() {
        let access: Access = serde_json::from_str(
            r#"{"username": null, "password": null, "insecure": null, "ca_certs": null, "aws_role_arns": null,
                "docker_config": null, "registry_mirror": null, "registry_mirrors": null, "max_parallel": null}"#,
        )
        .unwrap();
        assert!(access.credentials().is_none() && access.ca_certs.is_empty() && !access.insecure);
    }
}
