//! Pipelines are loaded as fly loads them: variables from files and flags, then every key checked.

use std::path::Path;

use insta::assert_snapshot;
use rollway::rollout::resource as rollout;
use rollway::{image_digest, kpack_trigger};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::support::toolkit::{Outcome, Toolkit};

/// A resource type that says what it was given.
const TYPE: &str = r#"
case "$0" in
*/check) cat >&2; echo '[{"digest":"sha256:1"}]' ;;
*/in) cat >&2; echo '{"version":{"digest":"sha256:1"}}' ;;
*/out) cat >&2; echo >&2; ls "$1" >&2; echo '{"version":{"digest":"sha256:2"}}' ;;
esac
"#;

fn checkout(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).display().to_string()
}

fn load(toolkit: &Toolkit, args: &[&str]) -> Outcome {
    toolkit.binary("rollway").args(["harness", "pipeline"]).args(args).run()
}

/// Runs a pipeline of this repository for one app, with resource types that say what they were given.
fn shipped(toolkit: &Toolkit, pipeline: &str, app: &str, flags: &[&str]) -> Outcome {
    let template = std::fs::read_to_string(checkout("ci/k8s.template.yml")).unwrap();
    let variables =
        toolkit.file("k8s.yml", &template.replace(">--- PASTE YOUR .kube/config HERE ---<", "kind: Config"));
    let run = toolkit
        .binary("rollway")
        .args(["harness", "pipeline", "-c", &checkout(pipeline)])
        .arg("-l")
        .arg(&variables)
        .args(["-l", &checkout(&format!("ci/app-{app}.yml"))])
        .args(flags);
    let outcome = run.args(types(toolkit)).run();
    assert_eq!(outcome.code, Some(0), "{outcome}");
    outcome
}

/// Returns the flags with which each type says what it was given.
fn types(toolkit: &Toolkit) -> [String; 4] {
    let kind = toolkit.script("type", TYPE);
    ["image-digest", "rollout", "kpack-trigger", "time"]
        .map(|name| format!("--resource-type={name}={}", kind.display()))
}

/// Returns what the step of a job was given.
fn request(outcome: &Outcome, step: &str) -> Value {
    let prefix = format!("{step} | ");
    let mut lines = outcome.stdout.lines().filter_map(|line| line.strip_prefix(&prefix));
    let found = lines.rfind(|line| line.starts_with('{'));
    serde_json::from_str(found.unwrap_or_else(|| panic!("no request of `{step}`\n{outcome}"))).unwrap()
}

/// Reads what a step was given, as its resource type does.
fn read<T: DeserializeOwned>(request: &Value, key: &str) -> T {
    serde_json::from_value(request[key].clone()).unwrap_or_else(|error| panic!("{key}: {error}: {request}"))
}

#[test]
fn pipeline_of_the_repository_runs_for_every_app() {
    for app in ["foo", "bar", "baz"] {
        let toolkit = Toolkit::new();
        let outcome = shipped(&toolkit, "ci/pipeline.yml", app, &[]);
        let get = format!(
            r#"deploy #1 | get container-image | {{"source":{{"repository":"registry.example.com/app-{app}","tag":"latest"}},"params":{{"skip_download":true}},"version":{{"digest":"sha256:1"}}}}"#
        );
        let put = format!(
            r#"deploy #1 | put deployment | {{"source":{{"kubeconfig":"kind: Config\n","context":null,"insecure_skip_tls_verify":false,"namespace":"app-{app}","deployment":"app","container":"app"}},"params":{{"image":"container-image","wait_until_ready":180}}}}"#
        );
        for line in [get, put, "deploy #1 | put deployment | container-image".to_owned()] {
            assert!(outcome.stdout.lines().any(|found| found == line), "{line}\n{outcome}");
        }
    }
}

#[test]
fn later_files_win_and_flags_win_over_files() {
    let toolkit = Toolkit::new();
    let kind = toolkit.script("type", TYPE);
    toolkit.file(
        "p.yml",
        "resources: [{name: r, type: t, source: {a: ((a)), b: ((b)), c: ((c)), d: ((m.d))}}]
jobs: [{name: j, plan: [{get: r, trigger: true}]}]",
    );
    toolkit.file("one.yml", "a: 1\nb: 1\nc: 1\nm: {d: 1}");
    toolkit.file("two.yml", "b: 2\nc: 2");
    let kind = format!("t={}", kind.display());
    let args = [
        "-c",
        "p.yml",
        "-l",
        "one.yml",
        "-l",
        "two.yml",
        "-v",
        "c=3",
        "-y",
        "m.d=[4]",
        "--resource-type",
        &kind,
    ];
    let outcome = load(&toolkit, &args);
    let source = r#"{"source":{"a":1,"b":2,"c":"3","d":[4]},"version":{"digest":"sha256:1"}}"#;
    assert!(outcome.stdout.contains(source), "{outcome}");
}

#[test]
fn what_is_wrong_is_named_before_anything_runs() {
    let toolkit = Toolkit::new();
    toolkit.file("vars.yml", "password: hunter2\nb: [\n");
    toolkit
        .file("vars-missing.yml", "resources: [{name: r, type: t, source: {a: ((zeta)), b: ((alpha.x))}}]");
    toolkit.file("task.yml", "jobs: [{name: deploy, plan: [{task: build, file: x}, {set_pipeline: self}]}]");
    toolkit.file("type.yml", "resources: [{name: r, type: git}]\njobs: [{name: j, plan: [{get: r}]}]");
    toolkit.file("empty.yml", "");
    let cases: [&[&str]; 8] = [
        &["-c", "none.yml"],
        &["-c", "task.yml", "-l", "vars.yml"],
        &["-c", "vars-missing.yml"],
        &["-c", "task.yml"],
        &["-c", "type.yml"],
        &["-c", "empty.yml"],
        &["-c", "task.yml", "-v", "a"],
        &["-c", "empty.yml", "--interval", "100ms"],
    ];
    let said: Vec<String> = cases.iter().map(|args| load(&toolkit, args).to_string()).collect();
    assert!(!said.concat().contains("hunter2"));
    assert_snapshot!(said.join("\n"), @r"
    exit 1
    --- stderr
    error: failed to read `none.yml`: No such file or directory (os error 2)

    exit 1
    --- stderr
    error: failed to read `vars.yml`: line 2, column 4: unclosed bracket '['

    exit 1
    --- stderr
    error: variables are without a value: `alpha.x`, `zeta`
    hint: give them with -l FILE or -v NAME=VALUE

    exit 1
    --- stderr
    error: step `task: build` in job `deploy`, step `set_pipeline: self` in job `deploy` cannot be run here
    hint: get, put, in_parallel, do, try and their hooks can; set the pipeline in Concourse for the rest

    exit 1
    --- stderr
    error: resource `r` has the type `git`, for which there is no executable
    hint: name one with --resource-type git=PATH, or put `git` beside the rollway binary

    exit 1
    --- stderr
    error: the pipeline: it is not a map

    exit 1
    --- stderr
    error: --var is not NAME=VALUE

    exit 2
    --- stderr
    error: invalid value '100ms' for '--interval <DURATION>': resources are not checked more often than every second

    For more information, try '--help'.
    ");
}

#[test]
fn unknown_job_and_pinned_resources() {
    let toolkit = Toolkit::new();
    let kind = format!("t={}", toolkit.script("type", TYPE).display());
    toolkit.file(
        "p.yml",
        "resources: [{name: r, type: t, version: {digest: 'sha256:0'}}]
jobs: [{name: j, plan: [{get: r, trigger: true}]}]",
    );
    assert_snapshot!(load(&toolkit, &["-c", "p.yml", "--job", "k", "--resource-type", &kind]), @r"
    exit 1
    --- stderr
    error: job `k` cannot start: there is no such job
    ");
    let outcome = load(&toolkit, &["-c", "p.yml", "--resource-type", &kind]);
    assert!(outcome.stdout.contains(r#"{"source":{},"version":{"digest":"sha256:0"}}"#), "{outcome}");
}

#[test]
fn a_canary_reaches_the_put_as_the_type_reads_it() {
    let toolkit = Toolkit::new();
    let flags = ["-v", "probe-url=https://app.example.com/", "-v", "prometheus-url=http://prometheus"];
    let outcome = shipped(&toolkit, "pipelines/canary.yml", "foo", &flags);
    let put = request(&outcome, "deploy #1 | put deployment");
    let _: rollout::Source = read(&put, "source");
    let params: rollout::PutParams = read(&put, "params");
    let canary = params.canary.unwrap();
    assert_eq!((canary.pods.to_string().as_str(), canary.hold.as_secs()), ("10%", 120));
    assert_eq!(canary.checks.unwrap().len(), 3);
    assert_eq!(params.probe.unwrap().rps, 20);
}

/// What a step of a job on the kpack Image of app-foo was given.
fn asks_kpack(request: &Value) {
    let _: kpack_trigger::Source = read(request, "source");
    let source = json!({"kubeconfig": "kind: Config\n", "context": null, "insecure_skip_tls_verify": false,
        "namespace": "kpack-builders", "image": "app-foo"});
    assert_eq!(request["source"], source);
}

#[test]
fn a_build_of_kpack_is_what_the_put_rolls_out() {
    let toolkit = Toolkit::new();
    let outcome = shipped(&toolkit, "pipelines/kpack.yml", "foo", &["--job", "deploy"]);
    let get = request(&outcome, "deploy #1 | get build");
    asks_kpack(&get);
    assert_eq!((&get["version"], get.get("params")), (&json!({"digest": "sha256:1"}), None));
    let put = request(&outcome, "deploy #1 | put deployment");
    let _: rollout::Source = read(&put, "source");
    let _: rollout::PutParams = read(&put, "params");
    assert_eq!(put["params"], json!({"image": "build", "wait_until_ready": 180}));
    assert!(outcome.stdout.contains("deploy #1 | put deployment | build\n"), "{outcome}");
}

#[test]
fn a_rebuild_is_asked_for_and_then_rolled_out_by_hand_and_by_night() {
    for job in ["rebuild", "nightly"] {
        let toolkit = Toolkit::new();
        let outcome = shipped(&toolkit, "pipelines/rebuild.yml", "foo", &["--job", job]);
        let put = request(&outcome, &format!("{job} #1 | put build"));
        asks_kpack(&put);
        let _: kpack_trigger::PutParams = read(&put, "params");
        assert_eq!(put["params"], json!({"trigger": true, "timeout": 3600, "retry": 2}));
        // The get that follows the put is what the rollout reads.
        let roll = request(&outcome, &format!("{job} #1 | put deployment"));
        let params: rollout::PutParams = read(&roll, "params");
        assert_eq!(params.image.as_deref(), Some("build"));
        assert!(outcome.stdout.contains(&format!("{job} #1 | put deployment | build\n")), "{outcome}");
    }
}

#[test]
fn a_promotion_reaches_the_put_as_the_type_reads_it() {
    let toolkit = Toolkit::new();
    let flags =
        ["-v", "staging-image=registry.example.com/staging/app-foo", "-v", "staging-namespace=staging"];
    let outcome = shipped(&toolkit, "pipelines/promote.yml", "foo", &flags);
    let put = request(&outcome, "promote #1 | put container-image");
    let params: image_digest::PutParams = read(&put, "params");
    assert_eq!(params.digest_file, "candidate/image");
    let source: image_digest::Source = read(&put, "source");
    assert_eq!(source.repository, "registry.example.com/app-foo");
}

#[test]
fn first_example_of_each_resource_type_runs_as_it_is() {
    for name in ["image-digest", "kpack-trigger", "rollout"] {
        let toolkit = Toolkit::new();
        let readme = std::fs::read_to_string(checkout(&format!("resource/{name}/README.md"))).unwrap();
        let (_, example) = readme.split_once("```yaml\n").unwrap();
        toolkit.file("p.yml", example.split_once("```").unwrap().0);
        toolkit.file(
            "v.yml",
            "{registry: {password: x}, kubernetes-config: x, kubernetes-context: x, kubernetes-wait-until-ready: 180}",
        );
        let types = types(&toolkit);
        let mut args = vec!["-c", "p.yml", "-l", "v.yml"];
        args.extend(types.iter().map(String::as_str));
        let outcome = load(&toolkit, &args);
        assert_eq!(outcome.code, Some(0), "{name}: {outcome}");
        assert!(outcome.stdout.contains(" | put "), "{name}: {outcome}");
    }
}
