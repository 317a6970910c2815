//! Azure Container Registry: the machine's identity gives an access token of Azure, and the registry
//! gives a refresh token for it, which is the password.

use std::fs;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::Granted;
use super::outside::{Outside, Question, Reach};
use crate::registry::access::Ambient;
use crate::registry::challenge::Challenge;
use crate::registry::{Access, Error};

/// Who this is, in messages.
const PROVIDER: &str = "Azure Container Registry";

/// The user name that goes with a token.
pub(in crate::registry) const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// The tenant of a registry that does not name its own.
const ANY_TENANT: &str = "common";

/// The metadata server of Azure's machines.
const INSTANCE: &str = "http://169.254.169.254";

/// What to ask Azure for.
#[derive(Clone, Debug)]
pub(in crate::registry) struct Keys {
    cloud: Cloud,
    client: Option<String>,
    tenant: Option<String>,
    kind: Option<Kind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cloud {
    Public,
    Government,
    China,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Managed,
    Workload,
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

#[derive(Deserialize)]
struct Exchanged {
    refresh_token: String,
}

impl Keys {
    /// Returns what the keys ask for; `None` when they do not speak of Azure.
    pub(in crate::registry) fn of(access: &Access, host: &str) -> Result<Option<Self>, Error> {
        if !access.azure_acr {
            return Ok(None);
        }
        let cloud = match access.azure_environment.as_str() {
            "" => Cloud::of(host),
            "AzurePublic" => Cloud::Public,
            "AzureGovernment" => Cloud::Government,
            "AzureChina" => Cloud::China,
            other => {
                let known = "`AzurePublic`, `AzureGovernment` or `AzureChina`";
                return Err(Error::key("azure_environment", &format!("is `{other}`, and not {known}")));
            }
        };
        let kind = match access.azure_auth_type.trim().to_ascii_lowercase().as_str() {
            "" => None,
            "managed_identity" => Some(Kind::Managed),
            "workload_identity" => Some(Kind::Workload),
            other => {
                let known = "`managed_identity` or `workload_identity`";
                return Err(Error::key("azure_auth_type", &format!("is `{other}`, and not {known}")));
            }
        };
        let set = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        Ok(Some(Self {
            cloud,
            client: set(&access.azure_client_id),
            tenant: set(&access.azure_tenant_id),
            kind,
        }))
    }

    /// Returns Azure's token for the machine.
    pub(in crate::registry) async fn token(
        &self,
        outside: &Outside,
        ambient: &Ambient,
    ) -> Result<SecretString, Error> {
        let token = match self.question(ambient) {
            Ok((question, Kind::Managed)) => outside.json::<Token>(question).await.map_err(absent),
            Ok((question, Kind::Workload)) => outside.json::<Token>(question).await,
            Err(error) => Err(error),
        };
        let token = token.map_err(|error| error.at(PROVIDER))?;
        Ok(SecretString::from(token.access_token))
    }

    fn question(&self, ambient: &Ambient) -> Result<(Question, Kind), Error> {
        let has_token = ambient.get("AZURE_FEDERATED_TOKEN_FILE").is_some();
        match self.kind {
            Some(Kind::Workload) => self.workload(ambient),
            None if has_token => self.workload(ambient),
            _ => self.managed(ambient),
        }
    }

    /// The machine's own identity: of an instance, or of an app that is told where to ask.
    fn managed(&self, ambient: &Ambient) -> Result<(Question, Kind), Error> {
        let resource = self.cloud.management();
        let question = match (ambient.get("IDENTITY_ENDPOINT"), ambient.get("IDENTITY_HEADER")) {
            (Some(url), Some(header)) => Question::get(Reach::Machine, url)?
                .query("api-version", "2019-08-01")
                .header("x-identity-header", header)
                .secret(&SecretString::from(header)),
            _ => {
                let base = ambient.get("AZURE_POD_IDENTITY_AUTHORITY_HOST").unwrap_or(INSTANCE);
                let url = format!("{}/metadata/identity/oauth2/token", base.trim_end_matches('/'));
                Question::get(Reach::Machine, &url)?
                    .query("api-version", "2018-02-01")
                    .header("metadata", "true")
            }
        };
        let question = question.query("resource", resource);
        let question = match &self.client {
            Some(client) => question.query("client_id", client),
            None => question,
        };
        Ok((question, Kind::Managed))
    }

    /// A service account's token, which Azure takes for that of an application.
    fn workload(&self, ambient: &Ambient) -> Result<(Question, Kind), Error> {
        let need = |name: &'static str| {
            let missing =
                || Error::NoGrant(format!("`{name}` is not set here, and workload identity needs it"));
            ambient.get(name).ok_or_else(missing)
        };
        let file = need("AZURE_FEDERATED_TOKEN_FILE")?;
        let assertion = fs::read_to_string(file).map_err(|error| {
            let reason = format!("names a file that cannot be read: {error}");
            Error::key("AZURE_FEDERATED_TOKEN_FILE", &reason)
        })?;
        let client = match &self.client {
            Some(client) => client,
            None => need("AZURE_CLIENT_ID")?,
        };
        // This is the tenant of the application; `azure_tenant_id` is that of the registry.
        let tenant = need("AZURE_TENANT_ID")?;
        let authority = ambient.get("AZURE_AUTHORITY_HOST").unwrap_or(self.cloud.authority());
        let url = format!("{}/{tenant}/oauth2/v2.0/token", authority.trim_end_matches('/'));
        let scope = format!("{}.default", self.cloud.management());
        let form = [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", assertion.trim()),
            ("client_id", client),
            ("scope", scope.as_str()),
        ];
        let question =
            Question::get(Reach::Far, &url)?.post_form(&form).secret(&SecretString::from(assertion.trim()));
        Ok((question, Kind::Workload))
    }

    /// Returns the form that changes Azure's token into one of the registry's.
    pub(in crate::registry) fn exchange(
        &self,
        service: &str,
        challenges: &[Challenge],
        token: &SecretString,
    ) -> Vec<(&'static str, String)> {
        let said = challenges.iter().find_map(tenant_of);
        let tenant = self.tenant.clone().or(said).unwrap_or_else(|| ANY_TENANT.to_owned());
        vec![
            ("grant_type", "access_token".to_owned()),
            ("service", service.to_owned()),
            ("tenant", tenant),
            ("access_token", token.expose_secret().to_owned()),
        ]
    }
}

/// Reads what the registry answers to the exchange.
pub(in crate::registry) fn granted(body: &[u8]) -> Result<Granted, Error> {
    let bad = || Error::NoGrant("the registry answers without a refresh token".to_owned()).at(PROVIDER);
    let exchanged: Exchanged = serde_json::from_slice(body).map_err(|_| bad())?;
    if exchanged.refresh_token.is_empty() {
        return Err(bad());
    }
    let password = SecretString::from(exchanged.refresh_token);
    Ok(Granted { username: NOBODY.to_owned(), password, lasts: None })
}

/// Says of whom an error comes.
pub(in crate::registry) fn failed(error: Error) -> Error {
    error.at(PROVIDER)
}

/// What is not there cannot come back.
fn absent(error: Error) -> Error {
    match error {
        Error::Unreachable { .. } => {
            Error::NoGrant("there is no metadata server here, so this machine has no identity".to_owned())
        }
        other => other,
    }
}

/// Returns the tenant that a registry names in the address of its token server.
fn tenant_of(challenge: &Challenge) -> Option<String> {
    let Challenge::Bearer { realm, .. } = challenge else { return None };
    let url = reqwest::Url::parse(realm).ok()?;
    url.query_pairs().find(|(name, _)| name == "tenant").map(|(_, tenant)| tenant.into_owned())
}

impl Cloud {
    fn of(host: &str) -> Self {
        match host.to_ascii_lowercase() {
            host if host.ends_with(".azurecr.us") => Self::Government,
            host if host.ends_with(".azurecr.cn") => Self::China,
            _ => Self::Public,
        }
    }

    /// What the token is for.
    fn management(self) -> &'static str {
        match self {
            Self::Public => "https://management.azure.com/",
            Self::Government => "https://management.usgovcloudapi.net/",
            Self::China => "https://management.chinacloudapi.cn/",
        }
    }

    /// Who gives tokens to applications.
    fn authority(self) -> &'static str {
        match self {
            Self::Public => "https://login.microsoftonline.com",
            Self::Government => "https://login.microsoftonline.us",
            Self::China => "https://login.chinacloudapi.cn",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(json: &str, host: &str) -> Result<Option<Keys>, String> {
        let access: Access = serde_json::from_str(json).unwrap();
        Keys::of(&access, host).map_err(|error| error.to_string())
    }

    #[test]
    fn cloud_follows_from_the_host_unless_it_is_named() {
        for (json, host, wanted) in [
            (r#"{"azure_acr": true}"#, "a.azurecr.io", Cloud::Public),
            (r#"{"azure_acr": true}"#, "a.AZURECR.us", Cloud::Government),
            (r#"{"azure_acr": true}"#, "a.azurecr.cn", Cloud::China),
            (r#"{"azure_acr": true}"#, "registry.example.com", Cloud::Public),
            (r#"{"azure_acr": true, "azure_environment": "AzureChina"}"#, "a.azurecr.io", Cloud::China),
        ] {
            assert_eq!(keys(json, host).unwrap().unwrap().cloud, wanted, "{json} {host}");
        }
    }

    #[test]
    fn words_that_are_none_are_named_with_the_ones_that_are() {
        for (json, part) in [
            (
                r#"{"azure_acr": true, "azure_environment": "Azure"}"#,
                "`azure_environment` is `Azure`, and not `AzureP",
            ),
            (
                r#"{"azure_acr": true, "azure_auth_type": "magic"}"#,
                "`azure_auth_type` is `magic`, and not `managed",
            ),
        ] {
            let error = keys(json, "a.azurecr.io").unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        assert!(keys(r#"{"azure_client_id": "x"}"#, "a.azurecr.io").unwrap().is_none());
    }

    #[test]
    fn tenant_is_the_sources_then_the_registrys() {
        let challenge =
            |realm: &str| Challenge::Bearer { realm: realm.to_owned(), service: None, scope: None };
        let named = challenge("https://a.azurecr.io/oauth2/exchange?tenant=t1&x=y");
        let plain = challenge("https://a.azurecr.io/oauth2/token");
        let given = r#"{"azure_acr": true, "azure_tenant_id": "t0"}"#;
        for (json, challenge, wanted) in [
            (given, &named, "t0"),
            (r#"{"azure_acr": true}"#, &named, "t1"),
            (r#"{"azure_acr": true}"#, &plain, "common"),
        ] {
            let keys = keys(json, "a.azurecr.io").unwrap().unwrap();
            let form =
                keys.exchange("a.azurecr.io", std::slice::from_ref(challenge), &SecretString::from("t"));
            assert!(form.contains(&("tenant", wanted.to_owned())), "{form:?}");
        }
    }
}
