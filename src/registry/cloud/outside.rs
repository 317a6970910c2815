//! HTTP to the clouds and to the metadata servers of their machines. Nothing of the registry's own
//! trust is shared with them but `ca_certs`: no client certificate, and no certificate that is
//! accepted unseen. Redirects are not followed, because every request has a secret in it.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, StatusCode, Url, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::registry::transport::{FORM, form, redacted, unreachable};
use crate::registry::{Error, trust};

/// What a cloud's API may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a metadata server may take: it is on the machine, or it is not there at all.
const NEAR_PATIENCE: Duration = Duration::from_secs(5);

/// How long a machine without a metadata server is waited for.
const NEAR_CONNECT: Duration = Duration::from_secs(1);

/// Tokens and credentials are a few thousand bytes.
const LIMIT: usize = 256 << 10;

/// Where a question goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// To an API, through a proxy if there is one.
    Far,
    /// To the machine's own metadata, past any proxy.
    Machine,
}

/// One request.
pub(super) struct Question {
    reach: Reach,
    method: Method,
    url: Url,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Option<String>,
    secrets: Vec<SecretString>,
}

impl Question {
    /// Returns the question for `url`, which is one of ours or of an SDK's own variable.
    pub(super) fn get(reach: Reach, url: &str) -> Result<Self, Error> {
        let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| Error::key("endpoint", "of the cloud is not an address"))?;
        Ok(Self { reach, method: Method::GET, url, headers: Vec::new(), body: None, secrets: Vec::new() })
    }

    /// Makes it a POST of `body`.
    pub(super) fn post(mut self, body: String) -> Self {
        self.method = Method::POST;
        self.body = Some(body);
        self
    }

    /// Makes it a POST of a form.
    pub(super) fn post_form(self, fields: &[(&str, &str)]) -> Self {
        self.post(form(fields)).header("content-type", FORM)
    }

    /// Makes it a PUT.
    pub(super) fn put(mut self) -> Self {
        self.method = Method::PUT;
        self.body = Some(String::new());
        self
    }

    /// Adds to the query.
    pub(super) fn query(mut self, name: &str, value: &str) -> Self {
        self.url.query_pairs_mut().append_pair(name, value);
        self
    }

    /// Adds a header. One whose value cannot be sent is left out; the server then says what it misses.
    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(true);
            self.headers.push((HeaderName::from_static(name), value));
        }
        self
    }

    /// Names what no message may repeat.
    pub(super) fn secret(mut self, secret: &SecretString) -> Self {
        self.secrets.push(secret.clone());
        self
    }

    /// Returns the host as the request will have it.
    pub(super) fn host(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }
}

/// The way to the clouds.
pub(in crate::registry) struct Outside {
    ca_certs: Vec<String>,
    far: OnceLock<reqwest::Client>,
    machine: OnceLock<reqwest::Client>,
}

impl Outside {
    /// Returns a way that trusts the system's certificates and these.
    pub(in crate::registry) fn trusting(ca_certs: &[String]) -> Self {
        Self { ca_certs: ca_certs.to_vec(), far: OnceLock::new(), machine: OnceLock::new() }
    }

    /// Asks, and returns the body of a success.
    pub(super) async fn ask(&self, question: Question) -> Result<Vec<u8>, Error> {
        let Question { reach, method, url, headers, body, secrets } = question;
        let mut request = self.client(reach)?.request(method.clone(), url.clone());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let failed = |error| unreachable(&method, &url, error);
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        let mut content = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if content.len() + chunk.len() > LIMIT {
                return Err(malformed(&method, &url, "the answer is too long"));
            }
            content.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(content);
        }
        Err(Error::Answered {
            method: method.to_string(),
            url: redacted(&url),
            status: status.as_u16(),
            detail: detail(status, &content, &secrets),
            retry_after: None,
        })
    }

    /// Asks for JSON.
    pub(super) async fn json<T: for<'de> Deserialize<'de>>(&self, question: Question) -> Result<T, Error> {
        let (method, url) = (question.method.clone(), question.url.clone());
        let body = self.ask(question).await?;
        serde_json::from_slice(&body)
            .map_err(|_| malformed(&method, &url, "the answer is not what was asked for"))
    }

    fn client(&self, reach: Reach) -> Result<&reqwest::Client, Error> {
        let slot = match reach {
            Reach::Far => &self.far,
            Reach::Machine => &self.machine,
        };
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        let builder = reqwest::Client::builder()
            .user_agent(concat!("rollway/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .tls_backend_preconfigured(trust::trusting(&self.ca_certs)?);
        let builder = match reach {
            Reach::Far => builder.timeout(PATIENCE),
            Reach::Machine => builder.timeout(NEAR_PATIENCE).connect_timeout(NEAR_CONNECT).no_proxy(),
        };
        let client = builder.build().map_err(|error| Error::Client(error.into()))?;
        Ok(slot.get_or_init(|| client))
    }
}

pub(super) fn malformed(method: &Method, url: &Url, problem: &str) -> Error {
    Error::Malformed { method: method.to_string(), url: redacted(url), problem: problem.to_owned() }
}

/// Finds the cloud's own words: each of them has its own form for an error.
fn detail(status: StatusCode, body: &[u8], secrets: &[SecretString]) -> String {
    #[derive(Deserialize)]
    #[serde(default)]
    #[derive(Default)]
    struct Words {
        #[serde(rename = "__type")]
        kind: String,
        #[serde(alias = "Message")]
        message: String,
        error: serde_json::Value,
        error_description: String,
    }

    let text = String::from_utf8_lossy(body);
    let words: Words = serde_json::from_slice(body).unwrap_or_default();
    let kind = words.kind.rsplit('#').next().unwrap_or_default();
    let pairs = [
        (kind, words.message.as_str()),
        (words.error.as_str().unwrap_or_default(), words.error_description.as_str()),
        (element(&text, "Code").unwrap_or_default(), element(&text, "Message").unwrap_or_default()),
    ];
    let found = pairs.into_iter().find(|(code, message)| !code.is_empty() || !message.is_empty());
    let said = match found {
        Some((code, "")) => format!(" {code}"),
        Some((code, message)) => format!(" {code}: {}", message.lines().next().unwrap_or_default()),
        None => format!(" {}", status.canonical_reason().unwrap_or("unknown status")),
    };
    let mut hidden: Vec<&str> = secrets.iter().map(ExposeSecret::expose_secret).collect();
    hidden.retain(|secret| !secret.is_empty());
    let said = hidden.into_iter().fold(said, |said, secret| said.replace(secret, "***"));
    said.chars().filter(|character| !character.is_control()).take(300).collect()
}

/// Returns the text of the first XML element of this name.
pub(super) fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clouds_words_are_found_in_each_of_their_forms() {
        for (body, wanted) in [
            (
                r#"{"__type": "com.amazon.x#AccessDeniedException", "Message": "no"}"#,
                " AccessDeniedException: no",
            ),
            (r#"{"__type": "ExpiredTokenException", "message": "old"}"#, " ExpiredTokenException: old"),
            (
                "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not you</Message></Error></ErrorResponse>",
                " AccessDenied: not you",
            ),
            (
                "{\"error\": \"invalid_client\", \"error_description\": \"AADSTS7000\\r\\nTrace ID: 1\"}",
                " invalid_client: AADSTS7000",
            ),
            (r#"{"error": "invalid_grant"}"#, " invalid_grant"),
            (r#"{"error": {"code": 403}}"#, " Forbidden"),
            ("<html>", " Forbidden"),
        ] {
            assert_eq!(detail(StatusCode::FORBIDDEN, body.as_bytes(), &[]), wanted, "{body}");
        }
    }

    #[test]
    fn words_have_no_secret_and_no_control_character() {
        let body = "{\"__type\": \"X\", \"message\": \"sent canary\\u001b[31m\"}";
        let said = detail(StatusCode::FORBIDDEN, body.as_bytes(), &[SecretString::from("canary")]);
        assert_eq!(said, " X: sent ***[31m");
    }
}
