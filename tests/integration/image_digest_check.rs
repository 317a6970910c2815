//! `image-digest check` on one tag: which versions, and at the price of which requests.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::support::registry::{Fault, Registry, digest};
use crate::support::toolkit::{Outcome, Toolkit};

const PING: &str = "GET /v2/";
const HEAD: &str = "HEAD /v2/app/manifests/latest";
const GET: &str = "GET /v2/app/manifests/latest";

fn check(request: &Value) -> Outcome {
    Toolkit::new().step("image-digest", "check", None, &request.to_string())
}

fn request(registry: &Registry) -> Value {
    json!({"source": {"repository": registry.repository("app"), "tag": "latest"}})
}

fn since(registry: &Registry, version: Value) -> Value {
    json!({"source": {"repository": registry.repository("app"), "tag": "latest"}, "version": version})
}

fn version(digest: &str) -> Value {
    json!({"tag": "latest", "digest": digest})
}

#[test]
fn first_check_returns_what_the_tag_points_at() {
    let registry = Registry::plain();
    let digest = registry.image("app", "latest", &[]);
    assert_eq!(check(&request(&registry)).json(), json!([version(&digest)]));
    assert_eq!(registry.requests(), [PING, HEAD]);
}

#[test]
fn null_as_a_cursor_is_no_cursor() {
    let registry = Registry::plain();
    let digest = registry.image("app", "latest", &[]);
    assert_eq!(check(&since(&registry, Value::Null)).json(), json!([version(&digest)]));
}

#[test]
fn unchanged_tag_costs_one_ping_and_one_head() {
    let registry = Registry::plain();
    let digest = registry.image("app", "latest", &[]);
    let outcome = check(&since(&registry, version(&digest)));
    assert_eq!(outcome.json(), json!([version(&digest)]));
    assert_eq!(outcome.stderr, "");
    assert_eq!(registry.requests(), [PING, HEAD]);
}

#[test]
fn moved_tag_is_a_new_version_after_the_old_one() {
    let registry = Registry::plain();
    let old = registry.image("app", "latest", &[("build", "1")]);
    let new = registry.image("app", "latest", &[("build", "2")]);
    assert_eq!(check(&since(&registry, version(&old))).json(), json!([version(&old), version(&new)]));
    assert_eq!(registry.requests(), [PING, HEAD, &format!("HEAD /v2/app/manifests/{old}")]);
}

#[test]
fn old_version_that_is_gone_is_left_out() {
    let registry = Registry::plain();
    let old = registry.image("app", "latest", &[("build", "1")]);
    let new = registry.image("app", "latest", &[("build", "2")]);
    registry.forget("app", &old);
    assert_eq!(check(&since(&registry, version(&old))).json(), json!([version(&new)]));
}

#[test]
fn missing_tag_is_no_version_and_a_warning() {
    let registry = Registry::plain();
    let cursor = registry.image("app", "other", &[]);
    for request in [request(&registry), since(&registry, version(&cursor))] {
        let outcome = check(&request);
        assert_eq!((outcome.code, outcome.json()), (Some(0), json!([])));
        let name = registry.repository("app");
        let wanted =
            format!("warning: `{name}:latest` is not in the registry, so there is no version of it (yet)\n");
        assert_eq!(outcome.stderr, wanted);
        assert_eq!(registry.requests(), [PING, HEAD]);
    }
}

#[test]
fn cursor_without_a_tag_means_the_sources() {
    let registry = Registry::plain();
    let old = registry.image("app", "latest", &[("build", "1")]);
    let new = registry.image("app", "latest", &[("build", "2")]);
    let outcome = check(&since(&registry, json!({"digest": old})));
    assert_eq!(outcome.json(), json!([version(&old), version(&new)]));
}

#[test]
fn cursor_without_a_usable_digest_costs_nothing() {
    let registry = Registry::plain();
    let digest = registry.image("app", "latest", &[]);
    for broken in [json!({"tag": "latest"}), version(""), version("sha256:beef"), version("latest")] {
        assert_eq!(check(&since(&registry, broken)).json(), json!([version(&digest)]));
        assert_eq!(registry.requests(), [PING, HEAD]);
    }
}

#[test]
fn number_is_a_tag() {
    let registry = Registry::plain();
    let digest = registry.image("app", "1.5", &[]);
    let request = json!({"source": {"repository": registry.repository("app"), "tag": 1.5}});
    assert_eq!(check(&request).json(), json!([{"tag": "1.5", "digest": digest}]));
}

#[test]
fn head_that_says_too_little_is_followed_by_a_get() {
    for fault in [
        Fault::Header("docker-content-digest", None),
        Fault::Header("docker-content-digest", Some("sha256:beef".to_owned())),
        Fault::Header("content-type", None),
        Fault::status(405),
    ] {
        let registry = Registry::plain();
        let digest = registry.image("app", "latest", &[]);
        registry.fault(HEAD, fault);
        assert_eq!(check(&request(&registry)).json(), json!([version(&digest)]));
        assert_eq!(registry.requests(), [PING, HEAD, GET]);
    }
}

#[test]
fn content_of_an_unknown_type_has_a_digest_too() {
    let registry = Registry::plain();
    registry.manifest("app", "latest", "text/plain", "hello");
    registry.fault(HEAD, Fault::Header("docker-content-digest", None));
    assert_eq!(check(&request(&registry)).json(), json!([version(&digest(b"hello"))]));
}

#[test]
fn https_is_spoken_where_the_ca_is_given() {
    let registry = Registry::tls();
    let digest = registry.image("app", "latest", &[]);
    let request = json!({"source": {"repository": registry.repository("app"), "tag": "latest", "ca_certs": [registry.ca()]}});
    assert_eq!(check(&request).json(), json!([version(&digest)]));
    assert_eq!(registry.requests(), [PING, HEAD]);
}

#[test]
fn unknown_ca_is_named_as_the_reason() {
    let registry = Registry::tls();
    let outcome = Toolkit::new().filter(&registry.host(), "[HOST]").step(
        "image-digest",
        "check",
        None,
        &json!({"source": {"repository": registry.repository("app"), "tag": "latest", "insecure": true}})
            .to_string(),
    );
    assert_snapshot!(outcome, @r"
    exit 1
    --- stderr
    error: GET https://[HOST]/v2/: invalid peer certificate: UnknownIssuer
    hint: give the certificate of the registry's CA in `ca_certs`, or mount the system's into the worker
    ");
}

#[test]
fn debug_shows_each_request() {
    let registry = Registry::plain();
    registry.image("app", "latest", &[]);
    let request =
        json!({"source": {"repository": registry.repository("app"), "tag": "latest", "debug": true}});
    let outcome = check(&request);
    let host = registry.host();
    assert!(outcome.stderr.contains(&format!("GET http://{host}/v2/: 200 OK\n")), "{outcome}");
    assert!(
        outcome.stderr.contains(&format!("HEAD http://{host}/v2/app/manifests/latest: 200 OK\n")),
        "{outcome}"
    );
}

#[test]
fn system_trust_is_read_at_run_time() {
    let registry = Registry::tls();
    let digest = registry.image("app", "latest", &[]);
    let toolkit = Toolkit::new();
    let store = toolkit.file("ca-certificates.crt", registry.ca());
    let run = toolkit.binary("image-digest").arg("check").variable("SSL_CERT_FILE", store.to_str().unwrap());
    let outcome = run.stdin(request(&registry).to_string()).run();
    assert_eq!(outcome.json(), json!([version(&digest)]), "{outcome}");
}

#[test]
fn plain_http_needs_no_trusted_certificate() {
    let registry = Registry::plain();
    let digest = registry.image("app", "latest", &[]);
    let toolkit = Toolkit::new();
    let run = toolkit.binary("image-digest").arg("check").variable("SSL_CERT_FILE", "/nowhere");
    let outcome = run.stdin(request(&registry).to_string()).run();
    assert_eq!(outcome.json(), json!([version(&digest)]), "{outcome}");
}

#[test]
fn lower_case_proxy_variables_are_obeyed() {
    let proxy = Registry::plain();
    let digest = proxy.image("app", "latest", &[]);
    let toolkit = Toolkit::new()
        .variable("https_proxy", "http://127.0.0.1:1")
        .variable("http_proxy", &format!("http://{}", proxy.host()));
    let request = json!({"source": {"repository": "registry.local/app", "tag": "latest"}});
    let outcome = toolkit.step("image-digest", "check", None, &request.to_string());
    assert_eq!(outcome.json(), json!([version(&digest)]), "{outcome}");
    let head = "HEAD http://registry.local/v2/app/manifests/latest";
    assert_eq!(proxy.requests(), ["GET http://registry.local/v2/", head]);
}
