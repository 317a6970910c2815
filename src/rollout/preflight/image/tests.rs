use serde_json::{Value, json};

use crate::image::{Config, Platform};
use crate::rollout::fixtures::mk_digest;
use crate::rollout::preflight::facts::{Asked, Findings, ImageFacts, Severity};
use crate::rollout::preflight::tests::{Case, Scene, mk_node};

pub(in crate::rollout::preflight) const CASES: &[Case] = &[
    Case {
        rule: "I101",
        severity: Severity::Block,
        says: "is not in the registry",
        triggers: || image(|image| image.exists = false).inspect(),
        silent: || Scene::fine().inspect(),
    },
    Case {
        rule: "I102",
        severity: Severity::Warn,
        says: "denies access",
        triggers: || image(|image| image.denied = true).inspect(),
        silent: || Scene::fine().inspect(),
    },
    Case {
        rule: "I103",
        severity: Severity::Block,
        says: "the image is for linux/amd64; 1 of 1 eligible nodes are linux/arm64",
        triggers: || on(&["arm64"]),
        silent: || on(&["amd64"]),
    },
    Case {
        rule: "I103",
        severity: Severity::Warn,
        says: "1 of 3 eligible nodes are linux/arm64",
        triggers: || on(&["amd64", "arm64", "amd64"]),
        silent: || on(&["amd64", "amd64"]),
    },
    Case {
        rule: "I104",
        severity: Severity::Warn,
        says: "changes the repository from `registry/app` to `registry/other`",
        triggers: || {
            Scene::fine().but(|scene| scene.order.image.repository = "registry/other".to_owned()).inspect()
        },
        silent: || Scene::fine().inspect(),
    },
    Case {
        rule: "I105",
        severity: Severity::Info,
        says: "tag `latest` resolved to sha256:bbb",
        triggers: || Scene::fine().inspect(),
        silent: || Scene::fine().but(|scene| scene.order.tag = None).inspect(),
    },
    Case {
        rule: "I106",
        severity: Severity::Block,
        says: "`imagePullPolicy` of container `main` is `Never`",
        triggers: || Scene::fine().container(&json!({ "imagePullPolicy": "Never" })).inspect(),
        silent: || Scene::fine().container(&json!({ "imagePullPolicy": "Always" })).inspect(),
    },
    Case {
        rule: "I107",
        severity: Severity::Block,
        says: "the image's user is root",
        triggers: || as_user("", &json!({ "runAsNonRoot": true })),
        silent: || as_user("1000:1000", &json!({ "runAsNonRoot": true })),
    },
    Case {
        rule: "I107",
        severity: Severity::Block,
        says: "the image's user `cnb` is a name",
        triggers: || as_user("cnb", &json!({ "runAsNonRoot": true })),
        silent: || as_user("cnb", &json!({ "runAsNonRoot": true, "runAsUser": 1000 })),
    },
    Case {
        rule: "I107",
        severity: Severity::Block,
        says: "`runAsUser` is 0",
        triggers: || as_user("1000", &json!({ "runAsNonRoot": true, "runAsUser": 0 })),
        silent: || as_user("root", &json!({ "runAsNonRoot": false })),
    },
    Case {
        rule: "I108",
        severity: Severity::Block,
        says: "nothing to run",
        triggers: || config(Config::default()).inspect(),
        silent: || config(Config { command: vec!["/app".to_owned()], ..Config::default() }).inspect(),
    },
    Case {
        rule: "I108",
        severity: Severity::Block,
        says: "nothing to run",
        triggers: || config(Config::default()).inspect(),
        silent: || config(Config::default()).container(&json!({ "command": ["/app"] })).inspect(),
    },
    Case {
        rule: "I109",
        severity: Severity::Info,
        says: "25.0 MB of new layers for each node, 3 s at 10 MB/s",
        triggers: || image(|image| image.layers = vec![(mk_digest('1'), 25_000_000)]).inspect(),
        silent: || both(|image| image.layers = vec![(mk_digest('1'), 25_000_000)]).inspect(),
    },
    Case {
        rule: "I109",
        severity: Severity::Info,
        says: "1.0 MB of new layers for each node, 1 s at 10 MB/s",
        triggers: || image(|image| image.layers = vec![(mk_digest('1'), 1_000_000)]).inspect(),
        silent: || image(|image| image.layers = vec![(mk_digest('1'), 999_999)]).inspect(),
    },
    Case {
        rule: "I109",
        severity: Severity::Warn,
        says: "40 s at 10 MB/s, of the 60 s that new pods have",
        triggers: || image(|image| image.layers = vec![(mk_digest('1'), 400_000_000)]).inspect(),
        silent: || Scene::fine().inspect(),
    },
    Case {
        rule: "I110",
        severity: Severity::Warn,
        says: "no way back: the registry no longer has `registry/app@sha256:aaa",
        triggers: || running(ImageFacts::default()),
        silent: || running(ImageFacts { denied: true, ..ImageFacts::default() }),
    },
    Case {
        rule: "I111",
        severity: Severity::Warn,
        says: "preStop of container `main` runs `sleep`, but the image (io.buildpacks.stacks.jammy.tiny) has no shell",
        triggers: || with_hook("io.buildpacks.stacks.jammy.tiny", "sleep"),
        silent: || with_hook("io.buildpacks.stacks.jammy", "sleep"),
    },
    Case {
        rule: "I111",
        severity: Severity::Warn,
        says: "runs `/bin/sh`",
        triggers: || with_hook("io.buildpacks.stacks.jammy.static", "/bin/sh"),
        silent: || with_hook("io.buildpacks.stacks.jammy.static", "/workspace/drain"),
    },
];

/// Returns a rollout to an image about which the registry says something else.
fn image(change: impl FnOnce(&mut ImageFacts)) -> Scene {
    Scene::fine().but(|scene| {
        let Asked::Known(image) = &mut scene.survey.image else { panic!("a fine scene knows the image") };
        change(image);
    })
}

fn both(change: impl Fn(&mut ImageFacts)) -> Scene {
    image(&change).but(|scene| {
        let Asked::Known(running) = &mut scene.survey.running else { panic!("it knows the running one") };
        change(running);
    })
}

fn config(config: Config) -> Scene {
    image(|image| image.config = Some(config))
}

fn running(facts: ImageFacts) -> Findings {
    Scene::fine().but(|scene| scene.survey.running = Asked::Known(facts)).inspect()
}

/// Rolls an image for amd64 out on nodes of these architectures.
fn on(architectures: &[&str]) -> Findings {
    let nodes = architectures.iter().enumerate().map(|(number, architecture)| {
        mk_node(number, &json!({ "status": { "nodeInfo": { "architecture": architecture } } }))
    });
    image(|image| image.platforms = vec![Platform::default()])
        .but(|scene| scene.survey.nodes = Asked::Known(nodes.collect()))
        .inspect()
}

fn as_user(user: &str, context: &Value) -> Findings {
    let command = vec!["/app".to_owned()];
    config(Config { user: user.to_owned(), command, ..Config::default() })
        .container(&json!({ "securityContext": context }))
        .inspect()
}

fn with_hook(stack: &str, program: &str) -> Findings {
    let labels = [("io.buildpacks.stack.id".to_owned(), stack.to_owned())].into();
    config(Config { labels, ..Config::default() })
        .container(
            &json!({ "lifecycle": { "preStop": { "sleep": null, "exec": { "command": [program, "10"] } } } }),
        )
        .inspect()
}

#[test]
fn rules_about_the_image_are_skipped_where_the_registry_did_not_answer() {
    let unknown = || Asked::Unknown("the registry's answer".to_owned());
    let findings = Scene::fine()
        .but(|scene| (scene.survey.image, scene.survey.running) = (unknown(), unknown()))
        .inspect();
    let skipped: Vec<&str> = findings.skipped.iter().map(|skipped| skipped.rule).collect();
    for rule in ["I101", "I103", "I107", "I108", "I109", "I110", "I111"] {
        assert!(skipped.contains(&rule), "{rule} of {skipped:?}");
    }
    assert!(findings.found.iter().all(|finding| finding.severity < Severity::Warn), "{findings:?}");
}
