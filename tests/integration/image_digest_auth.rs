//! Who gets to see credentials, and who never does.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::support::registry::{Fault, Login, Registry};
use crate::support::toolkit::{Outcome, Toolkit};

const CANARY: &str = "canary-7f3a-do-not-print";
const HEAD: &str = "HEAD /v2/app/manifests/latest";

fn check(registry: &Registry, password: &str) -> Outcome {
    let source = json!({
        "repository": registry.repository("app"), "tag": "latest", "username": "bob", "password": password, "debug": false,
    });
    run(registry, &source)
}

fn anonymous(registry: &Registry) -> Outcome {
    run(registry, &json!({"repository": registry.repository("app"), "tag": "latest"}))
}

fn run(registry: &Registry, source: &Value) -> Outcome {
    let toolkit = Toolkit::new().filter(&registry.host(), "[HOST]");
    toolkit.step("image-digest", "check", None, &json!({"source": source}).to_string())
}

#[test]
fn credentials_stay_here_when_nobody_asks_for_them() {
    let registry = Registry::plain();
    registry.image("app", "latest", &[]);
    assert_eq!(check(&registry, CANARY).code, Some(0));
    assert!(registry.seen().iter().all(|seen| seen.authorization.is_none()));
}

#[test]
fn basic_challenge_is_answered_on_the_requests_after_it() {
    let registry = Registry::plain().with_login(Login::Basic("bob", CANARY));
    registry.image("app", "latest", &[]);
    assert_eq!(check(&registry, CANARY).code, Some(0));
    let seen = registry.seen();
    assert_eq!(seen.iter().map(|seen| seen.line.as_str()).collect::<Vec<_>>(), ["GET /v2/", HEAD]);
    assert!(seen[0].authorization.is_none());
    assert!(seen[1].authorization.as_ref().unwrap().starts_with("Basic "));
}

#[test]
fn bearer_challenge_costs_one_token_request() {
    let registry = Registry::plain().with_login(Login::Bearer("bob", CANARY));
    registry.image("app", "latest", &[]);
    assert_eq!(check(&registry, CANARY).code, Some(0));
    let seen = registry.seen();
    let lines: Vec<_> = seen.iter().map(|seen| seen.line.as_str()).collect();
    assert_eq!(lines, ["GET /v2/", "GET /token?scope=repository%3Aapp%3Apull&service=registry", HEAD]);
    assert!(seen[1].authorization.as_ref().unwrap().starts_with("Basic "));
    assert_eq!(seen[2].authorization.as_deref(), Some("Bearer token-0"));
}

#[test]
fn token_is_fetched_without_credentials_too() {
    let registry = Registry::plain().with_login(Login::Anonymous);
    registry.image("app", "latest", &[]);
    assert_eq!(anonymous(&registry).code, Some(0));
    assert!(registry.seen()[1].authorization.is_none());
}

#[test]
fn expired_token_is_renewed_once() {
    let registry = Registry::plain().with_login(Login::Anonymous);
    registry.image("app", "latest", &[]);
    let challenge = format!(
        "Bearer realm=\"http://{}/token\",scope=\"repository:app:pull registry:catalog:*\"",
        registry.host()
    );
    registry.fault(HEAD, Fault::Answer(401, vec![("www-authenticate", challenge)], String::new()));
    // The token has to differ for the request to be worth repeating.
    registry.fault("GET /token", Fault::Body("{\"token\": \"token-old\"}".to_owned()));
    let outcome = anonymous(&registry);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let lines: Vec<_> = registry.seen().into_iter().map(|seen| seen.line).collect();
    let second = "GET /token?scope=registry%3Acatalog%3A*&scope=repository%3Aapp%3Apull";
    assert_eq!(
        lines,
        ["GET /v2/", "GET /token?scope=repository%3Aapp%3Apull&service=registry", HEAD, second, HEAD]
    );
}

#[test]
fn registry_that_challenges_late_is_answered_late() {
    let registry = Registry::plain().with_login(Login::Basic("bob", CANARY));
    registry.image("app", "latest", &[]);
    registry.fault("GET /v2/", Fault::status(200));
    assert_eq!(check(&registry, CANARY).code, Some(0));
    assert_eq!(registry.requests(), ["GET /v2/", HEAD, HEAD]);
}

#[test]
fn wrong_password_is_one_line_and_a_hint() {
    let registry = Registry::plain().with_login(Login::Bearer("bob", "right"));
    assert_snapshot!(check(&registry, CANARY), @r"
    exit 1
    --- stderr
    error: GET http://[HOST]/token: 401 UNAUTHORIZED: incorrect username or password
    hint: check `username` and `password`, and the name of the repository
    ");
    let registry = Registry::plain().with_login(Login::Basic("bob", "right"));
    assert_snapshot!(check(&registry, CANARY), @r"
    exit 1
    --- stderr
    error: HEAD http://[HOST]/v2/app/manifests/latest: 401 Unauthorized
    hint: check `username` and `password`, and the name of the repository
    ");
}

#[test]
fn token_server_on_another_private_address_is_not_asked() {
    let registry = Registry::plain().with_login(Login::Anonymous).with_realm("http://10.1.2.3/token");
    assert_snapshot!(anonymous(&registry), @r"
    exit 1
    --- stderr
    error: the registry asks for a token from `http://10.1.2.3/token`, which is a private address and not the registry's own
    ");
}

#[test]
fn useless_token_servers_are_one_line() {
    for (body, part) in
        [("<html>", "is not JSON"), ("{}", "has no token"), ("{\"token\": \"a\\nb\"}", "cannot be sent")]
    {
        let registry = Registry::plain().with_login(Login::Anonymous);
        registry.fault("GET /token", Fault::Body(body.to_owned()));
        let outcome = anonymous(&registry);
        assert_eq!(outcome.code, Some(1));
        assert!(outcome.stderr.starts_with("error: GET http://[HOST]/token: the token"), "{outcome}");
        assert!(outcome.stderr.contains(part) && outcome.stderr.lines().count() <= 2, "{outcome}");
    }
}

#[test]
fn password_is_in_no_output_whatever_fails() {
    let echo = || Fault::refusal(401, "UNAUTHORIZED", &format!("no user bob with password {CANARY}"));
    let encoded = "Ym9iOmNhbmFyeS03ZjNhLWRvLW5vdC1wcmludA==";
    let faults: Vec<(&str, Fault)> = vec![
        ("GET /v2/", Fault::status(404)),
        ("GET /v2/", Fault::refusal(403, "DENIED", &format!("you sent Basic {encoded}"))),
        ("GET /token", echo()),
        ("GET /token", Fault::status(500)),
        ("GET /token", Fault::Body("{".to_owned())),
        ("GET /token", Fault::Close),
        ("HEAD /v2/app", Fault::wait(429, "9999")),
        ("HEAD /v2/app", Fault::Header("docker-content-digest", Some("x".to_owned()))),
        ("HEAD /v2/app", Fault::Header("docker-content-digest", None)),
        ("GET /v2/app", Fault::refusal(400, "BAD", &format!("what is {CANARY} or token-0?"))),
    ];
    let registry = Registry::plain().with_login(Login::Bearer("bob", CANARY));
    registry.image("app", "latest", &[]);
    for (line, fault) in faults {
        registry.fault(line, fault);
        let source = json!({
            "repository": registry.repository("app"), "tag": "latest", "username": "bob", "password": CANARY, "debug": true,
        });
        let outcome = run(&registry, &source).to_string();
        assert!(outcome.contains("/v2/"), "{outcome}");
        assert!(!outcome.contains(CANARY) && !outcome.contains(encoded), "{outcome}");
        assert!(!outcome.contains("token-0"), "{outcome}");
    }
}

#[test]
fn password_in_the_wrong_place_is_not_repeated() {
    for source in [
        json!({"repository": format!("https://bob:{CANARY}@registry.example/app")}),
        json!({"repository": "app", "password": [CANARY]}),
        json!({"repository": "app", "password": {"a": CANARY}}),
        json!({"repository": "app", "password": CANARY, "pasword": CANARY}),
    ] {
        let outcome = run(&Registry::plain(), &source);
        assert_eq!(outcome.code, Some(1), "{outcome}");
        assert!(!outcome.to_string().contains(CANARY), "{outcome}");
    }
}
