//! Mirrors: which ones a repository has, and asking them first. What they say is about the origin's
//! image, so no name of theirs leaves this file.

use std::error::Error as StdError;

use secrecy::SecretString;

use super::reference::without_userinfo;
use super::{Access, Client, Error, Policy, Repository, docker_config};
use crate::failure;
use crate::log::Log;

/// The places that a repository can be read from, in the order in which they are asked.
pub struct Sources {
    mirrors: Vec<Client>,
    origin: Client,
    log: Log,
}

impl Sources {
    /// Returns clients for the mirrors of `repository` and for itself.
    ///
    /// # Errors
    /// When the name is no repository, when a key cannot be used, or when the cloud that knows the
    /// host does not tell it.
    pub async fn reach(repository: &str, access: &Access, log: &Log) -> Result<Self, Error> {
        let origin = Client::reach(repository, access, log).await?;
        let places = places(origin.repository(), access)?;
        let mirrors = places.iter().map(|place| {
            let client = Client::connect(&place.name, &place.access, log)?;
            Ok(client.with_policy(Policy::of_a_mirror()))
        });
        Ok(Self { mirrors: mirrors.collect::<Result<_, _>>()?, origin, log: log.clone() })
    }

    /// Returns the registry that the image is named after.
    #[must_use]
    pub fn origin(&self) -> &Client {
        &self.origin
    }

    /// Replaces the patience with the origin. Nobody has to wait for a mirror.
    #[must_use]
    pub fn patient(self, policy: Policy) -> Self {
        Self { origin: self.origin.with_policy(policy), ..self }
    }

    /// Changes every client.
    #[must_use]
    pub fn with(self, change: impl Fn(Client) -> Client) -> Self {
        let mirrors = self.mirrors.into_iter().map(&change).collect();
        Self { mirrors, origin: change(self.origin), log: self.log }
    }

    /// Asks one after the other until there is something to go on with. A mirror that fails or has
    /// nothing is a warning; the origin has the last word.
    ///
    /// # Errors
    /// When the origin was asked and failed.
    pub async fn ask<T, E: StdError>(
        &self,
        ask: impl AsyncFn(&Client) -> Result<T, E>,
        is_something: impl Fn(&T) -> bool,
    ) -> Result<T, E> {
        for mirror in &self.mirrors {
            let host = mirror.repository().host();
            let why = match ask(mirror).await {
                Ok(answer) if is_something(&answer) => return Ok(answer),
                Ok(_) => "has nothing".to_owned(),
                Err(error) => format!("failed: {}", failure::chain(&error)),
            };
            self.log
                .line(format_args!("warning: the next place is asked, because the mirror `{host}` {why}"));
        }
        ask(&self.origin).await
    }
}

/// A mirror of one repository.
struct Place {
    name: String,
    access: Access,
}

/// Returns the mirrors that the keys name for a repository.
fn places(repository: &Repository, access: &Access) -> Result<Vec<Place>, Error> {
    let mut found = Vec::new();
    let hub = access.registry_mirror.iter().filter(|mirror| repository.is_hubs() && !mirror.host.is_empty());
    for mirror in hub {
        let credentials = (mirror.username.as_str(), &mirror.password);
        found.push(place("registry_mirror.host", &mirror.host, credentials, (repository, access))?);
    }
    for (position, mirror) in access.registry_mirrors.iter().enumerate() {
        let key = format!("registry_mirrors[{position}]");
        if mirror.registry.is_empty() || mirror.host.is_empty() {
            return Err(Error::key(&key, "needs both `registry` and `host`"));
        }
        if Repository::parse(&format!("{}/name", mirror.registry))
            .is_ok_and(|it| it.host() == repository.host())
        {
            let credentials = (mirror.username.as_str(), &mirror.password);
            found.push(place(&format!("{key}.host"), &mirror.host, credentials, (repository, access))?);
        }
    }
    Ok(found)
}

/// Puts a repository behind a mirror's host. The origin's credentials stay behind; a docker
/// config.json goes along where it speaks of the mirror.
fn place(
    key: &str,
    host: &str,
    (username, password): (&str, &SecretString),
    (repository, access): (&Repository, &Access),
) -> Result<Place, Error> {
    let name = format!("{}/{}", host.trim_end_matches('/'), repository.path());
    let wrong = || Error::key(key, &format!("is `{}`, which is no host", without_userinfo(host)));
    let mirrored = Repository::parse(&name).map_err(|_| wrong())?;
    if mirrored.given() != format!("{}/{}", mirrored.host(), mirrored.path()) {
        return Err(wrong());
    }
    let docker_config = if username.is_empty() && docker_config::knows(&access.docker_config, &mirrored) {
        access.docker_config.clone()
    } else {
        SecretString::default()
    };
    let access = Access {
        username: username.to_owned(),
        password: password.clone(),
        docker_config,
        insecure: access.insecure,
        skip_tls_verify: access.skip_tls_verify,
        ca_certs: access.ca_certs.clone(),
        max_parallel: access.max_parallel,
        max_requests_per_second: access.max_requests_per_second,
        ..Access::default()
    };
    Ok(Place { name, access })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(repository: &str, json: &str) -> Result<Vec<String>, String> {
        let access: Access = serde_json::from_str(json).unwrap();
        let places = places(&Repository::parse(repository).unwrap(), &access);
        places
            .map(|places| places.into_iter().map(|place| place.name).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn hubs_mirror_is_for_docker_hub_alone() {
        let json = r#"{"registry_mirror": {"host": "m.io"}}"#;
        assert_eq!(names("busybox", json).unwrap(), ["m.io/library/busybox"]);
        assert_eq!(names("docker.io/a/b", json).unwrap(), ["m.io/a/b"]);
        assert_eq!(names("ghcr.io/a/b", json).unwrap(), [""; 0]);
        assert_eq!(names("busybox", r#"{"registry_mirror": {"host": ""}}"#).unwrap(), [""; 0]);
    }

    #[test]
    fn any_registry_can_have_mirrors_below_a_path() {
        let json = r#"{"registry_mirrors": [{"registry": "quay.io", "host": "m.io:5000/quay/"},
            {"registry": "docker.io", "host": "m.io"}, {"registry": "quay.io", "host": "n.io"}]}"#;
        assert_eq!(names("quay.io/a/b", json).unwrap(), ["m.io:5000/quay/a/b", "n.io/a/b"]);
        assert_eq!(names("busybox", json).unwrap(), ["m.io/library/busybox"]);
    }

    #[test]
    fn mirror_that_is_none_is_named() {
        for (json, part) in [
            (r#"{"registry_mirror": {"host": "https://m.io"}}"#, "`registry_mirror.host` is `https://m.io`"),
            (r#"{"registry_mirror": {"host": "m"}}"#, "`registry_mirror.host` is `m`"),
            (r#"{"registry_mirrors": [{"host": "m.io"}]}"#, "`registry_mirrors[0]` needs both"),
            (
                r#"{"registry_mirrors": [{"registry": "docker.io", "host": "m io"}]}"#,
                "`registry_mirrors[0].host`",
            ),
        ] {
            assert!(names("busybox", json).unwrap_err().contains(part), "{json}");
        }
    }

    #[test]
    fn mirror_gets_its_own_credentials_and_no_others() {
        let json = r#"{"username": "bob", "password": "origin", "insecure": true, "gcp_access_token": "t",
            "client_cert": "c", "client_key": "k", "registry_mirror": {"host": "m.io", "username": "alice", "password": "mirror"}}"#;
        let access: Access = serde_json::from_str(json).unwrap();
        let place = places(&Repository::parse("busybox").unwrap(), &access).unwrap().remove(0);
        assert_eq!(place.access.credentials(), Some(("alice", "mirror")));
        assert!(place.access.insecure && !super::super::identity::is_set(&place.access.gcp_access_token));
        assert!(place.access.client_cert.is_empty());
        assert!(!super::super::identity::is_set(&place.access.client_key));
    }

    #[test]
    fn hubs_mirror_is_not_asked_for_images_of_clouds() {
        let json = r#"{"registry_mirror": {"host": "m.io"}}"#;
        for host in [
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "public.ecr.aws",
            "example.azurecr.io",
            "example.azurecr.us",
            "europe-west1-docker.pkg.dev",
        ] {
            assert_eq!(names(&format!("{host}/team/app"), json).unwrap(), [""; 0], "{host}");
        }
        // A bare name is Docker Hub's, unless the keys put it into an ECR.
        let keys = r#"{"aws_region": "eu-west-1", "aws_account_id": "123456789012", "aws_access_key_id": "a",
            "aws_secret_access_key": "b", "registry_mirror": {"host": "m.io"}}"#;
        let access: Access = serde_json::from_str(keys).unwrap();
        let placed = Client::connect("team/app", &access, &Log::to(std::io::sink())).unwrap();
        assert_eq!(placed.repository().host(), "123456789012.dkr.ecr.eu-west-1.amazonaws.com");
        assert!(places(placed.repository(), &access).unwrap().is_empty());
    }
}
