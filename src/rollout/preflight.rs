//! The rules that look before anything is written, group by group. They decide from what was found out;
//! who finds it out, and what is done about a finding, is the driver's.

use self::facts::{Facts, Findings, Rule, Severity};
use super::observe::Snapshot;
use super::sets;

mod allow;
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
pub mod watched;
pub(super) mod words;

pub use allow::{Unknown, allowed};
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
    if let Some(look) = &facts.snapshot.set {
        inspect_set(facts, look, &mut findings);
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

/// Lets the rules look that still matter where the image is written and its pods are on their way.
#[must_use]
pub fn inspect_written(facts: &Facts<'_>) -> Findings {
    let mut findings = Findings::default();
    if target::is_current(facts) {
        target::paused_and_current(facts, &mut findings);
    } else {
        target::inspect_standing(facts, &mut findings);
    }
    findings
}

/// Lets the rules look that hold for every kind. The pace of a set follows rules of its own, and is said
/// before it is rolled; where its pods may go is not its to choose.
fn inspect_set(facts: &Facts<'_>, look: &sets::Look, findings: &mut Findings) {
    if let Err(refusal) = sets::words::check(look) {
        findings.add(refusal.rule, Severity::Block, refusal.words, refusal.hint);
    }
    for inspect in [
        target::inspect,
        image::inspect,
        startup::inspect,
        shutdown::inspect,
        routing::inspect,
        capacity::inspect_set,
        ownership::inspect,
    ] {
        inspect(facts, findings);
    }
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

/// Returns whether the Deployment stops all old pods before it starts new ones.
#[must_use]
pub fn is_recreate(snapshot: &Snapshot) -> bool {
    let strategy = snapshot.deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
}
