//! What is written, as JSON patches. Each begins with `test` operations, so that a write that meets
//! another state than the one it was made for changes nothing.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::ReplicaSet;
use serde_json::{Value, json};

use super::canary;
use super::drain::Way;
use crate::rollout::Order;
use crate::rollout::annotations::{
    AT, BUILD, CanaryMark, DIGEST, FINISHED, HISTORY, HOLD, JOURNAL, Journal, OUTCOME, PREVIOUS, Swap, TAG,
    TOOL,
};
use crate::rollout::history::{self, Record};
use crate::rollout::observe::{Slot, Snapshot, annotation, is_same};
use crate::rollout::outcome::Ending;
use crate::rollout::outside::{self, Change};

mod pods;

pub use pods::{attach, detach};

/// A list of JSON patch operations.
pub type Operations = Vec<Value>;

/// Returns the journal for writing `order`. Of a journal that is already there it takes the settings
/// that are still in force as we set them; any other was set by a person, and is what to put back.
#[must_use]
pub fn journal(snapshot: &Snapshot, order: &Order, way: Way) -> Journal {
    let known = snapshot.journal();
    Journal {
        image: order.image.to_string(),
        previous: previous(snapshot, known.as_ref()).to_owned(),
        detached: way == Way::Detached,
        canary: canary::mark(order, snapshot, way),
        others: swaps(snapshot, order, known.as_ref()),
        ..settings(snapshot, known.as_ref())
    }
}

/// Returns a journal of the Deployment's own settings and of nothing else.
fn settings(snapshot: &Snapshot, known: Option<&Journal>) -> Journal {
    let mut spec = to_value(&snapshot.deployment.spec);
    for operation in known.iter().flat_map(|known| put_back(snapshot, known)) {
        if let Some(key) = operation["path"].as_str().and_then(|path| path.strip_prefix("/spec/")) {
            spec[key] = operation["value"].clone();
        }
    }
    Journal {
        strategy: spec["strategy"].clone(),
        min_ready_seconds: spec["minReadySeconds"].clone(),
        progress_deadline_seconds: spec["progressDeadlineSeconds"].clone(),
        ..Journal::lost("")
    }
}

/// Returns what is written to the other containers, and what to go back to.
fn swaps(snapshot: &Snapshot, order: &Order, known: Option<&Journal>) -> BTreeMap<String, Swap> {
    let unfinished = known.filter(|known| is_unfinished(snapshot, known));
    let swap = |name: &str, image: &str| {
        let known =
            unfinished.and_then(|known| known.others.get(name)).filter(|swap| is_same(&swap.image, image));
        Swap {
            image: order.image_of(name).to_string(),
            previous: known.map_or(image, |swap| &swap.previous).to_owned(),
        }
    };
    let others = snapshot.slots().skip(1);
    others.map(|slot| (slot.name.to_owned(), swap(slot.name, slot.image))).collect()
}

fn is_unfinished(snapshot: &Snapshot, known: &Journal) -> bool {
    is_same(&known.image, snapshot.image()) && snapshot.ready_new_pods() < snapshot.wanted()
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
    operations.extend(match (&journal.canary, way) {
        (Some(mark), _) => hold(few(mark)),
        (None, Way::Detached) => hold(all_at_once()),
        (None, Way::Rolling) => surge(&journal),
        (None, Way::Plain) => Vec::new(),
    });
    // Nobody stays to finish what nobody waits for.
    let written = order.wait.is_none().then(|| Ending::Written.word().to_owned());
    let record = if written.is_some() { FINISHED.to_owned() } else { journal.write() };
    let build = Some(order.build.url.clone()).filter(|url| !url.is_empty());
    let rollout = Record {
        image: journal.image,
        tag: order.tag.clone(),
        build: build.clone(),
        at: now.to_owned(),
        outcome: written.clone(),
        revision: None,
    };
    let tool = concat!("rollway ", env!("CARGO_PKG_VERSION")).to_owned();
    operations.extend(annotate(
        snapshot,
        &[
            (JOURNAL, Some(record)),
            (DIGEST, Some(order.image.digest.to_string())),
            (TAG, order.tag.clone()),
            (PREVIOUS, Some(journal.previous)),
            (BUILD, build),
            (TOOL, Some(tool)),
            (AT, Some(now.to_owned())),
            (OUTCOME, written),
            (HISTORY, Some(history::begun(snapshot, rollout))),
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

/// Goes on with all pods after the canary: the way that its mark has.
#[must_use]
pub fn widen(snapshot: &Snapshot, journal: &Journal) -> Operations {
    let way = journal.canary.as_ref().map(|mark| mark.way);
    let rest = Journal { canary: None, ..journal.clone() };
    let mut operations = test_images(snapshot);
    match way {
        Some(Way::Detached) => operations.push(set("/spec/strategy", all_at_once())),
        Some(Way::Rolling) => {
            operations.extend(put_back(snapshot, journal));
            operations.extend(surge(&rest));
        }
        Some(Way::Plain) | None => operations.extend(put_back(snapshot, journal)),
    }
    operations.extend(annotate(snapshot, &[(JOURNAL, Some(rest.write()))]));
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

/// Puts everything back and closes the journal of what was reached, or of what somebody replaced.
#[must_use]
pub fn finish(snapshot: &Snapshot, journal: &Journal) -> Operations {
    let ending = match outside::change(snapshot, Some(&journal.previous)) {
        _ if is_same(snapshot.image(), &journal.image) => Ending::Rolled,
        Change::Superseded { .. } => Ending::Superseded,
        Change::Reverted { .. } => Ending::Reverted,
    };
    close(snapshot, journal, ending)
}

/// Puts everything back and closes the journal. A way back that ends keeps the word for what failed.
#[must_use]
pub fn close(snapshot: &Snapshot, journal: &Journal, ending: Ending) -> Operations {
    let mut operations = release(snapshot, journal);
    let mut pairs = vec![(JOURNAL, Some(FINISHED.to_owned()))];
    pairs.extend(ended(snapshot, &journal.image, ending));
    operations.extend(annotate(snapshot, &pairs));
    operations
}

/// Records how the rollout of `image` ended, unless that is known.
fn ended(snapshot: &Snapshot, image: &str, ending: Ending) -> Vec<(&'static str, Option<String>)> {
    let history = history::closed(snapshot, image, ending.word());
    let pairs = history.map(|history| [(OUTCOME, Some(ending.word().to_owned())), (HISTORY, Some(history))]);
    pairs.into_iter().flatten().collect()
}

/// Notes in the journal of the rollout that its run ended early, or that another run ends it. A journal
/// that went on or was closed since it was read is not put back.
#[must_use]
pub fn note(snapshot: &Snapshot, journal: &Journal) -> Operations {
    let mut operations = test_images(snapshot);
    // After an undo by hand it is on a ReplicaSet alone: there is nothing to be held to.
    let read = annotation(&snapshot.deployment.metadata, JOURNAL);
    operations.extend(read.map(|read| test(&format!("/metadata/annotations/{}", escape(JOURNAL)), read)));
    operations.extend(annotate(snapshot, &[(JOURNAL, Some(journal.write()))]));
    operations
}

/// Goes back to the image from before. Unless the strategy is not ours to touch, all its pods are
/// added before any newer one is removed: so the re-created ReplicaSet starts at full size and adopts
/// the old pods instead of deleting them. In the detached way the newer pods leave as old ones do.
#[must_use]
pub fn undo(snapshot: &Snapshot, journal: &Journal, way: Way) -> Operations {
    let back = Journal {
        image: journal.previous.clone(),
        previous: journal.image.clone(),
        detached: way == Way::Detached,
        others: journal.others.iter().map(|(name, swap)| (name.clone(), swap.reversed())).collect(),
        ..settings(snapshot, Some(journal))
    };
    let mut operations = set_images(snapshot, &back);
    operations.extend(put_back(snapshot, journal));
    operations.extend(match way {
        Way::Detached => hold(all_at_once()),
        Way::Rolling => vec![set("/spec/strategy", all_at_once())],
        Way::Plain => Vec::new(),
    });
    let mut pairs = vec![
        (JOURNAL, Some(back.write())),
        (DIGEST, Some(digest_of(&back.image)).filter(|digest| !digest.is_empty())),
        (TAG, None),
        (PREVIOUS, Some(back.previous)),
    ];
    // By this word a look tells a way back, also where no history is left to close.
    pairs.push((OUTCOME, Some(Ending::RolledBack.word().to_owned())));
    pairs.extend(ended(snapshot, &journal.image, Ending::RolledBack));
    operations.extend(annotate(snapshot, &pairs));
    operations
}

/// Makes the pods of a ReplicaSet count as not available, as the hold of the Deployment does for new
/// ones. Without it the controller sees enough of them the moment they become the new ones again, and
/// ends at once the pods that it held back until then, whatever traffic they get.
#[must_use]
pub fn hold_set(set: &ReplicaSet) -> Operations {
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    vec![test("/metadata/uid", uid), self::set("/spec/minReadySeconds", HOLD.into())]
}

/// Returns the older ReplicaSets of `image` whose pods still count as available.
#[must_use]
pub fn sets_to_hold(snapshot: &Snapshot, image: &str) -> Vec<ReplicaSet> {
    let is_of = |set: &ReplicaSet| {
        let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref()?.spec.as_ref());
        let mut containers = template.iter().flat_map(|spec| &spec.containers);
        containers.any(|it| it.name == snapshot.container && it.image.as_deref() == Some(image))
    };
    let available = |set: &ReplicaSet| set.status.as_ref().and_then(|status| status.available_replicas);
    snapshot.old_sets().filter(|set| is_of(set) && available(set).unwrap_or(0) > 0).cloned().collect()
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

fn hold(strategy: Value) -> Operations {
    vec![
        set("/spec/strategy", strategy),
        set("/spec/minReadySeconds", HOLD.into()),
        // The API refuses a deadline that is not above minReadySeconds.
        set("/spec/progressDeadlineSeconds", (HOLD + 3_600).into()),
    ]
}

/// Starts only as many new pods as the canary has.
fn few(mark: &CanaryMark) -> Value {
    json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": mark.pods, "maxUnavailable": 0 } })
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
    let known = snapshot.journal();
    let marks =
        [Some(journal), known.as_ref()].into_iter().flatten().filter_map(|journal| journal.canary.as_ref());
    let mut ours = marks.map(|mark| hold(few(mark))).chain([hold(all_at_once()), surge(journal)]);
    let mut operations = Vec::new();
    if ours.any(|operations| is_ours(operations, "/spec/strategy")) {
        operations.push(set("/spec/strategy", journal.strategy.clone()));
    }
    if is_ours(hold(Value::Null), "/spec/minReadySeconds") {
        operations.push(match &journal.min_ready_seconds {
            Value::Null => remove("/spec/minReadySeconds"),
            seconds => set("/spec/minReadySeconds", seconds.clone()),
        });
    }
    if is_ours(hold(Value::Null), "/spec/progressDeadlineSeconds") {
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
