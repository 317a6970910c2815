//! `rollway harness check|in|out` against small resource types that behave well and badly.

use std::io::{BufRead, BufReader};
use std::path::Path;

use insta::assert_snapshot;
use serde_json::json;

use crate::support::toolkit::{Outcome, Toolkit, finish};

/// Runs one step of a resource type whose executable is `body`.
fn run(toolkit: &Toolkit, step: &str, body: &str, args: &[&str]) -> Outcome {
    let resource = toolkit.script("resource", body);
    harness(toolkit, step, &resource, args)
}

fn harness(toolkit: &Toolkit, step: &str, resource: &Path, args: &[&str]) -> Outcome {
    toolkit.binary("rollway").args(["harness", step, "--resource"]).arg(resource).args(args).run()
}

#[test]
fn check_shows_versions_oldest_first_and_passes_stderr_on() {
    let toolkit = Toolkit::new();
    let body = r#"cat >&2; echo >&2; echo '[{"digest":"a","tag":"t"},{"digest":"b","tag":"t"}]'"#;
    let args = ["--source", r#"{"repository":"r"}"#, "--version", "digest:a,tag:t", "--json"];
    let document = run(&toolkit, "check", body, &args).json();
    assert_eq!(document["outcome"], "succeeded");
    assert_eq!(document["versions"], json!([{"digest": "a", "tag": "t"}, {"digest": "b", "tag": "t"}]));
    let request = r#"{"source":{"repository":"r"},"version":{"digest":"a","tag":"t"}}"#;
    assert_eq!(document["stderr"], json!([request]));
}

#[test]
fn step_runs_at_the_root_with_concourses_environment_and_no_other() {
    let toolkit = Toolkit::new().variable("HOME", "/root").variable("NO_PROXY", "localhost");
    let body = r#"echo "$0 $1 $(pwd)" >&2; env | grep -v -e ^_= -e ^PWD= -e ^SHLVL= | sort >&2; echo '{"version":{"a":"1"}}'"#;
    let outcome = run(&toolkit, "out", body, &["--dir", "."]);
    let links = outcome.stderr.split_whitespace().next().unwrap().strip_suffix("/out").unwrap().to_owned();
    let stderr = outcome.stderr.replace(&links, "[LINKS]");
    assert_snapshot!(stderr, @r"
    [LINKS]/out [DIR] /
    ATC_EXTERNAL_URL=http://localhost:8080
    BUILD_ID=1
    BUILD_JOB_ID=1
    BUILD_JOB_NAME=try
    BUILD_NAME=1
    BUILD_PIPELINE_ID=1
    BUILD_PIPELINE_NAME=harness
    BUILD_TEAM_ID=1
    BUILD_TEAM_NAME=main
    BUILD_URL=http://localhost:8080/teams/main/pipelines/harness/jobs/try/builds/1
    BUILD_URL_SHORT=http://localhost:8080/builds/1
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    USER=root
    no_proxy=localhost
    ");
}

#[test]
fn get_shows_version_metadata_and_files() {
    let toolkit = Toolkit::new();
    let body = r#"echo fetching >&2; mkdir "$1/deep"; echo x > "$1/deep/digest"; echo y > "$1/tag"
        echo '{"version":{"digest":"a"},"metadata":[{"name":"repository","value":"r"},{"name":"tag","value":"t"}]}'"#;
    let outcome = run(&toolkit, "in", body, &["--version", "digest:a", "--dir", "got"]);
    let time = outcome.stdout.split_whitespace().nth(3).unwrap().to_owned();
    assert_snapshot!(outcome.to_string().replace(&format!("in {time} s"), "in [TIME] s"), @r"
    exit 0
    --- stdout
    get succeeded in [TIME] s
    version: digest: a
      repository  r
      tag         t
    files:
      deep/digest
      tag
    --- stderr
    fetching
    ");
}

#[test]
fn directory_of_executables_is_a_resource_type_too() {
    let toolkit = Toolkit::new();
    toolkit.script("type/opt/resource/check", "echo '[]'");
    let folder = toolkit.directory().join("type");
    assert_eq!(harness(&toolkit, "check", &folder, &["--json"]).json()["versions"], json!([]));
    assert_snapshot!(harness(&toolkit, "in", &folder, &[]), @r"
    exit 1
    --- stderr
    error: `[DIR]/type/opt/resource` has no `in`
    ");
}

#[test]
fn misbehaviour_is_named_in_concourses_words() {
    let toolkit = Toolkit::new();
    for (step, body, outcome, reason) in [
        (
            "check",
            "echo garbage",
            "errored",
            "its stdout is not JSON: expected value at line 1 column 1; it starts with `garbage`",
        ),
        (
            "check",
            r#"echo '[{"n":1}]'"#,
            "errored",
            "the version's `n` is a number; Concourse takes strings only",
        ),
        ("check", r#"echo '{"n":"1"}'"#, "errored", "its stdout is an object, not a list of versions"),
        (
            "check",
            r#"echo '[{"n":"1"}'"#,
            "errored",
            "its stdout is not JSON: EOF while parsing a list at line 2 column 0; it starts with `[{\"n\":\"1\"}`",
        ),
        (
            "in",
            "exit 0",
            "errored",
            "resource script (/opt/resource/in /tmp/build/get) output a null version",
        ),
        (
            "out",
            "echo '{}'",
            "errored",
            "resource script (/opt/resource/out /tmp/build/put) output a null version",
        ),
        ("out", r#"echo '{"version":{}}'"#, "errored", "resource output version is empty"),
        ("check", "exit 3", "failed", "`/opt/resource/check` ended with exit code 3"),
        ("check", "kill -9 $$", "failed", "`/opt/resource/check` was ended by signal 9"),
        ("in", "exec 0<&-; exit 1", "failed", "`/opt/resource/in` ended with exit code 1"),
        ("check", "sleep 60", "failed", "timeout exceeded"),
    ] {
        let result = run(&toolkit, step, body, &["--json", "--timeout", "1", "--version", "n:1"]);
        let document = result.json();
        assert_eq!((&document["outcome"], &document["reason"]), (&json!(outcome), &json!(reason)), "{body}");
        assert_eq!(result.code, Some(1), "{body}");
    }
}

#[test]
fn empty_check_and_what_follows_the_first_value_are_fine() {
    let toolkit = Toolkit::new();
    for body in ["exit 0", "echo '[] and more'", "echo null"] {
        let document = run(&toolkit, "check", body, &["--json"]).json();
        assert_eq!(
            (&document["outcome"], &document["versions"]),
            (&json!("succeeded"), &json!([])),
            "{body}"
        );
    }
}

#[test]
fn floods_and_left_behind_children_do_not_hang_it() {
    let toolkit = Toolkit::new();
    let flood = "head -c 3000000 /dev/zero | tr '\\0' x >&2; echo '[]'";
    let document = run(&toolkit, "check", flood, &["--json"]).json();
    let shown: usize =
        document["stderr"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().len()).sum();
    assert_eq!((shown, &document["outcome"]), (3_000_000, &json!("succeeded")));

    let unread = format!("{{\"x\":\"{}\"}}", "y".repeat(1_000_000));
    let source = toolkit.file("source.json", &unread);
    let document =
        run(&toolkit, "check", "echo '[]'", &["--json", "--source", source.to_str().unwrap()]).json();
    assert_eq!(document["outcome"], "succeeded");

    let orphan = "sleep 30 & echo '[]'";
    assert_eq!(run(&toolkit, "check", orphan, &["--json"]).json()["outcome"], "succeeded");
}

#[test]
fn what_cannot_be_run_is_named_with_its_remedy() {
    let toolkit = Toolkit::new();
    let plain = toolkit.file("plain", "#!/bin/sh\n");
    assert_snapshot!(harness(&toolkit, "check", &toolkit.directory().join("none"), &[]), @r"
    exit 1
    --- stderr
    error: failed to find `[DIR]/none`
    hint: give an executable, or a directory with `check`, `in` and `out`
    ");
    let outcome = harness(&toolkit, "check", &plain, &[]);
    assert_eq!(outcome.code, Some(1));
    assert!(
        outcome.stderr.contains("Permission denied") && outcome.stderr.contains("hint: make it executable"),
        "{outcome}"
    );
    let not_a_program = toolkit.script("odd", "");
    std::fs::write(&not_a_program, "\u{1}\u{2}").unwrap();
    let outcome = harness(&toolkit, "check", &not_a_program, &[]);
    assert!(outcome.stderr.contains("Exec format error"), "{outcome}");
}

#[test]
fn wrong_arguments_are_named() {
    let toolkit = Toolkit::new();
    let list = toolkit.file("list.yml", "- 1\n");
    for (args, line) in [
        (["--source", "{"], "error: --source is not JSON: EOF while parsing an object at line 1 column 1"),
        (
            ["--source", "missing.json"],
            "error: failed to read `missing.json` for --source: No such file or directory (os error 2)",
        ),
        (["--params", list.to_str().unwrap()], "error: --params is not an object"),
        (["--version", "latest"], "error: --version `latest` is not `key:value`"),
    ] {
        let outcome = run(&toolkit, "check", "echo '[]'", &args);
        assert_eq!((outcome.code, outcome.stderr.trim_end()), (Some(1), line));
    }
}

#[test]
fn interrupt_reaches_the_process_and_its_last_words_are_shown() {
    let toolkit = Toolkit::new();
    let body = "trap 'echo leaving >&2; exit 0' TERM; echo ready >&2; while :; do sleep 0.1; done";
    let resource = toolkit.script("resource", body);
    let mut child =
        toolkit.binary("rollway").args(["harness", "out", "--resource"]).arg(resource).start_without_stdin();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    std::process::Command::new("/bin/kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let rest: Vec<String> = stderr.lines().map(Result::unwrap).collect();
    assert_eq!(rest, ["leaving", "put aborted: interrupted"]);
    assert_eq!(finish(&toolkit, child, b"").code, Some(143));
}

#[test]
fn process_that_ignores_sigterm_is_killed() {
    let toolkit = Toolkit::new();
    let body = "trap '' TERM; echo ready >&2; while :; do sleep 0.1; done";
    let document = run(&toolkit, "check", body, &["--json", "--timeout", "1"]).json();
    assert_eq!((&document["outcome"], &document["reason"]), (&json!("failed"), &json!("timeout exceeded")));
}

#[test]
fn executable_that_is_being_written_is_waited_for() {
    let toolkit = Toolkit::new();
    let resource = toolkit.directory().join("resource");
    std::fs::copy("/bin/true", &resource).unwrap();
    let writer = std::fs::OpenOptions::new().append(true).open(&resource).unwrap();
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| harness(&toolkit, "check", &resource, &["--json"]));
        std::thread::sleep(std::time::Duration::from_millis(200));
        drop(writer);
        waiting.join().unwrap()
    });
    assert_eq!(waiting.json()["outcome"], "succeeded");
}

#[test]
fn what_a_process_left_behind_ends_with_it() {
    let toolkit = Toolkit::new();
    for body in ["sleep 297", "exit 3", "echo '[]'", "kill -9 $$"] {
        let start = "sleep 298 & echo $! >&2; (trap '' TERM HUP; exec sleep 299) & echo $! >&2";
        let args = ["--json", "--timeout", "1"];
        let document = run(&toolkit, "check", &format!("{start}\n{body}"), &args).json();
        let children = document["stderr"].as_array().unwrap();
        assert_eq!(children.len(), 2, "{document}");
        for child in children {
            assert!(has_ended(child.as_str().unwrap()), "{body} left {child}");
        }
    }
}

/// Returns whether the process ends within moments; SIGKILL is not obeyed at once. A process that only
/// waits for its parent has ended.
fn has_ended(id: &str) -> bool {
    (0..100).any(|_| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
        let is_gone = matches!(state, None | Some("Z" | "X"));
        if !is_gone {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        is_gone
    })
}
