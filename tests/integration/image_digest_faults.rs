//! Registries on a bad day: what passes after a retry, and what ends the step with a clear line.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use insta::assert_snapshot;
use serde_json::json;

use crate::support::registry::{Fault, Registry};
use crate::support::toolkit::{Outcome, Toolkit, finish};

const PING: &str = "GET /v2/";
const HEAD: &str = "HEAD /v2/app/manifests/latest";

fn check(registry: &Registry) -> Outcome {
    let request = json!({"source": {"repository": registry.repository("app"), "tag": "latest"}});
    let toolkit = Toolkit::new().filter(&registry.host(), "[HOST]");
    toolkit.step("image-digest", "check", None, &request.to_string())
}

fn registry() -> Registry {
    let registry = Registry::plain();
    registry.image("app", "latest", &[]);
    registry
}

#[test]
fn passing_trouble_is_retried_and_each_retry_has_its_cause() {
    for (fault, cause) in [
        (Fault::status(408), "408 Request Timeout"),
        (Fault::status(500), "500 Internal Server Error"),
        (Fault::status(502), "502 Bad Gateway"),
        (Fault::status(503), "503 Service Unavailable"),
        (Fault::status(504), "504 Gateway Timeout"),
        (Fault::Close, "connection closed"),
    ] {
        let registry = registry();
        registry.fault(HEAD, fault);
        let outcome = check(&registry);
        assert_eq!(outcome.code, Some(0), "{outcome}");
        assert!(outcome.stderr.starts_with("retrying in 0."), "{outcome}");
        assert!(outcome.stderr.contains("HEAD http://[HOST]/v2/app/manifests/latest: "), "{outcome}");
        assert!(outcome.stderr.contains(cause), "{outcome}");
        assert_eq!(registry.requests(), [PING, HEAD, HEAD], "{outcome}");
    }
}

#[test]
fn throttled_head_is_retried_from_the_ping_and_never_becomes_a_get() {
    let registry = registry();
    registry.fault(HEAD, Fault::wait(429, "1"));
    let outcome = check(&registry);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(outcome.stderr.starts_with("retrying in 1."), "{outcome}");
    assert_eq!(registry.requests(), [PING, HEAD, PING, HEAD]);
}

#[test]
fn ping_is_retried_too() {
    let registry = registry();
    registry.fault(PING, Fault::status(503));
    registry.fault(PING, Fault::wait(429, "0"));
    assert_eq!(check(&registry).code, Some(0));
    assert_eq!(registry.requests(), [PING, PING, PING, HEAD]);
}

#[test]
fn registry_that_wants_an_hour_gets_a_failure_at_once() {
    let registry = registry();
    registry.fault(HEAD, Fault::wait(429, "3600"));
    assert_snapshot!(check(&registry), @r"
    exit 1
    --- stderr
    error: the registry asks to wait 3600 s, which is longer than a step should take: HEAD http://[HOST]/v2/app/manifests/latest: 429 Too Many Requests
    hint: log in with `username` and `password`, or check less often with `check_every`
    ");
    assert_eq!(registry.requests(), [PING, HEAD]);
}

#[test]
fn slow_registry_is_waited_for() {
    let registry = registry();
    registry.fault(HEAD, Fault::Late(Duration::from_millis(400)));
    let outcome = check(&registry);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{outcome}");
}

#[test]
fn denied_is_not_retried_and_not_asked_again_with_a_get() {
    let registry = registry();
    registry.fault(HEAD, Fault::status(403));
    assert_snapshot!(check(&registry), @r"
    exit 1
    --- stderr
    error: HEAD http://[HOST]/v2/app/manifests/latest: 403 Forbidden
    hint: these credentials may not pull from this repository; check `repository` and the account's rights
    ");
    assert_eq!(registry.requests(), [PING, HEAD]);
}

#[test]
fn server_that_is_no_registry_is_called_that() {
    let registry = registry();
    registry.fault(PING, Fault::Answer(404, Vec::new(), "<html>\u{1b}[31mNot here".to_owned()));
    assert_snapshot!(check(&registry), @r"
    exit 1
    --- stderr
    error: GET http://[HOST]/v2/: 404 Not Found
    hint: check the host in `repository`: this does not look like a registry
    ");
}

#[test]
fn nobody_there_is_said_within_seconds() {
    let toolkit = Toolkit::new();
    let request = json!({"source": {"repository": "127.0.0.1:1/app", "tag": "latest"}});
    let outcome = toolkit.step("image-digest", "check", None, &request.to_string());
    let last: Vec<_> = outcome.stderr.lines().skip(2).collect();
    assert!(last[0].contains("GET https://127.0.0.1:1/v2/: connection refused"), "{outcome}");
    assert_eq!(last[1], "hint: check the host and the port in `repository`, and the proxy variables");
}

#[test]
fn answer_without_end_is_cut_off() {
    let registry = registry();
    registry.fault(HEAD, Fault::Header("docker-content-digest", None));
    registry.fault("GET /v2/app/manifests/latest", Fault::Body("x".repeat((4 << 20) + 1)));
    assert_snapshot!(check(&registry), @r"
    exit 1
    --- stderr
    error: GET http://[HOST]/v2/app/manifests/latest: the answer is longer than 4194304 bytes
    ");
}

#[test]
fn words_of_a_registry_cannot_colour_a_terminal() {
    let registry = registry();
    registry.fault(PING, Fault::refusal(403, "DENIED", "\u{1b}[31mred\nsecond line"));
    let outcome = check(&registry);
    assert!(!outcome.stderr.contains('\u{1b}'), "{outcome}");
    assert_eq!(outcome.stderr.lines().count(), 2, "{outcome}");
}

/// Starts a get, waits until it tells that it waits, and returns what it said by then.
fn waiting(registry: &Registry, digest: &str) -> String {
    let toolkit = Toolkit::new();
    let request = json!({"source": {"repository": registry.repository("app")},
        "version": {"tag": "latest", "digest": digest}});
    let run = toolkit.binary("image-digest").arg("in").arg(toolkit.folder("get"));
    let mut child = run.start_without_stdin();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), request.to_string().as_bytes()).unwrap();
    let mut said = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    while !said.contains("retrying in ") && stderr.read_line(&mut said).unwrap() > 0 {}
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM)
        .unwrap();
    assert_ne!(finish(&toolkit, child, b"").code, Some(0));
    said
}

#[test]
fn get_waits_longer_than_a_check_for_a_registry_that_throttles() {
    let registry = registry();
    let digest = registry.image("app", "latest", &[]);
    let manifest = format!("GET /v2/app/manifests/{digest}");
    for line in [PING, &manifest, "GET /v2/app/blobs/"] {
        registry.fault(line, Fault::wait(429, "900"));
        let said = waiting(&registry, &digest);
        assert!(said.starts_with("retrying in 90"), "{line}: {said}");
    }
    registry.fault(&manifest, Fault::wait(503, "900"));
    assert!(waiting(&registry, &digest).starts_with("retrying in 90"));
    registry.fault(HEAD, Fault::wait(429, "900"));
    let outcome = check(&registry);
    assert!(outcome.stderr.contains("the registry asks to wait 900 s"), "{outcome}");
}

#[test]
fn login_of_many_throttled_requests_is_made_anew_once() {
    let registry = Registry::plain();
    for number in 0..16 {
        registry.image("app", &format!("1.{number}"), &[("number", &number.to_string())]);
        registry.fault(&format!("HEAD /v2/app/manifests/1.{number}"), Fault::wait(429, "1"));
    }
    let request = json!({"source": {"repository": registry.repository("app")}});
    let outcome = Toolkit::new().step("image-digest", "check", None, &request.to_string());
    assert_eq!(outcome.json().as_array().unwrap().len(), 16, "{outcome}");
    let requests = registry.requests();
    let pings = requests.iter().filter(|line| *line == PING).count();
    // One that is late may meet its refusal in the session that another has made by then.
    assert!((2..=4).contains(&pings), "{requests:?}");
}
