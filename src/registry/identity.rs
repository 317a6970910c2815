//! Who we are to a registry, from the keys alone: nothing is asked here. Two ways to say it that
//! cannot both be meant are an error, before anything is sent.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};

use super::cloud::Cloud;
use super::cloud::azure::NOBODY;
use super::{Access, Error, Repository, docker_config};

/// Who we are to a registry.
#[derive(Clone, Debug)]
pub(super) enum Identity {
    /// Nobody in particular.
    Anonymous,
    /// A user with a password.
    Password {
        /// The user.
        username: String,
        /// The password.
        password: SecretString,
    },
    /// A long-lived token that a token server changes into short-lived ones.
    Refresh(SecretString),
    /// A token that the registry takes as it is.
    Token(SecretString),
    /// Whoever a cloud says we are.
    Cloud(Cloud),
}

impl Identity {
    /// Returns who the keys say that we are to the registry of `repository`.
    pub(super) fn of(access: &Access, repository: &Repository) -> Result<Self, Error> {
        exclusive(access)?;
        if let Some(cloud) = Cloud::of(access, repository.host())? {
            if repository.is_hubs() && !(repository.is_bare() && matches!(cloud, Cloud::Amazon(_))) {
                // Docker Hub would be shown what opens a cloud's registry.
                let reason = "is Docker Hub's, and the keys are those of a cloud's registry";
                return Err(Error::key("repository", reason));
            }
            return Ok(Self::Cloud(cloud));
        }
        if is_set(&access.docker_config) {
            return docker_config::find(&access.docker_config, repository);
        }
        Ok(match access.credentials() {
            Some((username, _)) => {
                Self::Password { username: username.to_owned(), password: access.password.clone() }
            }
            None => Self::of_machine(access, repository),
        })
    }

    /// Returns whom docker is logged in as on this machine; whatever else its file holds is not for us.
    fn of_machine(access: &Access, repository: &Repository) -> Self {
        let logins = access.ambient.docker_config();
        logins.and_then(|text| docker_config::find(text, repository).ok()).unwrap_or(Self::Anonymous)
    }

    /// Returns the secrets that are known before anything is asked.
    pub(super) fn secrets(&self) -> Vec<SecretString> {
        match self {
            Self::Anonymous => Vec::new(),
            Self::Password { username, password } => vec![password.clone(), pair(username, password)],
            Self::Refresh(token) => vec![token.clone(), pair(NOBODY, token)],
            Self::Token(token) => vec![token.clone()],
            Self::Cloud(cloud) => cloud.secrets(),
        }
    }
}

/// Refuses keys that say two different things. A user name beside `aws_region` or `azure_acr` is
/// none of them: pipelines have it there as a left-over, and it never counted.
fn exclusive(access: &Access) -> Result<(), Error> {
    let ways = [
        ("aws_region", !access.aws_region.is_empty()),
        ("azure_acr", access.azure_acr),
        ("gcp_json_key", is_set(&access.gcp_json_key)),
        ("gcp_access_token", is_set(&access.gcp_access_token)),
        ("gcp_workload_identity", access.gcp_workload_identity),
        ("docker_config", is_set(&access.docker_config)),
    ];
    let mut set = ways.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name);
    match (set.next(), set.next()) {
        (Some(one), Some(other)) => Err(Error::Exclusive { one, other }),
        (Some(one), None) if !matches!(one, "aws_region" | "azure_acr") && access.credentials().is_some() => {
            Err(Error::Exclusive { one: "username", other: one })
        }
        _ => Ok(()),
    }
}

/// Returns a user name and a password as they are sent.
fn pair(username: &str, password: &SecretString) -> SecretString {
    SecretString::from(STANDARD.encode(format!("{username}:{}", password.expose_secret())))
}

/// Returns whether a key has a value.
pub(super) fn is_set(secret: &SecretString) -> bool {
    !secret.expose_secret().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(json: &str) -> Result<Identity, String> {
        let access: Access = serde_json::from_str(json).unwrap();
        Identity::of(&access, &Repository::parse("x.io/app").unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn keys_that_cannot_both_be_meant_are_named() {
        for (json, one, other) in [
            (r#"{"aws_region": "x", "azure_acr": true}"#, "aws_region", "azure_acr"),
            (r#"{"gcp_json_key": "x", "gcp_workload_identity": true}"#, "gcp_json_key", "gcp_workload"),
            (r#"{"docker_config": "{}", "username": "a", "password": "b"}"#, "username", "docker_config"),
            (
                r#"{"gcp_access_token": "t", "username": "a", "password": "b"}"#,
                "username",
                "gcp_access_token",
            ),
            (
                r#"{"aws_region": "x", "aws_role_arn": "a", "aws_role_arns": ["b"]}"#,
                "aws_role_arn",
                "role_arns",
            ),
        ] {
            let error = identity(json).unwrap_err();
            assert!(error.contains(&format!("`{one}")) && error.contains(other), "{json}: {error}");
        }
    }

    #[test]
    fn left_over_user_beside_a_cloud_does_not_count() {
        let json = r#"{"aws_region": "eu-west-1", "username": "a", "password": "b"}"#;
        assert!(matches!(identity(json), Ok(Identity::Cloud(Cloud::Amazon(_)))));
        let json = r#"{"azure_acr": true, "username": "a", "password": "b"}"#;
        assert!(matches!(identity(json), Ok(Identity::Cloud(Cloud::Azure(_)))));
    }

    #[test]
    fn docker_hub_is_not_shown_what_opens_a_cloud() {
        for (json, repository, is_fine) in [
            (r#"{"azure_acr": true}"#, "busybox", false),
            (r#"{"gcp_workload_identity": true}"#, "docker.io/team/app", false),
            (r#"{"aws_region": "eu-west-1"}"#, "docker.io/team/app", false),
            (r#"{"aws_region": "eu-west-1"}"#, "team/app", true),
        ] {
            let access: Access = serde_json::from_str(json).unwrap();
            let found = Identity::of(&access, &Repository::parse(repository).unwrap());
            assert_eq!(found.is_ok(), is_fine, "{json} {repository}");
        }
    }

    #[test]
    fn empty_keys_ask_for_nothing() {
        let json = r#"{"username": "", "docker_config": {}, "aws_region": "", "azure_acr": false,
            "gcp_json_key": "", "gcp_access_token": null}"#;
        assert!(matches!(identity(json), Ok(Identity::Anonymous)));
    }
}
