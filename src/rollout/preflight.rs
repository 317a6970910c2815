//! Rules that are read off the Deployment before anything is written. A refusal names the rule; a
//! note is said and the rollout goes on.

use self::facts::{Facts, Findings, Rule};
use super::observe::Snapshot;

pub mod capacity;
mod containers;
pub mod facts;
mod image;
pub mod ownership;
pub mod references;
pub mod rights;
mod routing;
mod serving;
mod shutdown;
mod startup;
mod strategy;
mod target;
#[cfg(test)]
mod tests;
pub mod trial;
mod words;

pub use containers::containers;

/// Returns the catalogue.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    [
        target::RULES,
        image::RULES,
        strategy::RULES,
        startup::RULES,
        shutdown::RULES,
        routing::RULES,
        capacity::RULES,
        ownership::RULES,
    ]
    .into_iter()
    .flatten()
}

/// Lets every rule look.
#[must_use]
pub fn inspect(facts: &Facts<'_>) -> Findings {
    let mut findings = Findings::default();
    if target::is_current(facts) {
        // Nothing will be written, so nothing can stand in the way of it.
        target::current(facts, &mut findings);
        return findings;
    }
    for inspect in [
        target::inspect,
        image::inspect,
        strategy::inspect,
        startup::inspect,
        shutdown::inspect,
        routing::inspect,
        capacity::inspect,
        ownership::inspect,
    ] {
        inspect(facts, &mut findings);
    }
    findings
}

/// A rule that forbids to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The rule's id, stable across versions.
    pub rule: &'static str,
    /// What is wrong, with the values.
    pub words: String,
    /// What to do about it.
    pub hint: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({})", self.words, self.rule)
    }
}

/// Refuses what cannot succeed, and notes what the reader should know before it starts.
///
/// # Errors
///
/// The first rule that forbids to start.
pub fn check(snapshot: &Snapshot) -> Result<Vec<String>, Refusal> {
    let name = snapshot.name();
    let spec = snapshot.deployment.spec.clone().unwrap_or_default();
    if snapshot.deployment.metadata.deletion_timestamp.is_some() {
        return Err(Refusal {
            rule: "T009",
            words: format!("`{name}` is being deleted"),
            hint: "run the same put again once it exists".to_owned(),
        });
    }
    if spec.paused == Some(true) {
        return Err(Refusal {
            rule: "T004",
            words: format!("`{name}` is paused: a new image would not roll"),
            hint: resume(&name),
        });
    }
    let mut notes = Vec::new();
    if snapshot.wanted() == 0 {
        notes.push("0 replicas: the image is set, nothing can be proven".to_owned());
    }
    if is_recreate(snapshot) {
        notes.push("strategy Recreate stops every pod first: there will be an outage".to_owned());
    }
    Ok(notes)
}

fn resume(name: &str) -> String {
    let (namespace, deployment) = name.split_once('/').unwrap_or(("default", name));
    format!("kubectl -n {namespace} rollout resume deployment/{deployment}")
}

/// Returns whether the Deployment stops all old pods before it starts new ones.
#[must_use]
pub fn is_recreate(snapshot: &Snapshot) -> bool {
    let strategy = snapshot.deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
}
