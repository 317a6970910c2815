//! The three ways to a cluster, and what is said when one does not lead there.

use serde_json::{Value, json};

use crate::support::apiserver::{ApiServer, TOKEN, kubeconfig};
use crate::support::shop;
use crate::support::toolkit::{Outcome, Toolkit};

fn check(toolkit: &Toolkit, source: &Value) -> Outcome {
    toolkit.step("rollout", "check", None, &json!({"source": source}).to_string())
}

fn error(outcome: &Outcome) -> String {
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""), "{outcome}");
    assert!(!outcome.stderr.contains("canary"), "{outcome}");
    outcome.stderr.clone()
}

#[test]
fn kubeconfig_as_text_and_as_mapping_lead_to_the_same_place() {
    let server = ApiServer::start_tls().with_token();
    shop::fill(&server, 'a');
    let text = kubeconfig(&server, TOKEN);
    let mapping = json!({
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "this", "user": "me", "namespace": "shop"}}],
        "clusters": [{"name": "this", "cluster": {"server": server.url(), "insecure-skip-tls-verify": true}}],
        "users": [{"name": "me", "user": {"token": TOKEN}}],
    });
    for kubeconfig in [json!(text), mapping] {
        let outcome = check(&Toolkit::new(), &json!({"kubeconfig": kubeconfig, "deployment": "app"}));
        assert_eq!(outcome.json()[0]["digest"], json!(shop::digest('a')), "{outcome}");
    }
}

#[test]
fn server_with_token_and_certificate_needs_no_kubeconfig() {
    let server = ApiServer::start_tls().with_token();
    shop::fill(&server, 'a');
    let source = json!({"server": server.url(), "token": format!("{TOKEN}\n"), "namespace": "shop",
        "certificate_authority": server.certificate(), "deployment": "app", "context": ""});
    let outcome = check(&Toolkit::new(), &source);
    assert_eq!(outcome.json()[0]["revision"], json!("4"), "{outcome}");
}

#[test]
fn certificate_that_nobody_vouches_for_is_refused_unless_told_otherwise() {
    let server = ApiServer::start_tls().with_token();
    shop::fill(&server, 'a');
    let other = ApiServer::start_tls();
    let mut source = json!({"server": server.url(), "token": TOKEN, "namespace": "shop",
        "certificate_authority": other.certificate(), "deployment": "app"});
    let said = error(&check(&Toolkit::new(), &source));
    assert!(said.contains("its certificate is signed by another authority of the same name"), "{said}");
    assert!(said.contains("hint: set `certificate_authority`"), "{said}");
    source["insecure_skip_tls_verify"] = json!("true");
    assert_eq!(check(&Toolkit::new(), &source).code, Some(0));
}

#[test]
fn token_that_is_not_accepted_is_named_as_the_reason() {
    let server = ApiServer::start().with_token();
    let kubeconfig = kubeconfig(&server, "canary-of-another-cluster");
    let said = error(&check(&Toolkit::new(), &json!({"kubeconfig": kubeconfig, "deployment": "app"})));
    assert!(said.contains("does not accept the credentials: 401 Unauthorized"), "{said}");
    assert!(said.contains("hint: the token or certificate has expired"), "{said}");
}

#[test]
fn proxy_of_the_environment_is_used_unless_the_cluster_is_exempted() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    let source = json!({"server": server.url(), "token": TOKEN, "namespace": "shop", "deployment": "app"});
    // Nothing listens on port 9, so going through it shows.
    let proxied = Toolkit::new().variable("http_proxy", "http://127.0.0.1:9");
    assert!(error(&check(&proxied, &source)).contains("connection refused"));
    let exempted = proxied.variable("no_proxy", "127.0.0.0/8").variable("https_proxy", "http://127.0.0.1:9");
    assert_eq!(check(&exempted, &source).code, Some(0));
}

#[test]
fn credential_plugin_gives_the_token_and_never_reads_the_request() {
    let server = ApiServer::start().with_token();
    shop::fill(&server, 'a');
    let toolkit = Toolkit::new();
    let credential = format!(
        r#"{{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {{"token": "{TOKEN}"}}}}"#
    );
    let plugin =
        toolkit.script("plugin", &format!("test -z \"$(cat)\" || exit 3\ncat <<'X'\n{credential}\nX"));
    let source = |command: &str| {
        json!({"deployment": "app", "kubeconfig": {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "shop"}}],
            "clusters": [{"name": "k", "cluster": {"server": server.url()}}],
            "users": [{"name": "u", "user": {"exec": {"apiVersion": "client.authentication.k8s.io/v1",
                "command": command, "interactiveMode": "Always"}}}],
        }})
    };
    let outcome = check(&toolkit, &source(plugin.to_str().unwrap()));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let said = error(&check(&toolkit, &source("aws-iam-authenticator")));
    assert!(said.contains("its command cannot be run here"), "{said}");
    assert!(said.contains("hint: use a user with a token or a client certificate"), "{said}");
    let failing = toolkit.script("failing", "echo canary; echo canary >&2; exit 4");
    let said = error(&check(&toolkit, &source(failing.to_str().unwrap())));
    assert!(said.contains("its command ended with exit status: 4"), "{said}");
}

#[test]
fn overloaded_server_is_asked_again() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    server.script(axum::http::Method::GET, shop::DEPLOYMENT, (429, "TooManyRequests", "slow down"), 2);
    let source = json!({"server": server.url(), "token": TOKEN, "namespace": "shop", "deployment": "app"});
    let outcome = check(&Toolkit::new(), &source);
    assert_eq!(outcome.code, Some(0), "{outcome}");
}
