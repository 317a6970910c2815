//! How a scene is read off a Deployment, and what is remembered from look to look.

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::record::World;
use super::*;
use crate::rollout::annotations::HOLD;
use crate::rollout::fixtures::*;
use crate::rollout::observe::Snapshot;

const NOBODY: &[Notice] = &[];

fn mk_scene<'a>(snapshot: &'a Snapshot, answers: &'a Answers) -> Scene<'a> {
    Scene::of(snapshot, NOBODY.iter(), answers, Timestamp::UNIX_EPOCH)
}

/// Image `b` is written over `a`; nothing has happened yet but the new ReplicaSet.
fn mk_begun() -> Snapshot {
    let mut snapshot = mk_snapshot();
    let deployment = with(&mk_deployment('b', 3), &json!({ "metadata": { "generation": 2 } }));
    snapshot.deployment = with(&deployment, &json!({ "status": { "observedGeneration": 2 } }));
    snapshot.replica_sets.push(mk_set(&snapshot.deployment, "2b", 1));
    snapshot
}

#[test]
fn a_gap_is_resolved_as_the_controller_resolves_it() {
    let answers = Answers::default();
    for (surge, gap, replicas, wanted) in [
        (json!("25%"), json!("25%"), 3, 0),
        (json!("25%"), json!("25%"), 4, 1),
        (json!(1), json!(0), 3, 0),
        (json!(0), json!(0), 3, 1),
        (json!("0%"), json!("10%"), 3, 1),
        (json!(1), json!(9), 3, 3),
    ] {
        let mut snapshot = mk_begun();
        let rolling = json!({ "maxSurge": surge, "maxUnavailable": gap });
        let part = json!({ "spec": { "replicas": replicas, "strategy": { "rollingUpdate": rolling } } });
        snapshot.deployment = with(&snapshot.deployment, &part);
        assert_eq!(mk_scene(&snapshot, &answers).unavailable, wanted, "{surge} {gap} of {replicas}");
    }
    let mut snapshot = mk_begun();
    let recreate = json!({ "spec": { "strategy": { "type": "Recreate", "rollingUpdate": null } } });
    snapshot.deployment = with(&snapshot.deployment, &recreate);
    assert_eq!(mk_scene(&snapshot, &answers).unavailable, 3);
}

#[test]
fn a_hold_with_old_pods_still_has_another_way() {
    let answers = Answers::default();
    let mut snapshot = mk_begun();
    assert!(!mk_scene(&snapshot, &answers).fallback_ahead);
    snapshot.deployment = with(&snapshot.deployment, &json!({ "spec": { "minReadySeconds": HOLD } }));
    assert!(mk_scene(&snapshot, &answers).fallback_ahead);
    snapshot.replica_sets.remove(0);
    snapshot.pods.clear();
    assert!(!mk_scene(&snapshot, &answers).fallback_ahead);
}

#[test]
fn what_the_controller_said_before_the_change_is_not_believed() {
    let answers = Answers::default();
    let late = |set: &str| {
        let message = format!("ReplicaSet \"{set}\" has timed out progressing.");
        json!({ "status": { "conditions": [{ "type": "Progressing", "status": "False",
            "reason": "ProgressDeadlineExceeded", "message": message }] } })
    };
    let mut snapshot = mk_begun();
    snapshot.deployment = with(&snapshot.deployment, &late("app-1a"));
    assert!(mk_scene(&snapshot, &answers).conditions.is_empty());
    snapshot.deployment = with(&snapshot.deployment, &late("app-2b"));
    assert_eq!(mk_scene(&snapshot, &answers).conditions.len(), 1);
    snapshot.deployment = with(&snapshot.deployment, &json!({ "status": { "observedGeneration": 1 } }));
    assert!(mk_scene(&snapshot, &answers).conditions.is_empty());
}

#[test]
fn events_of_other_objects_are_left_out() {
    let (snapshot, answers) = (mk_begun(), Answers::default());
    let of = |uid: &str| Notice { uid: uid.to_owned(), ..Notice::default() };
    let events = [of("uid-app"), of("uid-app-2b"), of("uid-app-1a-x"), of("else")];
    let scene = Scene::of(&snapshot, events.iter(), &answers, Timestamp::UNIX_EPOCH);
    assert_eq!(scene.events.len(), 2);
}

#[test]
fn an_answer_keeps_its_time_until_it_changes() {
    let (mut answers, question) = (Answers::default(), Question::Trial);
    let second = |second| Timestamp::from_second(second).unwrap();
    answers.hear(question.clone(), Said::Refused("used 3".to_owned()), second(1));
    answers.hear(question.clone(), Said::Refused("used 4".to_owned()), second(5));
    let answer = answers.to(&question).unwrap();
    assert_eq!((&answer.said, answer.since), (&Said::Refused("used 4".to_owned()), second(1)));
    answers.hear(question.clone(), Said::Yes, second(9));
    assert_eq!(answers.to(&question).unwrap().since, second(9));
}

#[test]
fn a_recorded_scene_reads_as_the_same() {
    let (snapshot, answers) = (mk_begun(), Answers::default());
    let notice = Notice { uid: "uid-app".to_owned(), count: 2, ..Notice::default() };
    let events = [notice];
    let scene = Scene::of(&snapshot, events.iter(), &answers, Timestamp::UNIX_EPOCH);
    let kept = serde_json::to_value(World::of(&scene)).unwrap();
    let world: World = serde_json::from_value(kept.clone()).unwrap();
    let again = world.scene(&answers, Timestamp::UNIX_EPOCH);
    assert_eq!(serde_json::to_value(World::of(&again)).unwrap(), kept);
    assert_eq!((again.old.len(), again.events.len(), again.wanted), (3, 1, 3));
}
