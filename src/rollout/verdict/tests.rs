//! What counts as done, and what only looks so.

use super::*;
use crate::rollout::annotations::{DETACHED, HASH};
use crate::rollout::fixtures::*;
use crate::rollout::observe::Routing;
use serde_json::{Value, json};

fn lack_of(snapshot: &Snapshot, goal: &Goal) -> Lack {
    match judge(goal, snapshot) {
        Verdict::Waiting(lack) => lack,
        other => panic!("{other:?}"),
    }
}

fn change(snapshot: &Snapshot, deployment: &Value) -> Snapshot {
    Snapshot { deployment: with(&snapshot.deployment, deployment), ..snapshot.clone() }
}

/// Image `b` is written over `a` with surge 1, and so many pods of each are there and ready.
fn mk_rolling(old: usize, new: usize, counts: [i32; 4]) -> Snapshot {
    let [observed, replicas, updated, available] = counts;
    let before = mk_deployment('a', 4);
    let status = json!({
        "observedGeneration": observed, "replicas": replicas, "updatedReplicas": updated,
        "readyReplicas": available, "availableReplicas": available,
    });
    let deployment =
        with(&mk_deployment('b', 4), &json!({ "metadata": { "generation": 5 }, "status": status }));
    let old_set = mk_set(&before, "1a", i32::try_from(old).unwrap());
    let new_set = mk_set(&deployment, "2b", i32::try_from(new).unwrap());
    let mut pods: Vec<Pod> = (0..old).map(|index| mk_pod(&old_set, &format!("o{index}"))).collect();
    pods.extend((0..new).map(|index| mk_pod(&new_set, &format!("n{index}"))));
    let slices = vec![mk_slice("app", &pods)];
    let services = vec![mk_service("app", &json!({ "app": "app" }))];
    Snapshot {
        deployment,
        container: "main".to_owned(),
        others: Vec::new(),
        set: None,
        replica_sets: if new == 0 { vec![old_set] } else { vec![old_set, new_set] },
        pods,
        routing: Some(Routing { services, slices, policies: None }),
    }
}

/// The status that a watch saw while four pods were replaced with surge 1: in every row but the last
/// some predicate in use says that it is done.
#[test]
fn only_the_last_row_of_a_real_rollout_is_complete() {
    let goal = Goal { generation: 5, ..mk_goal('b') };
    let rows = [
        (4, 0, [4, 4, 4, 4]),
        (4, 0, [5, 4, 0, 4]),
        (4, 1, [5, 5, 1, 4]),
        (4, 1, [5, 5, 1, 5]),
        (3, 1, [5, 4, 1, 4]),
        (3, 2, [5, 5, 2, 5]),
        (2, 2, [5, 4, 2, 4]),
        (1, 3, [5, 4, 3, 4]),
        (1, 4, [5, 5, 4, 5]),
        (0, 4, [5, 5, 4, 5]),
    ];
    for (old, new, counts) in rows {
        let verdict = judge(&goal, &mk_rolling(old, new, counts));
        assert!(matches!(verdict, Verdict::Waiting(_)), "{old} {new} {counts:?}: {verdict:?}");
    }
    assert_eq!(judge(&goal, &mk_rolling(0, 4, [5, 4, 4, 4])), Verdict::Complete);
}

#[test]
fn a_deployment_at_rest_is_complete() {
    assert_eq!(judge(&mk_goal('a'), &mk_snapshot()), Verdict::Complete);
}

#[test]
fn a_pause_that_stops_nothing_is_no_lack() {
    let snapshot = mk_snapshot();
    let deployment = with(&snapshot.deployment, &json!({ "spec": { "paused": true } }));
    assert_eq!(judge(&mk_goal('a'), &Snapshot { deployment, ..snapshot }), Verdict::Complete);
}

#[test]
fn a_paused_deployment_is_not_complete() {
    let goal = Goal { generation: 5, ..mk_goal('b') };
    let snapshot = change(&mk_rolling(4, 0, [5, 4, 0, 4]), &json!({ "spec": { "paused": true } }));
    let lack = lack_of(&snapshot, &goal);
    assert_eq!((lack.kind, lack.words.as_str()), (Kind::Controller, "the Deployment is paused"));
}

#[test]
fn an_answer_older_than_the_write_is_not_believed() {
    let goal = Goal { generation: 2, ..mk_goal('a') };
    assert_eq!(lack_of(&mk_snapshot(), &goal).kind, Kind::Controller);
    let unseen = change(&mk_snapshot(), &json!({ "metadata": { "generation": 2 } }));
    assert_eq!(lack_of(&unseen, &goal).words, "the controller has not seen the change yet");
}

#[test]
fn another_image_supersedes() {
    assert_eq!(judge(&mk_goal('b'), &mk_snapshot()), Verdict::Superseded(mk_image('a')));
}

#[test]
fn a_deleted_or_recreated_deployment_is_gone() {
    let recreated = change(&mk_snapshot(), &json!({ "metadata": { "uid": "uid-2" } }));
    let ending =
        change(&mk_snapshot(), &json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } }));
    for snapshot in [recreated, ending] {
        assert_eq!(judge(&mk_goal('a'), &snapshot), Verdict::Gone);
    }
}

#[test]
fn a_full_quota_is_named_with_its_words() {
    let goal = Goal { generation: 5, ..mk_goal('b') };
    let mut snapshot = mk_rolling(4, 1, [5, 5, 1, 4]);
    snapshot.pods.retain(|pod| !pod.metadata.name.as_ref().unwrap().contains("2b"));
    let failure = json!({ "status": { "conditions": [{
        "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: pods=4",
    }] } });
    snapshot.replica_sets[1] = with(&snapshot.replica_sets[1], &failure);
    let lack = lack_of(&snapshot, &goal);
    assert_eq!(
        (lack.kind, lack.words.as_str()),
        (Kind::Room, "0 of 4 new pods ready; exceeded quota: pods=4")
    );
}

#[test]
fn the_words_of_a_webhook_become_one_line() {
    let mut snapshot = mk_snapshot();
    snapshot.pods.pop();
    let message = "admission webhook \"kyverno\" denied the request:\n\npolicy a:\n  rule b: no\u{1b}[0m";
    let failure = json!({ "status": { "conditions": [{
        "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message,
    }] } });
    snapshot.replica_sets[0] = with(&snapshot.replica_sets[0], &failure);
    let words = lack_of(&snapshot, &mk_goal('a')).words;
    assert!(words.ends_with("denied the request: policy a: rule b: no [0m"), "{words:?}");
}

#[test]
fn a_quota_that_refuses_the_replica_set_is_named_too() {
    let goal = Goal { generation: 5, ..mk_goal('b') };
    let snapshot = change(
        &mk_rolling(4, 0, [5, 4, 0, 4]),
        &json!({ "status": { "conditions": [{
            "type": "Progressing", "status": "False", "reason": "ReplicaSetCreateError", "message": "no more sets",
        }] } }),
    );
    let lack = lack_of(&snapshot, &goal);
    assert_eq!((lack.kind, lack.words.as_str()), (Kind::Room, "no more sets"));
}

#[test]
fn a_pod_that_no_node_takes_is_a_lack_of_room() {
    let mut snapshot = mk_snapshot();
    snapshot.pods[0] = with(
        &snapshot.pods[0],
        &json!({ "status": { "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available",
    }] } }),
    );
    let lack = lack_of(&snapshot, &mk_goal('a'));
    assert_eq!(
        (lack.kind, lack.words.as_str()),
        (Kind::Room, "2 of 3 new pods ready; 0/3 nodes are available")
    );
}

#[test]
fn a_pod_that_runs_another_digest_is_named() {
    let mut snapshot = mk_snapshot();
    let status = |image_id: &str| {
        json!({ "status": { "containerStatuses": [{
            "name": "main", "image": "x", "imageID": image_id, "ready": true, "restartCount": 0,
        }] } })
    };
    snapshot.pods[1] = with(&snapshot.pods[1], &status(&mk_image('c')));
    let lack = lack_of(&snapshot, &mk_goal('a'));
    assert_eq!(lack.kind, Kind::Digest);
    assert!(lack.words.starts_with(&format!("pod app-1a-y runs {}", mk_digest('c'))), "{}", lack.words);
    snapshot.pods[1] = with(&snapshot.pods[1], &status(""));
    assert!(lack_of(&snapshot, &mk_goal('a')).words.starts_with("pod app-1a-y reports no digest"));
}

/// The init container `migrate` is rolled with `main`, and its pods report this for it.
fn mk_with_init(image_id: &str) -> Snapshot {
    let init = json!([{ "name": "migrate", "image": mk_image('d') }]);
    let mut snapshot =
        change(&mk_snapshot(), &json!({ "spec": { "template": { "spec": { "initContainers": init } } } }));
    let spec = json!({ "spec": { "template": { "spec": { "initContainers": init } } } });
    snapshot.replica_sets[0] = with(&snapshot.replica_sets[0], &spec);
    let status = json!({ "status": { "initContainerStatuses": [{
        "name": "migrate", "image": "x", "imageID": image_id, "ready": true, "restartCount": 0,
    }] } });
    snapshot.pods = snapshot.pods.iter().map(|pod| with(pod, &status)).collect();
    snapshot.others = vec!["migrate".to_owned()];
    snapshot
}

fn mk_goal_with_init(letter: char) -> Goal {
    let part = Part { image: mk_image(letter), identities: [mk_digest(letter)].into() };
    Goal { others: [("migrate".to_owned(), part)].into(), ..mk_goal('a') }
}

#[test]
fn every_rolled_container_must_be_proven() {
    let (goal, right, wrong) = (mk_goal_with_init('d'), mk_image('d'), mk_image('c'));
    assert_eq!(judge(&goal, &mk_with_init(&right)), Verdict::Complete);
    let lack = lack_of(&mk_with_init(&wrong), &goal);
    let words = format!("container migrate of pod app-1a-x runs {}", mk_digest('c'));
    assert!(lack.kind == Kind::Digest && lack.words.starts_with(&words), "{}", lack.words);
    let main = mk_with_init(&right);
    assert_eq!(digest_of(&main.pods[0], "main"), Some(mk_digest('a')), "each by its own name");
}

#[test]
fn another_image_in_any_rolled_container_supersedes() {
    let snapshot = mk_with_init(&mk_image('d'));
    assert_eq!(judge(&mk_goal_with_init('e'), &snapshot), Verdict::Superseded(mk_image('d')));
}

#[test]
fn an_image_that_is_changed_beside_the_rolled_ones_makes_other_pods_and_supersedes_nothing() {
    let mut snapshot = mk_snapshot();
    let sidecar = json!([
        { "name": "main", "image": mk_image('a') },
        { "name": "proxy", "image": "registry/proxy:2" },
    ]);
    snapshot.deployment =
        change(&snapshot, &json!({ "spec": { "template": { "spec": { "containers": sidecar } } } }))
            .deployment;
    let lack = lack_of(&snapshot, &mk_goal('a'));
    assert_eq!(lack.words, "there is no ReplicaSet for it yet", "the pods of before are not the new ones");
    let set = mk_set(&snapshot.deployment, "2c", 3);
    let pods: Vec<Pod> = ["u", "v", "w"].iter().map(|name| mk_pod(&set, name)).collect();
    snapshot.routing.as_mut().unwrap().slices = vec![mk_slice("app", &pods)];
    snapshot.replica_sets = vec![set];
    snapshot.pods = pods;
    assert_eq!(judge(&mk_goal('a'), &snapshot), Verdict::Complete);
}

#[test]
fn the_same_digest_under_another_name_is_ours_only_where_we_wrote_it() {
    let named = |name: &str| {
        json!({ "spec": { "template": { "spec": {
        "containers": [{ "name": "main", "image": format!("{name}@{}", mk_digest('a')) }],
    } } } })
    };
    let renamed = change(&mk_snapshot(), &named("mirror/app"));
    assert_eq!(mk_goal('a').other_image(&renamed), None, "it supersedes nothing");
    assert!(!mk_goal('a').is_written(&renamed), "and a put to another name is one to write");
    let history = json!([{ "image": mk_image('a'), "at": "2026-01-01T00:00:00Z" }]).to_string();
    let ours = json!({ "metadata": { "annotations": { "rollway.dev/history": history } } });
    assert!(mk_goal('a').is_written(&change(&renamed, &ours)));
    let tagged = Snapshot { deployment: with(&renamed.deployment, &named("registry/app:1")), ..renamed };
    assert!(mk_goal('b').other_image(&tagged).is_some());
}

#[test]
fn two_containers_that_are_changed_at_once_supersede_with_the_first_of_them() {
    let mut snapshot = mk_with_init(&mk_image('e'));
    snapshot.deployment = change(
        &snapshot,
        &json!({ "spec": { "template": { "spec": {
        "containers": [{ "name": "main", "image": mk_image('f') }],
    } } } }),
    )
    .deployment;
    assert_eq!(judge(&mk_goal_with_init('d'), &snapshot), Verdict::Superseded(mk_image('f')));
}

#[test]
fn a_child_of_the_index_that_was_asked_for_is_the_same_image() {
    let mut snapshot = mk_snapshot();
    let child = json!({ "status": { "containerStatuses": [{
        "name": "main", "image": "x", "imageID": format!("docker-pullable://{}", mk_image('c')),
        "ready": true, "restartCount": 0,
    }] } });
    snapshot.pods[1] = with(&snapshot.pods[1], &child);
    let goal = Goal { identities: [mk_digest('a'), mk_digest('c')].into(), ..mk_goal('a') };
    assert_eq!(judge(&goal, &snapshot), Verdict::Complete);
}

#[test]
fn every_service_must_send_traffic_to_every_new_pod() {
    let mut snapshot = mk_snapshot();
    let second = mk_slice("second", &snapshot.pods[..2]);
    let routing = snapshot.routing.as_mut().unwrap();
    routing.services.push(mk_service("second", &json!({ "tier": "web" })));
    routing.services.push(mk_service("of-others", &json!({ "app": "other" })));
    routing.services.push(mk_service("by-hand", &Value::Null));
    let alias = mk_service("alias", &json!({ "app": "app" }));
    routing.services.push(with(&alias, &json!({ "spec": { "type": "ExternalName" } })));
    routing.slices.push(second);
    let lack = lack_of(&snapshot, &mk_goal('a'));
    let words = "service second sends traffic to 2 of 3 new pods";
    assert_eq!((lack.kind, lack.words.as_str()), (Kind::Endpoints, words));
    snapshot.routing.as_mut().unwrap().slices.push(mk_slice("second", &snapshot.pods[2..]));
    assert_eq!(judge(&mk_goal('a'), &snapshot), Verdict::Complete);
}

#[test]
fn endpoints_of_other_pods_behind_the_same_service_do_not_count() {
    let mut snapshot = mk_snapshot();
    let other = mk_set(&with(&mk_deployment('a', 3), &json!({ "metadata": { "name": "app-x" } })), "1a", 3);
    let strangers: Vec<Pod> = ["x", "y", "z"].iter().map(|suffix| mk_pod(&other, suffix)).collect();
    snapshot.routing.as_mut().unwrap().slices = vec![mk_slice("app", &strangers)];
    snapshot.pods.extend(strangers);
    let lack = lack_of(&snapshot, &mk_goal('a'));
    assert_eq!(lack.words, "service app sends traffic to 0 of 3 new pods");
}

#[test]
fn replicas_raised_in_the_middle_are_waited_for() {
    let raised = change(&mk_snapshot(), &json!({ "spec": { "replicas": 5 } }));
    assert_eq!(lack_of(&raised, &mk_goal('a')).words, "3 of 5 new pods ready");
    let lowered = change(&mk_snapshot(), &json!({ "spec": { "replicas": 2 } }));
    assert_eq!(lack_of(&lowered, &mk_goal('a')).words, "3 new pods for 2 wanted");
}

#[test]
fn old_pods_that_still_end_are_waited_for() {
    let mut snapshot = mk_snapshot();
    let old = mk_set(&mk_deployment('b', 0), "0b", 0);
    snapshot.pods.push(mk_ending(&mk_pod(&old, "o")));
    snapshot.replica_sets.push(old);
    assert_eq!(lack_of(&snapshot, &mk_goal('a')).words, "old pods ending: 1");
}

#[test]
fn what_an_eviction_left_of_an_old_pod_is_not_waited_for() {
    let mut snapshot = mk_snapshot();
    let old = mk_set(&mk_deployment('b', 0), "0b", 0);
    snapshot.pods.push(mk_evicted(&mk_pod(&old, "o")));
    snapshot.replica_sets.push(old);
    assert_eq!(judge(&mk_goal('a'), &snapshot), Verdict::Complete);
    assert_eq!(snapshot.old_sets().count(), 0, "a set without living pods is history");
}

#[test]
fn orphans_are_told_by_their_origin_or_our_mark() {
    let mut snapshot = mk_snapshot();
    let stranger =
        mk_set(&with(&mk_deployment('a', 1), &json!({ "metadata": { "name": "app-1a" } })), "1a", 1);
    let orphan = mk_orphan(&snapshot.pods[0]);
    // The API server cuts what it makes of a long name; the origin stays whole.
    let cut = with(&orphan, &json!({ "metadata": { "name": "ap-cut", "uid": "cut" } }));
    let marked = json!({ "metadata": { "uid": "marked", "labels": { HASH: null, DETACHED: "app" } } });
    let naked = json!({ "metadata": { "uid": "naked", "generateName": null, "labels": { HASH: null } } });
    let of_other = json!({ "metadata": { "labels": { HASH: null, DETACHED: "app-x" }, "uid": "of-other" } });
    snapshot.pods = vec![
        cut,
        with(&orphan, &marked),
        with(&orphan, &naked),
        with(&orphan, &of_other),
        mk_orphan(&mk_pod(&stranger, "x")),
        snapshot.pods[1].clone(),
    ];
    let found: Vec<&str> = snapshot.orphans().filter_map(|pod| pod.metadata.uid.as_deref()).collect();
    assert_eq!(found, ["cut", "marked"]);
}

#[test]
fn the_current_set_is_the_oldest_of_equal_ones_and_of_this_deployment() {
    let mut snapshot = mk_snapshot();
    let at = |set: &k8s_openapi::api::apps::v1::ReplicaSet, day: u32, uid: &str| {
        let time = format!("2026-01-{day:02}T00:00:00Z");
        with(set, &json!({ "metadata": { "creationTimestamp": time, "uid": uid } }))
    };
    let set = snapshot.replica_sets[0].clone();
    let other = with(&at(&set, 1, "other"), &json!({ "metadata": { "ownerReferences": null } }));
    snapshot.replica_sets = vec![at(&set, 3, "newer"), other, at(&set, 2, "older")];
    assert_eq!(snapshot.new_set().unwrap().metadata.uid.as_deref(), Some("older"));
}
