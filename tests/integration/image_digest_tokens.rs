//! Tokens and how they are renewed; docker config.json and its identity tokens; scopes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rollway::log::Log;
use rollway::registry::{Access, Client, Scope};
use serde_json::{Value, json};

use crate::support::registry::{Fault, Login, Registry};
use crate::support::tokens::Tokens;
use crate::support::toolkit::{Outcome, Toolkit};

const HEAD: &str = "HEAD /v2/app/manifests/latest";
const GOOD: &str = r#"{"token": "token-0"}"#;
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

fn check(registry: &Registry, keys: &Value) -> Outcome {
    let mut source = keys.clone();
    source["repository"] = json!(registry.repository("app"));
    source["tag"] = json!("latest");
    let toolkit = Toolkit::new().filter(&registry.host(), "[HOST]");
    toolkit.step("image-digest", "check", None, &json!({"source": source}).to_string())
}

/// Returns a registry that takes the token `token-0`, which `tokens` gives out.
fn registry(tokens: &Tokens) -> Registry {
    let registry = Registry::plain().with_login(Login::Anonymous).with_realm(&tokens.realm());
    registry.image("app", "latest", &[]);
    registry
}

/// Returns the keys with a docker config.json that has this entry for the registry.
fn config(registry: &Registry, entry: &Value) -> Value {
    json!({"docker_config": {"auths": {registry.host(): entry}}})
}

fn basic(user: &str, password: &str) -> Option<String> {
    Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

#[test]
fn identity_token_is_exchanged_with_a_post() {
    let tokens = Tokens::new().answer("POST", 200, r#"{"access_token": "token-0", "expires_in": 3600}"#);
    let registry = registry(&tokens);
    let outcome =
        check(&registry, &config(&registry, &json!({"auth": "Ym9iOg==", "identitytoken": "idt&x"})));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let asked = tokens.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].authorization, None);
    assert_eq!(
        asked[0].fields,
        "grant_type=refresh_token&client_id=rollway&scope=repository%3Aapp%3Apull&refresh_token=idt%26x&service=registry"
    );
}

#[test]
fn token_server_without_post_gets_the_identity_token_as_a_password() {
    for status in [404, 405, 501] {
        let tokens = Tokens::new().answer("POST", status, "").answer("GET", 200, GOOD);
        let registry = registry(&tokens);
        let outcome = check(&registry, &config(&registry, &json!({"identitytoken": "idt"})));
        assert_eq!(outcome.code, Some(0), "{outcome}");
        let asked = tokens.asked();
        assert_eq!(asked.iter().map(|asked| asked.method.as_str()).collect::<Vec<_>>(), ["POST", "GET"]);
        assert_eq!(asked[1].authorization, basic(NOBODY, "idt"));
    }
}

#[test]
fn identity_token_that_is_refused_is_said_and_not_shown() {
    let tokens =
        Tokens::new().answer("POST", 401, r#"{"errors": [{"code": "NO", "message": "not idt-canary"}]}"#);
    let registry = registry(&tokens);
    let outcome = check(&registry, &config(&registry, &json!({"identitytoken": "idt-canary"})));
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("/token: 401 NO: not ***"), "{outcome}");
    assert_eq!(tokens.asked().len(), 1);
}

#[test]
fn form_with_a_token_follows_no_redirect() {
    let tokens = Tokens::new().answer("POST", 307, "");
    let registry = registry(&tokens);
    let outcome = check(&registry, &config(&registry, &json!({"identitytoken": "idt"})));
    assert!(outcome.stderr.contains("/token: 307 Temporary Redirect"), "{outcome}");
    assert_eq!(tokens.asked().len(), 1);
}

#[test]
fn registry_token_is_sent_as_it_is() {
    let tokens = Tokens::new();
    let registry = registry(&tokens);
    let outcome = check(&registry, &config(&registry, &json!({"registrytoken": "token-0"})));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(tokens.asked().is_empty());
    assert_eq!(registry.seen()[1].authorization.as_deref(), Some("Bearer token-0"));
}

#[test]
fn docker_config_may_be_text_and_may_have_a_password() {
    let registry = Registry::plain().with_login(Login::Basic("bob", "pw"));
    registry.image("app", "latest", &[]);
    let text =
        json!({"auths": {format!("http://{}/v2/", registry.host()): {"auth": "Ym9iOnB3"}}}).to_string();
    let outcome = check(&registry, &json!({"docker_config": text}));
    assert_eq!(outcome.code, Some(0), "{outcome}");
}

#[test]
fn docker_config_that_does_not_help_is_one_clear_line() {
    let registry = Registry::plain();
    for (keys, error, hint) in [
        (
            json!({"docker_config": {"auths": {"ghcr.io": {"auth": "Ym9iOnB3"}}}}),
            "error: `docker_config` has no credentials for `[HOST]`\n",
            "hint: its `auths` has ghcr.io\n",
        ),
        (
            json!({"docker_config": "{}"}),
            "error: `docker_config` has no credentials",
            "hint: its `auths` is empty\n",
        ),
        (json!({"docker_config": "canary"}), "error: `docker_config` is not a docker config.json", ""),
        (
            json!({"docker_config": {"credHelpers": {registry.host(): "ecr-login"}}}),
            "error: `docker_config` names the credential helper `ecr-login` for `[HOST]`, and there is none here\n",
            "",
        ),
        (
            json!({"docker_config": {"auths": {}}, "username": "a", "password": "b"}),
            "error: `username` and `docker_config` are both set, and only one of them can count\n",
            "",
        ),
        (
            json!({"docker_config": 7}),
            "error: `source.docker_config`: expected an object, or the text of one",
            "",
        ),
    ] {
        let outcome = check(&registry, &keys);
        assert_eq!(outcome.code, Some(1), "{outcome}");
        assert!(outcome.stderr.contains(error) && outcome.stderr.contains(hint), "{outcome}");
        assert!(outcome.stderr.lines().count() <= 2 && !outcome.stderr.contains("canary"), "{outcome}");
    }
    assert!(registry.requests().is_empty());
}

fn client(registry: &Registry, keys: &Value) -> Client {
    let access: Access = serde_json::from_value(keys.clone()).unwrap();
    Client::connect(&registry.repository("app"), &access, &Log::to(std::io::sink())).unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn token_is_renewed_before_it_ends_and_with_what_the_server_gave_for_that() {
    let first = r#"{"token": "token-0", "expires_in": 1, "refresh_token": "again"}"#;
    let tokens = Tokens::new().answer("GET", 200, first).answer("POST", 200, GOOD);
    let registry = registry(&tokens);
    let client = client(&registry, &json!({"username": "bob", "password": "pw"}));
    runtime().block_on(async {
        client.head("latest").await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(1000)).await;
        client.head("latest").await.unwrap();
    });
    let asked = tokens.asked();
    assert_eq!(asked.iter().map(|asked| asked.method.as_str()).collect::<Vec<_>>(), ["GET", "POST"]);
    assert_eq!(asked[0].authorization, basic("bob", "pw"));
    assert!(asked[1].fields.contains("refresh_token=again"), "{asked:?}");
    // The registry never had to say no.
    assert_eq!(registry.requests(), ["GET /v2/", HEAD, HEAD]);
}

#[test]
fn refresh_token_that_is_not_taken_gives_way_to_the_password() {
    let first = r#"{"token": "token-old", "refresh_token": "again"}"#;
    let tokens = Tokens::new().answer("GET", 200, first).answer("POST", 400, "").answer("GET", 200, GOOD);
    let registry = registry(&tokens);
    let outcome = check(&registry, &json!({"username": "bob", "password": "pw"}));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let asked = tokens.asked();
    assert_eq!(asked.iter().map(|asked| asked.method.as_str()).collect::<Vec<_>>(), ["GET", "POST", "GET"]);
    assert_eq!(asked[2].authorization, basic("bob", "pw"));
}

#[test]
fn client_that_writes_asks_for_the_right_to_and_keeps_what_was_demanded() {
    let tokens = Tokens::new().answer("GET", 200, r#"{"token": "old"}"#).answer("GET", 200, GOOD);
    let registry = registry(&tokens);
    let challenge =
        format!("Bearer realm=\"{}\",scope=\"repository:app:delete registry:catalog:*\"", tokens.realm());
    registry.fault(HEAD, Fault::Answer(401, vec![("www-authenticate", challenge)], String::new()));
    let client = client(&registry, &json!({}))
        .with_scope(&Scope::Push)
        .with_scope(&Scope::PullFrom("team/base".to_owned()));
    runtime().block_on(client.head("latest")).unwrap();
    let asked = tokens.asked();
    let scopes =
        |asked: &str| asked.replace("%3A", ":").replace("%2C", ",").replace("%2F", "/").replace("%2A", "*");
    assert_eq!(
        scopes(&asked[0].fields),
        "scope=repository:app:pull,push&scope=repository:team/base:pull&service=registry"
    );
    assert_eq!(
        scopes(&asked[1].fields),
        "scope=registry:catalog:*&scope=repository:app:delete,pull,push&scope=repository:team/base:pull"
    );
}

#[test]
fn token_server_that_is_down_for_a_moment_is_asked_again() {
    for status in [429, 500, 503] {
        let tokens = Tokens::new().answer("GET", status, "").answer("GET", 200, GOOD);
        let registry = registry(&tokens);
        let outcome = check(&registry, &json!({}));
        assert_eq!(outcome.code, Some(0), "{outcome}");
        assert!(outcome.stderr.starts_with("retrying in "), "{outcome}");
        assert_eq!(tokens.asked().len(), 2);
    }
}

#[test]
fn login_does_not_wait_for_the_turn_of_the_request_that_needs_it() {
    let tokens = Tokens::new().answer("GET", 200, r#"{"token": "old"}"#).answer("GET", 200, GOOD);
    let registry = registry(&tokens);
    let outcome = check(&registry, &json!({"max_parallel": 1, "max_requests_per_second": 100}));
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{outcome}");
    for key in ["max_parallel", "max_requests_per_second"] {
        let outcome = check(&registry, &json!({key: 0}));
        assert!(
            outcome.stderr.contains(&format!("`source.{key}`: expected a whole number above 0")),
            "{outcome}"
        );
    }
}
