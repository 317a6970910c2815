//! Token servers: which of them may be asked, how they are asked, and what they answer.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::{StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::time::Instant;

use super::{Door, Pass, bearer, malformed};
use crate::registry::reference::is_private;
use crate::registry::transport::{Answer, Ask, redacted};
use crate::registry::{Error, Repository};

/// How long a token lasts that does not say so itself, as the distribution API has it.
const USUAL_LIFE: u64 = 60;

/// Who we say we are where a name is asked for.
const CLIENT_ID: &str = "rollway";

/// What a token server answers.
#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
    #[serde(default)]
    refresh_token: Option<String>,
}

/// A token server that may be asked.
pub(super) struct Server<'a> {
    pub(super) door: &'a Door<'a>,
    url: Url,
    service: Option<&'a str>,
}

impl<'a> Server<'a> {
    /// Returns the server that a challenge names, unless it is one that no registry should send us to.
    pub(super) fn of(
        door: &'a Door<'a>,
        realm: &str,
        service: Option<&'a str>,
        is_insecure: bool,
    ) -> Result<Self, Error> {
        let plain = if is_insecure { Plain::Allowed } else { Plain::Refused };
        let url = address(realm, door.repository, door.base, plain)?;
        Ok(Self { door, url, service })
    }

    /// Asks for a token with or without a user name and a password. A refusal is returned as it came.
    pub(super) async fn fetched(
        &self,
        authorization: Option<HeaderValue>,
    ) -> Result<Result<Pass, Answer>, Error> {
        let mut url = self.url.clone();
        let scopes = self.door.scopes.iter().map(|scope| ("scope", scope.as_str()));
        url.query_pairs_mut()
            .extend_pairs(scopes)
            .extend_pairs(self.service.map(|service| ("service", service)));
        let answer = self.door.transport.unlimited(Ask { authorization, ..Ask::get(url) }).await?;
        self.read(answer, None)
    }

    /// Asks for a token with one that lasts longer. A refusal is returned as it came.
    pub(super) async fn refreshed(&self, token: &SecretString) -> Result<Result<Pass, Answer>, Error> {
        let mut form = vec![
            ("grant_type", "refresh_token".to_owned()),
            ("client_id", CLIENT_ID.to_owned()),
            ("scope", self.door.scopes.join(" ")),
            ("refresh_token", token.expose_secret().to_owned()),
        ];
        form.extend(self.service.map(|service| ("service", service.to_owned())));
        let answer = self.door.transport.form(self.url.clone(), &form).await?;
        self.read(answer, Some(token))
    }

    fn read(&self, answer: Answer, used: Option<&SecretString>) -> Result<Result<Pass, Answer>, Error> {
        if !answer.status.is_success() {
            // What may pass is for the request loop, whoever asked.
            return Ok(Err(answer));
        }
        let bad = |problem: &str| malformed(answer.method.as_str(), &answer.asked, problem);
        let token: Token =
            serde_json::from_slice(&answer.body).map_err(|_| bad("the token server's answer is not JSON"))?;
        let text = token.token.or(token.access_token).filter(|text| !text.is_empty());
        let text = text.ok_or_else(|| bad("the token server's answer has no token"))?;
        let authorization = bearer(&text).ok_or_else(|| bad("the token cannot be sent in a header"))?;
        let refresh = token.refresh_token.filter(|text| !text.is_empty()).map(SecretString::from);
        Ok(Ok(Pass {
            authorization: Some(authorization),
            until: Some(Instant::now() + useful(token.expires_in)),
            refresh: refresh.or_else(|| used.cloned()),
        }))
    }
}

/// Returns whether a server that answers so has never heard of refresh tokens.
pub(super) fn knows_no_post(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED)
}

/// Returns how long a token is used: it must not end on the way to the registry.
fn useful(expires_in: Option<u64>) -> Duration {
    let life = Duration::from_secs(expires_in.filter(|life| *life > 0).unwrap_or(USUAL_LIFE).min(86_400));
    life - (life / 10).min(Duration::from_secs(30))
}

/// Whether a token server may be asked without TLS although the registry has it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plain {
    Allowed,
    Refused,
}

/// Reads the address of a token server.
fn address(realm: &str, repository: &Repository, base: &Url, plain: Plain) -> Result<Url, Error> {
    let refused = |realm: String, problem: &str| Error::Realm { realm, problem: problem.to_owned() };
    let mut url = Url::parse(realm).map_err(|_| refused("…".to_owned(), "which is not an address"))?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err(refused(redacted(&url), "which is neither https nor http"));
    }
    if is_private_literal(&url) && url.host_str() != host_name(repository).as_deref() {
        return Err(refused(redacted(&url), "which is a private address and not the registry's own"));
    }
    if base.scheme() == "https" && url.scheme() == "http" && plain == Plain::Refused {
        // A registry behind a proxy may not know that it is spoken to with TLS.
        let is_own = url.host_str() == base.host_str() && matches!(url.port(), None | Some(443));
        if !is_own || url.set_scheme("https").is_err() {
            return Err(refused(redacted(&url), "which is not encrypted, while the registry is"));
        }
    }
    Ok(url)
}

/// Only literal addresses are looked at: a name is resolved where the request is made.
fn is_private_literal(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let is_inner = |address: IpAddr| match address {
        // Link-local is where clouds keep their metadata servers.
        IpAddr::V4(v4) => is_private(address) || v4.is_link_local() || v4.is_unspecified(),
        IpAddr::V6(v6) => {
            let mapped = v6.to_ipv4_mapped().is_some_and(|v4| is_private(v4.into()) || v4.is_link_local());
            is_private(address)
                || mapped
                || v6.is_unicast_link_local()
                || v6.is_unique_local()
                || v6.is_unspecified()
        }
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

    fn asked(repository: &str, realm: &str) -> Result<String, String> {
        let repository = Repository::parse(repository).unwrap();
        let base = Url::parse(&format!("https://{}/", repository.host())).unwrap();
        let url = address(realm, &repository, &base, Plain::Refused);
        url.map(|url| url.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn token_server_on_a_private_address_is_refused() {
        for realm in ["https://169.254.169.254.nip.io", "https://auth.docker.io/token?x=1"] {
            assert!(asked("ghcr.io/a", realm).is_ok(), "{realm}");
        }
        for realm in [
            "https://10.0.0.1/",
            "https://127.0.0.1:80/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://[::]/",
            "https://169.254.169.254/t",
            "https://0.0.0.0/",
            "https://localhost/",
            "ftp://x/",
            "x",
            "",
        ] {
            assert!(asked("ghcr.io/a", realm).is_err(), "{realm}");
        }
    }

    #[test]
    fn registrys_own_private_address_is_fine() {
        assert!(asked("10.0.0.1:5000/a", "https://10.0.0.1:5001/token").is_ok());
        assert!(asked("10.0.0.1:5000/a", "https://10.0.0.2:5001/token").is_err());
    }

    #[test]
    fn password_for_an_encrypted_registry_is_never_sent_in_the_clear() {
        assert_eq!(asked("x.io/a", "http://x.io/token").unwrap(), "https://x.io/token");
        for realm in ["http://auth.x.io/token", "http://x.io:8080/token"] {
            assert!(asked("x.io/a", realm).unwrap_err().contains("not encrypted"), "{realm}");
        }
        let repository = Repository::parse("x.io/a").unwrap();
        let secure = Url::parse("https://x.io/").unwrap();
        let plain = Url::parse("http://x.io/").unwrap();
        let realm = "http://auth.x.io/token";
        assert!(address(realm, &repository, &secure, Plain::Allowed).is_ok());
        assert!(address(realm, &repository, &plain, Plain::Refused).is_ok());
    }

    #[test]
    fn token_is_renewed_before_its_end() {
        for (expires_in, seconds) in [
            (None, 54),
            (Some(0), 54),
            (Some(60), 54),
            (Some(300), 270),
            (Some(3600), 3570),
            (Some(u64::MAX), 86_370),
        ] {
            assert_eq!(useful(expires_in).as_secs(), seconds, "{expires_in:?}");
        }
        assert!(useful(Some(1)) > Duration::ZERO);
    }
}
