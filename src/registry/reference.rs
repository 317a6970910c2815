//! Names of repositories and tags: which host to ask, and whether plain http may be tried there.
//!
//! The grammar is that of `oci_client::Reference`, and a test holds it to that. It is written out
//! here because theirs is one regular expression, which takes longer to compile than a check
//! takes to run, and 18 MB.

use std::net::{IpAddr, Ipv6Addr};

use super::Error;

/// Where names without a host are.
pub(super) const DOCKER_HUB: &str = "index.docker.io";

/// The schemes that a registry is asked with, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Schemes {
    /// https, and nothing else.
    Secure,
    /// https first, plain http where that fails.
    SecureThenPlain,
}

/// A repository as the user wrote it, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    given: String,
    host: String,
    path: String,
}

impl Repository {
    /// Reads `[host[:port]/]path`; names without a host are Docker Hub's.
    ///
    /// # Errors
    /// When it is not such a name, or also names a tag or a digest.
    pub fn parse(given: &str) -> Result<Self, Error> {
        let bad = |reason: String| Error::Repository { repository: without_userinfo(given), reason };
        if given.is_empty() {
            return Err(bad("it is empty".to_owned()));
        }
        if let Some((scheme, _)) = given.split_once("://") {
            return Err(bad(format!("it starts with a scheme: leave out `{scheme}://`")));
        }
        if without_userinfo(given) != given {
            return Err(bad("it has credentials in it: they go in `username` and `password`".to_owned()));
        }
        if given.contains('@') || split(given).1.is_some() {
            return Err(bad("it names a tag or a digest, which goes in `tag`".to_owned()));
        }
        let (host, path) = split_host(given);
        let path = if host == DOCKER_HUB && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        if !is_host(host) {
            return Err(bad(format!("`{host}` is not a host")));
        }
        if !is_path(&path) {
            return Err(bad(
                "it may have lower-case letters, digits, and `.`, `_`, `-` between them".to_owned()
            ));
        }
        Ok(Self { given: given.to_owned(), host: host.to_owned(), path })
    }

    /// Returns the name as it was given.
    #[must_use]
    pub fn given(&self) -> &str {
        &self.given
    }

    /// Returns the host to ask, with its port if one was given.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the path below the host.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns whether both are the same, however they are written.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.host, &self.path) == (&other.host, &other.path)
    }

    /// Returns whether it is Docker Hub's.
    pub(super) fn is_hubs(&self) -> bool {
        self.host == DOCKER_HUB
    }

    /// Returns whether the host went without saying.
    pub(super) fn is_bare(&self) -> bool {
        self.host == DOCKER_HUB && split_host(&self.given).1 == self.given
    }

    /// Returns the schemes to try. Plain http is for `insecure`, for private and loopback addresses
    /// and for names that cannot have a public certificate.
    pub(super) fn schemes(&self, access: &super::Access) -> Schemes {
        if access.insecure || is_near(&self.host) { Schemes::SecureThenPlain } else { Schemes::Secure }
    }
}

/// Splits `repository[:tag]`; a colon before the last slash belongs to a port.
#[must_use]
pub fn split(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') && !tag.contains(']') => (repository, Some(tag)),
        _ => (text, None),
    }
}

/// Returns whether `text` can be a tag: 128 letters, digits, `_`, `.`, `-`, the first no `.` or `-`.
#[must_use]
pub fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

/// Splits `[host[:port]/]path`. The first part is a host when it cannot be a part of a path.
pub(crate) fn split_host(given: &str) -> (&str, &str) {
    match given.split_once('/') {
        Some(("docker.io" | DOCKER_HUB, path)) => (DOCKER_HUB, path),
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
        _ => (DOCKER_HUB, given),
    }
}

fn is_host(host: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(is_inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    if let Some((address, port)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address.parse::<Ipv6Addr>().is_ok() && is_port(port);
    }
    let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
    name.split('.').all(is_label) && is_port(port)
}

/// Nothing, or a colon and a number.
fn is_port(text: &str) -> bool {
    let is_number =
        |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    text.is_empty() || text.strip_prefix(':').is_some_and(is_number)
}

/// Parts of letters and digits, with one `.`, one or two `_`, or any number of `-` between them.
fn is_path(path: &str) -> bool {
    let is_alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_part = |part: &str| {
        let is_closed = part.starts_with(is_alphanumeric) && part.ends_with(is_alphanumeric);
        let mut separators = part.split(is_alphanumeric);
        is_closed
            && separators.all(|text| matches!(text, "" | "." | "_" | "__") || text.bytes().all(|b| b == b'-'))
    };
    path.len() <= 255 && path.split('/').all(is_part)
}

/// Returns the host without port and brackets.
fn bare(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').map_or(rest, |(address, _)| address);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

fn is_near(host: &str) -> bool {
    let name = bare(host);
    let loopback_name = name == "localhost" || name.ends_with(".local") || name.starts_with("127.");
    loopback_name || name.parse().is_ok_and(is_private)
}

/// Returns whether a host is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Returns whether an address is a loopback or a private one (RFC 1918).
pub(super) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_private(),
        IpAddr::V6(address) => address.is_loopback(),
    }
}

/// Cuts credentials off a name that somebody wrote like a URL, so that no message repeats them.
pub(crate) fn without_userinfo(given: &str) -> String {
    let start = given.find("://").map_or(0, |scheme| scheme + 3);
    let name = given.find("@sha256:").map_or(given, |digest| &given[..digest]);
    let is_userinfo = |at: usize| at >= start && (start > 0 || name[..at].contains(':'));
    match name.rfind('@').filter(|at| is_userinfo(*at)) {
        Some(at) => format!("{}{}", &given[..start], &given[at + 1..]),
        None => given.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Access;
    use super::*;

    fn schemes(host: &str) -> Schemes {
        Repository::parse(&format!("{host}/app")).unwrap().schemes(&Access::default())
    }

    #[test]
    fn short_names_are_docker_hubs() {
        let repository = Repository::parse("busybox").unwrap();
        assert_eq!(
            (repository.given(), repository.host(), repository.path()),
            ("busybox", "index.docker.io", "library/busybox")
        );
    }

    #[test]
    fn host_that_is_written_out_is_told_from_one_that_is_not() {
        for (name, is_bare) in [
            ("busybox", true),
            ("team/app", true),
            ("docker.io/app", false),
            ("index.docker.io/a/b", false),
            ("x.io/a", false),
        ] {
            assert_eq!(Repository::parse(name).unwrap().is_bare(), is_bare, "{name}");
        }
    }

    #[test]
    fn names_are_read_as_oci_client_reads_them() {
        let long = format!("ghcr.io/{}", "a".repeat(256));
        let names = [
            "busybox",
            "a",
            "team/app",
            "docker.io/app",
            "docker.io/a/b",
            "index.docker.io/app",
            "localhost/app",
            "localhost:5000/app",
            "127.0.0.1:5000/a/b/c",
            "ghcr.io/a__b/c--d/e.f_g",
            "xn--n3h.com/app",
            "test.com:80/a",
            "foo/foo_bar.com",
            "GHCR.io/app",
            "ghcr.io/App",
            "ghcr.io/a..b",
            "ghcr.io/a___b",
            "ghcr.io/-a",
            "ghcr.io/a-",
            "ghcr.io/a/",
            "ghcr.io//a",
            "ghcr.io/",
            "/a",
            "a b",
            "-x.io/a",
            "x-.io/a",
            ".io/a",
            "x.io:/a",
            "ghcr.io/ä",
            "ghcr.io/a?b",
            "ghcr.io/a%2fb",
            &long,
        ];
        for name in names {
            let theirs = oci_client::Reference::try_from(name).ok();
            let theirs = theirs.map(|it| (it.resolve_registry().to_owned(), it.repository().to_owned()));
            let ours = Repository::parse(name).ok().map(|it| (it.host, it.path));
            assert_eq!(ours, theirs, "{name}");
        }
    }

    #[test]
    fn plain_http_is_for_near_hosts_only() {
        let near =
            ["10.0.0.7", "192.168.1.2:5000", "172.16.0.1", "127.0.0.1:5000", "localhost:5000", "[::1]:5000"];
        for host in near.into_iter().chain(["registry.local", "registry.local:80"]) {
            assert_eq!(schemes(host), Schemes::SecureThenPlain, "{host}");
        }
        for host in ["ghcr.io", "172.32.0.1", "8.8.8.8:5000", "local.example.com"] {
            assert_eq!(schemes(host), Schemes::Secure, "{host}");
        }
    }

    #[test]
    fn insecure_allows_plain_http_anywhere() {
        let access = Access { insecure: true, ..Access::default() };
        assert_eq!(Repository::parse("ghcr.io/app").unwrap().schemes(&access), Schemes::SecureThenPlain);
    }

    #[test]
    fn names_that_are_no_repository_say_why() {
        let cases = [
            ("", "empty"),
            ("https://ghcr.io/app", "leave out `https://`"),
            ("ghcr.io/app:1.2", "goes in `tag`"),
            ("ghcr.io/App", "lower-case letters"),
            ("ghcr.io/app@sha256:abc", "goes in `tag`"),
            ("Team/app", "lower-case letters"),
            ("ghcr.io:x/app", "`ghcr.io:x` is not a host"),
            ("ghcr.io:+80/app", "is not a host"),
            ("ghcr.io:70000/app", "is not a host"),
            ("[::1/app", "is not a host"),
            ("[::1]é:/app", "is not a host"),
        ];
        for (given, part) in cases {
            let error = Repository::parse(given).unwrap_err().to_string();
            assert!(error.contains(part), "{given}: {error}");
        }
    }

    #[test]
    fn credentials_in_a_name_are_not_repeated() {
        let digest = format!("https://bob:canary@ghcr.io/app@sha256:{}", "a".repeat(64));
        for name in ["https://bob:canary@ghcr.io/app", "bob:canary@ghcr.io/app", &digest] {
            let error = Repository::parse(name).unwrap_err().to_string();
            assert!(!error.contains("canary") && error.contains("ghcr.io/app"), "{error}");
        }
    }

    #[test]
    fn ports_are_not_tags() {
        assert_eq!(split("localhost:5000/app"), ("localhost:5000/app", None));
        assert_eq!(split("localhost:5000/app:1"), ("localhost:5000/app", Some("1")));
        assert_eq!(split("app:1"), ("app", Some("1")));
    }

    #[test]
    fn tags_are_checked_before_they_reach_a_url() {
        for good in ["latest", "1.2.3-rc.1", "_x", &"a".repeat(128)] {
            assert!(is_tag(good), "{good}");
        }
        for bad in ["", ".x", "-x", "a/b", "a b", "a?b", "ä", &"a".repeat(129)] {
            assert!(!is_tag(bad), "{bad}");
        }
    }
}
