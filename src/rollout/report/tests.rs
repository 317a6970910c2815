//! The words, as a person reads them.

use super::*;
use crate::rollout::annotations::DETACHED;
use crate::rollout::fixtures::*;
use serde_json::json;

#[test]
fn progress_counts_new_old_detached_and_ending_pods() {
    let mut snapshot = mk_snapshot();
    let old = mk_set(&mk_deployment('b', 0), "0b", 0);
    let orphan = mk_orphan(&mk_pod(&old, "o"));
    let away = json!({ "metadata": { "uid": "away", "labels": { DETACHED: "app" } } });
    snapshot.pods[0] = mk_unready(&snapshot.pods[0]);
    snapshot.pods.extend([with(&orphan, &away), mk_ending(&mk_pod(&old, "e")), orphan]);
    snapshot.replica_sets.push(old);
    let progress = Progress::of(&snapshot, "2 of 3 new pods ready");
    let words = "new 2/3 ready, old 2 (1 out of service), 1 ending – 2 of 3 new pods ready";
    assert_eq!(progress.to_string(), words);
    assert_eq!(Progress::of(&mk_snapshot(), "").to_string(), "new 3/3 ready, old 0");
}

#[test]
fn progress_tells_restarts_routed_pods_and_pods_that_do_not_come_up() {
    let mut snapshot = mk_snapshot();
    let stuck = |reason: &str| {
        json!({ "status": { "containerStatuses": [{
            "name": "main", "image": "x", "imageID": "", "ready": false, "restartCount": 2,
            "state": { "waiting": { "reason": reason } },
        }]}})
    };
    snapshot.pods[0] = with(&mk_unready(&snapshot.pods[0]), &stuck("CrashLoopBackOff"));
    snapshot.pods[1] = with(&mk_unready(&snapshot.pods[1]), &stuck("ContainerCreating"));
    let slices = vec![mk_slice("app", &snapshot.pods)];
    snapshot.routing.as_mut().unwrap().slices = slices;
    let progress = Progress::of(&snapshot, "");
    assert_eq!((progress.restarts, progress.routed), (4, Some(1)));
    assert_eq!(progress.suspects, ["app-1a-x CrashLoopBackOff"]);
    assert_eq!(progress.to_string(), "new 1/3 ready, old 0, 4 restarts");
    snapshot.routing = None;
    assert_eq!(Progress::of(&snapshot, "").routed, None, "nobody may say");
}

#[test]
fn what_is_left_shrinks_with_every_pod_that_is_ready() {
    let mut snapshot = mk_snapshot();
    snapshot.pods = snapshot.pods.iter().map(|pod| mk_started(pod, 10)).collect();
    let order = mk_order('b');
    let left = |ready: usize| {
        let progress = Progress { ready, ..Progress::of(&snapshot, "") };
        progress.towards(&order, &snapshot).left.unwrap().as_secs()
    };
    assert_eq!([left(0), left(1), left(2), left(3)], [30, 20, 10, 0]);
    assert_eq!(Progress::of(&mk_snapshot(), "").towards(&order, &mk_snapshot()).left, None);
}
