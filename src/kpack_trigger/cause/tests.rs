use super::*;
use crate::kpack::fixtures::{mk_failed, recorded};

fn of(case: &str) -> Cause {
    let case = recorded(case);
    explain(&case.build(), case.pod().as_ref())
}

#[test]
fn every_recorded_failure_has_its_step_its_class_and_a_remedy() {
    use Class::{Configuration, Infrastructure, Source, Time};
    for (case, step, class, message, hint) in [
        (
            "fail-detect",
            Some("detect"),
            Source,
            "ERROR: failed to detect: no buildpacks participating",
            "buildpacks",
        ),
        (
            "fail-build",
            Some("build"),
            Source,
            "compilation failed: missing semicolon in Foo.java",
            "log above",
        ),
        ("fail-push", Some("prepare"), Infrastructure, "Error verifying write access", "reaches the host"),
        ("fail-git", Some("prepare"), Infrastructure, "unable to fetch references", "reaches the host"),
        ("fail-rev", Some("prepare"), Source, "couldn't find remote ref \"no-such-branch\"", "`revision`"),
        ("fail-env", None, Configuration, "a valid environment variable name", "variable's name"),
        ("fail-sa", None, Configuration, "serviceaccounts \"nobody-here\" not found", "`service_account`"),
        ("fail-pull-timeout", None, Time, "longer than the specified deadline", "buildTimeout"),
    ] {
        let cause = of(case);
        assert_eq!((cause.step.as_deref(), cause.class), (step, class), "{case}");
        assert!(cause.message.contains(message), "{case}: {}", cause.message);
        assert!(!cause.message.contains("kubectl logs"), "{case}: {}", cause.message);
        assert!(cause.hint.contains(hint), "{case}: {}", cause.hint);
    }
}

#[test]
fn without_a_right_to_see_pods_the_message_names_the_step() {
    let build = recorded("fail-detect").build();
    assert_eq!(explain(&build, None).step.as_deref(), Some("detect"));
}

fn ended(step: &str, reason: &str, code: i32, pod_reason: &str) -> Pod {
    serde_json::from_value(serde_json::json!({
        "metadata": {"name": "p"},
        "spec": {"initContainers": [{"name": step}], "containers": [{"name": "completion"}]},
        "status": {"phase": "Failed", "reason": pod_reason, "initContainerStatuses": [
            {"name": step, "image": "", "imageID": "", "ready": false, "restartCount": 0,
             "state": {"terminated": {"exitCode": code, "reason": reason}}}]},
    }))
    .unwrap()
}

#[test]
fn what_the_cluster_did_to_the_pod_is_not_the_fault_of_the_source() {
    for (pod, class) in [
        (ended("build", "Error", 137, ""), Class::Infrastructure),
        (ended("build", "OOMKilled", 137, ""), Class::Configuration),
        (ended("build", "Error", 1, "Evicted"), Class::Infrastructure),
        (ended("build", "Error", 51, ""), Class::Source),
        (ended("build", "ContainerStatusUnknown", 137, ""), Class::Infrastructure),
    ] {
        assert_eq!(explain(&mk_failed(1), Some(&pod)).class, class, "{pod:?}");
    }
}

#[test]
fn a_network_fault_in_the_words_of_an_application_is_no_fault_of_the_network() {
    let mut build = mk_failed(1);
    build.condition.message =
        "Error: Container build terminated with error test failed: connection refused".to_owned();
    assert_eq!(explain(&build, None).class, Class::Source);
    build.condition.message = "Error: Container export terminated with error connection refused".to_owned();
    assert_eq!(explain(&build, None).class, Class::Infrastructure);
}

#[test]
fn the_deadline_that_kpack_sets_beside_sidecars_is_not_why_a_build_failed() {
    let mut build = mk_failed(1);
    build.condition.message =
        "Error: Pod was active on the node longer than the specified deadline".to_owned();
    let beside_sidecars = |deadline: i64| -> Pod {
        let status = |name: &str, code: i32| {
            serde_json::json!({"name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"terminated": {"exitCode": code, "reason": "Error"}}})
        };
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p"},
            "spec": {"activeDeadlineSeconds": deadline,
                "containers": [{"name": "detect"}, {"name": "build"}, {"name": "completion"}, {"name": "proxy"}]},
            "status": {"phase": "Failed", "reason": "DeadlineExceeded",
                "containerStatuses": [status("detect", 0), status("build", 1), status("completion", 1)]},
        }))
        .unwrap()
    };
    let cause = explain(&build, Some(&beside_sidecars(1)));
    assert_eq!((cause.step.as_deref(), cause.class), (Some("build"), Class::Source));
    assert_eq!(cause.message, "step build ended with exit code 1");
    assert_eq!(explain(&build, Some(&beside_sidecars(600))).class, Class::Time);
}

#[test]
fn what_networks_and_servers_do_to_an_export_is_worth_another_try() {
    for words in [
        "PUT https://r.example/v2/: unexpected status code 500 Internal Server Error",
        "Get \"https://r.example/v2/\": EOF",
        "dial tcp: lookup r.example on 10.0.0.1:53: server misbehaving",
        "read tcp 10.0.0.2:40000->10.0.0.3:443: read: connection timed out",
        "dial tcp 10.0.0.3:443: connect: network is unreachable",
        "http2: client connection lost",
    ] {
        let mut build = mk_failed(1);
        build.condition.message = format!("Error:  Container export terminated with error {words}");
        assert_eq!(explain(&build, None).class, Class::Infrastructure, "{words}");
        build.condition.message = format!("Error:  Container build terminated with error {words}");
        assert_eq!(explain(&build, None).class, Class::Source, "{words}");
    }
}

#[test]
fn a_build_that_had_a_pod_did_not_fail_before_it() {
    let evicted = ended("build", "Completed", 0, "Evicted");
    let mut late = mk_failed(1);
    late.pod = Some("p".to_owned());
    late.condition.message = "the pod is gone".to_owned();
    for (build, pod) in [(mk_failed(1), Some(&evicted)), (late, None)] {
        let cause = explain(&build, pod);
        assert_eq!((cause.place().as_str(), cause.class), ("", Class::Infrastructure), "{cause:?}");
    }
    let refused = explain(&mk_failed(1), None);
    assert_eq!((refused.place().as_str(), refused.class), (" before it had a pod", Class::Configuration));
}

#[test]
fn nobody_is_sent_to_a_log_that_was_not_shown() {
    let mut build = mk_failed(1);
    build.pod = Some("p".to_owned());
    build.condition.message = "Error:  Container build terminated with error exit 1".to_owned();
    let cause = explain(&build, None);
    assert!(cause.hint.contains("in the log above"), "{cause:?}");
    let hint = cause.without_log(&build).hint;
    assert_eq!(hint, "the source does not build: read the log with `kubectl logs p -c build`");
}
