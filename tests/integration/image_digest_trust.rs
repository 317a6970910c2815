//! Who a registry is, who we are to it, and where it may send us.

use rollway::image::Digest;
use rollway::log::Log;
use rollway::registry::{Access, Client};
use serde_json::{Value, json};

use crate::support::registry::{Fault, Login, Registry};
use crate::support::toolkit::{Outcome, Toolkit};

fn check(registry: &Registry, keys: &Value) -> Outcome {
    let mut source = keys.clone();
    source["repository"] = json!(registry.repository("app"));
    source["tag"] = json!("latest");
    let toolkit = Toolkit::new().filter(&registry.host(), "[HOST]");
    toolkit.step("image-digest", "check", None, &json!({"source": source}).to_string())
}

#[test]
fn any_certificate_is_taken_only_when_that_is_asked_for() {
    let registry = Registry::tls();
    registry.image("app", "latest", &[]);
    for keys in [json!({}), json!({"insecure": true}), json!({"skip_tls_verify": false})] {
        let outcome = check(&registry, &keys);
        assert_eq!(outcome.code, Some(1), "{outcome}");
        assert!(outcome.stderr.contains("invalid peer certificate"), "{outcome}");
    }
    assert_eq!(check(&registry, &json!({"skip_tls_verify": true})).code, Some(0));
}

#[test]
fn registry_that_wants_a_certificate_gets_the_sources() {
    let registry = Registry::mutual_tls();
    registry.image("app", "latest", &[]);
    let (cert, key) = registry.client();
    let keys = json!({"ca_certs": [registry.ca()], "client_cert": cert, "client_key": key});
    let outcome = check(&registry, &keys);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let outcome = check(&registry, &json!({"ca_certs": [registry.ca()]}));
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("CertificateRequired"), "{outcome}");
}

#[test]
fn certificate_that_cannot_be_shown_is_one_clear_line() {
    let registry = Registry::mutual_tls();
    let (cert, key) = registry.client();
    for (keys, error) in [
        (json!({"client_cert": cert}), "`client_cert` is set without `client_key`"),
        (json!({"client_key": key}), "`client_key` is set without `client_cert`"),
        (json!({"client_cert": cert, "client_key": "canary"}), "`client_key` has no PEM private key in it"),
        (json!({"client_cert": "canary", "client_key": key}), "`client_cert` has no PEM certificate in it"),
        (json!({"ca_certs": ["canary"]}), "`ca_certs[0]` has no PEM certificate in it"),
    ] {
        let outcome = check(&registry, &keys);
        assert_eq!(outcome.code, Some(1), "{outcome}");
        assert!(outcome.stderr.starts_with(&format!("error: {error}\n")), "{outcome}");
        assert!(outcome.stderr.lines().count() <= 2 && !outcome.stderr.contains("canary"), "{outcome}");
    }
    assert!(registry.requests().is_empty());
}

/// Asks for the config of an image whose registry sends its clients to `storage` for it.
fn config_from(storage: &Registry, access: &Access) -> Result<bool, String> {
    let registry = Registry::plain().with_login(Login::Basic("bob", "pw"));
    let bytes = json!({"os": "linux", "architecture": "amd64"}).to_string().into_bytes();
    let digest: Digest = storage.blob("kept", bytes).parse().unwrap();
    let location = format!("http://{}/v2/kept/blobs/{digest}?sig=1", storage.host());
    registry.fault("GET /v2/app/blobs", Fault::Answer(307, vec![("location", location)], String::new()));
    let client = Client::connect(&registry.repository("app"), access, &Log::to(std::io::sink())).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = runtime.block_on(client.config(&digest));
    config.map(|config| config.is_some()).map_err(|error| error.to_string())
}

#[test]
fn storage_that_a_registry_redirects_to_never_sees_the_login() {
    let storage = Registry::plain();
    let access: Access = serde_json::from_value(json!({"username": "bob", "password": "pw"})).unwrap();
    assert_eq!(config_from(&storage, &access), Ok(true));
    let seen = storage.seen();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].line.ends_with("?sig=1") && seen[0].authorization.is_none(), "{seen:?}");
}

#[test]
fn registry_cannot_end_the_encryption_on_the_way() {
    let (registry, elsewhere) = (Registry::tls(), Registry::plain());
    elsewhere.image("app", "latest", &[]);
    let location = || vec![("location", format!("http://{}/v2/app/manifests/latest", elsewhere.host()))];
    registry.fault("HEAD ", Fault::Answer(307, location(), String::new()));
    let outcome = check(&registry, &json!({"ca_certs": [registry.ca()]}));
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(
        outcome.stderr.contains("redirected from https to http, which only `insecure: true` allows"),
        "{outcome}"
    );
    assert!(elsewhere.requests().is_empty());
    registry.fault("HEAD ", Fault::Answer(307, location(), String::new()));
    let outcome = check(&registry, &json!({"ca_certs": [registry.ca()], "insecure": true}));
    assert_eq!(outcome.code, Some(0), "{outcome}");
}

#[test]
fn registry_that_sends_in_circles_is_left() {
    let registry = Registry::plain();
    for _ in 0..20 {
        let location = vec![("location", "/v2/app/manifests/latest".to_owned())];
        registry.fault("HEAD ", Fault::Answer(307, location, String::new()));
    }
    let outcome = check(&registry, &json!({}));
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("too many redirects"), "{outcome}");
    assert_eq!(registry.requests().len(), 12);
}

#[test]
fn notary_signature_is_refused_by_put_alone() {
    let registry = Registry::plain();
    registry.image("app", "latest", &[]);
    let keys = json!({"content_trust": {"server": "https://notary.example.com", "repository_key_id": "k",
        "repository_key": "canary", "repository_passphrase": "canary", "tls_key": "canary", "tls_cert": "x",
        "username": "u", "password": "canary", "scopes": "pull"}});
    assert_eq!(check(&registry, &keys).code, Some(0));
    let mut source = keys.clone();
    source["repository"] = json!(registry.repository("app"));
    let toolkit = Toolkit::new();
    let folder = toolkit.folder("put");
    let request = json!({"source": source, "params": {"image": "image.tar"}}).to_string();
    let outcome = toolkit.step("image-digest", "out", Some(&folder), &request);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert_eq!(
        outcome.stderr,
        "error: `content_trust` asks for a Notary v1 signature, and image-digest makes none\n\
         hint: remove `content_trust`, and sign the digest that put returns with `cosign sign`\n"
    );
}

#[test]
fn certificate_that_does_not_count_has_the_remedy_for_its_own_fault() {
    for (registry, error, hint) in [
        (Registry::expired_tls(), "certificate expired", "renew the server's certificate, or set the clock"),
        (
            Registry::future_tls(),
            "certificate not valid yet",
            "renew the server's certificate, or set the clock",
        ),
        (
            Registry::misnamed_tls(),
            "not valid for name",
            "write the host in `repository` as the certificate has it",
        ),
    ] {
        registry.image("app", "latest", &[]);
        // Loopback may speak plain http too; https has the word.
        for insecure in [false, true] {
            let outcome = check(&registry, &json!({"ca_certs": [registry.ca()], "insecure": insecure}));
            assert_eq!(outcome.code, Some(1), "{outcome}");
            assert!(outcome.stderr.contains(error), "{outcome}");
            let hint = format!("\nhint: {hint}");
            assert!(outcome.stderr.contains(&hint) && !outcome.stderr.contains("`ca_certs`"), "{outcome}");
        }
        assert_eq!(check(&registry, &json!({"skip_tls_verify": true})).code, Some(0));
    }
    let stranger = Registry::tls();
    let outcome = check(&stranger, &json!({}));
    assert!(
        outcome.stderr.contains("\nhint: give the certificate of the registry's CA in `ca_certs`"),
        "{outcome}"
    );
}
