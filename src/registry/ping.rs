//! The first request to a registry: `GET /v2/` finds the scheme it speaks and what it wants to see.

use std::time::Duration;

use reqwest::header::WWW_AUTHENTICATE;
use reqwest::{StatusCode, Url};

use super::challenge::{self, Challenge};
use super::client::refusal;
use super::reference::Schemes;
use super::transport::{Answer, Ask, Transport};
use super::{Error, Repository};

/// Where https and http are both allowed, http starts after this long without an answer: a firewall
/// that swallows port 443 must not cost a connect timeout on every check.
const HEAD_START: Duration = Duration::from_millis(300);

/// What the ping found.
pub(super) struct Found {
    /// Scheme and host for all further requests.
    pub(super) base: Url,
    /// What the registry wants to see; empty when it wants nothing.
    pub(super) challenges: Vec<Challenge>,
}

/// Asks the repository's host, https first.
pub(super) async fn ping(
    transport: &Transport,
    repository: &Repository,
    schemes: Schemes,
    secrets: &[String],
) -> Result<Found, Error> {
    let secure = one(transport, repository, "https", secrets);
    match schemes {
        Schemes::Secure => secure.await,
        Schemes::SecureThenPlain => {
            let plain = one(transport, repository, "http", secrets);
            tokio::pin!(secure);
            tokio::select! {
                biased;
                answer = &mut secure => match answer {
                    Err(error) if is_connection(&error) => instead(error, plain.await),
                    answer => answer,
                },
                () = tokio::time::sleep(HEAD_START) => race(secure, plain).await,
            }
        }
    }
}

/// Takes the first that works; when none does, https has the word.
async fn race(
    secure: impl Future<Output = Result<Found, Error>> + Unpin,
    plain: impl Future<Output = Result<Found, Error>>,
) -> Result<Found, Error> {
    let mut secure = secure;
    tokio::pin!(plain);
    tokio::select! {
        biased;
        answer = &mut secure => match answer {
            Err(error) if is_connection(&error) => instead(error, plain.await),
            answer => answer,
        },
        answer = &mut plain => match answer {
            Ok(found) => Ok(found),
            Err(_) => secure.await,
        },
    }
}

/// Chooses between the two failures: the registry's own words are worth more than a handshake that
/// failed, and where there is no TLS at all, what went wrong on http is what went wrong.
fn instead(secure: Error, plain: Result<Found, Error>) -> Result<Found, Error> {
    match (secure, plain) {
        (_, Ok(found)) => Ok(found),
        (secure @ Error::Unreachable { trouble, .. }, Err(_)) if trouble.is_certificate() => Err(secure),
        (Error::Unreachable { trouble: super::Trouble::NoTls, .. }, Err(plain)) => Err(plain),
        (_, Err(plain @ Error::Answered { .. })) => Err(plain),
        (secure, Err(_)) => Err(secure),
    }
}

fn is_connection(error: &Error) -> bool {
    matches!(error, Error::Unreachable { .. })
}

async fn one(
    transport: &Transport,
    repository: &Repository,
    scheme: &str,
    secrets: &[String],
) -> Result<Found, Error> {
    let base = format!("{scheme}://{}/", repository.host());
    let malformed = || Error::Repository {
        repository: repository.given().to_owned(),
        reason: format!("`{}` is not a host", repository.host()),
    };
    let base = Url::parse(&base).map_err(|_| malformed())?;
    let asked = base.join("v2/").map_err(|_| malformed())?;
    let answer = transport.send(Ask::get(asked)).await?;
    match answer.status {
        StatusCode::OK | StatusCode::UNAUTHORIZED => Ok(found(base, &answer)),
        _ => Err(refusal(&answer, secrets)),
    }
}

fn found(mut base: Url, answer: &Answer) -> Found {
    // A server on port 80 that only redirects to https means https.
    if answer.url.scheme() == "https" && answer.url.host_str() == base.host_str() {
        base = answer.url.join("/").unwrap_or(base);
    }
    let challenges = if answer.status == StatusCode::UNAUTHORIZED { challenges(answer) } else { Vec::new() };
    Found { base, challenges }
}

/// Returns the challenges of a 401.
pub(super) fn challenges(answer: &Answer) -> Vec<Challenge> {
    let headers = answer.headers.get_all(WWW_AUTHENTICATE);
    headers.iter().filter_map(|value| value.to_str().ok()).flat_map(challenge::parse).collect()
}
