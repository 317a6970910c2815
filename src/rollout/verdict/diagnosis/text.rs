//! What the words of kubelets, runtimes, registries and controllers mean. Codes are looked for with
//! their names beside them: a digest may contain any number.

use super::scene::Object;

/// Why an image was not pulled, as far as the words tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    /// It is not there.
    Absent,
    /// The credentials do not do.
    Denied,
    /// It is not there for this kind of node.
    Platform,
    /// The registry's certificate or protocol is not accepted.
    Untrusted,
    /// The node's disk is full.
    Disk,
    /// Anything that may pass.
    Passing,
    /// The words say nothing.
    Silent,
}

const PASSING: &[&str] = &[
    "toomanyrequests",
    "429 too many",
    "500 internal",
    "502 bad gateway",
    "503 service",
    "504 gateway",
    "i/o timeout",
    "timed out",
    "handshake timeout",
    "deadline exceeded",
    "no such host",
    "connection refused",
    "connection reset",
    "network is unreachable",
    "no route to host",
    "unexpected eof",
    ": eof",
    "context canceled",
    "pull qps exceeded",
];

/// Reads why an image was not pulled.
#[must_use]
pub fn pull(words: &str) -> Pull {
    let words = words.to_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    if has(&["no match for platform", "no matching manifest for"]) {
        Pull::Platform
    } else if has(&["x509:", "certificate signed by unknown", "server gave http response to https"]) {
        Pull::Untrusted
    } else if has(&["no space left on device"]) {
        Pull::Disk
    } else if has(PASSING) {
        Pull::Passing
    } else if has(&[
        "401 unauthorized",
        "403 forbidden",
        "pull access denied",
        "insufficient_scope",
        "authentication required",
        "unauthorized:",
        "denied:",
        "authorization failed",
        "no basic auth credentials",
    ]) {
        Pull::Denied
    } else if has(&["not found", "manifest unknown", "name unknown", "404 "]) {
        Pull::Absent
    } else if words.is_empty() || !words.contains(':') || is_bare_back_off(&words) {
        Pull::Silent
    } else {
        Pull::Passing
    }
}

/// Kubelets before the last error was kept say only that they wait.
fn is_bare_back_off(words: &str) -> bool {
    words.starts_with("back-off pulling image") && !words.contains("errimagepull")
}

/// Returns the object that the words say is missing.
#[must_use]
pub fn missing(words: &str) -> Option<Object> {
    let named = |kind: &'static str, mark: &str| {
        let name = between(words, mark, "\"")?;
        let rest = words.split_once(&format!("{mark}{name}\""))?.1;
        rest.trim_start().starts_with("not found").then(|| object(kind, name, None))
    };
    keyed(words)
        .or_else(|| named("secret", "secret \""))
        .or_else(|| named("secret", "secrets \""))
        .or_else(|| named("configmap", "configmap \""))
        .or_else(|| named("configmap", "configmaps \""))
        .or_else(|| named("persistentvolumeclaim", "persistentvolumeclaim \""))
        .or_else(|| named("serviceaccount", "serviceaccount \""))
        .or_else(|| {
            let name = between(words, "no PriorityClass with name ", " was found")?;
            Some(object("priorityclass", name, None))
        })
}

/// `couldn't find key k in Secret ns/name`.
fn keyed(words: &str) -> Option<Object> {
    let rest = words.split_once("couldn't find key ")?.1;
    let (key, rest) = rest.split_once(" in ")?;
    let (kind, rest) = rest.split_once(' ')?;
    let kind = match kind {
        "Secret" => "secret",
        "ConfigMap" => "configmap",
        _ => return None,
    };
    let name = rest.split_once('/')?.1;
    let name = name.split(|letter: char| letter.is_whitespace() || letter == ',').next()?;
    Some(object(kind, name, Some(key)))
}

pub(super) fn object(kind: &'static str, name: &str, key: Option<&str>) -> Object {
    Object { kind, name: name.to_owned(), key: key.map(str::to_owned) }
}

/// Returns what stands between two marks.
#[must_use]
pub fn between<'a>(words: &'a str, start: &str, end: &str) -> Option<&'a str> {
    words.split_once(start)?.1.split_once(end).map(|(inside, _)| inside)
}

/// Returns the last line of a text without what changes from time to time: numbers.
#[must_use]
pub fn shape(words: &str) -> String {
    let last = words.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let mut shape = String::new();
    for letter in last.trim().chars().take(200) {
        if !letter.is_ascii_digit() {
            shape.push(letter);
        } else if !shape.ends_with('#') {
            shape.push('#');
        }
    }
    shape
}

/// Returns words for one line: without the wrapping that says nothing, without names of accounts, and
/// without what a terminal would obey, for an application may write anything.
#[must_use]
pub fn tidy(words: &str) -> String {
    let words = words
        .split_once("rpc error: code = ")
        .map_or(words, |(_, rest)| rest.split_once("desc = ").map_or(rest, |(_, described)| described));
    let is_between = |letter: char| letter.is_whitespace() || letter.is_control();
    let parts = words.split(is_between).filter(|part| !part.is_empty());
    let mut line = parts.collect::<Vec<_>>().join(" ");
    for frame in FRAMES {
        line = unframe(&line, frame);
    }
    let line = redact(&line);
    match line.char_indices().nth(400) {
        Some((cut, _)) => format!("{}…", line.get(..cut).unwrap_or_default()),
        None => line,
    }
}

/// What containerd puts around each cause, with the image that is named already.
const FRAMES: &[&str] =
    &["failed to pull and unpack image \"", "failed to resolve reference \"", "failed to resolve image \""];

fn unframe(line: &str, frame: &str) -> String {
    let parts = line.split_once(frame).and_then(|(before, rest)| Some((before, rest.split_once("\": ")?.1)));
    parts.map_or_else(|| line.to_owned(), |(before, after)| format!("{before}{after}"))
}

/// Takes the name of the account out of a registry's rate-limit message.
#[must_use]
pub fn redact(words: &str) -> String {
    let Some((before, rest)) = words.split_once("pull rate limit as '") else { return words.to_owned() };
    let after = rest.split_once('\'').map_or("", |(_, after)| after);
    // What follows is the id of a token: `: dckr_jti_…. You may …`.
    let after = match after.strip_prefix(": ").and_then(|after| after.split_once(['.', ' '])) {
        Some((id, after)) if id.contains("jti") => format!(".{after}"),
        _ => after.to_owned(),
    };
    format!("{before}pull rate limit as '***'{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "failed to pull and unpack image \"r.test/app@sha256:4014034292\": ";

    #[test]
    fn what_containerd_says_of_a_pull_is_understood() {
        for (words, wanted) in [
            (
                "failed to resolve reference \"r.test/app@sha256:401\": r.test/app@sha256:401: not found",
                Pull::Absent,
            ),
            ("no match for platform in manifest sha256:429: not found", Pull::Platform),
            (
                "failed to resolve reference \"r.test/app\": failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://r.test/token: 401 Unauthorized",
                Pull::Denied,
            ),
            (
                "failed to resolve reference \"r.test/app\": pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
                Pull::Denied,
            ),
            (
                "failed to do request: Head \"https://r.test/v2/\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
                Pull::Untrusted,
            ),
            (
                "failed to do request: Head \"https://r.test/v2/\": http: server gave HTTP response to HTTPS client",
                Pull::Untrusted,
            ),
            (
                "failed to do request: Head \"https://r.test/v2/\": dial tcp 10.0.0.1:5000: connect: connection refused",
                Pull::Passing,
            ),
            (
                "failed to do request: Head \"https://r.test/v2/\": dial tcp: lookup r.test: no such host",
                Pull::Passing,
            ),
            (
                "unexpected status from HEAD request to https://r.test/v2/: 503 Service Unavailable",
                Pull::Passing,
            ),
            (
                "failed to copy: httpReadSeeker: failed open: unexpected status from GET request: 429 Too Many Requests\ntoomanyrequests: You have reached your pull rate limit",
                Pull::Passing,
            ),
            ("failed to extract layer: write /var/lib/x: no space left on device", Pull::Disk),
        ] {
            assert_eq!(pull(&format!("{HEAD}{words}")), wanted, "{words}");
        }
        assert_eq!(pull("Back-off pulling image \"r.test:5000/app@sha256:401\""), Pull::Silent);
        assert_eq!(pull(""), Pull::Silent);
    }

    #[test]
    fn missing_objects_are_named() {
        for (words, wanted) in [
            ("secret \"tls\" not found", object("secret", "tls", None)),
            ("configmap \"app\" not found", object("configmap", "app", None)),
            ("couldn't find key url in Secret apps/database", object("secret", "database", Some("url"))),
            ("couldn't find key a.b in ConfigMap apps/app", object("configmap", "app", Some("a.b"))),
            (
                "MountVolume.SetUp failed for volume \"config\" : configmap \"app\" not found",
                object("configmap", "app", None),
            ),
            (
                "pods \"app-1-\" is forbidden: error looking up service account apps/robot: serviceaccount \"robot\" not found",
                object("serviceaccount", "robot", None),
            ),
            (
                "pods \"app-1-\" is forbidden: no PriorityClass with name gold was found",
                object("priorityclass", "gold", None),
            ),
            (
                "0/1 nodes are available: persistentvolumeclaim \"data\" not found. preemption: not helpful",
                object("persistentvolumeclaim", "data", None),
            ),
        ] {
            assert_eq!(missing(words), Some(wanted), "{words}");
        }
        for words in
            ["failed to sync secret cache: timed out waiting for the condition", "secret \"a\" is fine"]
        {
            assert_eq!(missing(words), None, "{words}");
        }
    }

    #[test]
    fn numbers_do_not_make_two_ends_different() {
        assert_eq!(shape("a\nat 12:04:05 pid 7: boom\n"), shape("b\nat 12:05:17 pid 31: boom"));
        assert_ne!(shape("boom"), shape("bang"));
    }

    #[test]
    fn names_of_accounts_stay_out_of_rate_limits() {
        let words = "toomanyrequests: You have reached your pull rate limit as 'jane': dckr_jti_x1. You may increase it";
        let redacted = tidy(words);
        assert!(!redacted.contains("jane") && !redacted.contains("dckr"), "{redacted}");
        assert!(redacted.ends_with("You may increase it"), "{redacted}");
        assert_eq!(redact("nothing to hide"), "nothing to hide");
    }

    #[test]
    fn what_an_application_writes_moves_no_cursor_and_breaks_no_line() {
        assert_eq!(tidy("boom\u{1b}[2J\u{7}\r\n\tat main\0"), "boom [2J at main");
    }

    #[test]
    fn the_wrapping_of_the_runtime_is_left_out() {
        assert_eq!(tidy("Failed: rpc error: code = NotFound desc = a:\n  not found"), "a: not found");
        let words = format!("{HEAD}failed to resolve reference \"r.test/app\": unexpected status");
        assert_eq!(tidy(&words), "unexpected status");
    }
}
