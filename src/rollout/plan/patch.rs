//! What is written, as JSON patches. Each begins with `test` operations, so that a write that meets
//! another state than the one it was made for changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::drain::Way;
use crate::rollout::Order;
use crate::rollout::annotations::{
    AT, BUILD, DETACHED, DIGEST, FINISHED, HASH, HOLD, JOURNAL, Journal, LABELS, PREVIOUS, Swap, TAG, TOOL,
};
use crate::rollout::observe::{Labels, Slot, Snapshot, annotation, labels, selector};

/// A list of JSON patch operations.
pub type Operations = Vec<Value>;

/// Returns the journal for writing `order`. Of a journal that is already there it takes the settings
/// that are still in force as we set them; any other was set by a person, and is what to put back.
#[must_use]
pub fn journal(snapshot: &Snapshot, order: &Order, way: Way) -> Journal {
    let known = snapshot.journal();
    let mut spec = to_value(&snapshot.deployment.spec);
    for operation in known.iter().flat_map(|known| put_back(snapshot, known)) {
        if let Some(key) = operation["path"].as_str().and_then(|path| path.strip_prefix("/spec/")) {
            spec[key] = operation["value"].clone();
        }
    }
    Journal {
        image: order.image.to_string(),
        previous: previous(snapshot, known.as_ref()).to_owned(),
        detached: way == Way::Detached,
        strategy: spec["strategy"].clone(),
        min_ready_seconds: spec["minReadySeconds"].clone(),
        progress_deadline_seconds: spec["progressDeadlineSeconds"].clone(),
        others: swaps(snapshot, order, known.as_ref()),
    }
}

/// Returns what is written to the other containers, and what to go back to.
fn swaps(snapshot: &Snapshot, order: &Order, known: Option<&Journal>) -> BTreeMap<String, Swap> {
    let unfinished = known.filter(|known| is_unfinished(snapshot, known));
    let swap = |name: &str, image: &str| {
        let known = unfinished.and_then(|known| known.others.get(name)).filter(|swap| swap.image == image);
        Swap {
            image: order.image_of(name).to_string(),
            previous: known.map_or(image, |swap| &swap.previous).to_owned(),
        }
    };
    let others = snapshot.slots().skip(1);
    others.map(|slot| (slot.name.to_owned(), swap(slot.name, slot.image))).collect()
}

fn is_unfinished(snapshot: &Snapshot, known: &Journal) -> bool {
    known.image == snapshot.image() && snapshot.ready_new_pods() < snapshot.wanted()
}

/// Returns the image to go back to: the one in the template, unless its own rollout never came so far
/// that all its pods were ready.
fn previous<'a>(snapshot: &'a Snapshot, known: Option<&'a Journal>) -> &'a str {
    let unfinished = known.filter(|known| is_unfinished(snapshot, known));
    unfinished.map_or(snapshot.image(), |known| &known.previous)
}

/// Writes the image, how the controller is to go about it, and the record of it, in one patch.
#[must_use]
pub fn write(snapshot: &Snapshot, order: &Order, way: Way, now: &str) -> Operations {
    let journal = journal(snapshot, order, way);
    let mut operations = set_images(snapshot, &journal);
    operations.extend(put_back(snapshot, &journal));
    operations.extend(match way {
        Way::Detached => hold(),
        Way::Rolling => surge(&journal),
        Way::Plain => Vec::new(),
    });
    let record = if way == Way::Plain { FINISHED.to_owned() } else { journal.write() };
    let tool = concat!("rollway ", env!("CARGO_PKG_VERSION")).to_owned();
    operations.extend(annotate(
        snapshot,
        &[
            (JOURNAL, Some(record)),
            (DIGEST, Some(order.image.digest.to_string())),
            (TAG, order.tag.clone()),
            (PREVIOUS, Some(journal.previous)),
            (BUILD, Some(order.build.url.clone()).filter(|url| !url.is_empty())),
            (TOOL, Some(tool)),
            (AT, Some(now.to_owned())),
        ],
    ));
    operations
}

/// Ends the hold: the saved settings come back, the journal stays until the old pods are gone.
#[must_use]
pub fn release(snapshot: &Snapshot, journal: &Journal) -> Operations {
    let mut operations = test_images(snapshot);
    operations.extend(put_back(snapshot, journal));
    operations
}

/// Gives up holding: a rolling update goes on with the new pods that there is room for.
#[must_use]
pub fn fall_back(snapshot: &Snapshot, journal: &Journal) -> Operations {
    let journal = Journal { detached: false, ..journal.clone() };
    let mut operations = release(snapshot, &journal);
    operations.extend(surge(&journal));
    operations.extend(annotate(snapshot, &[(JOURNAL, Some(journal.write()))]));
    operations
}

/// Touches the record of the rollout. The controller copies it to the new ReplicaSet, whose own
/// controller then tries at once to create the pods that were refused, instead of after a back-off
/// that has grown to minutes.
#[must_use]
pub fn nudge(snapshot: &Snapshot, now: &str) -> Operations {
    let mut operations = test_images(snapshot);
    operations.extend(annotate(snapshot, &[(AT, Some(now.to_owned()))]));
    operations
}

/// Puts everything back and closes the journal.
#[must_use]
pub fn finish(snapshot: &Snapshot, journal: &Journal) -> Operations {
    let mut operations = release(snapshot, journal);
    operations.extend(annotate(snapshot, &[(JOURNAL, Some(FINISHED.to_owned()))]));
    operations
}

/// Goes back to the image from before, adding all its pods before any newer one is removed: so the
/// re-created ReplicaSet starts at full size and adopts the old pods instead of deleting them.
#[must_use]
pub fn undo(snapshot: &Snapshot, journal: &Journal) -> Operations {
    let back = Journal {
        image: journal.previous.clone(),
        previous: journal.image.clone(),
        detached: false,
        others: journal.others.iter().map(|(name, swap)| (name.clone(), swap.reversed())).collect(),
        ..journal.clone()
    };
    let mut operations = set_images(snapshot, &back);
    operations.extend(put_back(snapshot, journal));
    operations.push(set("/spec/strategy", all_at_once()));
    operations.extend(annotate(
        snapshot,
        &[
            (JOURNAL, Some(back.write())),
            (DIGEST, Some(digest_of(&back.image)).filter(|digest| !digest.is_empty())),
            (TAG, None),
            (PREVIOUS, Some(back.previous)),
        ],
    ));
    operations
}

/// Takes a pod out of every Service that selects it, and marks it as ours to end. The hash goes too:
/// no ReplicaSet may adopt a pod that gets no traffic and count it. It also makes the Deployment its
/// owner (not its controller), so that it goes when the Deployment goes.
#[must_use]
pub fn detach(snapshot: &Snapshot, pod: &Pod) -> Operations {
    let taken: Labels = routing_keys(snapshot, pod)
        .into_iter()
        .chain([HASH.to_owned()])
        .filter_map(|key| labels(&pod.metadata).get(&key).map(|value| (key, value.clone())))
        .collect();
    let mut operations = vec![test_uid(pod)];
    operations.extend(taken.keys().map(|key| remove(&format!("/metadata/labels/{}", escape(key)))));
    let deployment = &snapshot.deployment.metadata;
    let name = deployment.name.clone().unwrap_or_default();
    operations.push(set(&format!("/metadata/labels/{}", escape(DETACHED)), name.clone().into()));
    if pod.metadata.annotations.is_none() {
        operations.push(set("/metadata/annotations", json!({})));
    }
    let saved = serde_json::to_string(&taken).unwrap_or_default();
    operations.push(set(&format!("/metadata/annotations/{}", escape(LABELS)), saved.into()));
    let owner = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": snapshot.uid(),
    });
    operations.push(set("/metadata/ownerReferences", json!([owner])));
    operations
}

/// Puts a detached pod back into its Services, as an orphan that its ReplicaSet can adopt.
#[must_use]
pub fn attach(pod: &Pod) -> Operations {
    let saved = annotation(&pod.metadata, LABELS);
    let taken: Labels = saved.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let mut operations = vec![test_uid(pod)];
    operations.extend(
        taken
            .iter()
            .map(|(key, value)| set(&format!("/metadata/labels/{}", escape(key)), value.clone().into())),
    );
    operations.push(remove(&format!("/metadata/labels/{}", escape(DETACHED))));
    if pod.metadata.owner_references.is_some() {
        operations.push(remove("/metadata/ownerReferences"));
    }
    operations
}

/// Returns the fewest label keys without which no Service selects the pod: a key that several
/// Services ask for counts once.
fn routing_keys(snapshot: &Snapshot, pod: &Pod) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for service in snapshot.services(labels(&pod.metadata)) {
        let Some(wanted) = selector(service) else { continue };
        if !wanted.keys().any(|key| keys.contains(key)) {
            keys.extend(wanted.keys().next().cloned());
        }
    }
    keys
}

/// Writes the images of the journal, each where it belongs.
fn set_images(snapshot: &Snapshot, journal: &Journal) -> Operations {
    let others = journal.others.iter().map(|(name, swap)| (snapshot.slot(name), &swap.image));
    let first = (snapshot.slot(&snapshot.container), &journal.image);
    let mut operations = vec![test("/metadata/uid", snapshot.uid())];
    operations.extend(std::iter::once(first).chain(others).flat_map(|(slot, image)| {
        let path = format!("{}/image", slot.path());
        let [name, current] = test_slot(&slot);
        [name, current, json!({ "op": "replace", "path": path, "value": image })]
    }));
    operations
}

/// Holds every rolled container to what was seen of it.
fn test_images(snapshot: &Snapshot) -> Operations {
    let mut operations = vec![test("/metadata/uid", snapshot.uid())];
    operations.extend(snapshot.slots().flat_map(|slot| test_slot(&slot)));
    operations
}

fn test_slot(slot: &Slot<'_>) -> [Value; 2] {
    let path = slot.path();
    [test(&format!("{path}/name"), slot.name), test(&format!("{path}/image"), slot.image)]
}

fn hold() -> Operations {
    vec![
        set("/spec/strategy", all_at_once()),
        set("/spec/minReadySeconds", HOLD.into()),
        // The API refuses a deadline that is not above minReadySeconds.
        set("/spec/progressDeadlineSeconds", (HOLD + 3_600).into()),
    ]
}

/// Returns whether the Deployment may still start all its new pods beside the old ones.
#[must_use]
pub fn is_all_at_once(snapshot: &Snapshot) -> bool {
    to_value(&snapshot.deployment.spec)["strategy"] == all_at_once()
}

fn all_at_once() -> Value {
    json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "100%", "maxUnavailable": 0 } })
}

/// Adds before it removes, at the pace that the Deployment allows.
fn surge(journal: &Journal) -> Operations {
    let surge = &journal.strategy["rollingUpdate"]["maxSurge"];
    let none = surge.is_null() || *surge == json!(0) || *surge == json!("0%");
    let surge = if none { json!(1) } else { surge.clone() };
    let strategy = json!({
        "type": "RollingUpdate", "rollingUpdate": { "maxSurge": surge, "maxUnavailable": 0 },
    });
    if strategy == journal.strategy { Vec::new() } else { vec![set("/spec/strategy", strategy)] }
}

/// Restores what the journal saved, but only what still is as we set it: a person who changed the
/// strategy meanwhile keeps the change.
fn put_back(snapshot: &Snapshot, journal: &Journal) -> Operations {
    let spec = to_value(&snapshot.deployment.spec);
    let is_ours = |operations: Operations, path: &str| {
        let ours = operations.iter().find(|operation| operation["path"] == path);
        let key = path.trim_start_matches("/spec/");
        ours.is_some_and(|operation| operation["value"] == spec[key])
    };
    let mut operations = Vec::new();
    if is_ours(hold(), "/spec/strategy") || is_ours(surge(journal), "/spec/strategy") {
        operations.push(set("/spec/strategy", journal.strategy.clone()));
    }
    if is_ours(hold(), "/spec/minReadySeconds") {
        operations.push(match &journal.min_ready_seconds {
            Value::Null => remove("/spec/minReadySeconds"),
            seconds => set("/spec/minReadySeconds", seconds.clone()),
        });
    }
    if is_ours(hold(), "/spec/progressDeadlineSeconds") {
        operations.push(match &journal.progress_deadline_seconds {
            Value::Null => remove("/spec/progressDeadlineSeconds"),
            seconds => set("/spec/progressDeadlineSeconds", seconds.clone()),
        });
    }
    operations
}

/// Sets the annotations that have a value and removes those that have none.
fn annotate(snapshot: &Snapshot, pairs: &[(&str, Option<String>)]) -> Operations {
    let metadata = &snapshot.deployment.metadata;
    let mut operations = Vec::new();
    if metadata.annotations.is_none() {
        operations.push(set("/metadata/annotations", json!({})));
    }
    operations.extend(pairs.iter().filter_map(|(key, value)| {
        let path = format!("/metadata/annotations/{}", escape(key));
        match value {
            Some(value) => Some(set(&path, value.clone().into())),
            None => annotation(metadata, key).map(|_| remove(&path)),
        }
    }));
    operations
}

fn digest_of(image: &str) -> String {
    image.split_once('@').map_or_else(String::new, |(_, digest)| digest.to_owned())
}

fn test_uid(pod: &Pod) -> Value {
    test("/metadata/uid", pod.metadata.uid.as_deref().unwrap_or_default())
}

fn test(path: &str, value: &str) -> Value {
    json!({ "op": "test", "path": path, "value": value })
}

fn set(path: &str, value: Value) -> Value {
    json!({ "op": "add", "path": path, "value": value })
}

fn remove(path: &str) -> Value {
    json!({ "op": "remove", "path": path })
}

/// Escapes a key for a JSON pointer.
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn to_value(part: &impl serde::Serialize) -> Value {
    serde_json::to_value(part).unwrap_or_default()
}

#[cfg(test)]
mod tests;
