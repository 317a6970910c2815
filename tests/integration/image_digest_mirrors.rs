//! Mirrors are asked first, and no name of theirs gets out.

use serde_json::{Value, json};

use crate::support::registry::{Fault, Login, Registry};
use crate::support::toolkit::{Outcome, Toolkit};

const HEAD: &str = "HEAD /v2/app/manifests/latest";

fn source(origin: &Registry, mirror: &Registry) -> Value {
    json!({
        "repository": origin.repository("app"), "tag": "latest", "username": "bob", "password": "canary-origin",
        "registry_mirrors": [{"registry": origin.host(), "host": mirror.host()}],
    })
}

fn check(source: &Value) -> Outcome {
    Toolkit::new().step("image-digest", "check", None, &json!({"source": source}).to_string())
}

#[test]
fn mirror_that_has_the_tag_is_all_that_is_asked() {
    let (origin, mirror) = (Registry::plain(), Registry::plain());
    origin.image("app", "latest", &[("from", "origin")]);
    let digest = mirror.image("app", "latest", &[("from", "mirror")]);
    let outcome = check(&source(&origin, &mirror));
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{outcome}");
    assert_eq!(outcome.json(), json!([{"tag": "latest", "digest": digest}]));
    assert_eq!(mirror.requests(), ["GET /v2/", HEAD]);
    assert!(origin.requests().is_empty());
}

#[test]
fn mirror_without_the_tag_or_out_of_order_is_a_warning() {
    for (fault, why) in [
        (None, "has nothing"),
        (Some(Fault::status(403)), "failed: HEAD http://"),
        (Some(Fault::wait(429, "3600")), "failed: the registry asks to wait 3600 s"),
    ] {
        let (origin, mirror) = (Registry::plain(), Registry::plain());
        let digest = origin.image("app", "latest", &[]);
        if let Some(fault) = fault {
            mirror.fault(HEAD, fault);
        }
        let outcome = check(&source(&origin, &mirror));
        assert_eq!(outcome.json(), json!([{"tag": "latest", "digest": digest}]), "{outcome}");
        let warning =
            format!("warning: the next place is asked, because the mirror `{}` {why}", mirror.host());
        assert!(outcome.stderr.starts_with(&warning), "{outcome}");
    }
}

#[test]
fn mirror_never_sees_the_origins_password() {
    let origin = Registry::plain().with_login(Login::Basic("bob", "canary-origin"));
    let mirror = Registry::plain().with_login(Login::Basic("alice", "canary-mirror"));
    origin.image("app", "latest", &[]);
    mirror.image("app", "latest", &[]);
    let mut source = source(&origin, &mirror);
    let outcome = check(&source);
    assert!(outcome.stderr.contains("401"), "{outcome}");
    assert!(mirror.seen().iter().all(|seen| seen.authorization.is_none()));
    source["registry_mirrors"][0]["username"] = json!("alice");
    source["registry_mirrors"][0]["password"] = json!("canary-mirror");
    origin.requests();
    let outcome = check(&source);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{outcome}");
    assert!(origin.requests().is_empty());
}

#[test]
fn docker_config_goes_along_where_it_speaks_of_the_mirror() {
    let origin = Registry::plain();
    let mirror = Registry::plain().with_login(Login::Basic("alice", "canary-mirror"));
    mirror.image("app", "latest", &[]);
    let auths = json!({
        origin.host(): {"username": "bob", "password": "canary-origin"},
        mirror.host(): {"username": "alice", "password": "canary-mirror"},
    });
    let source = json!({
        "repository": origin.repository("app"), "tag": "latest", "docker_config": {"auths": auths},
        "registry_mirrors": [{"registry": origin.host(), "host": mirror.host()}],
    });
    let outcome = check(&source);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{outcome}");
}

#[test]
fn files_name_the_origin_whoever_answered() {
    let (origin, mirror) = (Registry::plain(), Registry::plain());
    let digest = mirror.image("proxy/app", "latest", &[]);
    let toolkit = Toolkit::new();
    let directory = toolkit.folder("get");
    let source = json!({
        "repository": origin.repository("app"),
        "registry_mirrors": [{"registry": origin.host(), "host": format!("{}/proxy", mirror.host())}],
    });
    let request = json!({"source": source, "version": {"tag": "latest", "digest": digest},
        "params": {"skip_download": true}});
    let outcome = toolkit.step("image-digest", "in", Some(&directory), &request.to_string());
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(origin.requests().is_empty());
    let named = std::fs::read_to_string(directory.join("repository")).unwrap();
    assert_eq!(named, origin.repository("app"));
    assert!(!outcome.stdout.contains(&mirror.host()), "{outcome}");
}

#[test]
fn hubs_mirror_is_asked_for_hubs_images() {
    let mirror = Registry::plain();
    mirror.image("library/busybox", "latest", &[]);
    let source = |repository: &str| json!({"repository": repository, "tag": "latest", "registry_mirror": {"host": mirror.host()}});
    let outcome = check(&source("busybox"));
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{outcome}");
    assert_eq!(mirror.requests(), ["GET /v2/", "HEAD /v2/library/busybox/manifests/latest"]);
    let other = Registry::plain();
    other.image("app", "latest", &[]);
    assert_eq!(check(&source(&other.repository("app"))).code, Some(0));
    assert!(mirror.requests().is_empty());
}

#[test]
fn mirror_that_is_none_is_one_clear_line() {
    for (keys, error) in [
        (
            json!({"registry_mirror": {"host": "https://m.io"}}),
            "`registry_mirror.host` is `https://m.io`, which is no host",
        ),
        (
            json!({"registry_mirrors": [{"host": "m.io"}]}),
            "`registry_mirrors[0]` needs both `registry` and `host`",
        ),
        (
            json!({"registry_mirror": {"hots": "m.io"}}),
            "`source.registry_mirror.hots`: unknown key; did you mean `host`?",
        ),
    ] {
        let mut source = keys.clone();
        source["repository"] = json!("busybox");
        let outcome = check(&source);
        assert_eq!(outcome.code, Some(1), "{outcome}");
        assert!(outcome.stderr.starts_with(&format!("error: {error}")), "{outcome}");
    }
}

#[test]
fn mirror_that_is_sick_is_left_for_the_origin_and_the_cause_is_told() {
    let (origin, mirror) = (Registry::plain(), Registry::plain());
    let digest = origin.image("app", "latest", &[]);
    mirror.fault(HEAD, Fault::wait(503, "30"));
    let outcome = check(&source(&origin, &mirror));
    assert_eq!(outcome.json(), json!([{"tag": "latest", "digest": digest}]), "{outcome}");
    // The origin would be waited for so long.
    assert!(outcome.stderr.contains("failed: the registry asks to wait 30 s"), "{outcome}");
    assert!(outcome.stderr.contains("/v2/app/manifests/latest: 503 Service Unavailable"), "{outcome}");
}

#[test]
fn mirror_is_not_shown_the_origins_certificate() {
    let origin = Registry::plain();
    let digest = origin.image("app", "latest", &[]);
    let mirror = Registry::mutual_tls();
    mirror.image("app", "latest", &[]);
    let (cert, key) = mirror.client();
    let mut source = source(&origin, &mirror);
    source["ca_certs"] = json!([mirror.ca()]);
    source["client_cert"] = json!(cert);
    source["client_key"] = json!(key);
    let outcome = check(&source);
    assert_eq!(outcome.json(), json!([{"tag": "latest", "digest": digest}]), "{outcome}");
    assert!(outcome.stderr.contains("CertificateRequired"), "{outcome}");
    assert!(mirror.requests().is_empty());
}
