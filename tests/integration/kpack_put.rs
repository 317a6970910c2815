//! put: a build is asked for, found, followed and answered with, whatever happens meanwhile.

use std::thread;
use std::time::{Duration, Instant};

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::apiserver::ApiServer;
use crate::support::kpack::{
    self, IMAGE, STEPS, TRIGGER, build, build_path, failed, failed_pod, pod, pod_name, pod_path, pod_with,
    published, put, put_in, run_build, succeeded, uid, wait_for_trigger, wait_until,
};
use crate::support::toolkit::Toolkit;

fn version(number: u64) -> Value {
    json!({"image": published(number), "build": number.to_string(), "uid": uid(number)})
}

/// Plays a controller that makes build `number` once it is asked for, and runs it well.
fn obey(number: u64) -> impl FnOnce(&ApiServer) {
    move |server| {
        wait_for_trigger(server, number - 1);
        server.put(&build_path(number), build(number, "TRIGGER"));
        run_build(server, number);
    }
}

fn trigger() -> Value {
    json!({"trigger": true})
}

#[test]
fn a_trigger_makes_a_build_and_shows_its_log_step_by_step() {
    let server = kpack::server(2);
    let outcome = put(&server, &trigger(), obey(3));
    assert_eq!(outcome.json()["version"], version(3), "{outcome}");
    let log = &outcome.stderr;
    let place = |text: &str| log.find(text).unwrap_or_else(|| panic!("`{text}` is not in\n{log}"));
    let mut last = place("asked kpack for a build after build 2 (`app-build-2`)");
    for step in STEPS {
        let heading = place(&format!("===> {}", step.to_uppercase()));
        let line = place(&format!("\n{step} says hello\n"));
        assert!(last < heading && heading < line, "{log}");
        last = line;
    }
    assert!(last < place(&format!("build 3 succeeded after 19 s: {}", published(3))));
}

#[test]
fn the_write_is_one_patch_of_the_newest_build_that_names_its_uid() {
    let server = kpack::server(2);
    let toolkit =
        Toolkit::new().variable("BUILD_NAME", "7").variable("BUILD_URL", "https://ci.example/builds/9");
    let outcome = put_in(&toolkit, &server, &trigger(), obey(3));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let writes = server.writes();
    assert_eq!(writes.len(), 1, "{writes:?}");
    assert_eq!((writes[0].method.as_str(), writes[0].path.as_str()), ("PATCH", build_path(2).as_str()));
    let patch: Value = serde_json::from_str(&writes[0].body).unwrap();
    assert_eq!(patch["metadata"]["uid"], json!(uid(2)));
    let mark = patch["metadata"]["annotations"][TRIGGER].as_str().unwrap();
    assert!(mark.starts_with("https://ci.example/builds/9 at 20"), "{mark}");
    assert!(writes[0].query.contains("fieldManager=rollway"));
}

#[test]
fn a_trigger_while_a_build_runs_is_answered_by_the_next_one() {
    let server = kpack::server(1);
    server.put(&build_path(2), build(2, "COMMIT"));
    let outcome = put(&server, &trigger(), |server| {
        wait_for_trigger(server, 2);
        let mut running = succeeded(2, "COMMIT");
        running["metadata"]["annotations"][TRIGGER] = json!("x");
        server.put(&build_path(2), running);
        server.put(&build_path(3), build(3, "TRIGGER"));
        run_build(server, 3);
    });
    assert_eq!(outcome.json()["version"], version(3), "{outcome}");
    assert!(!outcome.stderr.contains("build 2 is"), "{outcome}");
}

#[test]
fn a_trigger_that_somebody_else_made_is_shared_and_said() {
    let server = kpack::server(1);
    let mut running = build(2, "COMMIT");
    running["metadata"]["annotations"][TRIGGER] = json!("https://ci.example/builds/5 at noon");
    server.put(&build_path(2), running);
    let outcome = put(&server, &trigger(), |server| {
        wait_until(server, "a watch", |server| {
            server.seen().iter().any(|it| it.query.contains("watch=true"))
        });
        thread::sleep(Duration::from_millis(100));
        server.put(&build_path(2), succeeded(2, "COMMIT"));
        server.put(&build_path(3), build(3, "TRIGGER"));
        run_build(server, 3);
    });
    assert_eq!(outcome.json()["version"], version(3), "{outcome}");
    assert!(
        outcome.stderr.contains("(https://ci.example/builds/5 at noon): kpack makes one build of both"),
        "{outcome}"
    );
    assert!(server.writes().is_empty());
}

#[test]
fn a_trigger_that_a_newer_build_made_worthless_is_not_waited_for() {
    let server = kpack::server(1);
    // The patch arrives, and by then there is a build that nobody asked for.
    let outcome = put(&server, &trigger(), |server| {
        wait_for_trigger(server, 1);
        server.put(&build_path(2), build(2, "COMMIT"));
        run_build(server, 2);
    });
    assert_eq!(outcome.json()["version"], version(2), "{outcome}");
    assert!(
        outcome.stderr.contains("build 2 is `app-build-2`: commit aaaaaaaaaaaa → bbbbbbbbbbbb"),
        "{outcome}"
    );
    assert!(outcome.stderr.contains("it began for another reason just now"), "{outcome}");
}

#[test]
fn a_build_that_is_gone_or_another_one_when_it_is_patched_is_looked_up_again() {
    for refusal in [(404, "NotFound", "not found"), (422, "Invalid", "metadata.uid: field is immutable")] {
        let server = kpack::server(2);
        server.script(Method::PATCH, &build_path(2), refusal, 2);
        let outcome = put(&server, &trigger(), obey(3));
        assert_eq!(outcome.json()["version"], version(3), "{outcome}");
        assert_eq!(server.writes().len(), 3);
    }
}

#[test]
fn an_api_server_that_is_away_for_a_moment_is_waited_for() {
    let server = kpack::server(2);
    server.script(Method::GET, IMAGE, (503, "ServiceUnavailable", "starting"), 2);
    server.script(Method::PATCH, &build_path(2), (500, "InternalError", "etcd"), 1);
    let outcome = put(&server, &trigger(), obey(3));
    assert_eq!(outcome.json()["version"], version(3), "{outcome}");
}

#[test]
fn watches_that_end_or_expire_are_made_again() {
    let server = kpack::server(2);
    let outcome = put(&server, &trigger(), |server| {
        wait_for_trigger(server, 2);
        server.put(&build_path(3), build(3, "TRIGGER"));
        server.put(&pod_path(3), pod(3, 0));
        server.expire_watches();
        thread::sleep(Duration::from_millis(300));
        server.end_watches();
        run_build(server, 3);
    });
    assert_eq!(outcome.json()["version"], version(3), "{outcome}");
    assert!(outcome.stderr.contains("export says hello"), "{outcome}");
}

#[test]
fn a_log_that_is_cut_goes_on_where_it_was() {
    let server = kpack::server(1);
    let lines: Vec<String> = (0..40).map(|number| format!("line {number}")).collect();
    let outcome = put(&server, &trigger(), |server| {
        wait_for_trigger(server, 1);
        server.put(&build_path(2), build(2, "TRIGGER"));
        let text: Vec<&str> = lines.iter().map(String::as_str).collect();
        server.log(&pod_name(2), "prepare", &text[..20]);
        for lines in [7, 13] {
            server.cut_log_after(lines);
        }
        server.put(&pod_path(2), pod(2, 0));
        thread::sleep(Duration::from_millis(1_500));
        server.log(&pod_name(2), "prepare", &text[20..]);
        thread::sleep(Duration::from_millis(300));
        run_build(server, 2);
    });
    let said: Vec<&str> = outcome.stderr.lines().filter(|line| line.starts_with("line ")).collect();
    assert_eq!(said, lines, "{outcome}");
}

#[test]
fn a_rebase_has_its_own_steps() {
    let server = kpack::server(1);
    let outcome = put(&server, &trigger(), |server| {
        wait_for_trigger(server, 1);
        server.put(&build_path(2), build(2, "STACK"));
        for (done, step) in ["rebase", "completion"].into_iter().enumerate() {
            server.log(&pod_name(2), step, &[&format!("{step} done")]);
            server.put(&pod_path(2), pod_with(2, &["rebase", "completion"], done, 0));
            thread::sleep(Duration::from_millis(50));
        }
        server.put(&pod_path(2), pod_with(2, &["rebase", "completion"], 2, 0));
        server.put(&build_path(2), succeeded(2, "STACK"));
    });
    assert!(
        outcome.stderr.contains("===> REBASE\nrebase done\n===> COMPLETION\ncompletion done"),
        "{outcome}"
    );
}

#[test]
fn a_failure_is_told_with_its_step_its_last_lines_and_what_to_do() {
    let server = kpack::server(1);
    let outcome = put(&server, &trigger(), |server| {
        wait_for_trigger(server, 1);
        server.put(&build_path(2), build(2, "TRIGGER"));
        let lines: Vec<String> = (1..=50).map(|number| format!("detecting {number}")).collect();
        server.log(&pod_name(2), "prepare", &["cloned"]);
        server.log(&pod_name(2), "analyze", &["analyzed"]);
        server.log(&pod_name(2), "detect", &lines.iter().map(String::as_str).collect::<Vec<_>>());
        server.put(&pod_path(2), failed_pod(2, 2, 20));
        server.put(
            &build_path(2),
            failed(
                2,
                "Error:  Container detect terminated with error no buildpacks participating: For more info \
                       use `kubectl logs -n shop p -c detect`",
            ),
        );
    });
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""), "{outcome}");
    let told = outcome.stderr.split("failed in step detect\n").nth(1).unwrap();
    assert!(told.starts_with("  the last 30 lines of that step:\n  | detecting 21\n"), "{told}");
    assert!(told.contains("  | detecting 50\n  kpack says: no buildpacks participating\n"), "{told}");
    assert!(
        told.contains("error: build `app-build-2` failed in step detect: no buildpacks participating\n"),
        "{told}"
    );
    assert!(told.contains("hint: no group of the builder's buildpacks takes this source"), "{told}");
}

#[test]
fn a_failure_before_there_is_a_pod_is_told_without_one() {
    let server = kpack::server(1);
    let outcome = put(&server, &trigger(), |server| {
        wait_for_trigger(server, 1);
        let mut refused = failed(2, "serviceaccounts \"nobody\" not found");
        refused["status"]["podName"] = Value::Null;
        server.put(&build_path(2), refused);
    });
    assert!(
        outcome.stderr.contains("failed before it had a pod: serviceaccounts \"nobody\" not found"),
        "{outcome}"
    );
    assert!(outcome.stderr.contains("hint: create the service account, or name another one"), "{outcome}");
}

#[test]
fn a_build_that_is_deleted_is_neither_a_success_nor_a_failure() {
    let server = kpack::server(1);
    let outcome = put(&server, &trigger(), |server| {
        wait_for_trigger(server, 1);
        server.put(&build_path(2), build(2, "TRIGGER"));
        server.put(&pod_path(2), pod(2, 3));
        thread::sleep(Duration::from_millis(300));
        server.remove(&build_path(2));
        // kpack makes it again, and judges it by the pod of the one before.
        let mut phantom = succeeded(2, "TRIGGER");
        phantom["metadata"]["uid"] = json!("another");
        server.put(&build_path(2), phantom);
    });
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""), "{outcome}");
    assert!(
        outcome.stderr.contains("error: build `app-build-2` was deleted while it was waited for"),
        "{outcome}"
    );
    assert!(outcome.stderr.contains("the build of that name now is another one"), "{outcome}");
}

#[test]
fn an_image_that_is_deleted_or_made_again_ends_the_wait() {
    for again in [false, true] {
        let server = kpack::server(1);
        let outcome = put(&server, &trigger(), |server| {
            wait_for_trigger(server, 1);
            server.put(&build_path(2), build(2, "TRIGGER"));
            thread::sleep(Duration::from_millis(300));
            server.remove(IMAGE);
            if again {
                let mut image = kpack::image();
                image["metadata"]["uid"] = json!("another");
                server.put(IMAGE, image);
            }
            // All builds of an Image go with it.
            server.remove(&build_path(1));
            server.remove(&build_path(2));
        });
        let words = if again {
            "the Image `app` was deleted and made again"
        } else {
            "the Image `app` was deleted while"
        };
        assert!(outcome.code == Some(1) && outcome.stderr.contains(words), "{outcome}");
    }
}

#[test]
fn an_image_that_is_made_again_before_the_build_began_is_asked_for_nothing() {
    let server = kpack::server(1);
    let mut image = kpack::image();
    image["metadata"]["generation"] = json!(5);
    server.put(IMAGE, image);
    let outcome = put(&server, &trigger(), |server| {
        wait_for_trigger(server, 1);
        server.remove(&build_path(1));
        let mut anew = kpack::image();
        anew["metadata"]["uid"] = json!("another");
        server.put(IMAGE, anew);
        let mut first = succeeded(1, "CONFIG");
        first["metadata"]["uid"] = json!("first-of-another");
        first["metadata"]["ownerReferences"][0]["uid"] = json!("another");
        server.put(&build_path(1), first);
    });
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""), "{outcome}");
    assert!(outcome.stderr.contains("the Image `app` was deleted and made again while"), "{outcome}");
    assert_eq!(server.writes().len(), 1, "{:?}", server.writes());
}

#[test]
fn a_verdict_from_the_pod_of_a_deleted_build_is_no_success() {
    let server = kpack::server(1);
    let mut stale = pod(2, STEPS.len());
    stale["metadata"]["ownerReferences"][0]["uid"] = json!("a-build-of-long-ago");
    server.put(&pod_path(2), stale);
    let outcome = put(&server, &trigger(), |server| {
        wait_for_trigger(server, 1);
        server.put(&build_path(2), build(2, "TRIGGER"));
        thread::sleep(Duration::from_millis(300));
        server.put(&build_path(2), succeeded(2, "TRIGGER"));
    });
    assert!(
        outcome.code == Some(1) && outcome.stderr.contains("took its verdict from the pod of a deleted"),
        "{outcome}"
    );
}

#[test]
fn a_stuck_pod_is_told_and_the_wait_ends_in_time() {
    let server = kpack::server(1);
    let started = Instant::now();
    let outcome = put(&server, &json!({"trigger": true, "timeout": 4}), |server| {
        wait_for_trigger(server, 1);
        server.put(&build_path(2), build(2, "TRIGGER"));
        let mut stuck = pod(2, 1);
        stuck["status"]["initContainerStatuses"][1]["state"] =
            json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image \"x\""}});
        server.put(&pod_path(2), stuck);
    });
    assert!(started.elapsed() < Duration::from_secs(15), "it hung");
    let words = "step analyze cannot start: ImagePullBackOff: Back-off pulling image \"x\"";
    assert!(outcome.stderr.contains(&format!("waiting: {words}\n")), "{outcome}");
    assert!(
        outcome.stderr.contains("error: build `app-build-2` has no verdict after 4 s: step analyze"),
        "{outcome}"
    );
    assert!(outcome.stderr.contains("it goes on in the cluster"), "{outcome}");
}

#[test]
fn a_build_that_never_begins_is_told_with_the_images_own_words() {
    let server = kpack::server(0);
    let mut image = kpack::image();
    image["status"]["conditions"] = json!([{"type": "Ready", "status": "False", "reason": "BuilderNotFound",
        "message": "Error: Unable to find builder 'nope' in namespace ''."}]);
    server.put(IMAGE, image);
    let outcome = put(&server, &json!({"trigger": true, "timeout": "1"}), |_| {});
    let words = "kpack builds nothing now: BuilderNotFound: Error: Unable to find builder 'nope'";
    assert!(
        outcome.stderr.contains(&format!("kpack began no build of `app` within 1 s: {words}")),
        "{outcome}"
    );
}

#[test]
fn without_rights_to_see_pods_or_logs_the_verdict_is_still_waited_for() {
    for denied in ["/api/v1/namespaces/shop/pods".to_owned(), format!("{}/log", pod_path(3))] {
        let server = kpack::server(2);
        server.script(Method::GET, &denied, (403, "Forbidden", "pods is forbidden: User \"ci\""), 99);
        let outcome = put(&server, &trigger(), obey(3));
        assert_eq!(outcome.json()["version"], version(3), "{outcome}");
        assert!(!outcome.stderr.contains("says hello"), "{outcome}");
    }
}

#[test]
fn nobody_waits_who_does_not_want_to() {
    let server = kpack::server(1);
    let outcome = put(&server, &json!({"trigger": true, "wait": false}), |server| {
        wait_for_trigger(server, 1);
        server.put(&build_path(2), build(2, "TRIGGER"));
    });
    assert_eq!(outcome.json()["version"], json!({"build": "2", "uid": uid(2)}), "{outcome}");
    // Behind a build that runs, the answer is the next one and never that one.
    let outcome = put(&server, &json!({"trigger": true, "wait": false}), |server| {
        wait_for_trigger(server, 2);
        let mut ended = succeeded(2, "TRIGGER");
        ended["metadata"]["annotations"][TRIGGER] = json!("x");
        server.put(&build_path(2), ended);
        server.put(&build_path(3), build(3, "TRIGGER"));
    });
    assert_eq!(outcome.json()["version"], json!({"build": "3", "uid": uid(3)}), "{outcome}");
    let outcome = put(&server, &json!({"trigger": true, "wait": false, "timeout": 2}), |_| {});
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""), "{outcome}");
    assert!(outcome.stderr.contains("within 2 s: build 3 runs, and the next one begins when"), "{outcome}");
    assert!(
        outcome.stderr.contains("; a build was asked for and has not begun: kpack makes it"),
        "{outcome}"
    );
    assert!(outcome.stderr.contains("hint: raise `timeout`"), "{outcome}");
}

#[test]
fn no_log_is_shown_to_who_wants_none() {
    let server = kpack::server(1);
    let outcome = put(&server, &json!({"trigger": true, "logs": false}), obey(2));
    assert_eq!(outcome.json()["version"], version(2), "{outcome}");
    assert!(!outcome.stderr.contains("says hello"), "{outcome}");
    assert!(server.seen().iter().all(|seen| !seen.path.ends_with("/log")));
}

#[test]
fn only_what_the_infrastructure_did_is_tried_again() {
    let failure = |server: &ApiServer, number: u64, message: &str| {
        wait_for_trigger(server, number - 1);
        server.put(&build_path(number), failed(number, message));
    };
    let network = "Error:  Container export terminated with error Get \"https://r/v2/\": connection refused";
    let server = kpack::server(1);
    let outcome = put(&server, &json!({"trigger": true, "retry": 2, "logs": false}), |server| {
        failure(server, 2, network);
        wait_for_trigger(server, 2);
        server.put(&build_path(3), succeeded(3, "TRIGGER"));
    });
    assert_eq!(outcome.json()["version"], version(3), "{outcome}");
    assert!(outcome.stderr.contains("retry 1 of 2: build `app-build-2` failed in step export"), "{outcome}");
    let server = kpack::server(1);
    let source = "Error:  Container build terminated with error exit status 1";
    let outcome = put(&server, &json!({"trigger": true, "retry": 2, "logs": false}), |server| {
        failure(server, 2, source);
    });
    assert!(outcome.code == Some(1) && !outcome.stderr.contains("retry 1"), "{outcome}");
}

#[test]
fn a_log_without_end_is_streamed_and_not_kept() {
    const LINES: u64 = 200_000;
    let server = kpack::server(1);
    let toolkit = Toolkit::new();
    let request = kpack::request(&server, &json!({}), &json!({"params": trigger()}));
    let mut child = toolkit.binary("kpack-trigger").arg("out").arg(toolkit.directory()).start_without_stdin();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), request.as_bytes()).unwrap();
    let id = child.id();
    let (mut stderr, mut seen, mut most) = (child.stderr.take().unwrap(), 0_u64, 0_u64);
    thread::scope(|scope| {
        scope.spawn(|| {
            wait_for_trigger(&server, 1);
            server.long_log(&pod_name(2), "build", LINES);
            server.put(&build_path(2), build(2, "TRIGGER"));
            server.put(&pod_path(2), pod(2, 4));
        });
        let (mut buffer, mut tail) = (vec![0; 1 << 16], String::new());
        loop {
            let read = std::io::Read::read(&mut stderr, &mut buffer).unwrap();
            assert!(read > 0, "the log ended too early");
            seen += u64::try_from(read).unwrap();
            most = most.max(resident(id));
            // A line may come in two pieces.
            let from = tail.len().saturating_sub(100);
            tail = tail.split_off(from) + &String::from_utf8_lossy(&buffer[..read]);
            if tail.contains(&format!("{}\n", LINES - 1)) {
                break;
            }
        }
        server.put(&pod_path(2), pod(2, STEPS.len()));
        server.put(&build_path(2), succeeded(2, "TRIGGER"));
    });
    drop(stderr);
    child.wait().unwrap();
    assert!(seen > LINES * 60, "{seen} bytes");
    // The bound is for a release build; without optimisation the program itself is larger.
    assert!(most < 64 << 20, "{} MB resident", most >> 20);
}

/// Returns how many bytes of memory a process has.
fn resident(id: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{id}/statm")).unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}
