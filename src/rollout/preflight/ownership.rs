//! Rules about owners, locks and windows (O) and access (P).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::{Value, json};

use super::facts::{Facts, Findings, Owner, Rule};
use crate::rollout::Order;
use crate::rollout::annotations::MANAGER;
use crate::rollout::observe::Snapshot;

/// The rules of this file.
pub(super) const RULES: &[Rule] = &[];

/// Lets each rule look.
pub(super) fn inspect(_facts: &Facts<'_>, _findings: &mut Findings) {}

/// Returns the part of a Deployment that a rollout claims: the image, and nothing else.
#[must_use]
pub fn apply_of_the_image(snapshot: &Snapshot, order: &Order) -> Value {
    let container = json!({ "name": snapshot.container, "image": order.image.to_string() });
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": snapshot.deployment.metadata.name },
        "spec": { "template": { "spec": { "containers": [container] } } },
    })
}

/// Reads who holds the image from the causes of a conflict, each `conflict with "manager" …` and a
/// field. What we wrote ourselves is not somebody else's.
#[must_use]
pub fn conflicts(snapshot: &Snapshot, causes: &[(String, String)]) -> Vec<Owner> {
    let named = causes.iter().filter_map(|(message, field)| {
        let manager = message.split('"').nth(1)?;
        Some((manager.to_owned(), field.clone()))
    });
    let foreign = named.filter(|(manager, _)| manager != MANAGER);
    foreign.map(|(manager, field)| Owner { at: written_at(snapshot, &manager), manager, field }).collect()
}

fn written_at(snapshot: &Snapshot, manager: &str) -> Option<String> {
    let entries = managed(snapshot).filter(|entry| entry.manager.as_deref() == Some(manager));
    entries.filter_map(|entry| entry.time.as_ref()).max().map(|time| time.0.to_string())
}

fn managed(snapshot: &Snapshot) -> impl Iterator<Item = &ManagedFieldsEntry> {
    snapshot.deployment.metadata.managed_fields.iter().flatten()
}

#[cfg(test)]
pub(super) mod tests;
