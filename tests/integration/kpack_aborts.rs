//! put, when somebody asks to stop: it ends at once, writes nothing more, and says what goes on.

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::apiserver::{ApiServer, TOKEN};
use crate::support::kpack::{
    self, TRIGGER, build, build_path, failed, pod, pod_path, wait_for_trigger, wait_until,
};
use crate::support::toolkit::{Outcome, Toolkit, finish};

/// Runs a put until `until` has happened, and asks it to stop.
fn aborted(server: &ApiServer, params: &Value, until: impl FnOnce(&ApiServer)) -> Outcome {
    let request = kpack::request(server, &json!({}), &json!({"params": params}));
    stopped(&request, || until(server))
}

fn stopped(request: &str, until: impl FnOnce()) -> Outcome {
    let toolkit = Toolkit::new();
    let child = toolkit.binary("kpack-trigger").arg("out").arg(toolkit.directory()).start_without_stdin();
    let id = child.id().to_string();
    thread::scope(|scope| {
        let run = scope.spawn(|| finish(&toolkit, child, request.as_bytes()));
        until();
        std::process::Command::new("/bin/kill").args(["-TERM", &id]).status().unwrap();
        run.join().unwrap()
    })
}

#[test]
fn an_abort_says_that_the_build_goes_on_and_which() {
    let server = kpack::server(1);
    let outcome = aborted(&server, &json!({"trigger": true}), |server| {
        wait_for_trigger(server, 1);
        server.put(&build_path(2), build(2, "TRIGGER"));
        server.put(&pod_path(2), pod(2, 0));
        wait_until(server, "a log", |server| server.seen().iter().any(|seen| seen.path.ends_with("/log")));
    });
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(143), ""), "{outcome}");
    assert!(
        outcome.stderr.contains("error: interrupted: build `app-build-2` goes on in the cluster"),
        "{outcome}"
    );
    assert!(
        outcome.stderr.contains("hint: `rollway build app --namespace shop --follow` goes on watching"),
        "{outcome}"
    );
    assert_eq!(server.writes().len(), 1, "an abort writes nothing");
}

#[test]
fn an_abort_after_a_change_says_that_the_image_is_changed() {
    let server = kpack::server(1);
    let outcome = aborted(&server, &json!({"revision": "v2"}), |server| {
        wait_until(server, "a watch after the change", |server| {
            server.writes().len() == 1 && server.seen().iter().any(|it| it.query.contains("watch=true"))
        });
    });
    assert_eq!(outcome.code, Some(143), "{outcome}");
    assert!(
        outcome.stderr.contains("error: interrupted: the Image is changed and its build has not begun"),
        "{outcome}"
    );
    let hint = "hint: once `rollway builds app --namespace shop` lists it";
    assert!(outcome.stderr.contains(hint), "{outcome}");
}

#[test]
fn an_abort_behind_the_trigger_of_somebody_else_says_so() {
    let server = kpack::server(1);
    let mut running = build(2, "COMMIT");
    running["metadata"]["annotations"][TRIGGER] = json!("https://ci.example/builds/5 at noon");
    server.put(&build_path(2), running);
    let outcome = aborted(&server, &json!({"trigger": true}), |server| {
        wait_until(server, "a watch", |server| {
            server.seen().iter().any(|it| it.query.contains("watch=true"))
        });
        thread::sleep(Duration::from_millis(300));
    });
    let words = "error: interrupted: somebody else asked for the build that is waited for";
    assert!(outcome.stderr.contains(words), "{outcome}");
    assert!(server.writes().is_empty());
}

#[test]
fn an_abort_before_a_retry_does_not_say_that_a_build_goes_on() {
    let server = kpack::server(1);
    let outcome = aborted(&server, &json!({"trigger": true, "retry": 1, "logs": false}), |server| {
        wait_for_trigger(server, 1);
        let why = "Error:  Container export terminated with error Get \"https://r/v2/\": connection refused";
        server.put(&build_path(2), failed(2, why));
        // The pause takes longer.
        thread::sleep(Duration::from_millis(2_000));
    });
    let words = "error: interrupted: build `app-build-2` failed, and the next one is not asked for yet";
    assert!(outcome.stderr.contains(words), "{outcome}");
    assert!(!outcome.stderr.contains("goes on"), "{outcome}");
}

#[test]
fn an_abort_of_a_put_that_gets_no_answer_is_heard_at_once() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let request = json!({"source": {"server": url, "token": TOKEN, "namespace": "shop", "image": "app"},
        "params": {"trigger": true}});
    let mut asked = None;
    let outcome = stopped(&request.to_string(), || {
        // A connection that is kept open and says nothing.
        std::mem::forget(silent.accept().unwrap());
        asked = Some(Instant::now());
    });
    assert_eq!(outcome.code, Some(143), "{outcome}");
    assert!(outcome.stderr.contains("error: interrupted: nothing was asked for"), "{outcome}");
    assert!(asked.unwrap().elapsed() < Duration::from_secs(6), "it was not heard");
}
