//! One HTTP exchange: build the client once, send, read a bounded body, say what went wrong.
//! Nothing here knows about logins or retries.

use std::error::Error as StdError;
use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};
use reqwest::redirect::Policy;
use reqwest::{Method, Response, StatusCode, Url};
use rustls::{CertificateError, ClientConfig};
use tokio::sync::SemaphorePermit;

use super::limit::Limit;
use super::{Access, Error, Trouble, trust};
use crate::log::Log;

mod submit;

pub(super) use submit::Load;
pub use submit::{Supply, SupplyError};

/// Manifests and configs beyond this are no honest ones: registries themselves refuse manifests
/// above 4 MiB.
pub(super) const CONTENT_LIMIT: usize = 4 << 20;

/// Enough of an error answer to find the message in it.
const ERROR_LIMIT: usize = 64 << 10;

/// A registry that does not take a connection in this time is treated as absent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection on which nothing arrives for this long is treated as dead.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// What a form is.
pub(super) const FORM: &str = "application/x-www-form-urlencoded";

/// A registry, its front end and its storage are fewer than that.
const REDIRECTS: usize = 10;

/// A request without its credentials' owner: who may send them is decided in `client`.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) accept: Option<&'static str>,
    pub(super) authorization: Option<HeaderValue>,
}

impl Ask {
    pub(super) fn get(url: Url) -> Self {
        Self { method: Method::GET, url, accept: None, authorization: None }
    }
}

/// A whole answer.
pub(super) struct Answer {
    pub(super) method: Method,
    /// The address that was asked, for messages.
    pub(super) asked: Url,
    /// The address that answered, after redirects.
    pub(super) url: Url,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// An answer whose body is still to come.
pub(super) struct Incoming<'a> {
    /// What is known of it already; its body is empty until [`Incoming::refused`] reads it.
    pub(super) answer: Answer,
    response: Response,
    _turn: SemaphorePermit<'a>,
}

impl Incoming<'_> {
    /// Returns the next part of the body; `None` at its end.
    pub(super) async fn chunk(&mut self) -> Result<Option<impl AsRef<[u8]> + use<>>, Error> {
        let chunk = self.response.chunk().await;
        chunk.map_err(|error| unreachable(&self.answer.method, &self.answer.asked, error))
    }

    /// Returns the answer with enough of its body to find a message in it.
    pub(super) async fn refused(mut self) -> Answer {
        while self.answer.body.len() < ERROR_LIMIT {
            let Ok(Some(chunk)) = self.chunk().await else { break };
            self.answer.body.extend_from_slice(chunk.as_ref());
        }
        self.answer.body.truncate(ERROR_LIMIT);
        self.answer
    }
}

/// The connections to a registry and to its token server.
pub(super) struct Transport {
    client: reqwest::Client,
    /// The client of forms, which few processes send.
    strict: OnceLock<reqwest::Client>,
    /// The client of uploads, which few processes make.
    pushing: OnceLock<reqwest::Client>,
    tls: ClientConfig,
    limit: Limit,
    trace: Option<Log>,
}

impl Transport {
    pub(super) fn new(access: &Access) -> Result<Self, Error> {
        let tls = trust::of(access)?;
        let client = builder(&tls).read_timeout(READ_TIMEOUT).redirect(redirects(access.insecure)).build();
        let client = client.map_err(|error| Error::Client(error.into()))?;
        let (strict, pushing) = (OnceLock::new(), OnceLock::new());
        Ok(Self { client, strict, pushing, tls, limit: Limit::of(access), trace: None })
    }

    /// Returns how many requests are let through at the same time.
    pub(super) fn parallel(&self) -> usize {
        self.limit.parallel()
    }

    /// Tells `log` about every request from now on.
    pub(super) fn trace(&mut self, log: &Log) {
        self.trace = Some(log.clone());
    }

    /// Sends `ask` and reads the whole answer, whatever its status.
    pub(super) async fn send(&self, ask: Ask) -> Result<Answer, Error> {
        let _turn = self.limit.turn().await;
        self.unlimited(ask).await
    }

    /// Does the same without waiting for a turn. It is for logins: what is under way and needs a new
    /// one holds its turn meanwhile, and there may be no other.
    pub(super) async fn unlimited(&self, ask: Ask) -> Result<Answer, Error> {
        let answer = self.exchange(ask).await;
        self.tell(&answer);
        answer
    }

    /// Posts a form for a login, which has a secret in it: redirects are not followed.
    pub(super) async fn form(&self, url: Url, fields: &[(&str, String)]) -> Result<Answer, Error> {
        let (method, asked) = (Method::POST, url.clone());
        let request = self.strict()?.post(url).header(CONTENT_TYPE, FORM).body(form(fields));
        let answer = match request.send().await {
            Ok(response) => read(method, asked, response).await,
            Err(error) => Err(unreachable(&method, &asked, error)),
        };
        self.tell(&answer);
        answer
    }

    /// Returns the client that follows nobody.
    fn strict(&self) -> Result<&reqwest::Client, Error> {
        if let Some(client) = self.strict.get() {
            return Ok(client);
        }
        let client = builder(&self.tls).read_timeout(READ_TIMEOUT).redirect(Policy::none()).build();
        let client = client.map_err(|error| Error::Client(error.into()))?;
        Ok(self.strict.get_or_init(|| client))
    }

    fn tell(&self, answer: &Result<Answer, Error>) {
        let Some(log) = &self.trace else { return };
        match answer {
            Ok(Answer { method, asked, status, .. }) => {
                log.line(format_args!("{method} {}: {status}", redacted(asked)));
            }
            Err(error) => log.line(error),
        }
    }

    /// Sends `ask` for what comes from byte `from` on, and returns as soon as the answer has begun.
    pub(super) async fn open(&self, ask: Ask, from: u64) -> Result<Incoming<'_>, Error> {
        let turn = self.limit.turn().await;
        let (method, asked) = (ask.method.clone(), ask.url.clone());
        let mut request = self.request(ask);
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        let answer = match request.send().await {
            Ok(response) => {
                let (status, url) = (response.status(), response.url().clone());
                let headers = response.headers().clone();
                let answer = Answer { method, asked, url, status, headers, body: Vec::new() };
                Ok((answer, response))
            }
            Err(error) => Err(unreachable(&method, &asked, error)),
        };
        if let Some(log) = &self.trace {
            match &answer {
                Ok((Answer { method, asked, status, .. }, _)) => {
                    log.line(format_args!("{method} {} from byte {from}: {status}", redacted(asked)));
                }
                Err(error) => log.line(error),
            }
        }
        let (answer, response) = answer?;
        Ok(Incoming { answer, response, _turn: turn })
    }

    fn request(&self, ask: Ask) -> reqwest::RequestBuilder {
        let mut request = self.client.request(ask.method, ask.url);
        if let Some(accept) = ask.accept {
            request = request.header(ACCEPT, accept);
        }
        if let Some(authorization) = ask.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request
    }

    async fn exchange(&self, ask: Ask) -> Result<Answer, Error> {
        let (method, asked) = (ask.method.clone(), ask.url.clone());
        let response = self.request(ask).send().await;
        let response = response.map_err(|error| unreachable(&method, &asked, error))?;
        read(method, asked, response).await
    }
}

/// Reads an answer to its end, or as much of it as there is a use for.
async fn read(method: Method, asked: Url, mut response: Response) -> Result<Answer, Error> {
    let failed = |error| unreachable(&method, &asked, error);
    let (status, url) = (response.status(), response.url().clone());
    let headers = std::mem::take(response.headers_mut());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if status.is_success() && body.len() + chunk.len() > CONTENT_LIMIT {
            let problem = format!("the answer is longer than {CONTENT_LIMIT} bytes");
            return Err(Error::Malformed { method: method.to_string(), url: redacted(&asked), problem });
        }
        body.extend_from_slice(&chunk);
        if !status.is_success() && body.len() >= ERROR_LIMIT {
            body.truncate(ERROR_LIMIT);
            break;
        }
    }
    Ok(Answer { method, asked, url, status, headers, body })
}

fn builder(tls: &ClientConfig) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("rollway/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .tls_backend_preconfigured(tls.clone())
}

/// Follows a registry to its storage. The client itself leaves `Authorization` behind when the host
/// changes; that encryption ends on the way is not for a registry to decide.
fn redirects(is_insecure: bool) -> Policy {
    Policy::custom(move |attempt| {
        let is_stripped = |from: &Url| from.scheme() == "https" && attempt.url().scheme() == "http";
        if attempt.previous().len() > REDIRECTS {
            attempt.error("too many redirects")
        } else if !is_insecure && attempt.previous().last().is_some_and(is_stripped) {
            attempt.error("redirected from https to http, which only `insecure: true` allows")
        } else {
            attempt.follow()
        }
    })
}

/// Returns the body of a form.
pub(super) fn form(fields: &[(&str, impl AsRef<str>)]) -> String {
    // The serializer of a URL's query is that of a form.
    let mut url = Url::parse("http://form/").expect("a constant");
    url.query_pairs_mut().extend_pairs(fields.iter().map(|(name, value)| (name, value.as_ref())));
    url.query().unwrap_or_default().to_owned()
}

/// Returns the address without credentials, query and fragment: what is left has no secret.
pub(super) fn redacted(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

pub(super) fn unreachable(method: &Method, url: &Url, error: reqwest::Error) -> Error {
    let (trouble, text) = diagnose(&error.without_url());
    Error::Unreachable { method: method.to_string(), url: redacted(url), trouble, text }
}

/// Finds the cause in the layers of an HTTP error.
fn diagnose(error: &reqwest::Error) -> (Trouble, String) {
    if error.is_timeout() {
        return (Trouble::Timeout, Trouble::Timeout.to_string());
    }
    if error.is_redirect() {
        let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        return (Trouble::Other, cause);
    }
    let mut innermost = error.to_string();
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(layer) = cause {
        if let Some(found) = known(layer) {
            return found;
        }
        innermost = layer.to_string();
        cause = layer.source();
    }
    if error.is_dns() {
        return (Trouble::Name, format!("{}: {innermost}", Trouble::Name));
    }
    // Whatever ends an exchange after the connection was there is the connection's end.
    let trouble = if error.is_connect() || error.is_builder() { Trouble::Other } else { Trouble::Broken };
    (trouble, innermost)
}

/// Finds a TLS error in an `io::Error`, which hides what it carries from `source()` and may carry
/// another of its kind.
fn hidden(error: &io::Error) -> Option<&rustls::Error> {
    let inner = error.get_ref()?;
    inner.downcast_ref().or_else(|| inner.downcast_ref().and_then(hidden))
}

fn refused(error: &CertificateError) -> Trouble {
    match error {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => Trouble::CertificateTime,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Trouble::CertificateName
        }
        _ => Trouble::Certificate,
    }
}

fn known(layer: &(dyn StdError + 'static)) -> Option<(Trouble, String)> {
    let io = layer.downcast_ref::<io::Error>();
    let tls = layer.downcast_ref::<rustls::Error>().or_else(|| io.and_then(hidden));
    if let Some(error) = tls {
        let trouble = match error {
            rustls::Error::InvalidCertificate(error) => refused(error),
            rustls::Error::InvalidMessage(_) => Trouble::NoTls,
            _ => Trouble::Tls,
        };
        return Some((trouble, error.to_string()));
    }
    let trouble = match io?.kind() {
        io::ErrorKind::ConnectionRefused => Trouble::Refused,
        io::ErrorKind::TimedOut => Trouble::Timeout,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => Trouble::Broken,
        _ => return None,
    };
    Some((trouble, trouble.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_escapes_what_it_has_to() {
        assert_eq!(form(&[("a", "1 2"), ("b", "x&y=é+")]), "a=1+2&b=x%26y%3D%C3%A9%2B");
    }

    #[test]
    fn addresses_are_shown_without_secrets() {
        let url =
            Url::parse("https://bob:canary@auth.example.com/token?account=bob&code=canary#canary").unwrap();
        assert_eq!(redacted(&url), "https://auth.example.com/token");
    }
}
