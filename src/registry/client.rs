//! The request loop: ping once, log in, ask, try again while that can help.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use futures::{StreamExt, TryStreamExt, stream};
use reqwest::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Method, StatusCode, Url};
use secrecy::SecretString;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::auth::Keyring;
use super::challenge::Challenge;
use super::manifest::{ACCEPT, Family, digest_of};
use super::reference::Schemes;
use super::retry::{self, Attempts, Next, Setback};
use super::scope::Scopes;
use super::transport::{Answer, Ask, Transport, redacted};
use super::{Error, Manifest, Policy, Repository, Trouble, ping, reference};
use crate::image::{Config, Digest};
use crate::log::Log;

mod artifacts;
mod blobs;
mod describe;
mod entrance;
mod tags;
mod upload;

pub use artifacts::Referrer;
pub use blobs::Sink;
pub use describe::Description;
pub use upload::Arrival;

/// Children of an index that are asked for at the same time.
const PARALLEL: usize = 4;

/// One repository of one registry.
pub struct Client {
    repository: Repository,
    keyring: Keyring,
    schemes: Schemes,
    transport: Transport,
    policy: Policy,
    log: Log,
    session: Mutex<Option<Session>>,
    scopes: std::sync::Mutex<Scopes>,
    /// Whether the registry takes no whole blobs.
    in_parts: AtomicBool,
}

/// What the ping and the login found out.
#[derive(Clone)]
struct Session {
    base: Url,
    authorization: Option<HeaderValue>,
    /// What the login answered, to be answered again when it ends.
    challenges: Vec<Challenge>,
    until: Option<Instant>,
    refresh: Option<SecretString>,
    /// Tells one session from another, and a copy of it from both.
    mark: Arc<()>,
}

/// One request of the loop, without scheme, host and login.
struct Call {
    method: Method,
    path: String,
    accept: Option<&'static str>,
}

impl Client {
    /// Replaces the patience with failing requests.
    #[must_use]
    pub fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Logs every request with its outcome.
    #[must_use]
    pub fn traced(mut self) -> Self {
        self.transport.trace(&self.log);
        self
    }

    /// Returns the repository that is asked.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Returns the digest behind a tag or a digest; `None` when the registry has no such thing.
    ///
    /// # Errors
    /// When the registry cannot be asked or does not say.
    pub async fn head(&self, reference: &str) -> Result<Option<Digest>, Error> {
        let answer = self.call(&manifest_call(Method::HEAD, &self.repository, reference)?).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => match header_digest(&answer) {
                Some(digest) => matching(reference, digest, &answer).map(Some),
                None => self.digest_of_content(reference).await,
            },
            // Some registries know no HEAD for manifests.
            _ => self.digest_of_content(reference).await,
        }
    }

    /// Returns the manifest behind a tag or a digest; `None` when the registry has no such thing.
    ///
    /// # Errors
    /// When the registry cannot be asked, or serves something else than the digest names.
    pub async fn manifest(&self, reference: &str) -> Result<Option<Manifest>, Error> {
        let answer = self.call(&manifest_call(Method::GET, &self.repository, reference)?).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let digest = digest_of(&answer.body);
        matching(reference, digest, &answer)?;
        Ok(Some(Manifest::read(answer.body)))
    }

    /// Returns an image's config; `None` when the registry does not have it.
    ///
    /// # Errors
    /// When the registry cannot be asked, or serves something that is no config.
    pub async fn config(&self, digest: &Digest) -> Result<Option<Config>, Error> {
        let path = format!("v2/{}/blobs/{digest}", self.repository.path());
        let answer = self.call(&Call { method: Method::GET, path, accept: None }).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        matching(digest.as_str(), digest_of(&answer.body), &answer)?;
        let config = Config::read(&answer.body);
        config.map(Some).map_err(|error| malformed(&answer, format!("not the config of an image: {error}")))
    }

    /// Returns every digest that a container runtime may report for `digest`: itself, the images of
    /// an index, and their configs. `None` when the registry does not have it.
    ///
    /// # Errors
    /// When the registry cannot be asked.
    pub async fn identities(&self, digest: &Digest) -> Result<Option<BTreeSet<Digest>>, Error> {
        Ok(self.family(digest).await?.map(|family| family.identities()))
    }

    /// Returns what `digest` names and, if that is an index, the images in it. `None` when the
    /// registry does not have it.
    ///
    /// # Errors
    /// When the registry cannot be asked.
    pub async fn family(&self, digest: &Digest) -> Result<Option<Family>, Error> {
        let Some(head) = self.manifest(digest.as_str()).await? else {
            return Ok(None);
        };
        let children = head.children().to_vec();
        let images = stream::iter(&children)
            .map(async |child| Ok((child.clone(), self.manifest(child.digest.as_str()).await?)))
            .buffered(PARALLEL)
            .try_collect()
            .await?;
        Ok(Some(Family { head, images }))
    }

    async fn digest_of_content(&self, reference: &str) -> Result<Option<Digest>, Error> {
        Ok(self.manifest(reference).await?.map(|manifest| manifest.digest))
    }

    /// Makes a request until it is answered with success or 404, or until that is hopeless.
    async fn call(&self, call: &Call) -> Result<Answer, Error> {
        let mut attempts = Attempts::new(self.policy);
        let started = Instant::now();
        let end = started + self.policy.whole();
        let mut before = None;
        loop {
            let attempt =
                timeout_at(end.min(Instant::now() + self.policy.deadline), self.attempt(call)).await;
            let error = match attempt {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                // What went wrong before says more than that there was no time for another try.
                Err(_) => before.take().unwrap_or_else(|| self.too_slow(call)),
            };
            let Some(setback) = error.setback() else {
                return Err(error);
            };
            before = Some(self.pause(&mut attempts, setback, started.elapsed(), error).await?.1);
        }
    }

    /// Waits before another attempt and returns for how long, or ends with the reason that there is none.
    async fn pause(
        &self,
        attempts: &mut Attempts,
        setback: Setback,
        elapsed: Duration,
        error: Error,
    ) -> Result<(Duration, Error), Error> {
        match attempts.after(setback, elapsed) {
            Next::Wait(wait) => {
                self.log.line(format_args!("retrying in {:.1} s: {error}", wait.as_secs_f64()));
                tokio::time::sleep(wait).await;
                Ok((wait, error))
            }
            Next::AskedTooMuch(asked) => {
                Err(Error::Throttled { seconds: asked.as_secs(), last: Box::new(error) })
            }
            Next::Stop if attempts.failed() == 1 => Err(error),
            Next::Stop => {
                Err(Error::GaveUp { attempts: attempts.failed(), took: elapsed, last: Box::new(error) })
            }
        }
    }

    /// Makes a request once; a login that ran out is renewed once.
    async fn attempt(&self, call: &Call) -> Result<Answer, Error> {
        let session = self.session().await?;
        let answer = self.send(call, &session).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return self.judged(answer);
        }
        match self.renewed(&session, &ping::challenges(&answer)).await? {
            Some(session) => {
                let answer = self.send(call, &session).await?;
                self.judged(answer)
            }
            None => self.judged(answer),
        }
    }

    async fn send(&self, call: &Call, session: &Session) -> Result<Answer, Error> {
        let url = session.base.join(&call.path).map_err(|error| Error::Client(error.into()))?;
        let authorization = session.authorization.clone();
        let ask = Ask { method: call.method.clone(), url, accept: call.accept, authorization };
        let answer = self.transport.send(ask).await?;
        self.note(answer.status, session).await;
        Ok(answer)
    }

    /// Drops a session whose request was throttled: the front end may also have dropped what it knew
    /// about us. One that another request has made since stays.
    async fn note(&self, status: StatusCode, session: &Session) {
        if status == StatusCode::TOO_MANY_REQUESTS {
            let mut slot = self.session.lock().await;
            slot.take_if(|there| Arc::ptr_eq(&there.mark, &session.mark));
        }
    }

    /// Lets through what a caller can use: success, 404, and a refused method.
    fn judged(&self, answer: Answer) -> Result<Answer, Error> {
        let is_no_method =
            matches!(answer.status, StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED);
        let is_fine = answer.status.is_success()
            || answer.status == StatusCode::NOT_FOUND
            || (answer.method == Method::HEAD && is_no_method);
        if is_fine {
            return Ok(answer);
        }
        Err(refusal(&answer, &self.keyring.secrets()))
    }

    fn too_slow(&self, call: &Call) -> Error {
        Error::Unreachable {
            method: call.method.to_string(),
            url: format!("{}/{}", self.repository.host(), call.path),
            trouble: Trouble::Timeout,
            text: Trouble::Timeout.to_string(),
        }
    }
}

fn manifest_call(method: Method, repository: &Repository, reference: &str) -> Result<Call, Error> {
    if reference.parse::<Digest>().is_err() && !reference::is_tag(reference) {
        return Err(Error::Reference { reference: reference.to_owned() });
    }
    let path = format!("v2/{}/manifests/{reference}", repository.path());
    Ok(Call { method, path, accept: Some(ACCEPT) })
}

/// Returns the digest of a HEAD's answer, if the answer is whole.
fn header_digest(answer: &Answer) -> Option<Digest> {
    answer.headers.get(CONTENT_TYPE)?;
    answer.headers.get("docker-content-digest")?.to_str().ok()?.parse().ok()
}

/// Holds a registry to the digest that it was asked for.
fn matching(reference: &str, found: Digest, answer: &Answer) -> Result<Digest, Error> {
    match reference.parse::<Digest>() {
        Ok(wanted) if wanted != found => {
            let (method, url) = (answer.method.to_string(), redacted(&answer.asked));
            Err(Error::Mismatch { method, url, wanted, found })
        }
        _ => Ok(found),
    }
}

fn malformed(answer: &Answer, problem: String) -> Error {
    Error::Malformed { method: answer.method.to_string(), url: redacted(&answer.asked), problem }
}

/// Turns an unwelcome answer into an error with the registry's own words, `secrets` cut out.
pub(super) fn refusal(answer: &Answer, secrets: &[String]) -> Error {
    let retry_after = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    Error::Answered {
        method: answer.method.to_string(),
        url: redacted(&answer.asked),
        status: answer.status.as_u16(),
        detail: detail(answer, secrets),
        retry_after: retry_after.and_then(|value| retry::retry_after(value, SystemTime::now())),
    }
}

fn detail(answer: &Answer, secrets: &[String]) -> String {
    #[derive(Deserialize)]
    struct Envelope {
        errors: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }

    let said =
        serde_json::from_slice::<Envelope>(&answer.body).ok().and_then(|body| body.errors.into_iter().next());
    let text = match said {
        Some(Entry { code, message }) if message.is_empty() => format!(" {code}"),
        Some(Entry { code, message }) => format!(" {code}: {message}"),
        None => format!(" {}", answer.status.canonical_reason().unwrap_or("unknown status")),
    };
    let text = secrets.iter().fold(text, |text, secret| text.replace(secret, "***"));
    // A terminal must not obey what a registry says.
    text.chars().filter(|character| !character.is_control()).take(300).collect()
}
