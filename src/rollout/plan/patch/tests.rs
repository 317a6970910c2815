//! Each patch, applied: what it tests, what it changes, and that its opposite takes it back.

use k8s_openapi::api::core::v1::Pod;

use super::*;
use crate::rollout::annotations::HASH;
use crate::rollout::annotations::HOLD;
use crate::rollout::fixtures::*;
use crate::rollout::observe::Routing;
use crate::rollout::observe::labels;
use k8s_openapi::api::apps::v1::Deployment;

fn applied<K: serde::Serialize + serde::de::DeserializeOwned>(object: &K, operations: &Operations) -> K {
    let mut value = to_value(object);
    let patch: json_patch::Patch = serde_json::from_value(operations.clone().into()).unwrap();
    json_patch::patch(&mut value, &patch).unwrap();
    mk(value)
}

fn refused(object: &Deployment, operations: &Operations) -> bool {
    let patch: json_patch::Patch = serde_json::from_value(operations.clone().into()).unwrap();
    json_patch::patch(&mut to_value(object), &patch).is_err()
}

fn after(snapshot: &Snapshot, operations: &Operations) -> Snapshot {
    Snapshot { deployment: applied(&snapshot.deployment, operations), ..snapshot.clone() }
}

fn changed(snapshot: &Snapshot, part: &Value) -> Snapshot {
    Snapshot { deployment: with(&snapshot.deployment, part), ..snapshot.clone() }
}

fn settings(snapshot: &Snapshot) -> Value {
    let spec = to_value(&snapshot.deployment.spec);
    json!([spec["strategy"], spec["minReadySeconds"], spec["progressDeadlineSeconds"]])
}

fn written(way: Way) -> Snapshot {
    after(&mk_snapshot(), &write(&mk_snapshot(), &mk_order('b'), way, "now"))
}

#[test]
fn a_write_changes_nothing_when_the_deployment_is_not_what_was_seen() {
    let operations = write(&mk_snapshot(), &mk_order('b'), Way::Detached, "now");
    let container = json!({ "name": "other", "image": mk_image('a') });
    for part in [
        json!({ "metadata": { "uid": "another" } }),
        json!({ "spec": { "template": { "spec": { "containers": [container] } } } }),
        json!({ "spec": { "template": { "spec": { "containers": [{ "name": "main", "image": "x" }] } } } }),
    ] {
        assert!(refused(&changed(&mk_snapshot(), &part).deployment, &operations), "{part}");
    }
}

#[test]
fn a_write_finds_its_container_among_others() {
    let containers = json!([{ "name": "proxy", "image": "p" }, { "name": "main", "image": mk_image('a') }]);
    let two = json!({ "spec": { "template": { "spec": { "containers": containers } } } });
    let snapshot = changed(&mk_snapshot(), &two);
    let snapshot = after(&snapshot, &write(&snapshot, &mk_order('b'), Way::Plain, "now"));
    let images: Vec<_> =
        snapshot.containers().iter().map(|container| container.image.clone().unwrap()).collect();
    assert_eq!(images, ["p".to_owned(), mk_image('b')]);
}

/// Two containers and an init container; `main` and `migrate` are rolled.
fn mk_several() -> Snapshot {
    let containers = json!([{ "name": "proxy", "image": "p" }, { "name": "main", "image": mk_image('a') }]);
    let init = json!([{ "name": "wait", "image": "w" }, { "name": "migrate", "image": "m:1" }]);
    let spec = json!({ "containers": containers, "initContainers": init });
    let snapshot = changed(&mk_snapshot(), &json!({ "spec": { "template": { "spec": spec } } }));
    Snapshot { others: vec!["migrate".to_owned()], ..snapshot }
}

fn images(snapshot: &Snapshot) -> Vec<String> {
    let names = ["proxy", "main", "wait", "migrate"];
    names.iter().map(|name| snapshot.slot(name).image.to_owned()).collect()
}

#[test]
fn an_init_container_gets_the_image_with_the_container_that_is_named_first() {
    let before = mk_several();
    let after = after(&before, &write(&before, &mk_order('b'), Way::Detached, "now"));
    assert_eq!(images(&after), ["p".to_owned(), mk_image('b'), "w".to_owned(), mk_image('b')]);
    let journal = after.journal().unwrap();
    assert_eq!(
        (journal.previous.as_str(), journal.others["migrate"].previous.as_str()),
        (&*mk_image('a'), "m:1")
    );
}

#[test]
fn a_container_with_its_own_image_gets_that_one() {
    let before = mk_several();
    let order = Order { images: [("migrate".to_owned(), mk_pinned('c'))].into(), ..mk_order('b') };
    let after = after(&before, &write(&before, &order, Way::Plain, "now"));
    assert_eq!(images(&after), ["p".to_owned(), mk_image('b'), "w".to_owned(), mk_image('c')]);
}

#[test]
fn going_back_takes_every_container_back() {
    let before = mk_several();
    let written = after(&before, &write(&before, &mk_order('b'), Way::Detached, "now"));
    let back = after(&written, &undo(&written, &written.journal().unwrap(), Way::Rolling));
    assert_eq!(images(&back), images(&before));
    assert_eq!(back.journal().unwrap().others["migrate"].previous, mk_image('b'));
    let only_main = Snapshot { others: Vec::new(), ..written };
    let back = after(&only_main, &undo(&only_main, &only_main.journal().unwrap(), Way::Rolling));
    assert_eq!(images(&back), images(&before), "also when the run that goes back rolls fewer containers");
}

#[test]
fn a_write_changes_nothing_when_another_containers_image_is_not_what_was_seen() {
    let before = mk_several();
    let operations = write(&before, &mk_order('b'), Way::Plain, "now");
    let init = json!([{ "name": "wait", "image": "w" }, { "name": "migrate", "image": "m:2" }]);
    let moved = changed(&before, &json!({ "spec": { "template": { "spec": { "initContainers": init } } } }));
    assert!(refused(&moved.deployment, &operations));
}

#[test]
fn a_write_records_what_was_asked_for() {
    let tagged =
        changed(&mk_snapshot(), &json!({ "metadata": { "annotations": { TAG: "old", BUILD: "old" } } }));
    let order = Order { tag: None, wait: None, ..mk_order('b') };
    let snapshot = after(&tagged, &write(&tagged, &order, Way::Plain, "now"));
    assert_eq!(history::read(&snapshot)[0].outcome.as_deref(), Some("written, not waited for"));
    let of = |key: &str| annotation(&snapshot.deployment.metadata, key).map(String::as_str);
    assert_eq!(of(DIGEST), Some(mk_digest('b').as_str()));
    assert_eq!(of(PREVIOUS), Some(mk_image('a').as_str()));
    assert_eq!((of(TAG), of(BUILD), of(AT), of(JOURNAL)), (None, None, Some("now"), Some(FINISHED)));
}

#[test]
fn a_deployment_without_annotations_gets_them() {
    let bare = changed(&mk_snapshot(), &json!({ "metadata": { "annotations": null } }));
    let snapshot = after(&bare, &write(&bare, &mk_order('b'), Way::Detached, "now"));
    assert!(snapshot.journal().is_some_and(|journal| journal.detached));
}

#[test]
fn a_detached_write_holds_and_finish_puts_everything_back() {
    let snapshot = written(Way::Detached);
    assert!(snapshot.is_held() && is_all_at_once(&snapshot));
    assert_eq!(settings(&snapshot)[2], json!(HOLD + 3_600), "the API refuses a deadline within the hold");
    let journal = snapshot.journal().unwrap();
    let finished = after(&snapshot, &finish(&snapshot, &journal));
    assert_eq!(settings(&finished), settings(&mk_snapshot()));
    assert_eq!(finished.journal(), None);
    let released = after(&snapshot, &release(&snapshot, &journal));
    assert_eq!(settings(&released), settings(&mk_snapshot()));
    assert_eq!(released.journal(), Some(journal));
}

#[test]
fn a_rolling_write_adds_before_it_removes_at_the_deployments_own_pace() {
    let pace = |snapshot: &Snapshot| settings(snapshot)[0]["rollingUpdate"].clone();
    assert_eq!(pace(&written(Way::Rolling)), json!({ "maxSurge": "25%", "maxUnavailable": 0 }));
    let rolling =
        json!({ "spec": { "strategy": { "rollingUpdate": { "maxSurge": 0, "maxUnavailable": 1 } } } });
    let shrinking = changed(&mk_snapshot(), &rolling);
    let snapshot = after(&shrinking, &write(&shrinking, &mk_order('b'), Way::Rolling, "now"));
    assert_eq!(pace(&snapshot), json!({ "maxSurge": 1, "maxUnavailable": 0 }));
    let journal = snapshot.journal().unwrap();
    assert_eq!(settings(&after(&snapshot, &finish(&snapshot, &journal))), settings(&shrinking));
}

#[test]
fn every_way_to_replace_a_held_rollout_ends_the_hold_or_makes_its_own() {
    for (way, is_held) in [(Way::Detached, true), (Way::Rolling, false), (Way::Plain, false)] {
        let held = written(Way::Detached);
        let next = after(&held, &write(&held, &mk_order('c'), way, "now"));
        assert_eq!(next.is_held(), is_held, "{way:?}");
        let end =
            next.journal().map_or_else(|| next.clone(), |journal| after(&next, &finish(&next, &journal)));
        assert_eq!(settings(&end), settings(&mk_snapshot()), "{way:?}");
    }
}

#[test]
fn what_a_person_set_meanwhile_stays() {
    let own = json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 2, "maxUnavailable": 1 } });
    let snapshot =
        changed(&written(Way::Detached), &json!({ "spec": { "strategy": own, "minReadySeconds": 7 } }));
    let journal = snapshot.journal().unwrap();
    let finished = after(&snapshot, &finish(&snapshot, &journal));
    assert_eq!(settings(&finished), json!([own, 7, 600]));
    let next = super::journal(&snapshot, &mk_order('c'), Way::Detached);
    assert_eq!((next.strategy, next.min_ready_seconds), (own, json!(7)));
}

#[test]
fn the_way_back_leads_to_the_last_image_that_was_ready() {
    let snapshot = written(Way::Detached);
    assert_eq!(super::journal(&snapshot, &mk_order('c'), Way::Detached).previous, mk_image('a'));
    let set = mk_set(&snapshot.deployment, "2b", 3);
    let pods = ["x", "y", "z"].map(|suffix| mk_pod(&set, suffix)).to_vec();
    let ready = Snapshot { replica_sets: vec![set], pods, ..snapshot };
    assert_eq!(super::journal(&ready, &mk_order('c'), Way::Detached).previous, mk_image('b'));
}

#[test]
fn a_hold_whose_journal_is_lost_goes_back_to_the_defaults() {
    let torn = changed(&written(Way::Detached), &json!({ "metadata": { "annotations": { JOURNAL: "{" } } }));
    let journal = torn.journal().unwrap();
    let operations = finish(&torn, &journal);
    assert!(operations.contains(&set("/spec/strategy", Value::Null)), "the API server fills its default in");
    let finished = after(&torn, &operations);
    assert!(!finished.is_held());
    assert_eq!(finished.journal(), None);
}

#[test]
fn falling_back_ends_the_hold_and_keeps_the_journal() {
    let snapshot = written(Way::Detached);
    let back = after(&snapshot, &fall_back(&snapshot, &snapshot.journal().unwrap()));
    assert_eq!(settings(&back)[0]["rollingUpdate"], json!({ "maxSurge": "25%", "maxUnavailable": 0 }));
    assert_eq!((back.is_held(), back.journal().unwrap().detached), (false, false));
    assert_eq!(settings(&after(&back, &finish(&back, &back.journal().unwrap()))), settings(&mk_snapshot()));
}

#[test]
fn going_back_starts_at_full_size_and_says_so() {
    let snapshot = written(Way::Detached);
    let back = after(&snapshot, &undo(&snapshot, &snapshot.journal().unwrap(), Way::Rolling));
    assert_eq!(back.image(), mk_image('a'));
    assert!(is_all_at_once(&back) && !back.is_held());
    let of = |key: &str| annotation(&back.deployment.metadata, key).map(String::as_str);
    assert_eq!((of(DIGEST), of(TAG)), (Some(mk_digest('a').as_str()), None));
    assert_eq!(settings(&after(&back, &finish(&back, &back.journal().unwrap()))), settings(&mk_snapshot()));
}

#[test]
fn how_a_rollout_ended_is_recorded_with_its_last_write() {
    for way in [Way::Detached, Way::Rolling, Way::Plain] {
        let written = written(way);
        let journal = written.journal().unwrap();
        let word =
            |look: &Snapshot| annotation(&look.deployment.metadata, OUTCOME).cloned().unwrap_or_default();
        assert_eq!(word(&written), "", "{way:?}: it is under way");
        let finished = after(&written, &finish(&written, &journal));
        assert_eq!(
            (word(&finished), history::read(&finished)[0].outcome.clone().unwrap()),
            ("rolled".into(), "rolled".into())
        );
        let left = after(&written, &close(&written, &journal, Ending::Left));
        assert_eq!(word(&left), "failed and left");
        let back = after(&written, &undo(&written, &journal, way));
        let back = after(&back, &finish(&back, &back.journal().unwrap()));
        assert_eq!(word(&back), "failed and rolled back", "{way:?}: the way back does not hide what failed");
        assert_eq!(settings(&back), settings(&mk_snapshot()), "{way:?}");
    }
}

#[test]
fn a_note_in_the_journal_changes_nothing_else_and_only_over_the_same_image() {
    let written = written(Way::Detached);
    let journal = Journal { interrupted: Some("interrupted".to_owned()), ..written.journal().unwrap() };
    let noted = after(&written, &note(&written, &journal));
    assert_eq!(noted.journal(), Some(journal.clone()));
    assert_eq!(noted.deployment.spec, written.deployment.spec);
    let moved = after(&written, &undo(&written, &journal, Way::Rolling));
    assert!(refused(&moved.deployment, &note(&written, &journal)));
}

#[test]
fn a_note_does_not_reopen_a_journal_that_was_closed_since_it_was_read() {
    let written = written(Way::Detached);
    let journal = written.journal().unwrap();
    let closed = after(&written, &finish(&written, &journal));
    assert!(refused(&closed.deployment, &note(&written, &journal)));
}

#[test]
fn a_way_back_is_told_by_its_word_though_the_history_is_gone() {
    let mut snapshot = written(Way::Rolling);
    let journal = snapshot.journal().unwrap();
    snapshot.deployment.metadata.annotations.as_mut().unwrap().remove(HISTORY);
    let back = after(&snapshot, &undo(&snapshot, &journal, Way::Rolling));
    let word = annotation(&back.deployment.metadata, OUTCOME).unwrap();
    assert_eq!(word, Ending::RolledBack.word());
}

#[test]
fn going_back_to_a_tag_leaves_no_digest() {
    let snapshot = written(Way::Detached);
    let journal = Journal { previous: "registry/app:1".to_owned(), ..snapshot.journal().unwrap() };
    let back = after(&snapshot, &undo(&snapshot, &journal, Way::Rolling));
    assert_eq!(back.image(), "registry/app:1");
    assert_eq!(annotation(&back.deployment.metadata, DIGEST), None);
}

/// An orphan behind Services with these selectors, and what detaching takes off.
fn detached(selectors: &[Value]) -> (Snapshot, Pod, Pod, Vec<String>) {
    let services = selectors.iter().enumerate();
    let services = services.map(|(index, wanted)| mk_service(&format!("s{index}"), wanted)).collect();
    let snapshot = Snapshot { routing: Some(Routing { services, ..Routing::default() }), ..mk_snapshot() };
    let before = mk_orphan(&snapshot.pods[0]);
    let pod = applied(&before, &detach(&snapshot, &before));
    let left = labels(&pod.metadata);
    let taken = labels(&before.metadata).keys().filter(|key| !left.contains_key(*key)).cloned().collect();
    (snapshot, before, pod, taken)
}

#[test]
fn detaching_takes_the_fewest_labels_that_every_service_needs_and_the_hash() {
    let (app, tier) = (json!({ "app": "app" }), json!({ "tier": "web" }));
    let both = json!({ "app": "app", "tier": "web" });
    assert_eq!(detached(&[app.clone(), both.clone()]).3, ["app", HASH]);
    assert_eq!(detached(std::slice::from_ref(&both)).3, ["app", HASH]);
    assert_eq!(detached(&[app.clone(), tier]).3, ["app", HASH, "tier"]);
    assert_eq!(detached(&[app, json!({ "tier": "other" })]).3, ["app", HASH]);
    let (snapshot, _, pod, _) = detached(&[json!({ "app": "app" }), both]);
    assert!(snapshot.services(labels(&pod.metadata)).is_empty());
}

#[test]
fn a_detached_pod_is_known_as_ours_and_goes_with_its_deployment() {
    let (snapshot, _, pod, _) = detached(&[json!({ "app": "app" })]);
    let owners = pod.metadata.owner_references.clone().unwrap();
    assert_eq!((owners.len(), owners[0].uid.as_str(), owners[0].controller), (1, "uid-app", None));
    let look = Snapshot { pods: vec![pod], ..snapshot };
    assert_eq!(look.orphans().count(), 1);
}

#[test]
fn attaching_takes_a_detachment_back() {
    for selectors in [vec![json!({ "app": "app" })], vec![json!({ "app": "app" }), json!({ "tier": "web" })]]
    {
        let (_, before, pod, _) = detached(&selectors);
        let back = applied(&pod, &attach(&pod));
        assert_eq!(back.metadata.labels, before.metadata.labels);
        assert_eq!(back.metadata.owner_references, before.metadata.owner_references);
    }
}

#[test]
fn keys_with_slashes_and_tildes_survive_the_pointer() {
    let key = "example.com/a~b";
    let label = json!({ "metadata": { "labels": { key: "v" } } });
    let services = vec![mk_service("s", &json!({ key: "v" }))];
    let snapshot = Snapshot { routing: Some(Routing { services, ..Routing::default() }), ..mk_snapshot() };
    let before = with(&mk_orphan(&snapshot.pods[0]), &label);
    let pod = applied(&before, &detach(&snapshot, &before));
    assert!(!labels(&pod.metadata).contains_key(key));
    assert_eq!(labels(&applied(&pod, &attach(&pod)).metadata), labels(&before.metadata));
}
