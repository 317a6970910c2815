//! `rollway harness pipeline` with resource types made of a few lines of shell: a counter whose
//! versions are the lines of a file, and a target whose put writes to one.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use insta::assert_snapshot;
use serde_json::Value;

use crate::support::toolkit::{Outcome, Run, Toolkit, finish};

/// check: the lines of `source.file` as versions; in: the version in a file; out: appends to the
/// file what `params.from` holds.
const TYPE: &str = r#"
request=$(cat)
field() { printf '%s' "$request" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
file=$(field file)
case "$0" in
*/check)
    test -n "$(field broken)" && { echo "no route to host" >&2; exit 1; }
    printf '['; sep=
    while read -r line; do printf '%s{"n":"%s"}' "$sep" "$line"; sep=,; done < "$file"
    printf ']' ;;
*/in)
    n=$(field n); echo "in $n $(field extra)" >> "$file.log"
    test "$(field fail)" = in && { echo "cannot fetch $n" >&2; exit 1; }
    printf %s "$n" > "$1/n"; ln -s n "$1/link"
    echo "{\"version\":{\"n\":\"$n\"},\"metadata\":[{\"name\":\"number\",\"value\":\"$n\"}]}" ;;
*/out)
    fail=$(field fail); from=$(field from); say=$(field say)
    echo "out $(cd "$1" && echo *) $say ${BUILD_STATUS:-} $BUILD_PIPELINE_NAME/$BUILD_JOB_NAME/$BUILD_NAME" >> "$file.log"
    test "$fail" = error && { echo garbage; exit 0; }
    test "$fail" = exit && { echo "the put fails" >&2; exit 1; }
    test "$fail" = hang && sleep 60
    n=$(cat "$1/$from/n" 2>/dev/null || echo made)
    echo "$n" >> "$file"
    echo "putting $n" >&2
    echo "{\"version\":{\"n\":\"$n\"},\"metadata\":[]}" ;;
esac
"#;

struct Pipeline {
    toolkit: Toolkit,
    kind: PathBuf,
}

impl Pipeline {
    /// A pipeline with the resources `image` (versions `1`), `target` and `broken`, and these jobs.
    fn with(jobs: &str) -> Self {
        let toolkit = Toolkit::new();
        let kind = toolkit.script("shell", TYPE);
        toolkit.file("image", "1\n");
        toolkit.file("target", "");
        let resources = "
resources:
  - {name: image, type: shell, source: {file: ((dir))/image}}
  - {name: target, type: shell, source: {file: ((dir))/target}}
  - {name: broken, type: shell, source: {file: ((dir))/image, broken: 'yes'}}
";
        toolkit.file("deploy.yml", &format!("{resources}\njobs:\n{jobs}\n"));
        Self { toolkit, kind }
    }

    fn command(&self) -> Run<'_> {
        let directory = format!("dir={}", self.toolkit.directory().display());
        let kind = format!("shell={}", self.kind.display());
        let run = self.toolkit.binary("rollway").args(["harness", "pipeline", "-c", "deploy.yml"]);
        run.args(["-v", &directory, "--resource-type", &kind])
    }

    fn run(&self, args: &[&str]) -> Outcome {
        let outcome = self.command().args(args).run();
        // Durations differ from run to run.
        let time = regex::Regex::new(r"in \d+\.\d s").unwrap();
        Outcome { stdout: time.replace_all(&outcome.stdout, "in [TIME]").into_owned(), ..outcome }
    }

    fn log(&self, resource: &str) -> String {
        std::fs::read_to_string(self.toolkit.directory().join(format!("{resource}.log"))).unwrap_or_default()
    }
}

const DEPLOY: &str = "
  - name: deploy
    serial: true
    plan:
      - get: image
        trigger: true
      - put: target
        params: {from: image}
";

#[test]
fn new_version_is_fetched_put_and_fetched_again() {
    let pipeline = Pipeline::with(DEPLOY);
    assert_snapshot!(pipeline.run(&[]), @r"
    exit 0
    --- stdout
    check image: new version n: 1
    deploy #1 started
    deploy #1 | get image | n: 1 in [TIME]
    deploy #1 | get image |   number: 1
    deploy #1 | put target | putting 1
    deploy #1 | put target | n: 1 in [TIME]
    deploy #1 | get target | n: 1 in [TIME]
    deploy #1 | get target |   number: 1
    deploy #1 succeeded in [TIME]
    ");
    assert_eq!(pipeline.log("target"), "out image   deploy/deploy/1\nin 1 \n");
}

#[test]
fn state_remembers_versions_builds_and_what_was_fetched() {
    let pipeline = Pipeline::with(DEPLOY);
    pipeline.run(&["--state", "state"]);
    assert_snapshot!(pipeline.run(&["--state", "state"]), @r"
    exit 1
    --- stderr
    error: nothing to run: no job has an input with `trigger: true` that has a version it did not use yet
    hint: --job NAME runs a job whatever its triggers say
    ");
    let again = pipeline.run(&["--state", "state", "--job", "deploy"]);
    assert_snapshot!(again, @r"
    exit 0
    --- stdout
    deploy #2 started
    deploy #2 | get image | n: 1 (cached)
    deploy #2 | get image |   number: 1
    deploy #2 | put target | putting 1
    deploy #2 | put target | n: 1 in [TIME]
    deploy #2 | get target | n: 1 (cached)
    deploy #2 | get target |   number: 1
    deploy #2 succeeded in [TIME]
    ");
    assert_eq!(pipeline.log("image"), "in 1 \n", "`in` runs once for one version");
}

#[test]
fn passed_jobs_follow_with_the_version_that_passed() {
    let pipeline = Pipeline::with(
        "
  - name: test
    plan: [{get: image, trigger: true}]
  - name: deploy
    plan:
      - {get: checked, resource: image, passed: [test], trigger: true}
      - {put: target, params: {from: checked/n}, no_get: true}
  - name: idle
    plan: [{get: image, passed: [deploy]}]
",
    );
    let outcome = pipeline.run(&[]);
    assert_snapshot!(outcome, @r"
    exit 0
    --- stdout
    check image: new version n: 1
    test #1 started
    test #1 | get image | n: 1 in [TIME]
    test #1 | get image |   number: 1
    test #1 succeeded in [TIME]
    deploy #1 started
    deploy #1 | get checked | n: 1 (cached)
    deploy #1 | get checked |   number: 1
    deploy #1 | put target | putting made
    deploy #1 | put target | n: made in [TIME]
    deploy #1 succeeded in [TIME]
    ");
    assert_eq!(pipeline.log("target"), "out checked   deploy/deploy/1\n");
}

#[test]
fn hooks_follow_the_end_that_they_are_for() {
    for (fail, hooks) in [("no", "success ensure"), ("exit", "failure ensure"), ("error", "error ensure")] {
        let hook = |name: &str| format!("{{put: target, params: {{say: {name}}}, no_get: true}}");
        let pipeline = Pipeline::with(&format!(
            "
  - name: deploy
    plan:
      - put: target
        params: {{fail: '{fail}', say: step}}
        no_get: true
        on_success: {}
        on_failure: {}
        on_error: {}
        on_abort: {}
        ensure: {}
",
            hook("success"),
            hook("failure"),
            hook("error"),
            hook("abort"),
            hook("ensure"),
        ));
        let outcome = pipeline.run(&["--job", "deploy"]);
        assert_eq!(outcome.code, Some(i32::from(fail != "no")), "{outcome}");
        let log = pipeline.log("target");
        let said: Vec<&str> = log.lines().skip(1).filter_map(|line| line.split_whitespace().nth(2)).collect();
        assert_eq!(said.join(" "), hooks, "{fail}: {log}");
        let status = if fail == "no" {
            "succeeded"
        } else if fail == "exit" {
            "failed"
        } else {
            "errored"
        };
        assert!(log.contains(&format!(" ensure {status} ")), "{log}");
    }
}

#[test]
fn failing_steps_end_the_plan_unless_they_are_tried() {
    let pipeline = Pipeline::with(
        "
  - name: deploy
    plan:
      - try: {put: target, params: {fail: exit, say: tried}}
      - put: target
        params: {fail: exit, say: again}
        attempts: 3
      - {put: target, params: {say: never}}
",
    );
    let outcome = pipeline.run(&["--job", "deploy"]);
    assert_eq!(outcome.code, Some(1));
    let log = pipeline.log("target");
    let said: Vec<&str> = log.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    assert_eq!(said, ["tried", "again", "again", "again"], "{outcome}");
}

#[test]
fn timeout_is_a_failure_of_the_step() {
    let pipeline = Pipeline::with(
        "
  - name: deploy
    plan:
      - put: target
        params: {fail: hang}
        timeout: 1s
        on_failure: {put: target, params: {say: late}, no_get: true}
",
    );
    let outcome = pipeline.run(&["--job", "deploy"]);
    assert!(outcome.stdout.contains("timeout exceeded"), "{outcome}");
    assert!(pipeline.log("target").contains(" late failed "), "{outcome}");
    assert!(outcome.stdout.ends_with("deploy #1 failed in [TIME]\n"), "{outcome}");
}

#[test]
fn parallel_steps_share_artifacts_and_fail_fast_ends_the_others() {
    let pipeline = Pipeline::with(
        "
  - name: all
    plan:
      - in_parallel: [{get: image}, {get: second, resource: image, params: {extra: x}}]
      - {put: target, inputs: all, params: {say: all}, no_get: true}
      - {put: target, inputs: [second], params: {say: one}, no_get: true}
      - {put: target, params: {say: image/n, from: \"((.:image.number))\"}, no_get: true}
      - {put: target, inputs: [absent], no_get: true}
  - name: fast
    plan:
      - in_parallel:
          fail_fast: true
          steps:
            - {put: target, params: {fail: exit}}
            - {put: target, params: {fail: hang}}
",
    );
    let outcome = pipeline.run(&["--job", "all"]);
    assert!(outcome.stdout.contains("errored: input `absent` is missing"), "{outcome}");
    let log = pipeline.log("target");
    let inputs: Vec<&str> = log.lines().map(|line| line.split("  ").next().unwrap()).collect();
    assert_eq!(inputs, ["out image second all", "out second one", "out image image/n"], "{log}");
    let outcome = pipeline.run(&["--job", "fast"]);
    assert!(outcome.stdout.ends_with("fast #1 failed in [TIME]\n"), "{outcome}");
}

#[test]
fn failing_get_keeps_nothing_and_failing_check_says_why() {
    let pipeline = Pipeline::with(
        "
  - name: deploy
    plan: [{get: image, params: {fail: in}, trigger: true}]
  - name: stuck
    plan: [{get: broken, trigger: true}]
",
    );
    let args = ["--job", "deploy", "--state", "state"];
    pipeline.run(&args);
    assert_snapshot!(pipeline.run(&args), @r"
    exit 1
    --- stdout
    deploy #2 started
    deploy #2 | get image | cannot fetch 1
    deploy #2 | get image | failed: `/opt/resource/in` ended with exit code 1
    deploy #2 failed in [TIME]
    ");
    assert_snapshot!(pipeline.run(&["--job", "stuck"]), @r"
    exit 1
    --- stdout
    check broken | no route to host
    check broken failed: `/opt/resource/check` ended with exit code 1
    --- stderr
    error: job `stuck` cannot start: input `broken` has no version, because the check of `broken` did not succeed: `/opt/resource/check` ended with exit code 1: no route to host
    ");
}

#[test]
fn watch_builds_each_new_version_and_ends_after_so_many() {
    let pipeline = Pipeline::with(DEPLOY);
    let mut child = pipeline
        .command()
        .args(["--watch", "--interval", "1s", "--builds", "2", "--json"])
        .start_without_stdin();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let mut events = Vec::new();
    for line in stdout.lines() {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
        if event["event"] == "build-finished" && event["build"] == 1 {
            std::fs::write(pipeline.toolkit.directory().join("image"), "1\n2\n").unwrap();
        }
        events.push(event);
    }
    assert_eq!(finish(&pipeline.toolkit, child, b"").code, Some(0));
    let ends: Vec<_> = events
        .iter()
        .filter(|event| event["event"] == "step-finished" && event["step"] == "put target")
        .map(|event| (event["build"].as_u64().unwrap(), event["version"]["n"].as_str().unwrap()))
        .collect();
    assert_eq!(ends, [(1, "1"), (2, "2")]);
}

#[test]
fn interrupt_ends_the_build_runs_its_hooks_and_is_told_by_the_exit() {
    let pipeline = Pipeline::with(
        "
  - name: deploy
    plan:
      - put: target
        params: {fail: hang, say: step}
        on_abort: {put: target, params: {say: left}, no_get: true}
      - {put: target, params: {say: never}}
",
    );
    let mut child = pipeline.command().args(["--job", "deploy", "--json"]).start_without_stdin();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("step-started") {
        line.clear();
        assert!(stdout.read_line(&mut line).unwrap() > 0, "it ended early");
    }
    std::process::Command::new("/bin/kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    let rest: Vec<String> = stdout.lines().map(Result::unwrap).collect();
    assert!(rest.last().unwrap().contains(r#""outcome":"aborted""#), "{rest:#?}");
    assert_eq!(finish(&pipeline.toolkit, child, b"").code, Some(143));
    let log = pipeline.log("target");
    assert!(log.contains(" left aborted ") && !log.contains(" never "), "{log}");
}

#[test]
fn transcript_that_cannot_be_written_ends_a_watch() {
    let pipeline = Pipeline::with(DEPLOY);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert_snapshot!(pipeline.command().arg("--watch").stdout_to(full), @r"
    exit 1
    --- stderr
    error: failed to write to stdout: No space left on device (os error 28)
    ");
}

#[test]
fn every_version_is_built_in_order() {
    let pipeline = Pipeline::with(
        "
  - name: deploy
    serial: true
    plan: [{get: image, version: every, trigger: true}]
",
    );
    pipeline.run(&["--state", "state"]);
    std::fs::write(pipeline.toolkit.directory().join("image"), "1\n2\n3\n4\n").unwrap();
    let outcome = pipeline.run(&["--state", "state"]);
    let got: Vec<&str> = outcome.stdout.lines().filter(|line| line.contains("| get image | n:")).collect();
    assert_eq!(
        got,
        [
            "deploy #2 | get image | n: 2 in [TIME]",
            "deploy #3 | get image | n: 3 in [TIME]",
            "deploy #4 | get image | n: 4 in [TIME]",
        ],
        "{outcome}"
    );
}

#[test]
fn tag_that_moves_back_is_invisible() {
    let pipeline = Pipeline::with(DEPLOY);
    let write = |versions: &str| {
        std::fs::write(pipeline.toolkit.directory().join("image"), versions).unwrap();
        pipeline.run(&["--state", "state"])
    };
    assert_eq!(write("a\n").code, Some(0));
    assert_eq!(write("a\nb\n").code, Some(0));
    assert!(write("b\na\n").stderr.contains("nothing to run"));
}
