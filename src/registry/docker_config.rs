//! A docker config.json: which credentials it has for a repository. Pure. Helpers are refused:
//! there is no program in the image that they could name.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::identity::{Identity, is_set};
use super::reference::DOCKER_HUB;
use super::{Error, Repository, secret};

/// The name of the key, for messages.
const KEY: &str = "docker_config";

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    #[serde(deserialize_with = "secret")]
    auth: SecretString,
    username: String,
    #[serde(deserialize_with = "secret")]
    password: SecretString,
    #[serde(deserialize_with = "secret")]
    identitytoken: SecretString,
    #[serde(deserialize_with = "secret")]
    registrytoken: SecretString,
}

/// Returns the credentials of the entry that names most of the repository.
pub(super) fn find(text: &SecretString, repository: &Repository) -> Result<Identity, Error> {
    // serde's own words quote what stands there.
    let config: Config = serde_json::from_str(text.expose_secret())
        .map_err(|_| Error::key(KEY, "is not a docker config.json: its `auths` is an object of objects"))?;
    if let Some((_, helper)) = best(&config.helpers, repository) {
        return Err(helper_error(helper, repository));
    }
    let found = best(&config.auths, repository).map(|(_, entry)| entry.identity()).transpose()?.flatten();
    match found {
        Some(identity) => Ok(identity),
        None if !config.store.is_empty() => Err(helper_error(&config.store, repository)),
        None => Err(Error::NoAuth {
            host: repository.host().to_owned(),
            known: config.auths.keys().map(|key| normal(key).to_owned()).collect(),
        }),
    }
}

/// Returns whether there is an entry for the repository.
pub(super) fn knows(text: &SecretString, repository: &Repository) -> bool {
    find(text, repository).is_ok()
}

impl Entry {
    fn identity(&self) -> Result<Option<Identity>, Error> {
        if is_set(&self.registrytoken) {
            return Ok(Some(Identity::Token(self.registrytoken.clone())));
        }
        let (mut username, mut password) = (self.username.clone(), self.password.clone());
        if is_set(&self.auth) {
            let bad = || Error::key(KEY, "has an `auth` that is not base64 of `user:password`");
            let text = STANDARD.decode(self.auth.expose_secret().trim()).map_err(|_| bad())?;
            let text = String::from_utf8(text).map_err(|_| bad())?;
            let (user, rest) = text.split_once(':').ok_or_else(bad)?;
            // docker pads with zero bytes.
            (username, password) = (user.to_owned(), SecretString::from(rest.trim_matches('\0')));
        }
        if is_set(&self.identitytoken) {
            return Ok(Some(Identity::Refresh(self.identitytoken.clone())));
        }
        if username == "<token>" && is_set(&password) {
            return Ok(Some(Identity::Refresh(password)));
        }
        Ok((!username.is_empty() && is_set(&password)).then_some(Identity::Password { username, password }))
    }
}

fn helper_error(helper: &str, repository: &Repository) -> Error {
    let host = repository.host();
    Error::key(KEY, &format!("names the credential helper `{helper}` for `{host}`, and there is none here"))
}

/// Returns the longest key that the repository is below.
fn best<'a, V>(entries: &'a BTreeMap<String, V>, repository: &Repository) -> Option<(usize, &'a V)> {
    let name = format!("{}/{}", repository.host(), repository.path());
    let matching = entries.iter().filter_map(|(key, value)| {
        let key = normal(key);
        let rest = name.strip_prefix(key)?;
        (rest.is_empty() || rest.starts_with('/')).then_some((key.len(), value))
    });
    matching.max_by_key(|(length, _)| *length)
}

/// Returns what a key names: docker writes whole addresses too, with the version of the API.
fn normal(key: &str) -> &str {
    let key = key.split_once("://").map_or(key, |(_, rest)| rest);
    let key = key.trim_end_matches('/');
    let key = key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key);
    match key {
        "docker.io" | "registry-1.docker.io" => DOCKER_HUB,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(config: &str, repository: &str) -> Result<String, String> {
        let identity = find(&SecretString::from(config), &Repository::parse(repository).unwrap());
        let text = |identity| match identity {
            Identity::Password { username, password } => format!("{username}:{}", password.expose_secret()),
            Identity::Refresh(token) => format!("refresh {}", token.expose_secret()),
            Identity::Token(token) => format!("token {}", token.expose_secret()),
            _ => "something else".to_owned(),
        };
        identity.map(text).map_err(|error| error.to_string())
    }

    #[test]
    fn every_form_of_an_entry_is_read() {
        for (entry, wanted) in [
            (r#"{"auth": "Ym9iOnB3"}"#, "bob:pw"),
            (r#"{"auth": "Ym9iOmE6Yg=="}"#, "bob:a:b"),
            (r#"{"username": "bob", "password": "pw"}"#, "bob:pw"),
            (r#"{"auth": "Ym9iOg==", "identitytoken": "idt"}"#, "refresh idt"),
            (r#"{"username": "<token>", "password": "idt"}"#, "refresh idt"),
            (r#"{"registrytoken": "rt", "username": "bob", "password": "pw"}"#, "token rt"),
        ] {
            let config = format!(r#"{{"auths": {{"ghcr.io": {entry}}}}}"#);
            assert_eq!(found(&config, "ghcr.io/a/b").unwrap(), wanted, "{entry}");
        }
    }

    #[test]
    fn entry_that_names_most_of_the_repository_counts() {
        let config = r#"{"auths": {
            "https://index.docker.io/v1/": {"username": "hub", "password": "1"},
            "https://x.io/v2/": {"username": "host", "password": "2"},
            "x.io/team": {"username": "team", "password": "3"},
            "x.io:5000": {"username": "port", "password": "4"}}}"#;
        for (repository, wanted) in [
            ("busybox", "hub:1"),
            ("docker.io/a/b", "hub:1"),
            ("x.io/app", "host:2"),
            ("x.io/team/app", "team:3"),
            ("x.io/teamwork/app", "host:2"),
            ("x.io:5000/team/app", "port:4"),
        ] {
            assert_eq!(found(config, repository).unwrap(), wanted, "{repository}");
        }
    }

    #[test]
    fn what_cannot_be_used_says_why_and_shows_nothing() {
        for (config, part) in [
            ("canary", "is not a docker config.json"),
            (r#"{"auths": {"x.io": "canary"}}"#, "is not a docker config.json"),
            (r#"{"auths": {"x.io": {"auth": "canary!"}}}"#, "not base64"),
            (r#"{"auths": {"x.io": {"auth": "Y2FuYXJ5"}}}"#, "not base64 of `user:password`"),
            (r#"{"auths": {"y.io": {"auth": "canary"}}}"#, "has no credentials for `x.io`"),
            (r#"{"auths": {"x.io": {}}}"#, "has no credentials for `x.io`"),
            ("{}", "has no credentials for `x.io`"),
            (r#"{"credHelpers": {"x.io": "ecr-login"}}"#, "helper `ecr-login` for `x.io`"),
            (r#"{"auths": {"x.io": {}}, "credsStore": "desktop"}"#, "helper `desktop` for `x.io`"),
        ] {
            let error = found(config, "x.io/app").unwrap_err();
            assert!(error.contains(part) && !error.contains("canary"), "{config}: {error}");
        }
    }
}
