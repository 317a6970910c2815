//! Logging in: from a challenge to the value of an `Authorization` header.
//!
//! Credentials go to a registry that asked for them (Basic) or to the token server that it names
//! (Bearer), and to nobody else. A registry that never challenges never sees them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::HeaderValue;
use serde::Deserialize;

use super::challenge::Challenge;
use super::client::refusal;
use super::reference::is_private;
use super::transport::{Ask, Transport, redacted};
use super::{Access, Error, Repository};

/// What a token server answers.
#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// Answers the challenges of a registry. `None` means to go on without a login.
pub(super) async fn authorize(
    transport: &Transport,
    repository: &Repository,
    access: &Access,
    challenges: &[Challenge],
) -> Result<Option<HeaderValue>, Error> {
    let bearer = challenges.iter().find_map(|challenge| match challenge {
        Challenge::Bearer { realm, service, scope } => Some((realm, service.as_deref(), scope.as_deref())),
        Challenge::Basic => None,
    });
    if let Some((realm, service, scope)) = bearer {
        let url = token_url(realm, repository, service, scope)?;
        return token(transport, access, url).await.map(Some);
    }
    let credentials = if challenges.contains(&Challenge::Basic) { access.credentials() } else { None };
    Ok(credentials.map(|(username, password)| basic(username, password)))
}

fn basic(username: &str, password: &str) -> HeaderValue {
    secret(&format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
        .expect("base64 is made of characters that a header may have")
}

fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

async fn token(transport: &Transport, access: &Access, url: Url) -> Result<HeaderValue, Error> {
    let authorization = access.credentials().map(|(username, password)| basic(username, password));
    let answer = transport.send(Ask { authorization, ..Ask::get(url) }).await?;
    if !answer.status.is_success() {
        return Err(refusal(&answer, &secrets(access)));
    }
    let malformed = |problem: &str| Error::Malformed {
        method: answer.method.to_string(),
        url: redacted(&answer.asked),
        problem: problem.to_owned(),
    };
    let token: Token = serde_json::from_slice(&answer.body)
        .map_err(|_| malformed("the token server's answer is not JSON"))?;
    let text = token.token.or(token.access_token).filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| malformed("the token server's answer has no token"))?;
    secret(&format!("Bearer {text}")).ok_or_else(|| malformed("the token cannot be sent in a header"))
}

/// Returns what must not be in any message.
pub(super) fn secrets(access: &Access) -> Vec<String> {
    let credentials = access.credentials().map(|(username, password)| {
        vec![password.to_owned(), STANDARD.encode(format!("{username}:{password}"))]
    });
    credentials.unwrap_or_default()
}

/// Returns the secret part of an `Authorization` header.
pub(super) fn sent(header: &HeaderValue) -> Option<String> {
    header.to_str().ok()?.split_once(' ').map(|(_, secret)| secret.to_owned())
}

/// Builds the token request: the scope that is needed here, and the ones that the challenge adds.
fn token_url(
    realm: &str,
    repository: &Repository,
    service: Option<&str>,
    scope: Option<&str>,
) -> Result<Url, Error> {
    let refused = |realm: String, problem: &str| Error::Realm { realm, problem: problem.to_owned() };
    let mut url = Url::parse(realm).map_err(|_| refused("…".to_owned(), "which is not an address"))?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err(refused(redacted(&url), "which is neither https nor http"));
    }
    if is_private_literal(&url) && url.host_str() != host_name(repository).as_deref() {
        return Err(refused(redacted(&url), "which is a private address and not the registry's own"));
    }
    let mut scopes = BTreeSet::from([format!("repository:{}:pull", repository.path())]);
    scopes.extend(scope.unwrap_or_default().split_whitespace().map(str::to_owned));
    let mut query = url.query_pairs_mut();
    query.extend_pairs(scopes.iter().map(|scope| ("scope", scope)));
    query.extend_pairs(service.map(|service| ("service", service)));
    drop(query);
    Ok(url)
}

/// Only literal addresses are looked at: a name is resolved where the request is made.
fn is_private_literal(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let is_inner = |address: IpAddr| match address {
        // Link-local is where clouds keep their metadata servers.
        IpAddr::V4(v4) => is_private(address) || v4.is_link_local() || v4.is_unspecified(),
        IpAddr::V6(v6) => is_private(address) || v6.is_unicast_link_local() || v6.is_unique_local(),
    };
    host == "localhost" || host.parse().is_ok_and(is_inner)
}

fn host_name(repository: &Repository) -> Option<String> {
    let url = Url::parse(&format!("https://{}/", repository.host())).ok()?;
    url.host_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(repository: &str, realm: &str, scope: Option<&str>) -> Result<String, String> {
        let repository = Repository::parse(repository).unwrap();
        let url = token_url(realm, &repository, Some("reg"), scope);
        url.map(|url| url.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn token_is_asked_for_what_is_needed_and_what_is_demanded() {
        assert_eq!(
            url("ghcr.io/a/b", "https://ghcr.io/token?x=1", Some("repository:a/b:pull registry:catalog:*"))
                .unwrap(),
            "https://ghcr.io/token?x=1&scope=registry%3Acatalog%3A*&scope=repository%3Aa%2Fb%3Apull&service=reg"
        );
    }

    #[test]
    fn token_server_on_a_private_address_is_refused() {
        for realm in ["http://169.254.169.254.nip.io", "https://auth.docker.io/token"] {
            assert!(url("ghcr.io/a", realm, None).is_ok(), "{realm}");
        }
        for realm in [
            "http://10.0.0.1/",
            "http://127.0.0.1:80/",
            "http://[::1]/",
            "https://169.254.169.254/t",
            "ftp://x/",
            "x",
        ] {
            assert!(url("ghcr.io/a", realm, None).is_err(), "{realm}");
        }
    }

    #[test]
    fn registrys_own_private_address_is_fine() {
        assert!(url("10.0.0.1:5000/a", "https://10.0.0.1:5001/token", None).is_ok());
        assert!(url("10.0.0.1:5000/a", "https://10.0.0.2:5001/token", None).is_err());
    }
}
