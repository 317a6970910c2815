//! `rollway build`, `rollway builds` and `rollway log`: what a put does and knows, for people.

use std::process::Stdio;
use std::thread;

use serde_json::json;

use crate::support::apiserver::{ApiServer, TOKEN, kubeconfig};
use crate::support::kpack::{
    self, STEPS, build, build_path, failed, pod, pod_name, pod_path, run_build, uid,
};
use crate::support::toolkit::{Outcome, Toolkit, finish};

fn rollway(server: &ApiServer, args: &[&str], controller: impl FnOnce(&ApiServer)) -> Outcome {
    let toolkit = Toolkit::new();
    let path = toolkit.file("kubeconfig", &kubeconfig(server, TOKEN));
    let child = toolkit.binary("rollway").args(args).arg("--kubeconfig").arg(path).start_without_stdin();
    thread::scope(|scope| {
        let run = scope.spawn(|| finish(&toolkit, child, b""));
        controller(server);
        run.join().unwrap()
    })
}

#[test]
fn the_newest_build_is_shown() {
    let server = kpack::server(3);
    let outcome = rollway(&server, &["build", "app"], |_| {});
    assert!(outcome.code == Some(0) && outcome.stdout.starts_with("state      succeeded\n"), "{outcome}");
    assert!(outcome.stdout.contains("build      3 (app-build-3)"), "{outcome}");
    server.put(&build_path(4), failed(4, "no space"));
    let outcome = rollway(&server, &["build", "app", "-o", "json"], |_| {});
    assert_eq!(
        (outcome.code, &outcome.json()["version"]),
        (Some(1), &json!({"build": "4", "uid": uid(4)})),
        "{outcome}"
    );
    assert_eq!(outcome.json()["message"], "Failed: no space");
}

#[test]
fn a_build_is_asked_for_and_followed() {
    let server = kpack::server(1);
    let outcome = rollway(&server, &["build", "app", "--trigger", "--follow"], |server| {
        kpack::wait_for_trigger(server, 1);
        server.put(&build_path(2), build(2, "TRIGGER"));
        run_build(server, 2);
    });
    assert!(outcome.code == Some(0) && outcome.stderr.contains("export says hello"), "{outcome}");
    assert!(outcome.stdout.contains("build      2 (app-build-2)"), "{outcome}");
}

#[test]
fn a_build_that_is_only_asked_for_is_not_waited_for() {
    let server = kpack::server(1);
    let outcome = rollway(&server, &["build", "app", "--trigger"], |server| {
        kpack::wait_for_trigger(server, 1);
        server.put(&build_path(2), build(2, "TRIGGER"));
    });
    assert!(outcome.code == Some(0) && outcome.stdout.starts_with("state  running\n"), "{outcome}");
}

#[test]
fn a_build_that_is_asked_for_behind_another_one_is_left_to_come() {
    let server = kpack::server(1);
    server.put(&build_path(2), build(2, "COMMIT"));
    let outcome = rollway(&server, &["build", "app", "--trigger"], |_| {});
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(outcome.stderr.contains("not waiting: the build comes when build 2 has ended"), "{outcome}");
}

#[test]
fn a_name_that_no_image_has_becomes_no_selector() {
    let server = kpack::server(1);
    for command in ["build", "builds", "log"] {
        let outcome = rollway(&server, &[command, "a,b=c"], |_| {});
        assert_eq!(outcome.code, Some(2), "{outcome}");
        assert!(outcome.stderr.contains("not a Kubernetes name of at most 63 characters"), "{outcome}");
    }
    assert!(server.seen().is_empty());
}

#[test]
fn builds_are_a_table() {
    let server = kpack::server(2);
    server.put(&build_path(3), failed(3, "no"));
    let outcome = rollway(&server, &["builds", "app"], |_| {});
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert!(lines[0].starts_with("IMAGE  BUILD  STATE      DIGEST"), "{outcome}");
    assert!(lines[3].starts_with("app    3      failed     -"), "{outcome}");
    let outcome = rollway(&server, &["builds", "-o", "json"], |_| {});
    assert_eq!(outcome.json()["builds"].as_array().unwrap().len(), 3, "{outcome}");
    let outcome = rollway(&server, &["builds", "nope"], |_| {});
    assert!(
        outcome.stderr.contains("there is no Image `nope`") && outcome.stderr.contains("are `app`"),
        "{outcome}"
    );
}

#[test]
fn a_log_is_on_stdout_and_one_that_is_gone_is_said() {
    let server = kpack::server(2);
    server.put(&pod_path(2), pod(2, STEPS.len()));
    server.log(&pod_name(2), "detect", &["found it"]);
    let outcome = rollway(&server, &["log", "app"], |_| {});
    assert!(
        outcome.code == Some(0) && outcome.stdout.contains("===> DETECT\nfound it\n===> RESTORE"),
        "{outcome}"
    );
    let outcome = rollway(&server, &["log", "app", "--build", "1"], |_| {});
    assert!(outcome.code == Some(1) && outcome.stderr.contains("pod is gone"), "{outcome}");
    let outcome = rollway(&server, &["log", "app", "--build", "9"], |_| {});
    assert!(
        outcome.stderr.contains("error: there is no build 9 of `app`\nhint: the builds there are 1, 2"),
        "{outcome}"
    );
}

#[test]
fn a_log_that_cannot_be_written_is_no_success() {
    let server = kpack::server(1);
    server.put(&pod_path(1), pod(1, STEPS.len()));
    let toolkit = Toolkit::new();
    let path = toolkit.file("kubeconfig", &kubeconfig(&server, TOKEN));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rollway"));
    let output =
        command.args(["log", "app", "--kubeconfig"]).arg(path).stdin(Stdio::null()).stdout(full).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("failed to write to stdout"), "{said}");
}

#[test]
fn a_log_is_followed_to_the_verdict() {
    let server = kpack::server(1);
    server.put(&build_path(2), build(2, "COMMIT"));
    let outcome = rollway(&server, &["log", "app", "--follow"], |server| {
        kpack::wait_until(server, "a watch", |server| {
            server.seen().iter().any(|it| it.query.contains("watch=true"))
        });
        run_build(server, 2);
    });
    assert!(outcome.code == Some(0) && outcome.stdout.contains("completion says hello"), "{outcome}");
}
