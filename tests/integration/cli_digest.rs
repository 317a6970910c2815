//! `rollway digest`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
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

#[test]
fn options_of_a_source_choose_the_newest_version() {
    let registry = Registry::plain();
    let new = registry.image("app", "1.10", &[("v", "2")]);
    registry.image("app", "1.9", &[("v", "1")]);
    let other = registry.image("app", "2.0", &[("v", "3")]);
    let repository = registry.repository("app");
    let toolkit = Toolkit::new();
    for (options, digest) in [
        (vec!["--semver-constraint", "1.x"], &new),
        (vec!["--tag-regex", "^2"], &other),
        (vec!["--order", "semver", "--deny-tag", "^2"], &new),
    ] {
        let outcome = toolkit.binary("rollway").arg("digest").arg(&repository).args(&options).run();
        assert_eq!(outcome.stdout, format!("{repository}@{digest}\n"), "{options:?}: {outcome}");
    }
    let outcome = toolkit.binary("rollway").arg("digest").arg(&repository).args(["--order", "newest"]).run();
    assert!(outcome.stderr.contains("`source.order`: expected one of `semver`"), "{outcome}");
}

#[test]
fn explain_says_why_each_other_tag_is_no_version() {
    let registry = Registry::plain();
    let image = registry.image("app", "1.1", &[("v", "2")]);
    let same = registry.image("app", "latest", &[("v", "2")]);
    assert_eq!(image, same);
    let old = registry.image("app", "1.0", &[("v", "1")]);
    registry.image("app", "1.2-rc.1", &[]);
    registry.image("app", "nightly", &[]);
    let short = |digest: &str| digest[7..19].to_owned();
    let toolkit = Toolkit::new().filter(&short(&image), "[NEW DIGEST]").filter(&short(&old), "[OLD DIGEST]");
    let run = toolkit.binary("rollway").arg("digest").arg(registry.repository("app")).arg("--explain");
    assert_snapshot!(run.run(), @r"
    exit 0
    --- stdout
    TAG       DIGEST        VERDICT
    1.1       [NEW DIGEST]  the newest version
    1.0       [OLD DIGEST]  a version
    1.2-rc.1  -             it is a pre-release, and pre_releases is not set
    nightly   -             it is not a semantic version
    latest    [NEW DIGEST]  the same image as `1.1`
    ");
}

#[test]
fn source_of_a_pipeline_is_checked_as_it_is() {
    let registry = Registry::plain();
    let digest = registry.image("app", "v7", &[]);
    registry.image("app", "v6", &[("v", "6")]);
    let repository = registry.repository("app");
    let toolkit = Toolkit::new();
    let source = format!("repository: {repository}\norder: numeric\ntag_regex: ^v(.*)$\n");
    let resource = format!("name: image\ntype: image-digest\nsource:\n  {}", source.replace('\n', "\n  "));
    let json = format!(r#"{{"repository": "{repository}", "tag": "v7"}}"#);
    for (name, text) in [("source.yml", source), ("resource.yml", resource), ("source.json", json)] {
        let file = toolkit.file(name, &text);
        let run = toolkit.binary("rollway").args(["digest", "-o", "json", "--source"]).arg(file);
        let outcome = run.run();
        assert_eq!(outcome.json()["image"], format!("{repository}@{digest}"), "{name}: {outcome}");
    }
    let file = toolkit.file("wrong.yml", "repositry: x");
    let outcome = toolkit.binary("rollway").args(["digest", "--source"]).arg(file).run();
    assert!(
        outcome.stderr.contains("`source.repositry`: unknown key; did you mean `repository`?"),
        "{outcome}"
    );
    let file = toolkit.file("list.yml", "- a");
    let outcome = toolkit.binary("rollway").args(["digest", "--source"]).arg(file).run();
    assert!(outcome.code == Some(1) && outcome.stderr.contains("has no source"), "{outcome}");
}

#[test]
fn cursor_shows_what_the_next_check_would_answer() {
    let registry = Registry::plain();
    let old = registry.image("app", "latest", &[("v", "1")]);
    let new = registry.image("app", "latest", &[("v", "2")]);
    let toolkit = Toolkit::new();
    let image = format!("{}:latest", registry.repository("app"));
    let cursor = format!("latest@{old}");
    let outcome = toolkit.binary("rollway").args(["digest", &image, "-o", "json", "--cursor", &cursor]).run();
    let versions = serde_json::json!([{"tag": "latest", "digest": old}, {"tag": "latest", "digest": new}]);
    assert_eq!(outcome.json()["versions"], versions, "{outcome}");
    assert!(!registry.requests().is_empty());
    for wrong in ["latest", "latest@sha256:aa"] {
        let outcome = toolkit.binary("rollway").args(["digest", &image, "--cursor", wrong]).run();
        let words = format!("error: `--cursor` is `{wrong}`; write it as `TAG@sha256:…`");
        assert!(outcome.stderr.starts_with(&words), "{outcome}");
    }
    assert!(registry.requests().is_empty());
}

#[test]
fn no_version_is_a_failure_in_every_form() {
    let registry = Registry::plain();
    registry.image("app", "nightly", &[]);
    let toolkit = Toolkit::new();
    for form in [&["--explain"][..], &["-o", "json"], &["--explain", "-o", "json"], &[]] {
        let run = toolkit.binary("rollway").arg("digest").arg(registry.repository("app"));
        let outcome = run.args(["--tag-regex", "^v"]).args(form).run();
        assert_eq!(outcome.code, Some(1), "{outcome}");
        assert!(outcome.stderr.contains("finds no version"), "{outcome}");
        if form.contains(&"json") {
            assert!(outcome.json()["image"].is_null(), "{outcome}");
        }
    }
}

/// Returns a docker config.json that knows one host.
fn logins(host: &str, pair: &str) -> String {
    serde_json::json!({ "auths": { host: { "auth": STANDARD.encode(pair) } } }).to_string()
}

#[test]
fn logins_of_docker_count_for_the_hosts_that_they_name() {
    let registry = Registry::plain().with_login(Login::Basic("bob", "canary"));
    let public = Registry::plain();
    let digest = registry.image("app", "latest", &[]);
    public.image("app", "latest", &[]);
    let toolkit = Toolkit::new();
    let home = toolkit.directory().display().to_string();
    let ask = |registry: &Registry, variable: (&str, &str)| {
        let run = toolkit.binary("rollway").args(["digest", &registry.repository("app")]);
        run.variable(variable.0, variable.1).run()
    };
    toolkit.file(".docker/config.json", &logins(&registry.host(), "bob:canary"));
    let outcome = ask(&registry, ("HOME", &home));
    assert!(outcome.stdout.contains(&digest), "{outcome}");
    assert_eq!(ask(&public, ("HOME", &home)).code, Some(0));
    assert!(public.seen().iter().all(|seen| seen.authorization.is_none()));

    toolkit.file("elsewhere/config.json", &logins(&registry.host(), "bob:wrong-canary"));
    let elsewhere = format!("{home}/elsewhere");
    let outcome = ask(&registry, ("DOCKER_CONFIG", &elsewhere));
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(!outcome.to_string().contains("canary"), "{outcome}");
    for unusable in [r#"{"credsStore": "desktop", "auths": {}}"#, "{", r#"{"auths": 5}"#] {
        toolkit.file("elsewhere/config.json", unusable);
        let outcome = ask(&public, ("DOCKER_CONFIG", &elsewhere));
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{unusable}: {outcome}");
    }
}

#[test]
fn a_user_on_the_command_line_counts_before_the_logins_of_docker() {
    let registry = Registry::plain().with_login(Login::Basic("bob", "secret"));
    registry.image("app", "latest", &[]);
    let toolkit = Toolkit::new().variable("ROLLWAY_REGISTRY_PASSWORD", "secret");
    let config = toolkit.file(".docker/config.json", &logins(&registry.host(), "eve:x"));
    let home = toolkit.directory().display().to_string();
    let digest =
        || toolkit.binary("rollway").args(["digest", &registry.repository("app")]).variable("HOME", &home);
    assert_eq!(digest().args(["--registry-username", "bob"]).run().code, Some(0));
    let both = digest().args(["--registry-username", "bob", "--docker-config"]).arg(&config).run();
    assert_eq!(both.code, Some(2), "{both}");
    let missing = digest().args(["--docker-config", "not-there"]).run();
    assert!(missing.stderr.starts_with("error: failed to read `not-there`"), "{missing}");
}

#[test]
fn image_that_is_named_by_its_digest_is_looked_for() {
    let registry = Registry::plain();
    let digest = registry.image("app", "latest", &[]);
    let repository = registry.repository("app");
    let toolkit = Toolkit::new().filter(&registry.host(), "[HOST]").filter(&digest, "[DIGEST]");
    let ask =
        |image: &str, options: &[&str]| toolkit.binary("rollway").args(["digest", image]).args(options).run();
    for image in [format!("{repository}@{digest}"), format!("{repository}:latest@{digest}")] {
        let outcome = ask(&image, &[]);
        assert_eq!(outcome.to_string(), "exit 0\n--- stdout\n[HOST]/app@[DIGEST]\n", "{image}");
    }
    assert_eq!(registry.requests()[1], format!("HEAD /v2/app/manifests/{digest}"));
    let outcome = ask(&format!("{repository}@{digest}"), &["-o", "json"]);
    assert_eq!(outcome.json()["tag"], serde_json::Value::Null);
    let other = format!("{repository}@sha256:{}", "a".repeat(64));
    assert!(ask(&other, &[]).stderr.contains("is not in the registry"));
    assert!(ask(&format!("{repository}@sha256:beef"), &[]).stderr.contains("`sha256:beef` is not a digest"));
    let outcome = ask(&format!("{repository}@{digest}"), &["--explain"]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("names a digest, and a check chooses among tags"), "{outcome}");
}

#[test]
fn options_for_a_registry_are_refused_beside_a_source_that_has_them_itself() {
    let toolkit = Toolkit::new();
    let source = toolkit.file("source.yml", "repository: 127.0.0.1:1/app");
    for option in [vec!["--registry-username", "bob"], vec!["--insecure"], vec!["--ca-cert", "ca.pem"]] {
        let outcome = toolkit.binary("rollway").args(["digest", "--source"]).arg(&source).args(&option).run();
        assert_eq!(outcome.code, Some(2), "{option:?}: {outcome}");
        assert!(outcome.stderr.contains("cannot be used with"), "{option:?}: {outcome}");
    }
}
