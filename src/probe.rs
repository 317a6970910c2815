//! Questions asked of what is being rolled, over HTTP: does it answer ([`load`]), and what do its
//! metrics say ([`prometheus`]). Knows no cluster, no registry and nothing of rollouts; what follows
//! from the answers is decided elsewhere.

use std::fmt;
use std::time::Duration;

use reqwest::{ClientBuilder, Url, redirect, retry};

use crate::failure::Explain;
use crate::registry;

pub mod load;
pub mod prometheus;
pub mod tally;

/// How long one request may take before it counts as lost.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A question that could not be asked or was not answered. No URL in it has credentials or a query.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is none.
    #[error("`{url}` is not a URL: {reason}")]
    Url {
        /// What was given, as far as it may be shown.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Certificates or the client itself.
    #[error("failed to make an HTTP client: {0}")]
    Client(String),
    /// No answer.
    #[error("failed to get `{url}`: {kind}")]
    Unanswered {
        /// The address.
        url: String,
        /// What happened.
        kind: tally::Kind,
    },
    /// An answer that says no.
    #[error("failed to get `{url}`: {text}")]
    Refused {
        /// The address.
        url: String,
        /// The server's status and words.
        text: String,
    },
}

impl Explain for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Url { .. } => Some("write `http://…` or `https://…`".to_owned()),
            Self::Client(_) => None,
            Self::Unanswered { .. } => Some("it must be reachable from where this runs".to_owned()),
            Self::Refused { .. } => Some("try the same query in Prometheus itself".to_owned()),
        }
    }
}

/// Returns what every question has in common: our name, no redirect, no second try, the trust that
/// registries get too.
fn client(ca_certs: &[String]) -> Result<ClientBuilder, Error> {
    let tls = registry::trusting(ca_certs).map_err(|error| Error::Client(error.to_string()))?;
    Ok(reqwest::Client::builder()
        .user_agent(concat!("rollway/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .timeout(PATIENCE)
        .tls_backend_preconfigured(tls))
}

fn parse(text: &str) -> Result<Url, Error> {
    let wrong = |reason: String| Error::Url { url: shown(text), reason };
    let url = Url::parse(text).map_err(|error| wrong(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong(format!("`{}` is not `http` or `https`", url.scheme())));
    }
    Ok(url)
}

/// Returns the address without what may be secret in it: credentials, query, fragment.
#[must_use]
pub fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = path.find('/').map_or((path, ""), |slash| path.split_at(slash));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let scheme = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    format!("{scheme}{host}{path}")
}

/// Reads why there was no answer.
fn kind(error: &reqwest::Error) -> tally::Kind {
    if error.is_timeout() {
        tally::Kind::Timeout
    } else if error.is_connect() {
        tally::Kind::Connect
    } else {
        tally::Kind::Reset
    }
}

impl fmt::Display for tally::Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_without_secrets() {
        for (url, wanted) in [
            ("https://bob:canary@app.example.com/a?key=canary#canary", "https://app.example.com/a"),
            ("http://app", "http://app"),
            ("http://app?canary", "http://app"),
            ("bob:canary@app/a@b", "app/a@b"),
        ] {
            assert_eq!(shown(url), wanted, "{url}");
        }
    }

    #[test]
    fn only_http_is_asked() {
        for (url, part) in [("ftp://app/", "`ftp` is not"), ("app", "is not a URL"), ("", "is not a URL")] {
            assert!(parse(url).unwrap_err().to_string().contains(part), "{url}");
        }
        assert!(parse("http://127.0.0.1:1/x").is_ok());
    }
}
