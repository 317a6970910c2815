//! Sets as they are seen while they roll, judged by the predicate of Deployments.

use super::*;
use crate::rollout::annotations::JOURNAL;
use crate::rollout::fixtures::*;
use crate::rollout::plan::drain::{Way, choose};
use crate::rollout::plan::patch::{Operations, finish, undo, write};
use crate::rollout::plan::step::{Clocks, STUCK, Step, next};
use crate::rollout::verdict::{Goal, Kind as Lacks, Verdict, judge};
use crate::rollout::{Drain, Order};
use serde_json::{Value, json};
use std::time::Duration;

/// Returns a StatefulSet `db` of image `letter`, whose revision is called after it.
fn mk_stateful(letter: char, replicas: i32, updated: i32) -> StatefulSet {
    mk(json!({
        "metadata": { "name": "db", "namespace": "apps", "uid": "uid-db", "generation": 2 },
        "spec": {
            "replicas": replicas, "serviceName": "db",
            "selector": { "matchLabels": { "app": "db" } },
            "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": 0 } },
            "template": {
                "metadata": { "labels": { "app": "db" } },
                "spec": { "containers": [{ "name": "main", "image": mk_image(letter) }] },
            },
        },
        "status": {
            "observedGeneration": 2, "replicas": replicas, "updatedReplicas": updated,
            "readyReplicas": replicas, "availableReplicas": replicas,
            "currentRevision": "db-a", "updateRevision": format!("db-{letter}"),
        },
    }))
}

/// Returns a DaemonSet `agent` of image `letter` on three nodes.
fn mk_daemon(letter: char, updated: i32) -> DaemonSet {
    mk(json!({
        "metadata": { "name": "agent", "namespace": "apps", "uid": "uid-agent", "generation": 2 },
        "spec": {
            "selector": { "matchLabels": { "app": "agent" } },
            "updateStrategy": {
                "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 0, "maxUnavailable": 1 },
            },
            "template": {
                "metadata": { "labels": { "app": "agent" } },
                "spec": { "containers": [{ "name": "main", "image": mk_image(letter) }] },
            },
        },
        "status": {
            "observedGeneration": 2, "desiredNumberScheduled": 3, "currentNumberScheduled": 3,
            "numberMisscheduled": 0, "numberReady": 3, "updatedNumberScheduled": updated,
            "numberAvailable": 3,
        },
    }))
}

fn mk_owned(set: &str, name: &str, mark: &str, letter: char) -> Pod {
    mk(json!({
        "metadata": {
            "name": name, "namespace": "apps", "uid": format!("uid-{name}-{letter}"),
            "labels": { "app": set, REVISION_HASH: mark },
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "Set", "name": set, "uid": format!("uid-{set}"),
                "controller": true,
            }],
        },
        "spec": { "containers": [{ "name": "main", "image": mk_image(letter) }] },
        "status": {
            "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }],
            "containerStatuses": [{
                "name": "main", "image": "x", "imageID": mk_image(letter), "ready": true, "restartCount": 0,
            }],
        },
    }))
}

fn mk_numbered(number: usize, letter: char) -> Pod {
    mk_owned("db", &format!("db-{number}"), &format!("db-{letter}"), letter)
}

fn mk_on_node(number: usize, letter: char) -> Pod {
    let pod = mk_owned("agent", &format!("agent-{number}"), &letter.to_string(), letter);
    with(&pod, &json!({ "spec": { "nodeName": format!("node-{number}") } }))
}

fn mk_revision(set: &str, letter: char, number: i64) -> ControllerRevision {
    let (name, labels) = match set {
        "db" => (format!("db-{letter}"), json!({ "app": set })),
        _ => (format!("agent-{letter}"), json!({ "app": set, REVISION_HASH: letter.to_string() })),
    };
    let containers = json!([{ "name": "main", "image": mk_image(letter) }]);
    mk(json!({
        "metadata": {
            "name": name, "uid": format!("uid-{name}"), "labels": labels,
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "Set", "name": set, "uid": format!("uid-{set}"),
                "controller": true,
            }],
        },
        "revision": number,
        "data": { "spec": { "template": { "$patch": "replace", "spec": { "containers": containers } } } },
    }))
}

fn mk_node(number: usize, part: &Value) -> Node {
    let node: Node = mk(json!({
        "metadata": { "name": format!("node-{number}") }, "spec": {},
        "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
    }));
    with(&node, part)
}

fn look(set: Set, pods: Vec<Pod>) -> Look {
    let revisions = match set {
        Set::Stateful(_) => vec![mk_revision("db", 'a', 4), mk_revision("db", 'b', 5)],
        Set::Daemon(_) => vec![mk_revision("agent", 'a', 4), mk_revision("agent", 'b', 5)],
    };
    Look {
        set,
        revisions: Some(revisions),
        pods,
        nodes: None,
        server: Some((1, 34)),
        revision: String::new(),
    }
}

fn stateful(set: StatefulSet, letters: &str) -> Look {
    let pods = letters.chars().enumerate().map(|(number, letter)| mk_numbered(number, letter)).collect();
    look(Set::Stateful(Box::new(set)), pods)
}

/// Returns a StatefulSet at rest, with `part` laid over it.
pub(in crate::rollout) fn mk_set_look(part: &Value) -> Look {
    stateful(with(&mk_stateful('a', 3, 3), part), "aaa")
}

fn daemon(set: DaemonSet, letters: &str) -> Look {
    let pods = letters.chars().enumerate().map(|(number, letter)| mk_on_node(number, letter)).collect();
    look(Set::Daemon(Box::new(set)), pods)
}

pub(in crate::rollout) fn snapshot(look: Look) -> Snapshot {
    look.stand_in("main", &[], None)
}

fn goal(set: &str, letter: char) -> Goal {
    Goal { uid: format!("uid-{set}"), generation: 2, ..mk_goal(letter) }
}

fn lack(set: &str, look: Look) -> (Lacks, String) {
    match judge(&goal(set, 'b'), &snapshot(look)) {
        Verdict::Waiting(lack) => (lack.kind, lack.words),
        other => panic!("{other:?}"),
    }
}

fn partitioned(partition: i32) -> StatefulSet {
    let strategy = json!({ "spec": { "updateStrategy": { "rollingUpdate": { "partition": partition } } } });
    with(&mk_stateful('b', 3, 1), &strategy)
}

#[test]
fn a_stateful_set_is_done_when_every_number_runs_the_new_revision() {
    for (letters, updated) in [("aaa", 0), ("aab", 1), ("abb", 2)] {
        let (kind, words) = lack("db", stateful(mk_stateful('b', 3, updated), letters));
        assert_eq!((kind, words), (Lacks::Readiness, format!("{updated} of 3 new pods ready")));
    }
    let done = snapshot(stateful(mk_stateful('b', 3, 3), "bbb"));
    assert_eq!(judge(&goal("db", 'b'), &done), Verdict::Complete);
    assert_eq!((done.revision(), done.kind()), ("5", Kind::StatefulSet));
}

#[test]
fn what_the_controller_has_not_seen_proves_nothing() {
    let unseen = with(&mk_stateful('b', 3, 3), &json!({ "metadata": { "generation": 3 } }));
    let words = lack("db", stateful(unseen, "bbb")).1;
    assert_eq!(words, "the controller has not seen the change yet");
}

#[test]
fn a_pod_that_runs_another_digest_than_its_revision_says_is_named() {
    let mut look = stateful(mk_stateful('b', 3, 3), "bbb");
    look.pods[1] =
        with(&mk_numbered(1, 'c'), &json!({ "metadata": { "labels": { REVISION_HASH: "db-b" } } }));
    let (kind, words) = lack("db", look);
    assert!(kind == Lacks::Digest && words.starts_with("pod db-1 runs"), "{words}");
}

#[test]
fn below_a_partition_nothing_is_rolled_or_waited_for() {
    let look = stateful(partitioned(2), "aab");
    assert_eq!(look.left_out().count(), 2);
    let said = words::exceptions(&look).unwrap();
    assert_eq!(said, "partition 2: the first 2 pods keep their image, the other 1 are rolled and proven");
    assert_eq!(judge(&goal("db", 'b'), &snapshot(look)), Verdict::Complete);
    assert_eq!(lack("db", stateful(partitioned(1), "aab")).1, "1 of 2 new pods ready");
}

#[test]
fn a_partition_counts_from_the_first_number() {
    let shifted = with(&partitioned(2), &json!({ "spec": { "ordinals": { "start": 5 } } }));
    let pods = [(5, 'a'), (6, 'a'), (7, 'b')].map(|(number, letter)| mk_numbered(number, letter)).to_vec();
    let look = look(Set::Stateful(Box::new(shifted)), pods);
    assert_eq!(judge(&goal("db", 'b'), &snapshot(look)), Verdict::Complete);
}

#[test]
fn a_set_that_a_new_image_would_not_roll_is_refused() {
    let by_hand = json!({ "spec": { "updateStrategy": { "type": "OnDelete", "rollingUpdate": null } } });
    let stateful_set = stateful(with(&mk_stateful('a', 3, 3), &by_hand), "aaa");
    let daemon_set = daemon(with(&mk_daemon('a', 3), &by_hand), "aaa");
    for look in [stateful_set, daemon_set] {
        assert!(words::check(&look).unwrap_err().words.contains("OnDelete"));
    }
    let kept = words::check(&stateful(partitioned(7), "aaa")).unwrap_err();
    assert!(kept.words.starts_with("partition 3 keeps all 3 pods"), "{}", kept.words);
    assert!(words::check(&stateful(partitioned(2), "aaa")).is_ok());
}

/// The broken pod of image `b` after `a` was written back: the controller waits for it.
fn trapped() -> Look {
    let back =
        with(&mk_stateful('a', 3, 2), &json!({ "status": { "readyReplicas": 2, "availableReplicas": 2 } }));
    let back = with(
        &back,
        &json!({ "metadata": { "annotations": {
        "rollway.dev/outcome": "failed and rolled back" } } }),
    );
    let mut look = stateful(back, "aab");
    look.pods[2] = mk_unready(&look.pods[2]);
    look
}

/// Returns a StatefulSet that is on its way to `b`, with a pod for each letter.
pub(in crate::rollout) fn mk_trio(letters: &str, annotations: &Value) -> Look {
    let updated = letters.matches('b').count();
    let set = mk_stateful('b', 3, i32::try_from(updated).unwrap());
    stateful(with(&set, &json!({ "metadata": { "annotations": annotations } })), letters)
}

#[test]
fn a_broken_pod_of_another_revision_is_ended_so_that_the_way_back_is_free() {
    let look = snapshot(trapped());
    let step = |stuck| next(&goal("db", 'a'), &look, Clocks { stuck, ..Clocks::default() }, Duration::ZERO);
    assert!(matches!(step(Duration::from_secs(1)), Step::Wait(_)), "it may become ready by itself");
    match step(STUCK) {
        Step::Delete(pods) => {
            let names: Vec<&str> = pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
            assert_eq!(names, ["db-2"]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn pods_that_do_not_stop_the_controller_are_left_to_it() {
    let policy = json!({ "spec": { "podManagementPolicy": "Parallel" } });
    let Look { set: Set::Stateful(set), pods, .. } = trapped() else { panic!() };
    assert_eq!(look(Set::Stateful(Box::new(with(&*set, &policy))), pods.clone()).stuck().len(), 0);
    assert_eq!(trapped().stuck().len(), 1);
    let ending = Look { pods: vec![mk_ending(&pods[2])], ..trapped() };
    assert_eq!(ending.stuck().len(), 0);
    let new = stateful(mk_stateful('b', 1, 1), "b");
    let new = Look { pods: vec![mk_unready(&new.pods[0])], ..new };
    assert_eq!(new.stuck().len(), 0, "a pod of the revision that is wanted");
}

#[test]
fn a_daemon_set_is_done_when_every_node_has_the_new_pod_and_no_other() {
    assert_eq!(lack("agent", daemon(mk_daemon('b', 1), "aab")).1, "1 of 3 new pods ready");
    let mut surging = daemon(mk_daemon('b', 3), "bbb");
    surging.pods.push(with(&mk_on_node(0, 'a'), &json!({ "metadata": { "name": "agent-old" } })));
    assert_eq!(lack("agent", surging).1, "old pods left: 1");
    let done = daemon(mk_daemon('b', 3), "bbb");
    assert_eq!(judge(&goal("agent", 'b'), &snapshot(done)), Verdict::Complete);
}

#[test]
fn going_back_makes_the_older_revision_the_target_by_its_new_number() {
    let back = Look {
        revisions: Some(vec![mk_revision("agent", 'a', 6), mk_revision("agent", 'b', 5)]),
        ..daemon(mk_daemon('a', 3), "aaa")
    };
    assert_eq!(back.target().as_deref(), Some("a"));
    let look = snapshot(back);
    assert_eq!((judge(&goal("agent", 'a'), &look), look.revision()), (Verdict::Complete, "6"));
}

#[test]
fn a_node_that_is_away_holds_nothing_up_and_is_named() {
    let status = json!({ "status": { "updatedNumberScheduled": 3, "numberReady": 2, "numberAvailable": 2 } });
    for part in [
        json!({ "status": { "conditions": [{ "type": "Ready", "status": "Unknown" }] } }),
        json!({ "spec": { "unschedulable": true } }),
    ] {
        let mut look = daemon(with(&mk_daemon('b', 3), &status), "bba");
        look.pods[2] = mk_unready(&look.pods[2]);
        assert_eq!(lack("agent", look.clone()).0, Lacks::Readiness);
        look.nodes = Some(vec![mk_node(1, &json!({})), mk_node(2, &part)]);
        let said = words::exceptions(&look).unwrap();
        assert_eq!(said, "not waited for: nodes that are cordoned or not ready (node-2)");
        assert_eq!(judge(&goal("agent", 'b'), &snapshot(look)), Verdict::Complete, "{part}");
    }
}

#[test]
fn a_cordoned_node_whose_new_pod_is_ready_counts_like_any_other() {
    let mut look = daemon(mk_daemon('b', 3), "bbb");
    look.nodes = Some(vec![mk_node(2, &json!({ "spec": { "unschedulable": true } }))]);
    assert_eq!(snapshot(look.clone()).wanted(), 3);
    assert_eq!(judge(&goal("agent", 'b'), &snapshot(look)), Verdict::Complete);
}

#[test]
fn a_pod_that_is_not_scheduled_yet_belongs_to_the_node_that_it_is_meant_for() {
    let mut look = daemon(mk_daemon('b', 2), "bb");
    let meant = json!({ "nodeName": null, "affinity": { "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [{
            "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["node-2"] }],
        }] },
    } } });
    look.pods.push(mk_unready(&with(&mk_on_node(2, 'b'), &json!({ "spec": meant }))));
    look.nodes = Some(vec![mk_node(2, &json!({ "spec": { "unschedulable": true } }))]);
    assert_eq!(judge(&goal("agent", 'b'), &snapshot(look)), Verdict::Complete);
}

fn written(snapshot: &Snapshot, raw: &Value, operations: Operations) -> Value {
    let surges = snapshot.set.as_ref().is_some_and(|look| patch::surges(&look.set));
    let operations = patch::translate(snapshot.kind(), surges, operations);
    let operations: json_patch::Patch = serde_json::from_value(operations.into()).unwrap();
    let mut raw = raw.clone();
    json_patch::patch(&mut raw, &operations).unwrap();
    raw
}

fn image(raw: &Value) -> &Value {
    &raw["spec"]["template"]["spec"]["containers"][0]["image"]
}

#[test]
fn a_daemon_set_surges_while_it_rolls_and_gets_its_strategy_back() {
    let set = mk_daemon('a', 3);
    let raw = serde_json::to_value(&set).unwrap();
    let before = snapshot(daemon(set, "aaa"));
    let choice = choose(&mk_order('b'), &before, None);
    assert_eq!((choice.way, choice.loses), (Way::Rolling, None));
    let after = written(&before, &raw, write(&before, &mk_order('b'), choice.way, "now"));
    let surge = json!({ "maxSurge": 1, "maxUnavailable": 0 });
    assert_eq!(
        (image(&after), &after["spec"]["updateStrategy"]["rollingUpdate"]),
        (&json!(mk_image('b')), &surge)
    );
    let now = snapshot(daemon(mk(after.clone()), "bbb"));
    let journal = now.journal().unwrap();
    let end = written(&now, &after, finish(&now, &journal));
    assert_eq!(end["spec"]["updateStrategy"], raw["spec"]["updateStrategy"]);
    let back = written(&now, &after, undo(&now, &journal, choice.way));
    assert_eq!(image(&back), &json!(mk_image('a')));
    let now = snapshot(daemon(mk(back.clone()), "aaa"));
    let end = written(&now, &back, finish(&now, &now.journal().unwrap()));
    assert_eq!(end["spec"], raw["spec"]);
}

#[test]
fn a_daemon_set_that_holds_node_ports_opens_a_gap_on_each_node_and_says_so() {
    for part in [
        json!({ "hostNetwork": true }),
        json!({ "containers": [{ "name": "main", "image": mk_image('a'), "ports": [{ "containerPort": 1, "hostPort": 1 }] }] }),
    ] {
        let set = with(&mk_daemon('a', 3), &json!({ "spec": { "template": { "spec": part } } }));
        let raw = serde_json::to_value(&set).unwrap();
        let before = snapshot(daemon(set, "aaa"));
        let choice = choose(&mk_order('b'), &before, None);
        let loses = choice.loses.unwrap();
        assert!(
            choice.way == Way::Plain && loses.starts_with("each of 3 nodes is without its pod"),
            "{loses}"
        );
        let after = written(&before, &raw, write(&before, &mk_order('b'), Way::Rolling, "now"));
        assert_eq!(after["spec"]["updateStrategy"], raw["spec"]["updateStrategy"]);
    }
}

#[test]
fn a_daemon_set_keeps_its_strategy_where_nobody_could_put_it_back() {
    let before = snapshot(daemon(mk_daemon('a', 3), "aaa"));
    for order in [Order { wait: None, ..mk_order('b') }, Order { drain: Drain::None, ..mk_order('b') }] {
        assert_eq!(choose(&order, &before, None).way, Way::Plain);
    }
    let old = snapshot(Look { server: Some((1, 24)), ..daemon(mk_daemon('a', 3), "aaa") });
    assert!(choose(&mk_order('b'), &old, None).why.contains("older than 1.25"));
}

#[test]
fn a_stateful_set_says_how_long_each_pod_is_away_and_is_written_the_image_alone() {
    let mut look = stateful(mk_stateful('a', 2, 2), "aa");
    for (pod, seconds) in look.pods.iter_mut().zip(["08", "20"]) {
        let ready = format!("2026-01-01T00:00:{seconds}Z");
        *pod = with(
            pod,
            &json!({
                "metadata": { "creationTimestamp": "2026-01-01T00:00:00Z" },
                "status": { "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": ready }] },
                "spec": { "containers": [{
                    "name": "main", "image": mk_image('a'), "lifecycle": { "preStop": { "sleep": { "seconds": 5 } } },
                }] },
            }),
        );
    }
    let Set::Stateful(set) = &look.set else { panic!() };
    let raw = serde_json::to_value(set).unwrap();
    let before = snapshot(look);
    let choice = choose(&mk_order('b'), &before, None);
    assert_eq!(choice.loses.as_deref(), Some("each pod is away for about 25 s, 2 in turn"));
    let after = written(&before, &raw, write(&before, &mk_order('b'), choice.way, "now"));
    assert_eq!(image(&after), &json!(mk_image('b')));
    assert_eq!(after["spec"]["updateStrategy"], raw["spec"]["updateStrategy"]);
    assert!(after["metadata"]["annotations"][JOURNAL].is_string());
}

#[test]
fn one_pod_alone_is_an_outage_and_said_to_be() {
    let routing = Routing {
        services: vec![mk_service("db", &json!({ "app": "db" }))],
        slices: vec![mk_slice("db", &[mk_numbered(0, 'a')])],
        policies: None,
    };
    let before = stateful(mk_stateful('a', 1, 1), "a").stand_in("main", &[], Some(routing));
    assert!(choose(&mk_order('b'), &before, None).loses.unwrap().ends_with("nothing serves meanwhile"));
}

#[test]
fn revisions_that_cannot_be_read_are_told_by_their_marks() {
    let look = Look { revisions: None, ..stateful(mk_stateful('b', 3, 3), "bbb") };
    let look = snapshot(look);
    assert_eq!((look.revision(), judge(&goal("db", 'b'), &look)), ("db-b", Verdict::Complete));
}

#[test]
fn an_older_revision_still_knows_its_image() {
    let look = snapshot(stateful(mk_stateful('b', 3, 3), "bbb"));
    let older = look.owned_sets().find(|set| set.metadata.name.as_deref() == Some("db-a")).unwrap();
    let template = older.spec.as_ref().unwrap().template.as_ref().unwrap();
    assert_eq!(template.spec.as_ref().unwrap().containers[0].image, Some(mk_image('a')));
    assert_eq!(crate::rollout::observe::annotation(&older.metadata, REVISION).unwrap(), "4");
}

#[test]
fn the_newest_revision_of_another_image_is_not_what_the_template_makes() {
    // Gone back to `a`; that its revision has a new number has not been heard of yet.
    assert_eq!(daemon(mk_daemon('a', 0), "b").target().as_deref(), Some("a"));
    assert_eq!(daemon(mk_daemon('b', 0), "a").target().as_deref(), Some("b"));
    assert_eq!(daemon(mk_daemon('c', 0), "b").target(), None, "its revision is not there yet");
}
