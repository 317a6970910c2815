//! One HTTP exchange: build the client once, send, read a bounded body, say what went wrong.
//! Nothing here knows about logins or retries.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode, Url};

use super::{Access, Error, Trouble, trust};
use crate::log::Log;

/// Manifests and configs beyond this are no honest ones: registries themselves refuse manifests
/// above 4 MiB.
pub(super) const CONTENT_LIMIT: usize = 4 << 20;

/// Enough of an error answer to find the message in it.
const ERROR_LIMIT: usize = 64 << 10;

/// A registry that does not take a connection in this time is treated as absent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection on which nothing arrives for this long is treated as dead.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

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

/// The connections to a registry and to its token server.
pub(super) struct Transport {
    client: reqwest::Client,
    trace: Option<Log>,
}

impl Transport {
    pub(super) fn new(access: &Access) -> Result<Self, Error> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("rollway/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .tls_backend_preconfigured(trust::tls(trust::certificates(&access.ca_certs)?)?)
            .build();
        Ok(Self { client: client.map_err(|error| Error::Client(error.into()))?, trace: None })
    }

    /// Tells `log` about every request from now on.
    pub(super) fn trace(&mut self, log: &Log) {
        self.trace = Some(log.clone());
    }

    /// Sends `ask` and reads the whole answer, whatever its status.
    pub(super) async fn send(&self, ask: Ask) -> Result<Answer, Error> {
        let answer = self.exchange(ask).await;
        if let Some(log) = &self.trace {
            match &answer {
                Ok(Answer { method, asked, status, .. }) => {
                    log.line(format_args!("{method} {}: {status}", redacted(asked)));
                }
                Err(error) => log.line(error),
            }
        }
        answer
    }

    async fn exchange(&self, ask: Ask) -> Result<Answer, Error> {
        let (method, asked) = (ask.method.clone(), ask.url.clone());
        let failed = |error| unreachable(&method, &asked, error);
        let mut request = self.client.request(ask.method, ask.url);
        if let Some(accept) = ask.accept {
            request = request.header(ACCEPT, accept);
        }
        if let Some(authorization) = ask.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let mut response = request.send().await.map_err(failed)?;
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

fn unreachable(method: &Method, url: &Url, error: reqwest::Error) -> Error {
    let (trouble, text) = diagnose(&error.without_url());
    Error::Unreachable { method: method.to_string(), url: redacted(url), trouble, text }
}

/// Finds the cause in the layers of an HTTP error.
fn diagnose(error: &reqwest::Error) -> (Trouble, String) {
    if error.is_timeout() {
        return (Trouble::Timeout, Trouble::Timeout.to_string());
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

fn known(layer: &(dyn StdError + 'static)) -> Option<(Trouble, String)> {
    let io = layer.downcast_ref::<io::Error>();
    let tls = layer.downcast_ref::<rustls::Error>().or_else(|| io.and_then(hidden));
    if let Some(error) = tls {
        let trouble = match error {
            rustls::Error::InvalidCertificate(_) => Trouble::Certificate,
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
    fn addresses_are_shown_without_secrets() {
        let url =
            Url::parse("https://bob:canary@auth.example.com/token?account=bob&code=canary#canary").unwrap();
        assert_eq!(redacted(&url), "https://auth.example.com/token");
    }
}
