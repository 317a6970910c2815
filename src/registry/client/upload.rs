//! Pushing: a blob is there already, is mounted from another repository, or is uploaded; a manifest is put.
//!
//! An upload is one POST and one PUT with all the bytes. A registry, or what stands in front of it,
//! that does not take so many at once gets them in parts.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Method, StatusCode, Url};

use super::{Call, Client, Session, malformed, manifest_call, matching, refusal};
use crate::image::Digest;
use crate::registry::retry::{Attempts, Setback};
use crate::registry::transport::{Answer, Ask, Load, Supply, redacted};
use crate::registry::{Error, Repository, ping};

/// How much is sent at once to a registry that does not take a whole blob. It is in memory, so that
/// the part can be cut from any source.
const PART: u64 = 8 << 20;

/// A registry may ask for larger parts than that, up to this much.
const LARGEST_PART: u64 = 64 << 20;

/// An upload that breaks is worth so many more: each costs the whole blob again.
const RETRIES: u32 = 5;

/// Nobody redirects more often for a reason.
const REDIRECTS: usize = 3;

/// How a blob came to a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// From another repository of the registry, without its bytes.
    Mounted,
    /// With its bytes.
    Sent,
}

/// Where a POST led to.
enum Start {
    Mounted,
    At { location: Url, part: u64 },
}

/// How the bytes were taken.
enum Taken {
    Done,
    NotAtOnce,
    LoginRanOut,
}

impl Client {
    /// Returns whether the repository has a blob.
    ///
    /// # Errors
    /// When the registry cannot be asked.
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        let path = format!("v2/{}/blobs/{digest}", self.repository.path());
        let answer = self.call(&Call { method: Method::HEAD, path, accept: None }).await?;
        Ok(answer.status.is_success())
    }

    /// Pushes a blob. With `from`, the registry is asked to mount it from that repository of its own.
    ///
    /// # Errors
    /// When the registry cannot be asked or refuses, or the bytes cannot be read or are not what the
    /// digest names.
    pub async fn push_blob(&self, blob: &dyn Supply, from: Option<&Repository>) -> Result<Arrival, Error> {
        self.patiently(async || self.push_once(blob, from).await).await
    }

    /// Puts a manifest under a tag or its digest; returns whether the registry knows what it refers to
    /// by its `subject`.
    ///
    /// # Errors
    /// When the registry cannot be asked or refuses, or took something else.
    pub async fn put_manifest(&self, reference: &str, media_type: &str, bytes: &[u8]) -> Result<bool, Error> {
        let path = manifest_call(Method::PUT, &self.repository, reference)?.path;
        let answer = self
            .patiently(async || {
                let url = self.below(&self.session().await?, &path)?;
                let load = || Load::Whole { media_type, bytes: bytes.to_vec() };
                self.welcomed(self.ask(Method::PUT, url, load).await?)
            })
            .await?;
        holds(&answer, &crate::registry::manifest::digest_of(bytes))?;
        Ok(answer.headers.contains_key("oci-subject"))
    }

    async fn push_once(&self, blob: &dyn Supply, from: Option<&Repository>) -> Result<Arrival, Error> {
        let mut renewed = false;
        loop {
            let Start::At { location, part } = self.start(blob.digest(), from).await? else {
                return Ok(Arrival::Mounted);
            };
            if self.in_parts.load(Ordering::Relaxed) {
                self.send_parts(blob, location, part.max(PART)).await?;
                return Ok(Arrival::Sent);
            }
            match self.send_whole(blob, location).await? {
                Taken::Done => return Ok(Arrival::Sent),
                Taken::NotAtOnce => self.in_parts.store(true, Ordering::Relaxed),
                Taken::LoginRanOut if renewed => return Err(self.refused_login(blob)),
                Taken::LoginRanOut => renewed = true,
            }
        }
    }

    /// Begins an upload; a registry that does not mount begins one too.
    async fn start(&self, digest: &Digest, from: Option<&Repository>) -> Result<Start, Error> {
        let session = self.session().await?;
        let mut url = self.below(&session, &format!("v2/{}/blobs/uploads/", self.repository.path()))?;
        if let Some(from) = from {
            let mut mount = url.clone();
            mount.query_pairs_mut().append_pair("mount", digest.as_str()).append_pair("from", from.path());
            match self.ask(Method::POST, mount, || Load::Nothing).await {
                Ok(answer) if answer.status == StatusCode::CREATED => return Ok(Start::Mounted),
                Ok(answer) if answer.status.is_success() => return started(&answer),
                // The right to read there may be missing; then the bytes have to be sent.
                Ok(answer) if is_refused_mount(answer.status) => {}
                Ok(answer) => return Err(self.refusal(&answer)),
                Err(error) if error.is_denied() => {}
                Err(error) => return Err(error),
            }
            // The challenge of a refused mount may have replaced the session.
            url =
                self.below(&self.session().await?, &format!("v2/{}/blobs/uploads/", self.repository.path()))?;
        }
        let answer = self.ask(Method::POST, url, || Load::Nothing).await?;
        started(&self.welcomed(answer)?)
    }

    async fn send_whole(&self, blob: &dyn Supply, location: Url) -> Result<Taken, Error> {
        let url = finished(location, blob.digest());
        let answer = self.ask(Method::PUT, url, || Load::Blob(blob)).await?;
        match answer.status {
            StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::LENGTH_REQUIRED
            | StatusCode::NOT_IMPLEMENTED => Ok(Taken::NotAtOnce),
            StatusCode::UNAUTHORIZED => Ok(Taken::LoginRanOut),
            _ => {
                holds(&self.welcomed(answer)?, blob.digest())?;
                Ok(Taken::Done)
            }
        }
    }

    async fn send_parts(&self, blob: &dyn Supply, location: Url, part: u64) -> Result<(), Error> {
        let (mut location, mut start) = (location, 0);
        let mut source = blob.open();
        let mut part_bytes = Vec::new();
        loop {
            let chunk = source.next().await.transpose();
            let chunk = chunk.map_err(|source| Error::Supply { digest: blob.digest().clone(), source })?;
            let is_end = chunk.is_none();
            part_bytes.extend(chunk.unwrap_or_default());
            while part_bytes.len() as u64 >= part || (is_end && !part_bytes.is_empty()) {
                let rest = part_bytes.split_off(part_bytes.len().min(part as usize));
                let load = || Load::Part { bytes: part_bytes.clone(), start };
                let answer = self.ask(Method::PATCH, location.clone(), load).await?;
                let answer = self.welcomed(answer)?;
                start += part_bytes.len() as u64;
                location = next(&answer)?.unwrap_or(location);
                part_bytes = rest;
            }
            if is_end {
                break;
            }
        }
        let answer = self.ask(Method::PUT, finished(location, blob.digest()), || Load::Nothing).await?;
        holds(&self.welcomed(answer)?, blob.digest())
    }

    /// Sends one request, logged in anew when that is what the registry wants and the load is small.
    /// Redirects keep method and load, and lose the login where they leave the registry.
    async fn ask<'a>(&self, method: Method, url: Url, load: impl Fn() -> Load<'a>) -> Result<Answer, Error> {
        let mut url = url;
        for _ in 0..REDIRECTS {
            let answer = self.ask_there(&method, &url, &load).await?;
            if !matches!(answer.status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
                return Ok(answer);
            }
            url = next(&answer)?.ok_or_else(|| malformed(&answer, "a redirect to nowhere".to_owned()))?;
        }
        let problem = "too many redirects".to_owned();
        Err(Error::Malformed { method: method.to_string(), url: redacted(&url), problem })
    }

    async fn ask_there<'a>(
        &self,
        method: &Method,
        url: &Url,
        load: &impl Fn() -> Load<'a>,
    ) -> Result<Answer, Error> {
        let session = self.session().await?;
        let answer = self.ask_as(method, url, load(), &session).await?;
        let is_ours = is_same_origin(url, &session.base);
        if answer.status != StatusCode::UNAUTHORIZED || !is_ours {
            return Ok(answer);
        }
        match self.renewed(&session, &ping::challenges(&answer)).await? {
            // The upload of a blob begins again with its POST.
            Some(session) => match load() {
                Load::Blob(_) => Ok(answer),
                load => self.ask_as(method, url, load, &session).await,
            },
            None => Err(self.refusal(&answer)),
        }
    }

    async fn ask_as(
        &self,
        method: &Method,
        url: &Url,
        load: Load<'_>,
        session: &Session,
    ) -> Result<Answer, Error> {
        let url = secured(url.clone(), &session.base);
        let authorization = session.authorization.clone().filter(|_| is_same_origin(&url, &session.base));
        let ask = Ask { method: method.clone(), authorization, ..Ask::get(url) };
        let answer = self.transport.submit(ask, load).await?;
        self.note(answer.status, session).await;
        Ok(answer)
    }

    /// Lets success through, whichever it is.
    fn welcomed(&self, answer: Answer) -> Result<Answer, Error> {
        if answer.status.is_success() { Ok(answer) } else { Err(self.refusal(&answer)) }
    }

    fn refusal(&self, answer: &Answer) -> Error {
        refusal(answer, &self.keyring.secrets())
    }

    fn refused_login(&self, blob: &dyn Supply) -> Error {
        Error::Answered {
            method: Method::PUT.to_string(),
            url: format!("{}/v2/{}/blobs/{}", self.repository.host(), self.repository.path(), blob.digest()),
            status: StatusCode::UNAUTHORIZED.as_u16(),
            detail: " Unauthorized".to_owned(),
            retry_after: None,
        }
    }

    fn below(&self, session: &Session, path: &str) -> Result<Url, Error> {
        session.base.join(path).map_err(|error| Error::Client(error.into()))
    }

    /// Tries again what may pass. Unlike a question, an upload may take as long as it moves, so that
    /// only the pauses count against the deadline.
    async fn patiently<T>(&self, operation: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
        let mut attempts = Attempts::new(self.policy);
        let mut waited = Duration::ZERO;
        loop {
            let error = match operation().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let Some(setback) = setback(&error) else { return Err(error) };
            let (wait, _) = self.pause(&mut attempts, setback, waited, error).await?;
            waited += wait;
        }
    }
}

/// Returns what a failed upload means for another one.
fn setback(error: &Error) -> Option<Setback> {
    match error {
        // A registry of several servers may have lost what another one began.
        Error::Answered { status: 404 | 416, .. } => Some(Setback { at_most: Some(2), ..Setback::default() }),
        Error::Supply { source, .. } => {
            let io = source.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
            io.and_then(|inner| inner.downcast_ref::<Error>()).and_then(setback)
        }
        _ if error.is_throttling() => error.setback(),
        _ => error.setback().map(|known| Setback {
            at_most: Some(known.at_most.map_or(RETRIES, |limit| limit.min(RETRIES))),
            ..known
        }),
    }
}

fn started(answer: &Answer) -> Result<Start, Error> {
    let location = next(answer)?;
    let location = location
        .ok_or_else(|| malformed(answer, "the registry does not say where to upload to".to_owned()))?;
    let part = number(&answer.headers, "oci-chunk-min-length").unwrap_or_default();
    if part > LARGEST_PART {
        let problem = format!("the registry wants parts of {part} bytes, and {LARGEST_PART} is the most");
        return Err(malformed(answer, problem));
    }
    Ok(Start::At { location, part })
}

fn is_refused_mount(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

/// Returns where an answer points to: a whole address, or a path on the server that answered.
fn next(answer: &Answer) -> Result<Option<Url>, Error> {
    let Some(location) = answer.headers.get(LOCATION) else { return Ok(None) };
    let url = location.to_str().ok().and_then(|text| answer.asked.join(text).ok());
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.map(Some).ok_or_else(|| malformed(answer, "the `Location` is no address".to_owned()))
}

/// Adds the digest that ends an upload. What the registry wrote into its address stays as it is.
fn finished(mut location: Url, digest: &Digest) -> Url {
    location.query_pairs_mut().append_pair("digest", digest.as_str());
    location
}

/// Keeps https where a registry behind a proxy writes http into its addresses.
fn secured(mut url: Url, base: &Url) -> Url {
    if base.scheme() == "https" && url.scheme() == "http" && url.host_str() == base.host_str() {
        let _ = url.set_scheme("https");
    }
    url
}

fn is_same_origin(url: &Url, base: &Url) -> bool {
    secured(url.clone(), base).origin() == base.origin()
}

/// Holds a registry to the digest of what it took.
fn holds(answer: &Answer, digest: &Digest) -> Result<(), Error> {
    let said = answer.headers.get("docker-content-digest").and_then(|value| value.to_str().ok());
    match said.and_then(|text| text.parse().ok()) {
        Some(found) => matching(digest.as_str(), found, answer).map(drop),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(asked: &str, location: Option<&str>) -> Answer {
        let mut headers = HeaderMap::new();
        if let Some(location) = location {
            headers.insert(LOCATION, location.parse().unwrap());
        }
        let asked = Url::parse(asked).unwrap();
        let url = asked.clone();
        Answer { method: Method::POST, asked, url, status: StatusCode::ACCEPTED, headers, body: Vec::new() }
    }

    #[test]
    fn location_is_an_address_or_a_path() {
        let asked = "https://x.io/v2/app/blobs/uploads/?mount=sha256:a";
        for (location, wanted) in [
            ("/v2/app/blobs/uploads/1?state=a%2Bb", "https://x.io/v2/app/blobs/uploads/1?state=a%2Bb"),
            ("1", "https://x.io/v2/app/blobs/uploads/1"),
            ("https://storage.io/put?sig=a", "https://storage.io/put?sig=a"),
            ("//storage.io/put", "https://storage.io/put"),
        ] {
            let found = next(&answer(asked, Some(location))).unwrap().unwrap();
            assert_eq!(found.as_str(), wanted);
        }
        assert!(next(&answer(asked, None)).unwrap().is_none());
        for bad in ["file:///etc/passwd", "https://", "data:x"] {
            assert!(next(&answer(asked, Some(bad))).is_err(), "{bad}");
        }
    }

    #[test]
    fn digest_is_added_to_what_the_registry_wrote() {
        let digest = crate::registry::manifest::digest_of(b"");
        let url = finished(Url::parse("https://x.io/u?state=a%2Bb%20c").unwrap(), &digest);
        let hex = digest.as_str().trim_start_matches("sha256:");
        assert_eq!(url.as_str(), format!("https://x.io/u?state=a%2Bb%20c&digest=sha256%3A{hex}"));
    }

    #[test]
    fn login_stays_with_the_registry() {
        let base = Url::parse("https://x.io/").unwrap();
        for (url, is_ours) in [
            ("https://x.io/v2/", true),
            ("https://x.io:443/v2/", true),
            ("http://x.io/v2/", true),
            ("https://x.io:444/v2/", false),
            ("https://y.io/v2/", false),
            ("http://x.io.evil/v2/", false),
        ] {
            assert_eq!(is_same_origin(&Url::parse(url).unwrap(), &base), is_ours, "{url}");
        }
        assert_eq!(secured(Url::parse("http://x.io/u").unwrap(), &base).as_str(), "https://x.io/u");
        assert_eq!(secured(Url::parse("http://y.io/u").unwrap(), &base).as_str(), "http://y.io/u");
    }

    #[test]
    fn registry_that_wants_too_much_at_once_is_refused() {
        let mut answer = answer("https://x.io/", Some("/u"));
        answer.headers.insert("oci-chunk-min-length", "1048576".parse().unwrap());
        assert!(matches!(started(&answer), Ok(Start::At { part: 1_048_576, .. })));
        answer.headers.insert("oci-chunk-min-length", "1000000000".parse().unwrap());
        assert!(started(&answer).is_err());
    }
}
