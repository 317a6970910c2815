//! `rollway digest`.

use insta::assert_snapshot;

use crate::support::registry::{Login, Registry};
use crate::support::toolkit::Toolkit;

#[test]
fn tag_is_printed_as_a_digest() {
    let registry = Registry::plain();
    let (latest, old) = (registry.image("app", "latest", &[]), registry.image("app", "1.0", &[("v", "1")]));
    let repository = registry.repository("app");
    let toolkit = Toolkit::new();
    for (image, digest) in [(repository.clone(), latest), (format!("{repository}:1.0"), old)] {
        let outcome = toolkit.binary("rollway").arg("digest").arg(image).run();
        assert_eq!(outcome.to_string(), format!("exit 0\n--- stdout\n{repository}@{digest}\n"));
    }
}

#[test]
fn verbose_shows_what_was_asked() {
    let registry = Registry::tls();
    let digest = registry.image("app", "latest", &[]);
    let toolkit = Toolkit::new().filter(&registry.host(), "[HOST]").filter(&digest, "[DIGEST]");
    let ca = toolkit.file("ca.pem", registry.ca());
    let run =
        toolkit.binary("rollway").args(["digest", "-v", &registry.repository("app"), "--ca-cert"]).arg(ca);
    assert_snapshot!(run.run(), @r"
    exit 0
    --- stdout
    [HOST]/app@[DIGEST]
    --- stderr
    GET https://[HOST]/v2/: 200 OK
    HEAD https://[HOST]/v2/app/manifests/latest: 200 OK
    ");
}

#[test]
fn password_comes_from_the_environment() {
    let registry = Registry::plain().with_login(Login::Basic("bob", "secret"));
    registry.image("app", "latest", &[]);
    let toolkit = Toolkit::new().filter(&registry.host(), "[HOST]");
    let run = || {
        toolkit.binary("rollway").args(["digest", &registry.repository("app"), "--registry-username", "bob"])
    };
    assert_eq!(run().variable("ROLLWAY_REGISTRY_PASSWORD", "secret").run().code, Some(0));
    assert_snapshot!(run().run(), @r"
    exit 1
    --- stderr
    error: HEAD http://[HOST]/v2/app/manifests/latest: 401 Unauthorized
    hint: check `username` and `password`, and the name of the repository
    ");
}

#[test]
fn missing_tag_is_an_error() {
    let registry = Registry::plain();
    let toolkit = Toolkit::new().filter(&registry.host(), "[HOST]");
    assert_snapshot!(toolkit.binary("rollway").arg("digest").arg(registry.repository("app:1")).run(), @r"
    exit 1
    --- stderr
    error: `[HOST]/app:1` is not in the registry
    ");
    registry.image("app", "1.0", &[]);
    registry.image("app", "latest", &[]);
    assert_snapshot!(toolkit.binary("rollway").arg("digest").arg(registry.repository("app:1")).run(), @r"
    exit 1
    --- stderr
    error: `[HOST]/app:1` is not in the registry
    hint: the nearest tags there are `1.0`, `latest`
    ");
}
