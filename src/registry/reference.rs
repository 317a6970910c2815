//! Names of repositories and tags: which host to ask, and whether plain http may be tried there.

use std::net::{IpAddr, Ipv6Addr};

use oci_client::Reference;

use super::Error;

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
        let (address, name) = split_address(given);
        let reference = Reference::try_from(name.as_str()).map_err(|error| bad(error.to_string()))?;
        if given.contains('@') || split(given).1.is_some() {
            return Err(bad("it names a tag or a digest, which goes in `tag`".to_owned()));
        }
        Ok(Self {
            given: given.to_owned(),
            host: address.unwrap_or_else(|| reference.resolve_registry().to_owned()),
            path: reference.repository().to_owned(),
        })
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

/// Takes a bracketed IPv6 address off, which the reference grammar does not know, and puts a host
/// in its place that the grammar does.
fn split_address(given: &str) -> (Option<String>, String) {
    match given.split_once('/') {
        Some((host, path)) if host.starts_with('[') && bare(host).parse::<Ipv6Addr>().is_ok() => {
            (Some(host.to_owned()), format!("localhost/{path}"))
        }
        _ => (None, given.to_owned()),
    }
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

/// Returns whether an address is a loopback or a private one (RFC 1918).
pub(super) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_private(),
        IpAddr::V6(address) => address.is_loopback(),
    }
}

/// Cuts credentials off a name that somebody wrote like a URL, so that no message repeats them.
fn without_userinfo(given: &str) -> String {
    match (given.find("://"), given.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme && !given[at..].contains("sha256:") => {
            format!("{}://{}", &given[..scheme], &given[at + 1..])
        }
        _ => given.to_owned(),
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
            ("ghcr.io/App", "format"),
            ("ghcr.io/app@sha256:abc", "format"),
        ];
        for (given, part) in cases {
            let error = Repository::parse(given).unwrap_err().to_string();
            assert!(error.contains(part), "{given}: {error}");
        }
    }

    #[test]
    fn credentials_in_a_name_are_not_repeated() {
        let error = Repository::parse("https://bob:canary@ghcr.io/app").unwrap_err().to_string();
        assert!(!error.contains("canary"), "{error}");
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
