//! What was rolled out before: from the record that each rollout keeps on the Deployment, and from
//! the ReplicaSets that are still there. Pure.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::annotations::{AT, BUILD, DIGEST, HISTORY, OUTCOME, REVISION, TAG};
use super::observe::{Snapshot, annotation, is_same};
use super::outside;

/// How many rollouts are remembered.
const KEPT: usize = 10;

/// One rollout, as an annotation of the Deployment keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The image that was written.
    pub image: String,
    /// The tag under which it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The build that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// When it was written.
    pub at: String,
    /// How it ended; none while it is under way, and after a run that was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The revision that it had in the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// One rollout, with all that is still known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The Deployment's revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The image of the (first) container.
    pub image: String,
    /// Its digest, where the image names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The tag under which it was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The build that asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// When it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Who wrote it, as the API server knows them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Whether it is what the Deployment asks for now.
    pub current: bool,
}

/// Returns the records on one object, oldest first; text that is none is nobody's.
fn kept(metadata: &ObjectMeta) -> Vec<Record> {
    annotation(metadata, HISTORY).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Returns all records, oldest first. `kubectl rollout undo` brings an older ReplicaSet's annotations
/// back to the Deployment; what came later is then on the younger ReplicaSets.
#[must_use]
pub fn records(snapshot: &Snapshot) -> Vec<Record> {
    let mut all = kept(&snapshot.deployment.metadata);
    for record in snapshot.owned_sets().flat_map(|set| kept(&set.metadata)) {
        match all.iter_mut().find(|known| known.image == record.image && known.at == record.at) {
            Some(known) if known.outcome.is_none() => *known = record,
            Some(_) => {}
            None => all.push(record),
        }
    }
    all.sort_by(|one, other| one.at.cmp(&other.at));
    all.drain(..all.len().saturating_sub(KEPT));
    all
}

/// Returns the image that was rolled out last, as it was asked for.
#[must_use]
pub fn newest(snapshot: &Snapshot) -> Option<String> {
    records(snapshot).pop().map(|record| record.image)
}

/// Returns the annotation's value with a rollout more.
#[must_use]
pub fn begun(snapshot: &Snapshot, record: Record) -> String {
    let mut all = records(snapshot);
    all.push(record);
    all.drain(..all.len().saturating_sub(KEPT));
    write(&all)
}

/// Returns the annotation's value with the newest rollout of `image` closed; `None` where none is open.
#[must_use]
pub fn closed(snapshot: &Snapshot, image: &str, outcome: &str) -> Option<String> {
    let mut all = records(snapshot);
    let open = all.iter_mut().rev().find(|record| record.image == image)?;
    if open.outcome.is_some() {
        return None;
    }
    open.outcome = Some(outcome.to_owned());
    if is_same(snapshot.image(), image) {
        open.revision = Some(snapshot.revision().to_owned()).filter(|revision| !revision.is_empty());
    }
    Some(write(&all))
}

fn write(records: &[Record]) -> String {
    serde_json::to_string(records).unwrap_or_default()
}

/// Returns what was rolled out, newest first.
#[must_use]
pub fn read(snapshot: &Snapshot) -> Vec<Entry> {
    let mut entries: Vec<Entry> = records(snapshot).into_iter().map(Entry::from).collect();
    for set in snapshot.owned_sets().filter(|set| annotation(&set.metadata, REVISION).is_some()) {
        let found = of_set(snapshot, set);
        let same = |known: &&mut Entry| {
            is_same(&known.image, &found.image)
                && (known.at == found.at || known.revision.is_none() || known.revision == found.revision)
        };
        match entries.iter_mut().rev().find(same) {
            Some(known) => known.revision = found.revision.or(known.revision.take()),
            None => entries.push(found),
        }
    }
    entries.sort_by_key(|entry| std::cmp::Reverse((entry.at.clone(), number(entry))));
    if let Some(current) = entries.iter_mut().find(|entry| is_same(&entry.image, snapshot.image())) {
        current.current = true;
        current.by = outside::image_writer(snapshot);
    }
    let mut seen = BTreeSet::new();
    entries.retain(|entry| seen.insert((entry.image.clone(), entry.at.clone())));
    entries
}

fn number(entry: &Entry) -> u64 {
    entry.revision.as_ref().and_then(|revision| revision.parse().ok()).unwrap_or(0)
}

impl From<Record> for Entry {
    fn from(record: Record) -> Self {
        Self {
            revision: record.revision,
            digest: digest(&record.image),
            image: record.image,
            tag: record.tag,
            build: record.build,
            at: Some(record.at),
            by: None,
            outcome: record.outcome,
            current: false,
        }
    }
}

/// Returns what a ReplicaSet tells. Its annotations count only where they are about its own image:
/// somebody who sets another one by hand leaves the old ones in place.
fn of_set(snapshot: &Snapshot, set: &ReplicaSet) -> Entry {
    let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref()?.spec.as_ref());
    let container = template
        .and_then(|spec| spec.containers.iter().find(|container| container.name == snapshot.container));
    let image = container.and_then(|container| container.image.clone()).unwrap_or_default();
    let digest = digest(&image);
    let is_own = digest.is_some() && annotation(&set.metadata, DIGEST) == digest.as_ref();
    let known = |key: &str| annotation(&set.metadata, key).filter(|_| is_own).cloned();
    let made = set.metadata.creation_timestamp.as_ref().map(|time| time.0.to_string());
    Entry {
        revision: annotation(&set.metadata, REVISION).cloned(),
        image,
        digest,
        tag: known(TAG),
        build: known(BUILD),
        at: known(AT).or(made),
        by: None,
        outcome: known(OUTCOME),
        current: false,
    }
}

fn digest(image: &str) -> Option<String> {
    image.split_once('@').map(|(_, digest)| digest.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rollout::fixtures::{mk_deployment, mk_image, mk_set, mk_snapshot, with};

    fn record(letter: char, at: &str, outcome: Option<&str>) -> Record {
        let outcome = outcome.map(str::to_owned);
        Record { image: mk_image(letter), at: at.to_owned(), outcome, ..Record::default() }
    }

    fn annotated(snapshot: &Snapshot, history: &str) -> Snapshot {
        let part = json!({ "metadata": { "annotations": { HISTORY: history } } });
        Snapshot { deployment: with(&snapshot.deployment, &part), ..snapshot.clone() }
    }

    #[test]
    fn a_rollout_is_remembered_open_and_then_with_its_end() {
        let before = mk_snapshot();
        let open = annotated(&before, &begun(&before, record('a', "2026-01-01T00:00:00Z", None)));
        assert_eq!(records(&open), [record('a', "2026-01-01T00:00:00Z", None)]);
        let done = annotated(&open, &closed(&open, &mk_image('a'), "rolled").unwrap());
        let entries = read(&done);
        assert_eq!(entries.len(), 1, "the ReplicaSet is the same rollout: {entries:?}");
        assert_eq!((entries[0].outcome.as_deref(), entries[0].current), (Some("rolled"), true));
        assert_eq!(closed(&done, &mk_image('a'), "failed and left"), None, "it is closed once");
        assert_eq!(closed(&done, &mk_image('b'), "rolled"), None);
    }

    #[test]
    fn no_more_than_the_last_ten_are_kept() {
        let mut snapshot = mk_snapshot();
        for day in 10..25 {
            let at = format!("2026-01-{day}T00:00:00Z");
            snapshot = annotated(&snapshot, &begun(&snapshot, record('b', &at, Some("rolled"))));
        }
        let all = records(&snapshot);
        assert_eq!((all.len(), all[0].at.as_str()), (10, "2026-01-15T00:00:00Z"));
    }

    #[test]
    fn what_an_undo_by_hand_hid_is_found_on_the_replica_sets() {
        let snapshot = mk_snapshot();
        let newer = serde_json::to_string(&[record('b', "2026-01-02T00:00:00Z", Some("rolled"))]).unwrap();
        let set = with(
            &mk_set(&mk_deployment('b', 3), "2b", 0),
            &json!({ "metadata": { "annotations": { HISTORY: newer, REVISION: "2" } } }),
        );
        let snapshot = Snapshot { replica_sets: [snapshot.replica_sets, vec![set]].concat(), ..snapshot };
        let entries = read(&snapshot);
        assert_eq!(entries[0].image, mk_image('b'));
        assert_eq!((entries[0].revision.as_deref(), entries[0].current), (Some("2"), false));
        assert_eq!((entries[1].image.clone(), entries[1].current), (mk_image('a'), true));
    }

    #[test]
    fn annotations_that_are_about_another_image_tell_nothing() {
        let snapshot = mk_snapshot();
        let set = with(
            &snapshot.replica_sets[0],
            &json!({ "metadata": { "annotations": { DIGEST: "sha256:other", TAG: "v9", BUILD: "https://ci" } } }),
        );
        let entries = read(&Snapshot { replica_sets: vec![set], ..snapshot });
        assert_eq!((entries[0].tag.clone(), entries[0].build.clone()), (None, None));
    }
}
