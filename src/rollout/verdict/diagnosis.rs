//! Whether the new pods can still come up. A reason string is not a verdict: what settles it is the
//! authority's own word, the same end twice, or the proof that nothing can unblock. Pure.

use std::fmt;

/// Who has to do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The pod template or the image reference.
    Template,
    /// The application.
    App,
    /// One node.
    Node,
    /// Quota, nodes, volumes.
    Capacity,
    /// The registry.
    Registry,
    /// Admission: webhooks, pod security.
    Policy,
    /// Somebody else acted on the workload.
    External,
    /// Time ran out without a better reason.
    Time,
}

/// Why a rollout cannot succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Who has to act.
    pub class: Class,
    /// The rule's id, stable across versions (`F101`).
    pub rule: &'static str,
    /// What is the matter, with the server's own words.
    pub words: String,
    /// What to do about it.
    pub hint: String,
    /// A pod that shows it.
    pub pod: Option<String>,
    /// The container of it.
    pub container: Option<String>,
    /// How many pods show the same.
    pub count: usize,
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.words, self.rule)
    }
}
