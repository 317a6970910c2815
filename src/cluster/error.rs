//! What can go wrong on the way to a cluster, and in every call to it: the one place for the words.

use kube::core::Status;

use super::cause::{self, Cause};
use crate::failure::Explain;
use crate::log::one_line;

/// How many names of what there is are worth reading.
const NAMES_SHOWN: usize = 8;

/// A cluster that cannot be reached, or a call that it refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// None of the keys that describe a cluster is there, and no service account either.
    #[error(
        "nothing says which cluster: no `kubeconfig`, no `server`, and not in a pod with a service account"
    )]
    NoAccess,
    /// Two keys that mean different clusters.
    #[error("`{one}` and `{other}` are both set, and only one of them can say which cluster")]
    KeysExclude {
        /// The first key.
        one: &'static str,
        /// The second key.
        other: &'static str,
    },
    /// A key that means nothing without another.
    #[error("`{given}` is set without `{missing}`")]
    KeyMissing {
        /// The key that is there.
        given: &'static str,
        /// The key that is not.
        missing: &'static str,
    },
    /// The pod's own service account cannot be used.
    #[error("the service account of this pod cannot be used: {why}")]
    InCluster {
        /// What is wrong with it.
        why: String,
    },
    /// The template's placeholder is still there.
    #[error("`kubeconfig` still holds the placeholder of the template")]
    Placeholder,
    /// The text is no kubeconfig.
    #[error("`kubeconfig` is not a kubeconfig: {place}")]
    NotKubeconfig {
        /// Where it stops being one.
        place: String,
    },
    /// A file that cannot be read, or is no kubeconfig.
    #[error("failed to read the kubeconfig `{path}`: {why}")]
    KubeconfigFile {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// Neither the key nor the kubeconfig names a context.
    #[error("`context` is not set and the kubeconfig has no current-context")]
    NoCurrentContext {
        /// The contexts there are.
        contexts: Vec<String>,
    },
    /// A context that is not there.
    #[error("{} `{name}` is not in the kubeconfig", if *asked { "`context`" } else { "its own current-context" })]
    NoContext {
        /// The name that was looked for.
        name: String,
        /// Whether the key named it, not the kubeconfig itself.
        asked: bool,
        /// The contexts there are.
        contexts: Vec<String>,
    },
    /// A context whose cluster or user is not there.
    #[error("context `{context}` of the kubeconfig names the {kind} `{name}`, which is not in it")]
    Dangling {
        /// The context.
        context: String,
        /// `cluster` or `user`.
        kind: &'static str,
        /// The name that leads nowhere.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// An address that is no URL.
    #[error("`{key}` is `{value}`, which is not a URL")]
    ServerUrl {
        /// The key.
        key: String,
        /// Its value.
        value: String,
    },
    /// A kubeconfig that points at a file of another machine.
    #[error("`{key}` of the kubeconfig is the file `{path}`, which is not here")]
    FileReference {
        /// The key.
        key: String,
        /// The file.
        path: String,
        /// The key that holds the content instead.
        data: String,
    },
    /// A value of the kubeconfig that cannot be decoded.
    #[error("`{key}` of the kubeconfig cannot be decoded")]
    KubeconfigValue {
        /// The key.
        key: String,
    },
    /// The environment's proxy exemptions cannot be read.
    #[error("`no_proxy` of the environment cannot be understood")]
    NoProxy,
    /// The token cannot be a token.
    #[error("`token` has spaces or line breaks inside")]
    TokenShape,
    /// The certificates cannot be read.
    #[error("`certificate_authority` cannot be used: {why}")]
    CertificateAuthority {
        /// What is wrong with it.
        why: String,
    },
    /// A credential plugin without a command.
    #[error("`users[{user}].user.exec` of the kubeconfig has no command")]
    PluginUnnamed {
        /// The user's entry.
        user: String,
    },
    /// A credential plugin, or another kind of credential, that cannot be used.
    #[error("the credential of the kubeconfig's user cannot be had: {why}")]
    Plugin {
        /// What became of it.
        why: String,
    },
    /// A credential plugin that never ended.
    #[error("the credential plugin of the kubeconfig did not end within {seconds} s")]
    PluginTimeout {
        /// How long it was given.
        seconds: u64,
    },
    /// No answer.
    #[error("failed to reach the API server at `{address}`: {why}")]
    Unreachable {
        /// The URL.
        address: String,
        /// What happened instead.
        why: String,
    },
    /// A certificate that is not to be trusted.
    #[error("failed to trust the API server at `{address}`: its certificate is {why}")]
    Untrusted {
        /// The URL.
        address: String,
        /// What is wrong with the certificate.
        why: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// Something answers, and it is no API server.
    #[error("what answers at `{address}` is not a Kubernetes API server")]
    NotApiServer {
        /// The URL.
        address: String,
    },
    /// The API server refused the call.
    #[error("failed to {doing}: {}", answer(status))]
    Refused {
        /// What was tried.
        doing: String,
        /// The API server's answer.
        status: Box<Status>,
    },
    /// The credentials are not accepted.
    #[error("the API server at `{address}` does not accept the credentials: 401 Unauthorized")]
    Unauthorized {
        /// The URL.
        address: String,
    },
    /// A workload that is not there.
    #[error("there is no {kind} `{name}` in namespace `{namespace}`")]
    NoWorkload {
        /// Its kind.
        kind: &'static str,
        /// Where it was looked for.
        namespace: String,
        /// Its name.
        name: String,
        /// Those that are there; `None` where the credentials may not list them.
        known: Option<Vec<String>>,
    },
    /// Labels that no workload has.
    #[error("no {kind} in namespace `{namespace}` has the labels `{selector}`")]
    NothingSelected {
        /// The kind that was looked for.
        kind: &'static str,
        /// Where it was looked for.
        namespace: String,
        /// The labels.
        selector: String,
        /// Labels that there are, the most common first.
        labels: Vec<String>,
    },
    /// Something that does not belong to the API.
    #[error("failed to {doing}: {why}")]
    Unexpected {
        /// What was tried.
        doing: String,
        /// What came instead.
        why: String,
    },
}

impl Error {
    /// Returns the API server's status code, where it refused a call.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(status.code),
            Self::Unauthorized { .. } => Some(401),
            _ => None,
        }
    }

    /// Returns whether another try may go better: the fault lies between the machines, or the
    /// server said that it is busy.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => matches!(status.code, 410 | 429 | 500..=599),
            _ => false,
        }
    }
}

impl Explain for Error {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoAccess => "set `kubeconfig`, or `server` with `token` and `certificate_authority`".to_owned(),
            Self::KeysExclude { one, other } => format!("remove `{other}`, or remove `{one}`"),
            Self::KeyMissing { given, missing } => format!("set `{missing}` as well, or remove `{given}`"),
            Self::InCluster { .. } => {
                "let the pod mount its service account's token, or set `kubeconfig`".to_owned()
            }
            Self::Placeholder => {
                "paste the output of `kubectl config view --raw --flatten --minify` over it".to_owned()
            }
            Self::NotKubeconfig { .. } => {
                "paste the output of `kubectl config view --raw --flatten` as a block (`kubernetes-config: |`)"
                    .to_owned()
            }
            Self::NoCurrentContext { contexts } | Self::NoContext { contexts, .. } => {
                format!("set `context` to one of {}", list(contexts))
            }
            Self::Dangling { kind, known, .. } => format!("the {kind}s in it are {}", list(known)),
            Self::ServerUrl { .. } => "write it as `https://HOST:PORT`".to_owned(),
            Self::FileReference { data, .. } => format!(
                "put its content under `{data}`: `kubectl config view --raw --flatten` prints a kubeconfig that does"
            ),
            Self::KubeconfigValue { .. } => "paste it again, whole; data keys hold base64 of PEM".to_owned(),
            Self::NoProxy => "write it as host names, addresses and CIDR ranges with commas between".to_owned(),
            Self::TokenShape => "paste the token alone, without `Bearer` and without line breaks".to_owned(),
            Self::CertificateAuthority { .. } => {
                "paste the PEM text (-----BEGIN CERTIFICATE----- …), or `certificate-authority-data` of a kubeconfig"
                    .to_owned()
            }
            Self::PluginUnnamed { .. } | Self::Plugin { .. } | Self::PluginTimeout { .. } => {
                "use a user with a token or a client certificate: the resource's image holds no plugin and no shell"
                    .to_owned()
            }
            Self::Unreachable { .. } => {
                "check the address, and that the workers' network reaches it (proxy, firewall)".to_owned()
            }
            Self::Untrusted { remedy, .. } => (*remedy).to_owned(),
            Self::NotApiServer { .. } => {
                "check host, port and path: `kubectl cluster-info` shows where the API server is".to_owned()
            }
            Self::Unauthorized { .. } => {
                "the token or certificate has expired, or is another cluster's; make a new one (`kubectl create token`)"
                    .to_owned()
            }
            Self::NoWorkload { kind, namespace, name, known } => missing(kind, namespace, name, known.as_deref()),
            Self::NothingSelected { kind, namespace, labels, .. } if labels.is_empty() => {
                format!("no {kind} in `{namespace}` has any label that these credentials may see")
            }
            Self::NothingSelected { kind, labels, .. } => {
                format!("the labels of the {kind}s there are {}", list(labels))
            }
            Self::Refused { status, .. } => return refusal(status),
            Self::KubeconfigFile { .. } => {
                "correct it, or give another one with `--kubeconfig FILE`".to_owned()
            }
            Self::Unexpected { .. } => return None,
        })
    }
}

/// Returns the nearest names first: a misspelling is the usual reason.
fn missing(kind: &str, namespace: &str, name: &str, known: Option<&[String]>) -> String {
    match known {
        None => {
            let plural = kind.to_ascii_lowercase() + "s";
            format!("look with `kubectl -n {namespace} get {plural}`; these credentials may not list them")
        }
        Some([]) => {
            format!("there are no {kind}s in `{namespace}`; check the namespace, or create it first")
        }
        Some(names) => {
            let mut names: Vec<&String> = names.iter().collect();
            names.sort_by_key(|known| strsim::damerau_levenshtein(name, known));
            let shown: Vec<String> = names.into_iter().take(NAMES_SHOWN).cloned().collect();
            format!("the {kind}s in `{namespace}` are {}", list(&shown))
        }
    }
}

fn refusal(status: &Status) -> Option<String> {
    let hint = match status.code {
        403 if status.message.contains("system:anonymous") => {
            "no credential reached the API server: give the kubeconfig's user a token or a client certificate"
        }
        400 if status.message.contains("HTTP request to an HTTPS server") => {
            "write the address of the API server with `https://`"
        }
        403 if status.message.contains("is forbidden: User") => {
            "let the Role of that namespace allow it (k8s/rollout-role.yml lists what is needed, and what for); it \
             names the Deployments, so a misspelt one is forbidden too"
        }
        429 => "the API server is overloaded; try again later",
        500..=599 => "the API server is in trouble; try again later",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// Explains an error of the client.
pub(super) fn describe(error: kube::Error, doing: &str, address: &str) -> Error {
    let (doing, address) = (doing.to_owned(), address.to_owned());
    match error {
        kube::Error::Api(status) if status.code == 401 => Error::Unauthorized { address },
        kube::Error::Api(status) => Error::Refused { doing, status },
        kube::Error::SerdeError(error) => Error::Unexpected { doing, why: unreadable(&error) },
        kube::Error::ProxyProtocolUnsupported { .. } | kube::Error::ProxyProtocolDisabled { .. } => {
            Error::Unreachable { address, why: "the proxy's URL is neither http nor https".to_owned() }
        }
        error => match cause::find(&error) {
            Cause::Certificate { why, remedy } => Error::Untrusted { address, why, remedy },
            Cause::Connection(why) => Error::Unreachable { address, why },
            Cause::Plugin(why) => Error::Plugin { why },
            Cause::Other(why) => Error::Unexpected { doing, why },
        },
    }
}

/// serde's message quotes the value, which may be anything that a wrong server sends.
fn unreadable(error: &serde_json::Error) -> String {
    format!(
        "the answer is not what a Kubernetes API server sends (line {}, column {})",
        error.line(),
        error.column()
    )
}

/// Returns what the API server said, with its code; its own text names verb, resource and namespace.
fn answer(status: &Status) -> String {
    let text = status.message.trim();
    let text = if text.is_empty() { status.reason.trim() } else { text };
    let line = one_line(text);
    let words: Vec<&str> = line.split_whitespace().collect();
    format!("{} ({})", without_values(&words.join(" ")), status.code)
}

/// An API server repeats the value that it refuses, and the whole object where it cannot say which:
/// either may hold a secret. The field and the reason beside it say what is wrong.
fn without_values(line: &str) -> String {
    const BEFORE: &str = "nvalid value: \"";
    let (mut kept, mut rest) = (String::new(), line);
    while let Some((before, after)) = rest.split_once(BEFORE) {
        let mut is_escaped = false;
        let end = after.find(|letter| {
            let is_end = letter == '"' && !is_escaped;
            is_escaped = letter == '\\' && !is_escaped;
            is_end
        });
        kept.extend([before, "nvalid value"]);
        rest = end.map_or("", |end| &after[end + 1..]);
    }
    kept + rest
}

/// Returns the URL of an API server as people write it.
pub(super) fn address(uri: &http::Uri) -> String {
    without_userinfo(uri.to_string().trim_end_matches('/'))
}

/// Drops `user:password@` from a URL.
pub(super) fn without_userinfo(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let separator = if scheme.is_empty() { "" } else { "://" };
    format!("{scheme}{separator}{host}{path}")
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "none at all".to_owned();
    }
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_call_names_the_role_to_change() {
        let status = Status::failure(
            r#"deployments.apps "app" is forbidden: User "system:serviceaccount:rollway:deployer" cannot patch resource "deployments" in API group "apps" in the namespace "app-foo""#,
            "Forbidden",
        );
        let error =
            describe(kube::Error::Api(status.with_code(403).boxed()), "patch Deployment `app`", "https://a");
        assert!(
            error.to_string().starts_with("failed to patch Deployment `app`: deployments.apps"),
            "{error}"
        );
        assert!(error.hint().unwrap().contains("k8s/rollout-role.yml"));
        assert_eq!(error.status(), Some(403));
        assert!(!error.is_transient());
    }

    #[test]
    fn words_of_a_webhook_command_no_terminal() {
        let status = Status::failure("denied:\n\u{1b}[2J\u{1b}]0;x\u{7}no", "Forbidden");
        let error = describe(kube::Error::Api(status.with_code(400).boxed()), "patch", "https://a");
        assert_eq!(error.to_string(), "failed to patch: denied: [2J ]0;x no (400)");
    }

    #[test]
    fn nearest_deployment_comes_first() {
        let names = ["web".to_owned(), "worker".to_owned(), "app".to_owned()];
        let hint = missing("Deployment", "shop", "ap", Some(&names));
        assert_eq!(hint, "the Deployments in `shop` are `app`, `web`, `worker`");
    }

    #[test]
    fn url_is_shown_without_its_password() {
        for (url, shown) in [
            ("https://bob:canary@a.example:6443/x", "https://a.example:6443/x"),
            ("https://a.example", "https://a.example"),
            ("bob:canary@a", "a"),
        ] {
            assert_eq!(without_userinfo(url), shown);
        }
    }
}
