//! What a person reads of pods that do not come up.

use super::*;
use crate::rollout::fixtures::*;
use crate::rollout::verdict::diagnosis::Class;
use serde_json::{Value, json};

fn mk_case(pod: &Pod) -> Case<'_> {
    Case { pod, count: 1, log: log_of(pod) }
}

fn mk_event(reason: &str, message: &str, part: &Value) -> Event {
    let event: Event = mk(json!({
        "metadata": {}, "involvedObject": {}, "type": "Warning", "reason": reason, "message": message,
    }));
    with(&event, part)
}

fn mk_crashed(pod: &Pod, code: i32) -> Pod {
    with(
        &mk_unready(pod),
        &json!({ "status": { "containerStatuses": [{
            "name": "main", "image": "x", "imageID": "", "ready": false, "restartCount": 4,
            "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 40s" } },
            "lastState": { "terminated": { "exitCode": code, "reason": "OOMKilled", "message": "no heap\n" } },
        }]}}),
    )
}

#[test]
fn a_pod_that_crashes_is_told_with_its_exit_code_events_and_log() {
    let conditions = json!({ "status": { "conditions": [
        { "type": "Initialized", "status": "True", "message": "fine" },
        { "type": "Ready", "status": "False", "message": "containers with unready status: [main]" },
    ]}});
    let pod = with(&mk_crashed(&mk_snapshot().pods[0], 137), &conditions);
    let pod = with(&pod, &json!({ "spec": { "nodeName": "n1" } }));
    let events = vec![
        mk_event("BackOff", "again\n", &json!({ "count": 2 })),
        mk_event("Pulled", "fine", &json!({ "type": "Normal" })),
        mk_event("BackOff", "again\n", &json!({ "count": 3 })),
        mk_event("Unhealthy", "before", &json!({ "lastTimestamp": "2026-01-01T00:00:00Z" })),
    ];
    let evidence = Evidence { events, log: vec!["out of \u{1b}[31mmemory".to_owned()] };
    let since = "2026-01-01T00:00:01Z".parse().ok();
    assert_eq!(
        describe(&Case { count: 3, ..mk_case(&pod) }, &evidence, since),
        [
            "pod app-1a-x (×3) on node n1: Running",
            "  container main: CrashLoopBackOff, back-off 40s, ended with exit code 137, OOMKilled, no heap, 4 restarts",
            "  Ready: containers with unready status: [main]",
            "  event BackOff: again (×5)",
            "  last lines of container main before its last restart:",
            "    out of  [31mmemory",
        ]
    );
}

#[test]
fn a_pod_that_only_is_not_ready_is_told_so() {
    let status = json!({ "status": { "containerStatuses": [{
        "name": "main", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "running": {} },
    }]}});
    let pod = with(&mk_unready(&mk_snapshot().pods[0]), &status);
    let lines = describe(&mk_case(&pod), &Evidence::default(), None);
    let wanted =
        ["pod app-1a-x: Running", "  container main: runs, but its readiness probe does not succeed"];
    assert_eq!(lines, wanted);
    let log = Source { container: "main".to_owned(), previous: false };
    assert_eq!(log_of(&pod), Some(log));
}

#[test]
fn pods_that_fail_alike_are_shown_once_and_the_named_one_first() {
    let pods = mk_snapshot().pods;
    let (one, two, other) = (mk_crashed(&pods[0], 137), mk_crashed(&pods[1], 137), mk_crashed(&pods[2], 1));
    let all = [&one, &two, &other];
    let counts = |cause: Option<&Cause>| {
        let cases = cases(&all, cause);
        cases.iter().map(|case| (case.pod.metadata.name.clone().unwrap(), case.count)).collect::<Vec<_>>()
    };
    assert_eq!(counts(None), [("app-1a-x".to_owned(), 2), ("app-1a-z".to_owned(), 1)]);
    let cause = |pod: &str| Cause {
        class: Class::App,
        rule: "F301",
        words: String::new(),
        hint: String::new(),
        pod: Some(pod.to_owned()),
        container: None,
        count: 1,
    };
    assert_eq!(counts(Some(&cause("app-1a-z")))[0], ("app-1a-z".to_owned(), 1));
    assert_eq!(counts(Some(&cause("app-1a-y")))[0], ("app-1a-y".to_owned(), 2));
}

#[test]
fn pods_that_are_ready_and_logs_that_do_not_exist_are_left_out() {
    let pods = mk_snapshot().pods;
    assert!(cases(&[&pods[0]], None).is_empty());
    let pulling = json!({ "status": { "containerStatuses": [{
        "name": "main", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "waiting": { "reason": "ErrImagePull", "message": "pull rate limit as 'jane': x" } },
    }]}});
    let pod = with(&mk_unready(&pods[0]), &pulling);
    assert_eq!(log_of(&pod), None);
    let lines = describe(&mk_case(&pod), &Evidence::default(), None).join("\n");
    assert!(lines.contains("ErrImagePull") && !lines.contains("jane"), "{lines}");
}

#[test]
fn init_containers_that_did_their_work_are_not_mentioned() {
    let status = json!({
        "spec": { "initContainers": [{ "name": "migrate", "image": "x" }] },
        "status": {
            "initContainerStatuses": [{
                "name": "migrate", "image": "x", "imageID": "", "ready": true, "restartCount": 0,
                "state": { "terminated": { "exitCode": 0, "reason": "Completed" } },
            }],
            "containerStatuses": [{
                "name": "main", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
                "state": { "terminated": { "exitCode": 2, "reason": "Error" } },
            }],
        },
    });
    let pod = with(&mk_unready(&mk_snapshot().pods[0]), &status);
    let lines = describe(&mk_case(&pod), &Evidence::default(), None);
    assert_eq!(lines, ["pod app-1a-x: Running", "  container main: ended with exit code 2"]);
    assert_eq!(log_of(&pod).map(|log| (log.container, log.previous)), Some(("main".to_owned(), false)));
}
