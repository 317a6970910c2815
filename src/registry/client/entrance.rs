//! Getting in: which registry it is, the ping, the login, and its renewal.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError};

use reqwest::{Method, Url};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::{Call, Client, Session};
use crate::log::Log;
use crate::registry::auth::{Door, Keyring};
use crate::registry::challenge::Challenge;
use crate::registry::retry::Attempts;
use crate::registry::scope::{Scope, Scopes};
use crate::registry::transport::Transport;
use crate::registry::{Access, Error, Policy, Repository, ping};

impl Client {
    /// Returns a client for `repository`. Nothing is sent yet.
    ///
    /// # Errors
    /// When the name is no repository, or a key of `access` cannot be used.
    pub fn connect(repository: &str, access: &Access, log: &Log) -> Result<Self, Error> {
        let named = Repository::parse(repository)?;
        let keyring = Keyring::of(access, &named)?;
        Self::placed(named, keyring, access, log)
    }

    /// Puts a bare name behind the host that Amazon's keys tell.
    fn placed(named: Repository, keyring: Keyring, access: &Access, log: &Log) -> Result<Self, Error> {
        let host = match keyring.amazon().filter(|_| named.is_bare()) {
            Some(keys) => Some(keys.host().ok_or_else(|| nowhere(named.given()))?),
            None => None,
        };
        let placed = host.map(|host| Repository::parse(&format!("{host}/{}", named.given()))).transpose()?;
        Self::with(placed.unwrap_or(named), keyring, access, log)
    }

    /// Returns a client for `repository`. Where only Amazon knows the host of the registry, it is
    /// asked for it.
    ///
    /// # Errors
    /// When the name is no repository, a key of `access` cannot be used, or Amazon does not tell.
    pub async fn reach(repository: &str, access: &Access, log: &Log) -> Result<Self, Error> {
        let named = Repository::parse(repository)?;
        let keyring = Keyring::of(access, &named)?;
        let is_unknown = named.is_bare() && keyring.amazon().is_some_and(|keys| keys.host().is_none());
        if !is_unknown {
            return Self::placed(named, keyring, access, log);
        }
        let mut client = Self::with(named, keyring, access, log)?;
        let host = client.amazons_host().await?;
        client.repository = Repository::parse(&format!("{host}/{repository}"))?;
        client.schemes = client.repository.schemes(access);
        *client.scopes() = Scopes::pulling(client.repository.path());
        Ok(client)
    }

    /// Asks for tokens that allow this as well.
    #[must_use]
    pub fn with_scope(self, scope: &Scope) -> Self {
        let path = self.repository.path().to_owned();
        self.scopes().want(&path, scope);
        self
    }

    /// Returns how many requests are let through at the same time.
    #[must_use]
    pub fn parallel(&self) -> usize {
        self.transport.parallel()
    }

    fn with(repository: Repository, keyring: Keyring, access: &Access, log: &Log) -> Result<Self, Error> {
        if !access.aws_ecr_registry_id.is_empty() {
            log.line("warning: `aws_ecr_registry_id` has no effect; give the account in `aws_account_id`");
        }
        Ok(Self {
            schemes: repository.schemes(access),
            scopes: Scopes::pulling(repository.path()).into(),
            repository,
            keyring,
            transport: Transport::new(access)?,
            policy: Policy::default(),
            log: log.clone(),
            session: Mutex::new(None),
            in_parts: AtomicBool::new(false),
        })
    }

    async fn amazons_host(&self) -> Result<String, Error> {
        let keys = self.keyring.amazon().ok_or_else(|| nowhere(self.repository.given()))?;
        let mut attempts = Attempts::new(self.policy);
        let started = Instant::now();
        loop {
            let error = match self.keyring.amazons_host(keys).await {
                Ok(host) => return Ok(host),
                Err(error) => error,
            };
            let Some(setback) = error.setback() else { return Err(error) };
            self.pause(&mut attempts, setback, started.elapsed(), error).await?;
        }
    }

    fn scopes(&self) -> std::sync::MutexGuard<'_, Scopes> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the session, making it on first use and renewing it before its token ends.
    pub(super) async fn session(&self) -> Result<Session, Error> {
        self.in_time(async {
            let mut slot = self.session.lock().await;
            let session = match &*slot {
                Some(session) if session.until.is_none_or(|until| Instant::now() < until) => {
                    return Ok(session.clone());
                }
                Some(old) => self.login(old.clone(), None).await?,
                None => {
                    let secrets = self.keyring.secrets();
                    let found = ping::ping(&self.transport, &self.repository, self.schemes, &secrets).await?;
                    self.login(Session::at(found.base), Some(&found.challenges)).await?
                }
            };
            *slot = Some(session.clone());
            Ok(session)
        })
        .await
    }

    /// Logs in again for what a 401 wants. `None` when there is no other login to try.
    pub(super) async fn renewed(
        &self,
        used: &Session,
        challenges: &[Challenge],
    ) -> Result<Option<Session>, Error> {
        self.in_time(async {
            let mut slot = self.session.lock().await;
            if let Some(other) = slot.as_ref().filter(|other| other.authorization != used.authorization) {
                return Ok(Some(other.clone()));
            }
            if used.authorization.is_some() {
                // What a cloud gave may have ended before its time.
                self.keyring.forget();
            }
            let session = self.login(used.clone(), Some(challenges)).await?;
            if session.authorization.is_none() || session.authorization == used.authorization {
                return Ok(None);
            }
            *slot = Some(session.clone());
            Ok(Some(session))
        })
        .await
    }

    /// Gives a login the time of one question: an upload has no other end, and all others of this client
    /// wait for the same session.
    async fn in_time<T>(&self, login: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let ping = Call { method: Method::GET, path: "v2/".to_owned(), accept: None };
        timeout(self.policy.deadline, login).await.unwrap_or_else(|_| Err(self.too_slow(&ping)))
    }

    /// Answers `challenges`, or the ones of `before` again.
    async fn login(&self, before: Session, challenges: Option<&[Challenge]>) -> Result<Session, Error> {
        let challenges = challenges.map_or(before.challenges, <[Challenge]>::to_vec);
        let scopes = {
            let mut scopes = self.scopes();
            for challenge in &challenges {
                if let Challenge::Bearer { scope: Some(scope), .. } = challenge {
                    scopes.demand(scope);
                }
            }
            scopes.texts()
        };
        let pass = self
            .keyring
            .enter(&Door {
                transport: &self.transport,
                repository: &self.repository,
                base: &before.base,
                challenges: &challenges,
                scopes,
                refresh: before.refresh,
            })
            .await?;
        let (authorization, until, refresh) = (pass.authorization, pass.until, pass.refresh);
        Ok(Session { base: before.base, authorization, challenges, until, refresh, mark: Arc::default() })
    }
}

impl Session {
    fn at(base: Url) -> Self {
        let challenges = Vec::new();
        Self { base, authorization: None, challenges, until: None, refresh: None, mark: Arc::default() }
    }
}

fn nowhere(repository: &str) -> Error {
    let reason =
        format!("is `{repository}`, without the host of the registry, and `aws_account_id` is not set");
    Error::key("repository", &reason)
}
