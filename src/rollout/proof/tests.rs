//! Rollouts told by looks, from literal objects.

use serde_json::{Value, json};

use super::*;
use crate::rollout::fixtures::*;
use crate::rollout::observe::Routing;

/// Returns old pods of image `a`, new ones of image `b`, with these of them behind the Service.
fn mk_look(old: &[Pod], new: &[Pod], routed: &[Pod]) -> Snapshot {
    let before = mk_deployment('a', 3);
    let deployment = mk_deployment('b', 3);
    Snapshot {
        replica_sets: vec![mk_set(&before, "1a", 3), mk_set(&deployment, "2b", 3)],
        deployment,
        container: "main".to_owned(),
        pods: old.iter().chain(new).cloned().collect(),
        routing: Some(Routing {
            services: vec![mk_service("app", &json!({ "app": "app" }))],
            slices: vec![mk_slice("app", routed)],
            policies: None,
        }),
        ..Snapshot::default()
    }
}

fn mk_pods(letter: char, hash: &str) -> Vec<Pod> {
    let set = mk_set(&mk_deployment(letter, 3), hash, 3);
    ["x", "y", "z"].iter().map(|suffix| mk_pod(&set, suffix)).collect()
}

fn mk_asked(pod: &Pod, at: &str, grace: i64) -> Pod {
    let at: k8s_openapi::jiff::Timestamp = at.parse().unwrap();
    let over = k8s_openapi::jiff::Timestamp::from_second(at.as_second() + grace).unwrap();
    with(
        pod,
        &json!({ "metadata": { "deletionTimestamp": over.to_string(), "deletionGracePeriodSeconds": grace } }),
    )
}

fn mk_ended(pod: &Pod, code: i32, reason: &str, at: &str) -> Pod {
    let ended = json!({ "exitCode": code, "reason": reason, "finishedAt": at });
    let status = json!({
        "name": "main", "image": "a", "imageID": "a", "ready": false, "restartCount": 0,
        "state": { "terminated": ended },
    });
    with(pod, &json!({ "status": { "containerStatuses": [status] } }))
}

fn at(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// One old pod that leaves its Service, is asked to end, and ends so many seconds after that.
fn mk_departure(out: f64, asked: f64, ended: Option<(i32, &str, &str)>, grace: i64) -> ProofReport {
    let (old, new) = (mk_pods('a', "1a"), mk_pods('b', "2b"));
    let one = old[..1].to_vec();
    let both: Vec<Pod> = one.iter().chain(&new).cloned().collect();
    let mut proof = Proof::default();
    proof.look(&mk_look(&one, &new, &both), at(1.0));
    let dying = vec![mk_asked(&one[0], "2026-01-01T10:00:00Z", grace)];
    if out < asked {
        proof.look(&mk_look(&one, &new, &new), at(out));
        proof.look(&mk_look(&dying, &new, &new), at(asked));
    } else {
        let both: Vec<Pod> = one.iter().chain(&new).cloned().collect();
        proof.look(&mk_look(&dying, &new, &both), at(asked));
        proof.look(&mk_look(&dying, &new, &new), at(out));
    }
    if let Some((code, reason, when)) = ended {
        proof.gone(&mk_ended(&dying[0], code, reason, when));
    }
    proof.look(&mk_look(&[], &new, &new), at(60.0));
    proof.report()
}

fn fate(report: &ProofReport) -> (Fate, Option<f64>) {
    (report.old_pods[0].fate, report.old_pods[0].margin_seconds)
}

#[test]
fn a_detached_pod_is_safe_by_its_drain() {
    let report = mk_departure(5.0, 15.1, Some((143, "Error", "2026-01-01T10:00:00Z")), 30);
    assert_eq!(fate(&report), (Fate::Safe, Some(10.1)));
    assert_eq!(
        report.lines(),
        ["ready floor 3 of 3 (app)", "1 old pod left its Services ≥ 10.1 s before the end; exits: 1 × 143"]
    );
    assert_eq!(report.warnings, [""; 0]);
}

#[test]
fn a_hook_that_outlasts_the_endpoint_makes_a_pod_safe() {
    let report = mk_departure(5.1, 5.0, Some((0, "Completed", "2026-01-01T10:00:06Z")), 30);
    assert_eq!(fate(&report), (Fate::Safe, Some(5.9)));
}

#[test]
fn a_pod_that_ends_when_it_is_asked_to_is_exposed_without_any_load() {
    let report = mk_departure(5.3, 5.0, Some((143, "Error", "2026-01-01T10:00:00Z")), 30);
    assert_eq!(fate(&report), (Fate::Exposed, Some(-0.3)));
    let warning = &report.warnings[0];
    assert!(warning.starts_with("1 of 1 old pods ended while endpoints still named them"), "{warning}");
    assert!(warning.contains("seconds: 5}}` with `terminationGracePeriodSeconds: 30`"), "{warning}");
}

#[test]
fn the_hook_that_is_advised_outlasts_the_slowest_endpoint_and_fits_into_the_grace() {
    let report = mk_departure(14.0, 5.0, Some((143, "Error", "2026-01-01T10:00:10Z")), 15);
    assert_eq!(fate(&report), (Fate::Exposed, Some(1.0)));
    let warning = &report.warnings[0];
    assert!(warning.contains("only 1.0 s after"), "{warning}");
    assert!(warning.contains("seconds: 12}}` with `terminationGracePeriodSeconds: 24`"), "{warning}");
}

#[test]
fn clocks_that_differ_by_hours_prove_the_same() {
    // The cluster's times above are of 10 o'clock, whatever ours are: only differences count.
    let report = mk_departure(5000.0, 5010.0, Some((143, "Error", "2026-01-01T10:00:01Z")), 30);
    assert_eq!(fate(&report), (Fate::Safe, Some(11.0)));
}

#[test]
fn a_pod_whose_end_nobody_saw_is_unseen_and_not_clean() {
    let report = mk_departure(5.0, 15.0, None, 30);
    assert_eq!(fate(&report), (Fate::Unseen, None));
    assert_eq!((report.exits.clean, report.exits.unseen), (0, 1));
    assert_eq!(report.lines()[1], "exits: 1 unseen");
    let lost = mk_departure(5.0, 15.0, Some((137, "ContainerStatusUnknown", "2026-01-01T10:00:01Z")), 30);
    assert_eq!(fate(&lost).0, Fate::Unseen);
}

#[test]
fn killed_at_the_end_of_its_grace_is_killed_with_work_in_flight() {
    for (code, reason, when, killed) in [
        (137, "Error", "2026-01-01T10:00:30Z", 1),
        (137, "OOMKilled", "2026-01-01T10:00:30Z", 0),
        (137, "Error", "2026-01-01T10:00:03Z", 0),
        (143, "Error", "2026-01-01T10:00:30Z", 0),
    ] {
        let report = mk_departure(5.0, 15.0, Some((code, reason, when)), 30);
        assert_eq!(report.exits.killed, killed, "{code} {reason} {when}");
        assert_eq!(report.warnings.iter().filter(|words| words.contains("30 s of grace")).count(), killed);
    }
}

#[test]
fn a_container_that_ended_while_an_endpoint_named_it_exposes_its_pod() {
    let (old, new) = (mk_pods('a', "1a"), mk_pods('b', "2b"));
    let both: Vec<Pod> = old.iter().chain(&new).cloned().collect();
    let mut proof = Proof::default();
    proof.look(&mk_look(&old, &new, &both), at(1.0));
    let dead = mk_ended(&mk_asked(&old[0], "2026-01-01T10:00:00Z", 30), 1, "Error", "2026-01-01T10:00:09Z");
    let dying = [dead, old[1].clone(), old[2].clone()];
    proof.look(&mk_look(&dying, &new, &both), at(9.0));
    let pods = proof.report().old_pods;
    assert_eq!(pods[0].fate, Fate::Exposed);
    assert_eq!((pods[1].fate, pods[2].fate), (Fate::Stays, Fate::Stays));
}

#[test]
fn a_pod_that_no_service_names_is_neither_safe_nor_exposed() {
    let (old, new) = (mk_pods('a', "1a"), mk_pods('b', "2b"));
    let mut proof = Proof::default();
    proof.look(&mk_look(&old[..1], &new, &new), at(1.0));
    let dying = mk_asked(&old[0], "2026-01-01T10:00:00Z", 30);
    proof.look(&mk_look(std::slice::from_ref(&dying), &new, &new), at(2.0));
    proof.gone(&mk_ended(&dying, 143, "Error", "2026-01-01T10:00:00Z"));
    assert_eq!(proof.report().old_pods[0].fate, Fate::Unrouted);
    assert_eq!(proof.report().warnings, [""; 0]);
}

#[test]
fn pods_that_become_current_again_are_not_old() {
    let old = mk_pods('a', "1a");
    let mut proof = Proof::default();
    proof.look(&mk_look(&old, &[], &old), at(1.0));
    assert_eq!(proof.report().old_pods.len(), 3);
    proof.look(&mk_snapshot(), at(2.0));
    assert_eq!(proof.report().old_pods, []);
}

#[test]
fn a_floor_is_broken_when_fewer_than_at_first_and_than_wanted_are_ready() {
    let old = mk_pods('a', "1a");
    let mut proof = Proof::default();
    proof.look(&mk_look(&old, &[], &old), at(1.0));
    proof.look(&mk_look(&old[..2], &[], &old[..2]), at(2.0));
    proof.look(&mk_look(&old, &[], &old), at(3.0));
    let report = proof.report();
    assert_eq!((report.floors[0].floor, report.floors[0].held), (2, false));
    assert!(
        report.warnings[0].contains("service app had only 2 ready endpoints for a while, and 3 were due")
    );
}

#[test]
fn a_floor_sinks_with_what_is_wanted() {
    let old = mk_pods('a', "1a");
    let mut proof = Proof::default();
    proof.look(&mk_look(&old, &[], &old), at(1.0));
    let mut fewer = mk_look(&old, &[], &old[..1]);
    fewer.deployment = with(&fewer.deployment, &json!({ "spec": { "replicas": 1 } }));
    proof.look(&fewer, at(2.0));
    assert!(proof.report().floors[0].held);
    assert_eq!(proof.report().lines(), ["ready floor 1 of 1 (app)"]);
}

#[test]
fn a_pod_in_two_slices_counts_once() {
    let old = mk_pods('a', "1a");
    let mut look = mk_look(&old, &[], &old);
    let twice = with(&mk_slice("app", &old[..2]), &json!({ "metadata": { "name": "app-2" } }));
    look.routing.as_mut().unwrap().slices.push(twice);
    let mut proof = Proof::default();
    proof.look(&look, at(1.0));
    assert_eq!(proof.report().floors[0].floor, 3);
}

#[test]
fn a_zone_that_keeps_its_traffic_must_not_be_empty() {
    let zoned = |zones: &[&str], hints: &Value| {
        let old = mk_pods('a', "1a");
        let mut look = mk_look(&old, &[], &old[..zones.len()]);
        for (endpoint, zone) in look.routing.as_mut().unwrap().slices[0].endpoints.iter_mut().zip(zones) {
            *endpoint = with(endpoint, &json!({ "zone": zone, "hints": hints }));
        }
        look
    };
    for (hints, warned) in [(json!({ "forZones": [{ "name": "b" }] }), 1), (Value::Null, 0)] {
        let mut proof = Proof::default();
        proof.look(&zoned(&["a", "a", "b"], &hints), at(1.0));
        proof.look(&zoned(&["a", "a", "a"], &hints), at(2.0));
        let report = proof.report();
        assert_eq!((report.floors[0].zones["a"].floor, report.floors[0].zones["b"].floor), (2, 0));
        assert!(report.floors[0].held);
        assert_eq!(report.warnings.iter().filter(|words| words.contains("zone b")).count(), warned);
    }
}

#[test]
fn the_only_pod_must_not_leave_before_the_nodes_know_the_new_one() {
    let (old, new) = (mk_pods('a', "1a")[..1].to_vec(), mk_pods('b', "2b")[..1].to_vec());
    let both: Vec<Pod> = old.iter().chain(&new).cloned().collect();
    for (left, warned) in [(2.5, 1), (4.0, 0)] {
        let mut proof = Proof::default();
        proof.look(&mk_look(&old, &[], &old), at(1.0));
        proof.look(&mk_look(&old, &new, &both), at(2.0));
        proof.look(&mk_look(&old, &new, &new), at(left));
        let report = proof.report();
        assert_eq!(report.overlap_seconds, Some(left - 2.0));
        assert_eq!(report.warnings.iter().filter(|words| words.contains("the only old pod")).count(), warned);
    }
}

#[test]
fn without_sight_of_services_nothing_is_claimed_about_them() {
    let (old, new) = (mk_pods('a', "1a"), mk_pods('b', "2b"));
    let mut proof = Proof::default();
    for pods in [&old[..], &[]] {
        proof.look(&Snapshot { routing: None, ..mk_look(pods, &new, &[]) }, at(1.0));
    }
    let report = proof.report();
    assert_eq!(report.floors, []);
    assert!(report.old_pods.iter().all(|pod| pod.fate == Fate::Unseen && pod.margin_seconds.is_none()));
}

#[test]
fn a_hook_that_failed_is_told_with_what_never_fails() {
    let old = mk_pods('a', "1a");
    let mut proof = Proof::default();
    proof.look(&mk_look(&old, &[], &old), at(1.0));
    proof.notice(&Notice {
        uid: old[0].metadata.uid.clone().unwrap(),
        reason: "FailedPreStopHook".to_owned(),
        ..Notice::default()
    });
    assert!(proof.report().warnings[0].contains("the preStop hook of 1 old pods failed"));
}

#[test]
fn a_moment_has_a_name() {
    let (old, new) = (mk_pods('a', "1a"), mk_pods('b', "2b"));
    let both: Vec<Pod> = old.iter().chain(&new).cloned().collect();
    let mut proof = Proof::default();
    proof.look(&mk_look(&old, &new[..2], &both), at(1.0));
    proof.look(&mk_look(&old[..1], &new, &new), at(2.0));
    let dying = mk_asked(&old[0], "2026-01-01T10:00:00Z", 30);
    proof.look(&mk_look(std::slice::from_ref(&dying), &new, &new), at(3.0));
    assert_eq!(proof.phase_at(at(0.5)), "before the first look");
    assert_eq!(proof.phase_at(at(1.5)), "while 2 of 3 new pods were ready");
    assert_eq!(proof.phase_at(at(2.0)), "after all new pods were ready, during the drain of pod app-1a-x");
    assert_eq!(proof.phase_at(at(9.0)), "after all new pods were ready, while pod app-1a-x ended");
    assert_eq!(proof.new_pods_serve_since(), Some(at(1.0)));
}
