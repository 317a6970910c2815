//! Every wrong input that people come up with gives one clear line and its remedy: exit 1, nothing
//! on stdout, nothing written to the cluster or the directory, and no secret in any of it.

use serde_json::{Value, json};

use crate::support::apiserver::{ApiServer, TOKEN, kubeconfig};
use crate::support::shop;
use crate::support::toolkit::Toolkit;

/// In every secret of the requests below, and in the files that hold one.
const CANARY: &str = "cuckoo";

/// One wrong input, and the words that its two lines must have.
struct Wrong {
    step: &'static str,
    request: Value,
    error: &'static str,
    hint: &'static str,
}

/// Returns the request of a put that would work, changed at `path` to `value`.
fn put(server: &ApiServer, path: &str, value: Value) -> Value {
    let reference = format!("{}@{}", shop::REPOSITORY, shop::digest('b'));
    let mut request = json!({
        "source": {"kubeconfig": kubeconfig(server, TOKEN), "deployment": "app"},
        "params": {"reference": reference},
    });
    let (parent, key) = path.rsplit_once('/').unwrap();
    let parent = request.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Value::Null => drop(parent.remove(key)),
        value => drop(parent.insert(key.to_owned(), value)),
    }
    request
}

/// Returns the same put with the source replaced.
fn source(source: Value) -> Value {
    let reference = format!("{}@{}", shop::REPOSITORY, shop::digest('b'));
    json!({"source": source, "params": {"reference": reference}})
}

/// Returns a put with these params.
fn params(server: &ApiServer, params: Value) -> Value {
    json!({"source": {"kubeconfig": kubeconfig(server, TOKEN), "deployment": "app"}, "params": params})
}

fn out(request: Value, error: &'static str, hint: &'static str) -> Wrong {
    Wrong { step: "out", request, error, hint }
}

fn keys(server: &ApiServer) -> Vec<Wrong> {
    vec![
        out(
            put(server, "/source/deployment", Value::Null),
            "`source` names no workload: none of `deployment`, `statefulset`, `daemonset` and `selector` is set",
            "set `deployment` to the name of a Deployment",
        ),
        out(
            put(server, "/source/statefulset", json!("db")),
            "`deployment` and `statefulset` are both set",
            "remove `statefulset`",
        ),
        out(
            put(server, "/source/kind", json!("statefulset")),
            "`source.kind` is set without `selector`",
            "remove it, or set `selector`",
        ),
        out(put(server, "/source/kind", json!("pod")), "`source.kind`: expected", ""),
        out(
            put(server, "/params/max_parallel", json!(0)),
            "`params.max_parallel` is 0, which is not between 1 and 50",
            "leave it out",
        ),
        out(
            put(server, "/source/deployment", json!(7)),
            "`source.deployment`: expected a name or a list of names, found the number `7`",
            "",
        ),
        out(
            put(server, "/source/deployment", json!("../pods")),
            "`source.deployment` is `../pods`",
            "names are lower-case letters",
        ),
        out(
            put(server, "/source/namespace", json!("My Shop")),
            "`source.namespace` is `My Shop`",
            "names are lower-case letters",
        ),
        out(
            put(server, "/source/kube_config", json!("x")),
            "`source.kube_config`: unknown key; did you mean `kubeconfig`?",
            "",
        ),
        out(
            put(server, "/source/insecure_skip_tls_verify", json!("yes")),
            "`source.insecure_skip_tls_verify`: expected true or false, found the string `yes`",
            "",
        ),
        out(
            put(server, "/source/container", json!(["app", 5])),
            "`source.container`: expected a name or a list of names",
            "",
        ),
        out(
            put(server, "/source/container", json!(["app", "app"])),
            "`source.container` names `app` twice",
            "name each once",
        ),
        out(
            put(server, "/params/containers", json!({"app": "good"})),
            "`params.containers` is set and `source.container` is not",
            "set `source.container`",
        ),
        out(put(server, "/source/registry", json!({"user": "x"})), "`source.registry.user`: unknown key", ""),
        out(put(server, "/source/registry", json!({"password": 5})), "`source.registry.password`", ""),
        out(
            put(server, "/source/kubeconfig", json!(5)),
            "`source.kubeconfig`: expected text, found a number",
            "",
        ),
        out(put(server, "/params/wait", json!(5)), "`params.wait`: unknown key", ""),
        out(
            put(server, "/params/wait_until_ready", json!("3m")),
            "`params.wait_until_ready`: expected whole seconds, 0 or more, found the string `3m`",
            "",
        ),
        out(
            put(server, "/params/wait_until_ready", json!(-1)),
            "`params.wait_until_ready`: expected whole seconds, 0 or more, found the number `-1`",
            "",
        ),
        out(
            put(server, "/params/wait_until_ready", json!(1_000_000)),
            "`params.wait_until_ready` is 1000000",
            "0 means: write the image and do not wait",
        ),
        out(put(server, "/params/drain", json!("fast")), "`params.drain`: expected", ""),
        out(
            put(server, "/params/drain_wait", json!(0)),
            "`params.drain_wait` is 0, which is not between 1 and 3600 seconds",
            "leave it out for 10 seconds",
        ),
    ]
}

fn images(server: &ApiServer) -> Vec<Wrong> {
    let unpinned = format!("{}:latest", shop::REPOSITORY);
    vec![
        out(
            params(server, json!({})),
            "`params` names no image",
            "set `image` to the name of an image-digest get",
        ),
        out(
            put(server, "/params/image", json!("good")),
            "`params.image` and `params.reference` are both set",
            "set `image` to",
        ),
        out(params(server, json!({"reference": unpinned})), "names no digest", "a tag may point elsewhere"),
        out(
            params(server, json!({"reference": "r/a@sha256:12"})),
            "`params.reference` is `r/a@sha256:12`",
            "`repository` and `digest`",
        ),
        out(
            params(server, json!({"image": "imgae"})),
            "`params.image` is `imgae`, and there is no such directory",
            "the step has: empty, good, torn",
        ),
        out(
            params(server, json!({"image": "/etc"})),
            "outside of the step's directory",
            "relative to the step",
        ),
        out(
            params(server, json!({"image": "../x"})),
            "outside of the step's directory",
            "relative to the step",
        ),
        out(
            params(server, json!({"image": "empty"})),
            "empty/digest` cannot be read",
            "image-digest, registry-image",
        ),
        out(
            params(server, json!({"image": "torn"})),
            "`torn/digest` is `latest`, which is not a digest",
            "image-digest, registry-image",
        ),
    ]
}

fn clusters(server: &ApiServer) -> Vec<Wrong> {
    let bare = |kubeconfig: &str| source(json!({"kubeconfig": kubeconfig, "deployment": "app"}));
    let url = server.url();
    let nobody = "https://127.0.0.1:9";
    let certificate = "-----BEGIN CERTIFICATE-----\ncuckoo\n";
    vec![
        out(
            source(json!({"deployment": "app"})),
            "nothing says which cluster",
            "set `kubeconfig`, or `server` with `token`",
        ),
        out(
            bare(">--- PASTE YOUR .kube/config HERE ---<\n"),
            "still holds the placeholder",
            "kubectl config view",
        ),
        out(bare("users: [cuckoo\n  x: y"), "`kubeconfig` is not a kubeconfig: line ", "as a block"),
        out(bare("cuckoo"), "`kubeconfig` is not a kubeconfig", "as a block"),
        out(
            put(server, "/source/context", json!("nowhere")),
            "`context` `nowhere` is not in the kubeconfig",
            "one of `here`, `there`",
        ),
        out(
            put(server, "/source/context", json!("there")),
            "names the cluster `that`, which is not in it",
            "`this`",
        ),
        out(
            put(server, "/source/server", json!(url)),
            "`kubeconfig` and `server` are both set",
            "remove `server`",
        ),
        out(
            source(json!({"deployment": "app", "server": url})),
            "`server` is set without `token`",
            "set `token` as well",
        ),
        out(
            source(json!({"deployment": "app", "token": CANARY})),
            "`token` is set without `server`",
            "set `server` as well",
        ),
        out(
            source(json!({"deployment": "app", "server": "k8s.example", "token": CANARY})),
            "`server` is `k8s.example`, which is not a URL",
            "https://HOST:PORT",
        ),
        out(
            source(
                json!({"deployment": "app", "server": nobody, "token": CANARY, "certificate_authority": certificate}),
            ),
            "`certificate_authority` cannot be used",
            "paste the PEM text",
        ),
        out(
            source(json!({"deployment": "app", "server": nobody, "token": "cuckoo cuckoo"})),
            "`token` has spaces or line breaks",
            "paste the token alone",
        ),
        out(
            source(
                json!({"deployment": "app", "server": nobody, "token": CANARY, "insecure_skip_tls_verify": true}),
            ),
            "failed to reach the API server at `https://127.0.0.1:9`: connection refused",
            "check the address",
        ),
        out(
            source(
                json!({"deployment": "app", "server": "https://no.such.host.invalid", "token": CANARY, "insecure_skip_tls_verify": true}),
            ),
            "failed to reach the API server at `https://no.such.host.invalid`: no such host name",
            "check the address",
        ),
        out(
            bare(&kubeconfig(server, "cuckoo-expired")),
            "does not accept the credentials: 401 Unauthorized",
            "has expired",
        ),
        out(
            source(json!({"deployment": "app", "server": format!("{url}/other"), "token": TOKEN})),
            "is not a Kubernetes API server",
            "kubectl cluster-info",
        ),
    ]
}

fn rules(server: &ApiServer) -> Vec<Wrong> {
    let unknown = put(server, "/params/allow", json!(["T008", "D410"]));
    vec![out(unknown, "`params.allow` names `D410`, and there is no such rule", "the nearest are `D401`")]
}

fn deployments(server: &ApiServer) -> Vec<Wrong> {
    let version = json!({"digest": "latest", "revision": "4", "uid": shop::UID});
    let mut get = put(server, "/params", json!({}));
    get["version"] = version;
    let mut check = put(server, "/source/deployment", json!("ap"));
    check.as_object_mut().unwrap().remove("params");
    vec![
        out(
            put(server, "/source/deployment", json!("ap")),
            "there is no Deployment `ap` in namespace `shop`",
            "are `app`",
        ),
        out(
            put(server, "/source/namespace", json!("shopp")),
            "there is no Deployment `app` in namespace `shopp`",
            "there are no Deployments in `shopp`",
        ),
        out(put(server, "/source/container", json!("web")), "no container `web`", "app"),
        Wrong { step: "check", request: check, error: "there is no Deployment `ap`", hint: "are `app`" },
        Wrong { step: "in", request: get, error: "`version.digest`", hint: "" },
    ]
}

fn garbage() -> Vec<Wrong> {
    vec![
        out(Value::Null, "the request on stdin is null, not an object", ""),
        out(json!([]), "the request on stdin is a list, not an object", ""),
        out(json!({"sauce": {}}), "`sauce`: unknown key; did you mean `source`?", ""),
    ]
}

#[test]
fn each_wrong_input_gives_one_clear_line_and_changes_nothing() {
    let server = ApiServer::start().with_token();
    shop::fill(&server, 'a');
    let toolkit = Toolkit::new();
    toolkit.folder("step/empty");
    toolkit.file("step/torn/repository", shop::REPOSITORY);
    toolkit.file("step/torn/digest", "latest");
    toolkit.file("step/good/repository", shop::REPOSITORY);
    toolkit.file("step/good/digest", &shop::digest('b'));
    let step = toolkit.directory().join("step");
    let parts =
        [keys(&server), rules(&server), images(&server), clusters(&server), deployments(&server), garbage()];
    let table: Vec<Wrong> = parts.into_iter().flatten().collect();
    assert!(table.len() >= 30, "{} rows", table.len());
    let before = files(&step);
    for wrong in table {
        let outcome = toolkit.step("rollout", wrong.step, Some(&step), &wrong.request.to_string());
        let lines: Vec<&str> = outcome.stderr.lines().collect();
        let context = format!("{} in\n{outcome}", wrong.error);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""), "{context}");
        assert!(lines[0].starts_with("error: ") && lines[0].contains(wrong.error), "{context}");
        assert!(lines.len() <= 2, "{context}");
        if !wrong.hint.is_empty() {
            assert!(lines[1].starts_with("hint: ") && lines[1].contains(wrong.hint), "{context}");
        }
        assert!(!outcome.stderr.contains(CANARY) && !outcome.stderr.contains(TOKEN), "{context}");
        assert!(server.writes().is_empty(), "{context}");
    }
    assert_eq!(files(&step), before);
}

fn files(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> =
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect();
    found.sort();
    found
}
