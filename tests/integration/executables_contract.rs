//! What every resource executable owes Concourse, shown on one of them.

use std::fs::OpenOptions;
use std::time::{Duration, Instant};

use insta::assert_snapshot;

use crate::support::toolkit::{Toolkit, finish};

#[test]
fn step_is_found_by_name_and_by_argument() {
    let toolkit = Toolkit::new();
    let by_name = toolkit.binary("kpack-trigger").named("/opt/resource/check").stdin("{}").run();
    let by_argument = toolkit.step("kpack-trigger", "check", None, "{}");
    assert_eq!(by_name.to_string(), by_argument.to_string());
    assert_snapshot!(by_name, @r"
    exit 1
    --- stderr
    error: `source.image` is missing
    ");
}

#[test]
fn person_without_a_step_gets_the_usage() {
    let toolkit = Toolkit::new();
    assert_snapshot!(toolkit.binary("kpack-trigger").run(), @r"
    exit 2
    --- stderr
    usage: kpack-trigger check | in DIR | out DIR, with the request as JSON on stdin
    ");
    assert_snapshot!(toolkit.binary("kpack-trigger").arg("--help").run(), @r"
    exit 0
    --- stdout
    usage: kpack-trigger check | in DIR | out DIR, with the request as JSON on stdin
    ");
}

#[test]
fn wrong_requests_are_one_line() {
    let toolkit = Toolkit::new();
    for (request, line) in [
        (
            "",
            "error: stdin is empty: there is no request\nhint: pass the request as JSON: {\"source\": {…}}\n",
        ),
        ("garbage", "error: the request on stdin is not JSON: expected value at line 1 column 1\n"),
        (
            "{\"source\": {}",
            "error: the request on stdin is not JSON: EOF while parsing an object at line 1 column 13\n",
        ),
        ("{\"sources\": {}}", "error: `sources`: unknown key; did you mean `source`?\n"),
        ("\u{0}\u{1}", "error: the request on stdin is not JSON: expected value at line 1 column 1\n"),
    ] {
        let outcome = toolkit.step("kpack-trigger", "check", None, request);
        assert_eq!((outcome.code, outcome.stderr.as_str(), outcome.stdout.as_str()), (Some(1), line, ""));
    }
}

#[test]
fn get_and_put_need_a_directory_that_exists() {
    let toolkit = Toolkit::new();
    assert_snapshot!(toolkit.step("kpack-trigger", "in", None, "{}"), @r"
    exit 1
    --- stderr
    error: no directory given: in needs one as its argument
    hint: `in DIR` writes the version's files into DIR
    ");
    let missing = toolkit.directory().join("missing");
    assert_snapshot!(toolkit.step("kpack-trigger", "out", Some(&missing), "{}"), @r"
    exit 1
    --- stderr
    error: `[DIR]/missing` is not a directory
    ");
}

#[test]
fn broken_stdout_is_a_failure() {
    let toolkit = Toolkit::new();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert_snapshot!(toolkit.binary("kpack-trigger").arg("--version").stdout_to(full), @r"
    exit 1
    --- stderr
    error: failed to write the answer to stdout: No space left on device (os error 28)
    ");
}

#[test]
fn sigterm_ends_a_process_that_waits_for_its_request() {
    let toolkit = Toolkit::new();
    let mut child = toolkit.binary("kpack-trigger").arg("check").start_without_stdin();
    let stdin = child.stdin.take();
    let started = Instant::now();
    // The handler is in place once the process waits on its stdin; asking again costs nothing.
    while child.try_wait().unwrap().is_none() {
        let id = child.id().to_string();
        std::process::Command::new("/bin/kill").args(["-TERM", &id]).status().unwrap();
        std::thread::sleep(Duration::from_millis(20));
        assert!(started.elapsed() < Duration::from_secs(10), "it outlived Concourse's patience");
    }
    drop(stdin);
    let outcome = finish(&toolkit, child, b"");
    assert!(outcome.code == Some(143) || outcome.signal == Some(15), "{outcome}");
}

#[test]
fn colour_is_shown_in_concourse_and_nowhere_else_off_a_terminal() {
    let toolkit = Toolkit::new();
    let run = |name: &str, value: &str| {
        toolkit.binary("kpack-trigger").arg("check").variable(name, value).stdin("{}").run().stderr
    };
    assert!(run("ATC_EXTERNAL_URL", "https://ci.example").contains("\u{1b}["));
    assert!(!run("NOTHING", "at all").contains('\u{1b}'));
    let toolkit = Toolkit::new().variable("NO_COLOR", "1");
    let refused = toolkit.binary("kpack-trigger").arg("check").variable("BUILD_NAME", "1").stdin("{}").run();
    assert!(!refused.stderr.contains('\u{1b}'));
}
