//! The dependency rules between the modules, read from the sources with comments taken out.

use std::fs;
use std::path::{Path, PathBuf};

/// What one set of files must not name.
struct Rule {
    applies: fn(&str) -> bool,
    forbidden: &'static [&'static str],
    because: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        applies: |path| {
            is_in(path, &["concourse", "kpack"]) || is_pure_rollout(path) || is_pure_trigger(path)
        },
        forbidden: &[
            "kube::Api",
            "kube::Client",
            "kube::api",
            "kube::client",
            "oci_client",
            "reqwest",
            "tokio::",
            "std::env",
            "std::fs",
            "std::process",
        ],
        because: "it decides from values alone",
    },
    Rule {
        applies: |path| is_in(path, &["registry"]),
        forbidden: &["crate::concourse", "kube::", "k8s_openapi"],
        because: "the registry knows neither Concourse nor clusters",
    },
    Rule {
        applies: |path| !is_in(path, &["registry"]),
        forbidden: &["oci_client"],
        because: "only `registry` speaks to a registry",
    },
    Rule {
        applies: |path| !is_in(path, &["registry", "probe"]),
        forbidden: &["reqwest"],
        because: "only `registry` and `probe` ask over HTTP",
    },
    Rule {
        applies: |path| is_in(path, &["probe"]),
        forbidden: &["crate::concourse", "crate::rollout", "crate::cluster", "kube::", "k8s_openapi"],
        because: "the prober knows neither Concourse nor clusters nor rollouts",
    },
    Rule {
        applies: |path| is_in(path, &["probe/tally"]),
        forbidden: &["reqwest", "tokio::", "Instant"],
        because: "it counts values",
    },
    Rule {
        applies: |path| !is_in(path, &["cluster"]),
        forbidden: &[
            "Client::try_from",
            "Client::try_default",
            "kube::client::ClientBuilder",
            "kube::Config",
        ],
        because: "only `cluster` builds a client",
    },
    Rule {
        applies: |path| path != "main.rs",
        forbidden: &["std::env::", "env::var", "env::args", "process::exit"],
        because: "only main.rs files read the environment or exit",
    },
];

fn is_in(path: &str, modules: &[&str]) -> bool {
    modules.iter().any(|module| path == format!("{module}.rs") || path.starts_with(&format!("{module}/")))
}

fn is_pure_rollout(path: &str) -> bool {
    ["preflight", "plan", "observe", "learned", "sets", "status", "verdict", "report", "proof"]
        .iter()
        .any(|module| is_in(path, &[&format!("rollout/{module}")]))
}

fn is_pure_trigger(path: &str) -> bool {
    [
        "version", "patch", "mine", "follow", "cause", "mask", "revision", "tail", "report", "record",
        "stage", "order", "manifest", "error",
    ]
    .iter()
    .any(|module| is_in(path, &[&format!("kpack_trigger/{module}")]))
}

/// Returns one line per broken rule.
fn broken(path: &str, source: &str) -> Vec<String> {
    let code = without_comments(source);
    let rules = RULES.iter().filter(|rule| (rule.applies)(path));
    rules
        .flat_map(|rule| rule.forbidden.iter().map(move |name| (rule, name)))
        .filter(|(_, name)| code.contains(*name))
        .map(|(rule, name)| format!("src/{path} names `{name}`, but {}", rule.because))
        .collect()
}

fn without_comments(source: &str) -> String {
    let code = source.lines().map(|line| match line.find("//") {
        // A URL in a string is code.
        Some(start) if !line[..start].ends_with(':') => &line[..start],
        _ => line,
    });
    code.collect::<Vec<_>>().join("\n")
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

#[test]
fn every_source_keeps_to_its_layer() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let sources = sources(&root);
    assert!(sources.len() > 10, "the sources are not where they were");
    let broken: Vec<String> = sources
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .flat_map(|path| {
            let relative = path.strip_prefix(&root).unwrap().to_str().unwrap();
            broken(relative, &fs::read_to_string(path).unwrap())
        })
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn folder_modules_are_named_by_a_file_beside_the_folder() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["src", "tests", "lab/src"] {
        let wrong: Vec<_> =
            sources(&root.join(folder)).into_iter().filter(|path| path.ends_with("mod.rs")).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}

#[test]
fn each_rule_is_broken_by_what_it_forbids() {
    for (path, source) in [
        ("concourse/request.rs", "use std::fs;"),
        ("concourse.rs", "async fn f() { tokio::spawn(g()); }"),
        ("rollout/verdict.rs", "use kube::Api;"),
        ("rollout/plan/steps.rs", "let now = std::process::id();"),
        ("registry/client.rs", "use crate::concourse::Context;"),
        ("registry.rs", "use k8s_openapi::api::core::v1::Pod;"),
        ("kpack/build.rs", "use kube::Api;"),
        ("kpack_trigger/mine.rs", "use kube::api::ListParams;"),
        ("kpack_trigger/tail.rs", "let (send, receive) = tokio::sync::watch::channel(0);"),
        ("image_digest/check.rs", "use oci_client::Reference;"),
        ("image_digest/check.rs", "use reqwest::Client;"),
        ("probe/load.rs", "use kube::Api;"),
        ("probe/tally.rs", "use std::time::Instant;"),
        ("rollout/driver.rs", "let client = Client::try_from(config)?;"),
        ("cli/roll.rs", "let home = std::env::var(\"HOME\");"),
        ("harness/process.rs", "std::process::exit(1)"),
    ] {
        assert_eq!(broken(path, source).len().min(1), 1, "{path}: {source}");
    }
}

#[test]
fn comments_and_neighbours_break_nothing() {
    for (path, source) in [
        ("concourse.rs", "//! Never std::fs here.\n/// Nor tokio::spawn."),
        ("rollout/driver.rs", "use kube::Api;"),
        ("kpack_trigger/driver/live.rs", "use kube::api::Api;"),
        ("registry/client.rs", "use reqwest::Client; let url = \"https://a//b\";"),
        ("concourse/metadata.rs", "let environment = 1;"),
        ("main.rs", "std::env::args_os()"),
    ] {
        assert_eq!(broken(path, source), Vec::<String>::new(), "{path}");
    }
}
