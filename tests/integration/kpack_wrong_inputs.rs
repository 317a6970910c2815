//! Every wrong input that people come up with gives one clear line and its remedy: exit 1, nothing on
//! stdout, nothing written to the cluster, and no secret in any of it.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::apiserver::{ApiServer, TOKEN};
use crate::support::kpack;
use crate::support::toolkit::Toolkit;

/// In every secret of the requests below.
const CANARY: &str = "cuckoo";

/// One wrong input, and the words that its lines must have.
struct Wrong {
    step: &'static str,
    source: Value,
    rest: Value,
    error: &'static str,
    hint: &'static str,
}

fn source(source: Value, error: &'static str, hint: &'static str) -> Wrong {
    Wrong { step: "check", source, rest: json!({}), error, hint }
}

fn params(params: Value, error: &'static str, hint: &'static str) -> Wrong {
    Wrong { step: "out", source: json!({}), rest: json!({"params": params}), error, hint }
}

fn version(version: Value, error: &'static str) -> Wrong {
    Wrong { step: "in", source: json!({}), rest: json!({"version": version}), error, hint: "" }
}

fn sources() -> Vec<Wrong> {
    vec![
        source(json!({"image": null}), "`source.image`", ""),
        source(
            json!({"image": ""}),
            "`source.image` is ``, which is not a Kubernetes name",
            "kubectl get images",
        ),
        source(json!({"image": "../pods"}), "`source.image` is `../pods`", "kubectl get images"),
        source(json!({"image": 7}), "`source.image`: expected", ""),
        source(json!({"namespace": "My Shop"}), "`source.namespace` is `My Shop`", ""),
        source(json!({"img": "app"}), "`source.img`: unknown key", ""),
        source(json!({"status": "failed"}), "`source.status`: expected", ""),
        source(json!({"api_version": "v1"}), "`source.api_version`: expected", ""),
        source(json!({"token": 5}), "`source.token`: expected text, found a number", ""),
        source(json!({"server": CANARY}), "`server` is `cuckoo`, which is not a URL", "https://HOST:PORT"),
        source(json!({"kubeconfig": CANARY}), "`kubeconfig` and `server` are both set", "remove `server`"),
    ]
}

fn puts() -> Vec<Wrong> {
    vec![
        params(json!({}), "`params` asks for no build", "set `trigger: true`"),
        params(json!({"trigger": false}), "`params` asks for no build", ""),
        params(json!({"triger": true}), "`params.triger`: unknown key; did you mean `trigger`?", ""),
        params(json!({"trigger": "yes"}), "`params.trigger`: expected true or false", ""),
        params(json!({"trigger": true, "wait": "maybe"}), "`params.wait`: expected true or false", ""),
        params(
            json!({"trigger": true, "timeout": 0}),
            "`params.timeout` is 0, which is not between",
            "leave it out",
        ),
        params(json!({"trigger": true, "timeout": "1h"}), "`params.timeout`: expected whole seconds", ""),
        params(
            json!({"trigger": true, "retry": 99}),
            "`params.retry` is 99, which is not between 0 and 10",
            "",
        ),
        params(json!({"revision": "a b"}), "`params.revision` is `a b`, which is not a commit", ""),
        params(
            json!({"revision": "a", "revision_file": "b"}),
            "`params.revision` and `params.revision_file`",
            "",
        ),
        params(
            json!({"revision": "a", "blob_url": "https://x"}),
            "`params.revision` and `params.blob_url`",
            "",
        ),
        params(
            json!({"revision_file": "none"}),
            "`params.revision_file` is `none`, which cannot be read",
            "GET/FILE",
        ),
        params(json!({"revision_file": "../x"}), "outside of the step's directory", "relative to the step"),
        params(
            json!({"revision_file": "empty"}),
            "`params.revision_file` is the file `empty`, which is empty",
            "",
        ),
        params(json!({"blob_url": "ftp://x"}), "`params.blob_url` is `ftp://x`, which is not a URL", ""),
        params(json!({"registry_image": "a b"}), "`params.registry_image` is `a b`", ""),
        params(json!({"builder": "Store/x"}), "`params.builder`: expected NAME, Builder/NAME", ""),
        params(json!({"env": ["A=1"]}), "`params.env`: expected names with text", ""),
        params(json!({"env": {"A": [CANARY]}}), "`params.env`", ""),
        params(json!({"env": CANARY}), "`params.env`: expected names with text", ""),
        params(json!({"env": "PASSWORD=cuckoo"}), "found a string", ""),
        params(json!({"revision": "a\u{0}b"}), "`params.revision` is `a\\u{0}b`, which is not a commit", ""),
        params(json!({"revision": "main^..x"}), "`params.revision` is `main^..x`, which is not a commit", ""),
        params(json!({"create": "labels.yml"}), "`team` of its labels is a number", "in quotes"),
        params(
            json!({"additional_tags": ["v1"]}),
            "`params.additional_tags` has `v1`, which is of the registry `index.docker.io`, and the Image is \
             published to `registry.example`",
            "registry.example/REPOSITORY:TAG",
        ),
        params(
            json!({"env": {"A=cuckoo": 1}}),
            "`params.env` is `A…`, which is not the name of a variable",
            "",
        ),
        params(json!({"env": {"PASSWORD: cuckoo": 1}}), "`params.env` is `PASSWORD…`, which", ""),
        params(
            json!({"revision": "https://me:cuckoo@git/a b"}),
            "`params.revision` is `https://git/a b`, which is not a commit",
            "",
        ),
        params(
            json!({"registry_image": "https://me:cuckoo@r/app"}),
            "`params.registry_image` is `https://r/app`, which",
            "",
        ),
        params(json!({"registry_image": "me:cuckoo@r/a b"}), "`params.registry_image` is `r/a b`", ""),
        params(
            json!({"additional_tags": ["https://me:cuckoo@r/app"]}),
            "`params.additional_tags` is `https://r/app`, which",
            "",
        ),
        params(
            json!({"blob_url": "ftp://me:cuckoo@x/a?sig=cuckoo"}),
            "`params.blob_url` is `ftp://x/a`, which is not a URL",
            "",
        ),
        params(
            json!({"revision_file": "two-lines"}),
            "`params.revision_file` is `https://git/a…`, which is not a file with one line",
            "",
        ),
        params(json!({"additional_tags": ["v1 "]}), "`params.additional_tags` is `v1 `", ""),
        params(json!({"service_account": "A"}), "`params.service_account` is `A`", ""),
        params(json!({"create": "none.yml"}), "`params.create` is `none.yml`, which cannot be read", ""),
        params(json!({"create": "deployment.yml"}), "its kind is `Deployment`, not `Image`", ""),
        params(json!({"create": "other.yml"}), "it is the Image `other`, and `source.image` is `app`", ""),
        params(
            json!({"create": "looping.yml"}),
            "makes kpack build without end",
            "set `trigger: true` to build",
        ),
        params(
            json!({"create": "old.yml"}),
            "its apiVersion is `kpack.io/v1alpha1`",
            "write it for `kpack.io/v1alpha2`",
        ),
        params(
            json!({"create": "elsewhere.yml"}),
            "its namespace is `other`, and the Image's is `shop`",
            "set `source.namespace` to `other`",
        ),
        params(
            json!({"create": "two.yml"}),
            "`params.create` is the file `two.yml`: line",
            "it must be one YAML document: one Image",
        ),
        params(
            json!({"revision_file": "long"}),
            "`params.revision_file` is the file `long`, which has more than 4096 bytes",
            "write one line into it",
        ),
        params(
            json!({"create": "moved.yml"}),
            "`params.create` is the file `moved.yml`: the tag of an Image cannot change",
            "another Image for another tag",
        ),
        params(
            json!({"blob_url": "https://x/a.zip"}),
            "and the Image `app` is built from git",
            "set `revision`",
        ),
        params(
            json!({"registry_image": "r/a"}),
            "`params.registry_image` is set, and the Image",
            "set `revision`",
        ),
    ]
}

fn versions() -> Vec<Wrong> {
    vec![
        version(json!({"build": "1"}), "the version names no build: `image` is ``"),
        version(json!({"image": "r/app:v1", "build": "1", "uid": "u"}), "`image` is `r/app:v1`"),
        version(json!({"build": "1,a=b", "uid": "u"}), "the version names no build: `build` is `1,a=b`"),
        version(json!({"ref": "x"}), "`version.ref`: unknown key"),
    ]
}

fn toolkit() -> Toolkit {
    let toolkit = Toolkit::new();
    let image = |name: &str, more: &str| {
        format!(
            "apiVersion: kpack.io/v1alpha2\nkind: Image\nmetadata:\n  name: {name}\n{more}spec:\n  tag: registry.example/shop/app\n"
        )
    };
    toolkit.file("empty", "\n");
    toolkit.file("two-lines", "https://me:cuckoo@git/a\nhttps://me:cuckoo@git/b\n");
    toolkit.file("long", &"a".repeat(5_000));
    toolkit.file("elsewhere.yml", &image("app", "  namespace: other\n"));
    toolkit.file("two.yml", &format!("{}---\n{}", image("app", ""), image("app", "")));
    toolkit.file("deployment.yml", "kind: Deployment\n");
    toolkit.file("labels.yml", &image("app", "  labels: {team: 7}\n"));
    toolkit.file("other.yml", &image("other", ""));
    let mark = format!("  annotations: {{{}: x}}\n", kpack::TRIGGER);
    toolkit.file("looping.yml", &image("app", &mark));
    toolkit.file("old.yml", &image("app", "").replace("v1alpha2", "v1alpha1"));
    toolkit.file("moved.yml", &image("app", "").replace("shop/app", "shop/moved"));
    toolkit
}

fn answer(server: &ApiServer, wrong: &Wrong) -> crate::support::toolkit::Outcome {
    let toolkit = toolkit();
    let mut request: Value =
        serde_json::from_str(&kpack::request(server, &wrong.source, &wrong.rest)).unwrap();
    if wrong.source.get("token").is_none() {
        request["source"]["token"] = json!(format!("{TOKEN}-{CANARY}"));
    }
    if wrong.source.get("kubeconfig").is_some() {
        request["source"].as_object_mut().unwrap().remove("token");
    }
    let directory = (wrong.step != "check").then(|| toolkit.directory().to_owned());
    toolkit.step("kpack-trigger", wrong.step, directory.as_deref(), &request.to_string())
}

#[test]
fn every_wrong_input_is_one_line_with_its_remedy_and_no_secret() {
    let server = kpack::server(1);
    let all: Vec<Wrong> = sources().into_iter().chain(puts()).chain(versions()).collect();
    assert!(all.len() >= 25);
    for wrong in all {
        let outcome = answer(&server, &wrong);
        let about = format!("{} {}\n{outcome}", wrong.source, wrong.rest);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""), "{about}");
        let lines: Vec<&str> = outcome.stderr.lines().collect();
        assert!(lines[0].starts_with("error: ") && lines[0].contains(wrong.error), "{about}");
        assert!(lines.len() <= 2 && lines[1..].iter().all(|line| line.starts_with("hint: ")), "{about}");
        assert!(wrong.hint.is_empty() || lines[1].contains(wrong.hint), "{about}");
        let is_shown_on_purpose = wrong.source.get("server").is_some();
        assert!(is_shown_on_purpose || !outcome.to_string().contains(CANARY), "{about}");
    }
    assert!(server.writes().is_empty());
}

#[test]
fn no_secret_is_in_what_a_build_says() {
    let server = kpack::server(1).with_token();
    let params = json!({"trigger": true, "env": {"PASSWORD": CANARY}, "timeout": 2});
    let outcome = kpack::put(&server, &params, |_| {});
    assert_eq!(outcome.code, Some(1), "{outcome}");
    let text = outcome.to_string();
    assert!(!text.contains(CANARY) && !text.contains(TOKEN), "{text}");
}

#[test]
fn a_patch_that_is_refused_is_told_without_the_object_and_the_values_in_it() {
    let server = kpack::server(1);
    let why = "\"app\" is invalid: patch: Invalid value: \"{\\\"env\\\":\\\"cuckoo\\\"}\": json: cannot unmarshal \
               number";
    server.script(Method::PATCH, kpack::IMAGE, (422, "Invalid", why), 9);
    let outcome = kpack::put(&server, &json!({"revision": "v2", "env": {"PASSWORD": CANARY}}), |_| {});
    let text = outcome.to_string();
    let words =
        "\"app\" is invalid: patch: Invalid value: json: cannot unmarshal number (422)\nhint: nothing of it";
    assert_eq!(outcome.code, Some(1), "{text}");
    assert!(text.contains(words) && !text.contains(CANARY), "{text}");
}

#[test]
fn no_secret_is_in_the_log_of_a_build() {
    let server = kpack::server(1);
    let prepare = [
        "CONFIG:",
        "\t\u{1b}[32m+\u{1b}[0m \u{1b}[32m- name: PASSWORD\u{1b}[0m",
        "\t\u{1b}[32m+\u{1b}[0m \u{1b}[32m  value: cuckoo\u{1b}[0m",
        "Cloning \"http://me:cuckoo@git.example/app.git\" @ \"main\"...",
    ];
    let steps = ["prepare", "completion"];
    let outcome = kpack::put(&server, &json!({"trigger": true, "env": {"PASSWORD": CANARY}}), |server| {
        kpack::wait_until(server, "a change", |server| !server.writes().is_empty());
        let mut build = kpack::build(2, "CONFIG");
        build["metadata"]["labels"]["image.kpack.io/imageGeneration"] = json!("2");
        server.put(&kpack::build_path(2), build.clone());
        server.log(&kpack::pod_name(2), "prepare", &prepare);
        let mut pod = kpack::pod_with(2, &steps, 0, 128);
        pod["status"]["phase"] = json!("Failed");
        server.put(&kpack::pod_path(2), pod);
        build["status"] =
            kpack::failed(2, "Error:  Container prepare terminated with error no")["status"].clone();
        server.put(&kpack::build_path(2), build);
    });
    let text = outcome.to_string();
    assert!(text.contains("  value: ((redacted))") && text.contains("the last 4 lines"), "{text}");
    assert!(text.contains("Cloning \"http://git.example/app.git\""), "{text}");
    assert!(!text.contains(CANARY), "{text}");
}

#[test]
fn no_password_is_in_what_kpack_says_of_a_failure() {
    let server = kpack::server(1);
    let outcome = kpack::put(&server, &json!({"trigger": true, "logs": false}), |server| {
        kpack::wait_for_trigger(server, 1);
        let why = "Error:  Container prepare terminated with error Get \"https://me:cuckoo@git.example/app.git/\
                   info/refs?service=x&sig=cuckoo\": unable to clone";
        server.put(&kpack::build_path(2), kpack::failed(2, why));
    });
    let text = outcome.to_string();
    assert!(text.contains("kpack says: Get \"https://git.example/app.git/info/refs\": unable"), "{text}");
    assert!(!text.contains(CANARY), "{text}");
}
