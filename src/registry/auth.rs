//! Logging in: from a challenge to the value of an `Authorization` header.
//!
//! Credentials go to a registry that asked for them (Basic), to the token server that it names
//! (Bearer), to the cloud that gives them out, and to nobody else. A registry that never challenges
//! never sees them.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::challenge::Challenge;
use super::client::refusal;
use super::cloud::{Cloud, Granted, Outside, aws, azure};
use super::identity::Identity;
use super::transport::{Transport, redacted};
use super::{Access, Error, Repository};

mod token;

/// What a cloud gave is asked for anew this long before it ends.
const MARGIN: Duration = Duration::from_secs(60);

/// What we have to show, and how it is got.
pub(super) struct Keyring {
    identity: Identity,
    access: Access,
    outside: Outside,
    held: Mutex<Option<Held>>,
    /// Everything that was ever shown, so that no message repeats it.
    shown: Mutex<BTreeSet<String>>,
}

/// What a cloud gave.
#[derive(Clone)]
struct Held {
    username: String,
    password: SecretString,
    until: Option<Instant>,
}

/// What is shown to a registry or to its token server.
#[derive(Clone)]
enum Shown {
    Nothing,
    Password(String, SecretString),
    Refresh(SecretString),
    Token(SecretString),
}

/// The registry that is to be entered.
pub(super) struct Door<'a> {
    pub(super) transport: &'a Transport,
    pub(super) repository: &'a Repository,
    pub(super) base: &'a Url,
    pub(super) challenges: &'a [Challenge],
    /// What a token has to allow.
    pub(super) scopes: Vec<String>,
    /// What the token server gave for the next time.
    pub(super) refresh: Option<SecretString>,
}

/// What a login brought.
#[derive(Clone, Default)]
pub(super) struct Pass {
    /// The value to send; `None` means to go on without.
    pub(super) authorization: Option<HeaderValue>,
    /// When it should be renewed.
    pub(super) until: Option<Instant>,
    /// What the token server gave for the next time.
    pub(super) refresh: Option<SecretString>,
}

impl Keyring {
    /// Returns the keys for the registry of `repository`. Nothing is asked yet.
    pub(super) fn of(access: &Access, repository: &Repository) -> Result<Self, Error> {
        Ok(Self {
            identity: Identity::of(access, repository)?,
            access: access.clone(),
            outside: Outside::trusting(&access.ca_certs),
            held: Mutex::default(),
            shown: Mutex::default(),
        })
    }

    /// Answers the challenges of a registry.
    pub(super) async fn enter(&self, door: &Door<'_>) -> Result<Pass, Error> {
        if door.challenges.is_empty() {
            return Ok(Pass::default());
        }
        let shown = self.shown_to(door).await?;
        let pass =
            match door.challenges.iter().find(|challenge| matches!(challenge, Challenge::Bearer { .. })) {
                Some(Challenge::Bearer { realm, service, .. }) => {
                    let server = token::Server::of(door, realm, service.as_deref(), self.access.insecure)?;
                    self.bearer(&server, shown).await?
                }
                _ => Pass { authorization: basic_of(&shown), ..Pass::default() },
            };
        self.remember(pass.authorization.as_ref().and_then(sent));
        Ok(pass)
    }

    /// Drops what a cloud gave: the registry does not take it any more.
    pub(super) fn forget(&self) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Returns what Amazon is asked for, if it is Amazon.
    pub(super) fn amazon(&self) -> Option<&aws::Keys> {
        match &self.identity {
            Identity::Cloud(Cloud::Amazon(keys)) => Some(keys),
            _ => None,
        }
    }

    /// Returns the host of the registry of an Amazon account, which only Amazon may know.
    pub(super) async fn amazons_host(&self, keys: &aws::Keys) -> Result<String, Error> {
        let entry = keys.login(&self.outside, &self.access.ambient).await?;
        self.hold(entry.granted);
        Ok(entry.host)
    }

    /// Returns what must not be in any message.
    pub(super) fn secrets(&self) -> Vec<String> {
        let known = self.identity.secrets();
        let mut secrets: Vec<String> = known.iter().map(|secret| secret.expose_secret().to_owned()).collect();
        secrets.extend(self.shown.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        secrets.retain(|secret| !secret.is_empty());
        // A secret that is a part of another one must not cut it in two.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets
    }

    async fn bearer(&self, server: &token::Server<'_>, shown: Shown) -> Result<Pass, Error> {
        let refused = |answer| refusal(&answer, &self.secrets());
        let given = match (shown, server.door.refresh.as_ref()) {
            (Shown::Token(token), _) => {
                return Ok(Pass { authorization: bearer(token.expose_secret()), ..Pass::default() });
            }
            (Shown::Refresh(token), _) => match server.refreshed(&token).await? {
                Ok(given) => given,
                Err(answer) if token::knows_no_post(answer.status) => {
                    let header = basic(azure::NOBODY, token.expose_secret());
                    self.remember(sent(&header));
                    server.fetched(Some(header)).await?.map_err(refused)?
                }
                Err(answer) => return Err(refused(answer)),
            },
            (shown, refresh) => {
                let again = match refresh {
                    Some(token) => server.refreshed(token).await?.ok(),
                    None => None,
                };
                match again {
                    Some(given) => given,
                    None => {
                        let header = basic_of(&shown);
                        self.remember(header.as_ref().and_then(sent));
                        server.fetched(header).await?.map_err(refused)?
                    }
                }
            }
        };
        self.remember(given.refresh.as_ref().map(|token| token.expose_secret().to_owned()));
        Ok(given)
    }

    /// Returns what there is to show, from the cloud if it is one that gives it.
    async fn shown_to(&self, door: &Door<'_>) -> Result<Shown, Error> {
        match &self.identity {
            Identity::Anonymous => Ok(Shown::Nothing),
            Identity::Password { username, password } => {
                Ok(Shown::Password(username.clone(), password.clone()))
            }
            Identity::Refresh(token) => Ok(Shown::Refresh(token.clone())),
            Identity::Token(token) => Ok(Shown::Token(token.clone())),
            Identity::Cloud(cloud) => {
                let kept = self.held.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let kept = kept.filter(|held| held.until.is_none_or(|until| Instant::now() < until));
                let held = match kept {
                    Some(held) => held,
                    None => self.hold(self.granted(cloud, door).await?),
                };
                Ok(Shown::Password(held.username, held.password))
            }
        }
    }

    async fn granted(&self, cloud: &Cloud, door: &Door<'_>) -> Result<Granted, Error> {
        let ambient = &self.access.ambient;
        match cloud {
            Cloud::Amazon(keys) => keys.login(&self.outside, ambient).await.map(|entry| entry.granted),
            Cloud::Google(keys) => keys.login(&self.outside, ambient).await,
            Cloud::Azure(keys) => {
                let token = keys.token(&self.outside, ambient).await?;
                self.remember(Some(token.expose_secret().to_owned()));
                self.exchanged(keys, door, &token).await.map_err(azure::failed)
            }
        }
    }

    async fn exchanged(
        &self,
        keys: &azure::Keys,
        door: &Door<'_>,
        token: &SecretString,
    ) -> Result<Granted, Error> {
        let url = door.base.join("oauth2/exchange").map_err(|error| Error::Client(error.into()))?;
        let form = keys.exchange(door.repository.host(), door.challenges, token);
        let answer = door.transport.form(url, &form).await?;
        if answer.status.is_success() {
            return azure::granted(&answer.body);
        }
        Err(refusal(&answer, &self.secrets()))
    }

    fn hold(&self, granted: Granted) -> Held {
        let until = granted.lasts.and_then(|lasts| Instant::now().checked_add(lasts.saturating_sub(MARGIN)));
        let held = Held { username: granted.username, password: granted.password, until };
        self.remember(Some(held.password.expose_secret().to_owned()));
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(held.clone());
        held
    }

    fn remember(&self, secret: Option<String>) {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).extend(secret);
    }
}

fn basic_of(shown: &Shown) -> Option<HeaderValue> {
    match shown {
        Shown::Nothing | Shown::Token(_) => None,
        Shown::Password(username, password) => Some(basic(username, password.expose_secret())),
        Shown::Refresh(token) => Some(basic(azure::NOBODY, token.expose_secret())),
    }
}

fn basic(username: &str, password: &str) -> HeaderValue {
    secret(&format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
        .expect("base64 is made of characters that a header may have")
}

fn bearer(token: &str) -> Option<HeaderValue> {
    secret(&format!("Bearer {token}"))
}

fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Returns the secret part of an `Authorization` header.
fn sent(header: &HeaderValue) -> Option<String> {
    header.to_str().ok()?.split_once(' ').map(|(_, secret)| secret.to_owned())
}

/// Says that an answer makes no sense.
fn malformed(method: &str, url: &Url, problem: &str) -> Error {
    Error::Malformed { method: method.to_owned(), url: redacted(url), problem: problem.to_owned() }
}
