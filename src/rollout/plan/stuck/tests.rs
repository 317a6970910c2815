//! Members of a quorum that are unready for one reason or another.

use serde_json::{Value, json};

use super::*;
use crate::rollout::annotations::{JOURNAL, Journal};
use crate::rollout::fixtures::{mk_ending, mk_image, mk_unready, with};
use crate::rollout::sets::tests::{mk_trio, snapshot};

/// Three pods, of which each letter names the image, on the way from `a` to `b`.
fn on_the_way(letters: &str, unready: &[usize]) -> Snapshot {
    let journal = Journal { image: mk_image('b'), previous: mk_image('a'), ..Journal::lost("") };
    let notes = json!({ JOURNAL: journal.write(), AT: "2026-01-01T12:00:00Z" });
    made(letters, unready, &notes)
}

fn made(letters: &str, unready: &[usize], annotations: &Value) -> Snapshot {
    let mut look = mk_trio(letters, annotations);
    for number in unready {
        look.pods[*number] = lost_at(&look.pods[*number], "2026-01-01T12:05:00Z");
    }
    snapshot(look)
}

fn lost_at(pod: &Pod, at: &str) -> Pod {
    let ready = json!([{ "type": "Ready", "status": "False", "lastTransitionTime": at }]);
    with(&mk_unready(pod), &json!({ "status": { "conditions": ready } }))
}

fn waits_in(pod: &Pod, reason: &str) -> Pod {
    let waiting = json!([{ "name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 3,
        "state": { "waiting": { "reason": reason } } }]);
    with(pod, &json!({ "status": { "containerStatuses": waiting } }))
}

/// Changes one pod of the set as it is seen.
fn changed(snapshot: &Snapshot, number: usize, change: impl Fn(&Pod) -> Pod) -> Snapshot {
    let mut look = (**snapshot.set.as_ref().unwrap()).clone();
    look.pods[number] = change(&look.pods[number]);
    self::snapshot(look)
}

fn told(snapshot: &Snapshot) -> Option<(&str, u64)> {
    candidate(snapshot).map(|(pod, patience)| (pod.metadata.name.as_deref().unwrap(), patience.as_secs()))
}

#[test]
fn members_that_lost_a_peer_to_the_rollout_are_left_alone() {
    assert_eq!(told(&on_the_way("aab", &[0, 1])), None, "the new member is there and they come back");
    assert_eq!(told(&on_the_way("aab", &[0, 1, 2])), None, "the new member still starts");
}

#[test]
fn an_old_member_that_cannot_come_back_is_ended_alone_and_while_all_others_serve() {
    let crashing = |look: &Snapshot, number| changed(look, number, |pod| waits_in(pod, "CrashLoopBackOff"));
    assert_eq!(told(&crashing(&on_the_way("aab", &[0]), 0)), Some(("db-0", 5)));
    assert_eq!(
        told(&crashing(&on_the_way("aab", &[0, 2]), 0)),
        None,
        "the new one starts, one old one serves"
    );
    let both = crashing(&crashing(&on_the_way("aab", &[0, 1]), 0), 1);
    assert_eq!(told(&both), Some(("db-1", 5)), "one of them, from the highest down");
    let away = changed(&crashing(&on_the_way("aab", &[0]), 0), 1, mk_ending);
    assert_eq!(told(&away), None, "another one is away");
    let none = crashing(&crashing(&on_the_way("aab", &[0, 1, 2]), 0), 1);
    assert_eq!(told(&none), Some(("db-1", 60)), "there is nothing left to lose");
}

#[test]
fn a_member_that_was_unready_before_gets_the_time_of_a_slow_start() {
    let early = |pod: &Pod| lost_at(pod, "2026-01-01T11:00:00Z");
    assert_eq!(told(&changed(&on_the_way("aab", &[0]), 0, early)), Some(("db-0", 60)));
    assert_eq!(told(&changed(&on_the_way("aab", &[0, 2]), 0, early)), None);
}

#[test]
fn a_member_of_neither_image_is_what_a_failed_rollout_left() {
    assert_eq!(told(&on_the_way("acb", &[1])), Some(("db-1", 5)));
}

#[test]
fn the_members_that_failed_make_way_one_after_the_other_on_the_way_back() {
    let journal = Journal { image: mk_image('b'), previous: mk_image('c'), ..Journal::lost("") };
    let notes = json!({ JOURNAL: journal.write(), OUTCOME: "failed and rolled back" });
    assert_eq!(told(&made("bcc", &[1, 2], &notes)), Some(("db-2", 5)));
    assert_eq!(told(&made("bbc", &[0, 2], &notes)), Some(("db-2", 60)), "the others may wait for its place");
    assert_eq!(told(&made("bbb", &[0], &notes)), None, "a member of the image that is wanted");
}
