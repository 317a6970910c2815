//! What can go wrong between us and a registry, and what the reader can do about it.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use super::retry::Setback;
use crate::failure::Explain;
use crate::image::Digest;

/// A failure of the registry client. URLs in it have neither credentials nor a query.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name of the repository is none.
    #[error("`{repository}` is not a repository: {reason}")]
    Repository {
        /// What was given.
        repository: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Neither a tag nor a digest.
    #[error("`{reference}` is neither a tag nor a digest")]
    Reference {
        /// What was given.
        reference: String,
    },
    /// A certificate of `ca_certs` cannot be used.
    #[error("`ca_certs[{position}]` {reason}")]
    Certificate {
        /// Which one, counted from 0.
        position: usize,
        /// Why not.
        reason: String,
    },
    /// A key whose value cannot be used.
    #[error("`{key}` {reason}")]
    Key {
        /// The key, or the variable.
        key: String,
        /// Why not, without its value where that is a secret.
        reason: String,
    },
    /// Two keys that say different things.
    #[error("`{one}` and `{other}` are both set, and only one of them can count")]
    Exclusive {
        /// The first key.
        one: &'static str,
        /// The second key.
        other: &'static str,
    },
    /// A key that needs another one.
    #[error("`{given}` is set without `{missing}`")]
    Half {
        /// What is there.
        given: &'static str,
        /// What is not.
        missing: &'static str,
    },
    /// A docker config.json that does not speak of the registry.
    #[error("`docker_config` has no credentials for `{host}`")]
    NoAuth {
        /// The registry.
        host: String,
        /// What it has credentials for.
        known: Vec<String>,
    },
    /// A cloud that did not let us in.
    #[error("failed to log in to {provider}")]
    Login {
        /// The cloud's registry.
        provider: &'static str,
        /// Why not.
        #[source]
        source: Box<Error>,
    },
    /// A cloud that gives nothing.
    #[error("{0}")]
    NoGrant(String),
    /// The HTTP client could not be made.
    #[error("failed to prepare the HTTP client")]
    Client(#[source] Box<dyn StdError + Send + Sync>),
    /// No answer came.
    #[error("{method} {url}: {text}")]
    Unreachable {
        /// The method of the request.
        method: String,
        /// The redacted address.
        url: String,
        /// The kind of trouble.
        trouble: Trouble,
        /// The trouble in the words of whoever saw it.
        text: String,
    },
    /// An answer came, and it was no.
    #[error("{method} {url}: {status}{detail}")]
    Answered {
        /// The method of the request.
        method: String,
        /// The redacted address.
        url: String,
        /// The status code.
        status: u16,
        /// The registry's error code and message, or the status in words.
        detail: String,
        /// What `Retry-After` asked for.
        retry_after: Option<Duration>,
    },
    /// An answer came that makes no sense.
    #[error("{method} {url}: {problem}")]
    Malformed {
        /// The method of the request.
        method: String,
        /// The redacted address.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The content is not what its name says.
    #[error("{method} {url}: the registry answers with the digest `{found}` instead of `{wanted}`")]
    Mismatch {
        /// The method of the request.
        method: String,
        /// The redacted address.
        url: String,
        /// What was asked for.
        wanted: Digest,
        /// What came.
        found: Digest,
    },
    /// A manifest names something that the registry does not have.
    #[error("the registry does not have `{digest}`, which the image consists of")]
    NoBlob {
        /// What is missing.
        digest: Digest,
    },
    /// What was downloaded could not be kept.
    #[error("failed to store `{digest}`")]
    Store {
        /// What was downloaded.
        digest: Digest,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The bytes of a blob to be pushed could not be read.
    #[error("failed to read the bytes of `{digest}`")]
    Supply {
        /// Which one.
        digest: Digest,
        /// Why.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The bytes of a blob to be pushed are not the right ones.
    #[error("the bytes of `{digest}` are not what it names")]
    Altered {
        /// Which one.
        digest: Digest,
    },
    /// The registry sends its clients somewhere they should not go.
    #[error("the registry asks for a token from `{realm}`, {problem}")]
    Realm {
        /// The redacted address of the token server.
        realm: String,
        /// Why it is not asked.
        problem: String,
    },
    /// The time for retries is over.
    #[error("gave up after {attempts} attempts in {:.1} s", took.as_secs_f64())]
    GaveUp {
        /// How many requests were made.
        attempts: u32,
        /// How long it took.
        took: Duration,
        /// What the last one met.
        #[source]
        last: Box<Error>,
    },
    /// The registry wants us to stay away for longer than we may wait.
    #[error("the registry asks to wait {seconds} s, which is longer than a step should take")]
    Throttled {
        /// How long it asked for.
        seconds: u64,
        /// The answer that said so.
        #[source]
        last: Box<Error>,
    },
}

/// What kept an answer from coming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nobody listens there.
    Refused,
    /// The name has no address.
    Name,
    /// Nobody who is trusted vouches for the server's certificate.
    Certificate,
    /// The server's certificate is not valid any more, or not yet.
    CertificateTime,
    /// The server's certificate is for another name.
    CertificateName,
    /// The server does not speak TLS.
    NoTls,
    /// TLS failed otherwise.
    Tls,
    /// No answer in time.
    Timeout,
    /// The connection ended early.
    Broken,
    /// Something else.
    Other,
}

impl Error {
    pub(super) fn key(key: &str, reason: &str) -> Self {
        Self::Key { key: key.to_owned(), reason: reason.to_owned() }
    }

    /// Says that it happened while logging in to a cloud.
    pub(super) fn at(self, provider: &'static str) -> Self {
        Self::Login { provider, source: Box::new(self) }
    }

    /// Returns what this failure means for a retry; `None` when trying again cannot help.
    pub(super) fn setback(&self) -> Option<Setback> {
        // A refused connection or an unknown name is far more often a mistake in the pipeline than
        // a restart of the registry, so it is reported within a second or two.
        let few = Setback { at_most: Some(2), ..Setback::default() };
        match self {
            Self::Unreachable { trouble, .. } => match trouble {
                Trouble::Timeout | Trouble::Broken => Some(Setback::default()),
                Trouble::Refused | Trouble::Name => Some(few),
                Trouble::Certificate
                | Trouble::CertificateTime
                | Trouble::CertificateName
                | Trouble::NoTls
                | Trouble::Tls
                | Trouble::Other => None,
            },
            Self::Answered { status: status @ (408 | 429 | 500 | 502 | 503 | 504), retry_after, .. } => {
                let is_throttling = *status == 429 || retry_after.is_some();
                Some(Setback { asked: *retry_after, is_throttling, at_most: None })
            }
            Self::Login { source, .. } => source.setback(),
            _ => None,
        }
    }

    /// Returns whether the registry let us in nowhere: it may still have what was asked for.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Answered { status: 401 | 403, .. })
    }

    /// Returns whether the registry answered, and the answer says nothing about other tags or digests
    /// than the one that was asked about.
    #[must_use]
    pub fn is_of_one(&self) -> bool {
        match self {
            Self::Answered { status, .. } => !matches!(status, 401 | 403 | 429),
            Self::Malformed { .. } | Self::Mismatch { .. } => true,
            Self::GaveUp { last, .. } => last.is_of_one(),
            _ => false,
        }
    }

    /// Returns whether the registry understood and said no.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Answered { status: 400 | 403 | 405 | 409 | 412 | 422, .. })
    }

    /// Returns whether the registry said that there were too many requests.
    pub(super) fn is_throttling(&self) -> bool {
        matches!(self, Self::Answered { status: 429, .. })
    }
}

impl Explain for Error {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Repository { .. } => "write it as `host/path`, for example `registry.example.com/team/app`",
            Self::Reference { .. } => "a tag has at most 128 letters, digits, `_`, `.` and `-`",
            Self::Certificate { .. } => {
                "each element is one PEM text, from `-----BEGIN CERTIFICATE-----` to `-----END CERTIFICATE-----`"
            }
            Self::Unreachable { trouble, .. } => return trouble.hint().map(str::to_owned),
            Self::Answered { status: 401, .. } => {
                "check `username` and `password`, and the name of the repository"
            }
            Self::Answered { status: 403, .. } => {
                "these credentials may not pull from this repository; check `repository` and the account's rights"
            }
            Self::Answered { status: 404, .. } => {
                "check the host in `repository`: this does not look like a registry"
            }
            Self::Answered { status: 429, .. } | Self::Throttled { .. } => {
                "log in with `username` and `password`, or check less often with `check_every`"
            }
            Self::NoAuth { known, .. } if known.is_empty() => "its `auths` is empty",
            Self::NoAuth { known, .. } => return Some(format!("its `auths` has {}", known.join(", "))),
            Self::Login { provider, source } => return login_hint(provider, source),
            Self::Key { key, .. } if key == "client_cert" || key == "client_key" => {
                "both are PEM texts; the key is not encrypted and belongs to the certificate"
            }
            Self::NoBlob { .. } => "it was deleted there, or its push never ended: push the image again",
            Self::Store { source, .. } => return crate::failure::storage_hint(source),
            Self::GaveUp { last, .. } => return last.hint(),
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// A cloud says no in its own words; what can be done about it is among the cloud's keys.
fn login_hint(provider: &str, source: &Error) -> Option<String> {
    let keys = match provider {
        "Amazon ECR" => "`aws_access_key_id` and its secret, `aws_region`, and the roles in `aws_role_arns`",
        "Azure Container Registry" => {
            "`azure_client_id`, `azure_tenant_id`, and the role `AcrPull` of the identity"
        }
        _ => "`gcp_json_key`, and the rights of the service account",
    };
    match source {
        Error::Unreachable { trouble: Trouble::CertificateName, .. } => {
            Some("check the proxy variables: this is another server's certificate".to_owned())
        }
        Error::Unreachable { trouble, .. } if trouble.is_certificate() => trouble.hint().map(str::to_owned),
        Error::Unreachable { .. } => {
            Some("check the proxy variables, and the way out of the worker".to_owned())
        }
        Error::Key { .. } => None,
        _ => Some(format!("check {keys}")),
    }
}

impl Trouble {
    /// Returns whether it is the server's certificate.
    pub(super) fn is_certificate(self) -> bool {
        matches!(self, Self::Certificate | Self::CertificateTime | Self::CertificateName)
    }

    fn hint(self) -> Option<&'static str> {
        match self {
            Self::Refused | Self::Timeout => {
                Some("check the host and the port in `repository`, and the proxy variables")
            }
            Self::Name => Some("check the host in `repository`"),
            Self::Certificate => Some(
                "give the certificate of the registry's CA in `ca_certs`, or mount the system's into the worker",
            ),
            Self::CertificateTime => Some("renew the server's certificate, or set the clock of the worker"),
            Self::CertificateName => Some(
                "write the host in `repository` as the certificate has it, or add that name to the certificate",
            ),
            Self::NoTls | Self::Tls => Some("if the registry speaks plain http, set `insecure: true`"),
            Self::Broken | Self::Other => None,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Refused => "connection refused",
            Self::Name => "the host is not known",
            Self::Certificate => "the certificate was not accepted",
            Self::CertificateTime => "the certificate is not valid at this time",
            Self::CertificateName => "the certificate is for another name",
            Self::NoTls => "the server does not speak TLS",
            Self::Tls => "TLS failed",
            Self::Timeout => "no answer in time",
            Self::Broken => "the connection ended early",
            Self::Other => "the request failed",
        })
    }
}
