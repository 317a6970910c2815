//! Pipelines are loaded as fly loads them: variables from files and flags, then every key checked.

use std::path::Path;

use insta::assert_snapshot;

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

#[test]
fn pipeline_of_the_repository_runs_for_every_app() {
    let toolkit = Toolkit::new();
    let kind = toolkit.script("type", TYPE);
    let template = std::fs::read_to_string(checkout("ci/k8s.template.yml")).unwrap();
    let variables =
        toolkit.file("k8s.yml", &template.replace(">--- PASTE YOUR .kube/config HERE ---<", "kind: Config"));
    for app in ["foo", "bar", "baz"] {
        let outcome = toolkit
            .binary("rollway")
            .args(["harness", "pipeline", "-c", &checkout("ci/pipeline.yml")])
            .arg("-l")
            .arg(&variables)
            .args(["-l", &checkout(&format!("ci/app-{app}.yml"))])
            .args(["--resource-type", &format!("image-digest={}", kind.display())])
            .args(["--resource-type", &format!("rollout={}", kind.display())])
            .run();
        assert_eq!(outcome.code, Some(0), "{outcome}");
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
    let kind = toolkit.script("type", TYPE);
    let template = std::fs::read_to_string(checkout("ci/k8s.template.yml")).unwrap();
    let variables =
        toolkit.file("k8s.yml", &template.replace(">--- PASTE YOUR .kube/config HERE ---<", "kind: Config"));
    let outcome = toolkit
        .binary("rollway")
        .args(["harness", "pipeline", "-c", &checkout("pipelines/canary.yml")])
        .arg("-l")
        .arg(&variables)
        .args(["-l", &checkout("ci/app-foo.yml")])
        .args(["-v", "probe-url=https://app.example.com/", "-v", "prometheus-url=http://prometheus"])
        .args(["--resource-type", &format!("image-digest={}", kind.display())])
        .args(["--resource-type", &format!("rollout={}", kind.display())])
        .run();
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let put = outcome.stdout.lines().find_map(|line| line.strip_prefix("deploy #1 | put deployment | {"));
    let request: serde_json::Value =
        serde_json::from_str(&format!("{{{}", put.expect("the put's request"))).unwrap();
    let params: rollway::rollout::resource::PutParams =
        serde_json::from_value(request["params"].clone()).unwrap();
    let canary = params.canary.unwrap();
    assert_eq!((canary.pods.to_string().as_str(), canary.hold.as_secs()), ("10%", 120));
    assert_eq!(canary.checks.unwrap().len(), 3);
    assert_eq!(params.probe.unwrap().rps, 20);
}

/// Loads a pipeline of `pipelines/` for app-foo with types that say what they were given.
fn with_kpack(toolkit: &Toolkit, pipeline: &str, job: &str) -> Outcome {
    let kind = toolkit.script("type", TYPE);
    let template = std::fs::read_to_string(checkout("ci/k8s.template.yml")).unwrap();
    let variables =
        toolkit.file("k8s.yml", &template.replace(">--- PASTE YOUR .kube/config HERE ---<", "kind: Config"));
    let mut run = toolkit
        .binary("rollway")
        .args(["harness", "pipeline", "-c", &checkout(pipeline)])
        .arg("-l")
        .arg(&variables)
        .args(["-l", &checkout("ci/app-foo.yml"), "--job", job]);
    for name in ["kpack-trigger", "rollout", "time"] {
        run = run.args(["--resource-type", &format!("{name}={}", kind.display())]);
    }
    run.run()
}

const KPACK: &str = r#""source":{"kubeconfig":"kind: Config\n","context":null,"insecure_skip_tls_verify":false,"namespace":"kpack-builders","image":"app-foo"}"#;

#[test]
fn a_build_of_kpack_is_what_the_put_rolls_out() {
    let toolkit = Toolkit::new();
    let outcome = with_kpack(&toolkit, "pipelines/kpack.yml", "deploy");
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let get = format!(r#"deploy #1 | get build | {{{KPACK},"version":{{"digest":"sha256:1"}}}}"#);
    assert!(outcome.stdout.contains(&get), "{get}\n{outcome}");
    assert!(outcome.stdout.contains(r#""params":{"image":"build","wait_until_ready":180}"#), "{outcome}");
    assert!(outcome.stdout.contains("deploy #1 | put deployment | build\n"), "{outcome}");
}

#[test]
fn a_rebuild_is_asked_for_and_then_rolled_out_by_hand_and_by_night() {
    for job in ["rebuild", "nightly"] {
        let toolkit = Toolkit::new();
        let outcome = with_kpack(&toolkit, "pipelines/rebuild.yml", job);
        assert_eq!(outcome.code, Some(0), "{outcome}");
        let put = format!(
            r#"{job} #1 | put build | {{{KPACK},"params":{{"trigger":true,"timeout":3600,"retry":2}}}}"#
        );
        assert!(outcome.stdout.contains(&put), "{put}\n{outcome}");
        // The get that follows the put is what the rollout reads.
        assert!(outcome.stdout.contains(&format!("{job} #1 | put deployment | build\n")), "{outcome}");
    }
}

#[test]
fn a_promotion_reaches_the_put_as_the_type_reads_it() {
    let toolkit = Toolkit::new();
    let kind = toolkit.script("type", TYPE);
    let template = std::fs::read_to_string(checkout("ci/k8s.template.yml")).unwrap();
    let variables =
        toolkit.file("k8s.yml", &template.replace(">--- PASTE YOUR .kube/config HERE ---<", "kind: Config"));
    let outcome = toolkit
        .binary("rollway")
        .args(["harness", "pipeline", "-c", &checkout("pipelines/promote.yml")])
        .arg("-l")
        .arg(&variables)
        .args(["-l", &checkout("ci/app-foo.yml")])
        .args(["-v", "staging-image=registry.example.com/staging/app-foo", "-v", "staging-namespace=staging"])
        .args(["--resource-type", &format!("image-digest={}", kind.display())])
        .args(["--resource-type", &format!("rollout={}", kind.display())])
        .run();
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let put =
        outcome.stdout.lines().find_map(|line| line.strip_prefix("promote #1 | put container-image | {"));
    let request: serde_json::Value =
        serde_json::from_str(&format!("{{{}", put.expect("the put's request"))).unwrap();
    let params: rollway::image_digest::PutParams = serde_json::from_value(request["params"].clone()).unwrap();
    assert_eq!(params.digest_file, "candidate/image");
    let source: rollway::image_digest::Source = serde_json::from_value(request["source"].clone()).unwrap();
    assert_eq!(source.repository, "registry.example.com/app-foo");
}
