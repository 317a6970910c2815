//! Whether the new pods can still come up. A reason string is not a verdict: what settles it is the
//! authority's own word, the same end twice, the same fault on several nodes, or the proof that
//! nothing can unblock. Pure: it says what it would have to ask, and somebody else asks.

use std::fmt;

pub use self::history::History;
pub use self::scene::{Answer, Answers, Condition, Notice, Object, Question, Said, Scene};

mod crash;
mod create;
mod failed;
pub mod history;
mod mount;
mod pull;
mod ready;
pub mod record;
pub mod rules;
pub mod scene;
mod schedule;
mod start;
mod symptom;
pub mod text;

pub use rules::{Rule, rules};

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

/// Something that is not right and may still pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// Who would have to act.
    pub class: Class,
    /// The rule's id.
    pub rule: &'static str,
    /// What is the matter.
    pub words: String,
    /// A pod that shows it.
    pub pod: Option<String>,
    /// How many pods show the same.
    pub count: usize,
    /// Since when it has been seen, in milliseconds of the epoch.
    pub since: i64,
    /// When it counts as final if nothing changes; `None` where time alone settles nothing.
    pub settles_at: Option<i64>,
}

/// What one look at the new pods says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnosis {
    /// Why it is hopeless, once that is certain.
    pub cause: Option<Cause>,
    /// What may still pass.
    pub suspects: Vec<Suspect>,
    /// What only the registry or the API server can settle.
    pub questions: Vec<Question>,
}

/// Takes one look into account and says what follows from everything seen so far.
pub fn diagnose(scene: &Scene<'_>, history: &mut History) -> Diagnosis {
    // Somebody else's pause stops every clock, and nothing that is not allowed to happen has failed.
    if scene.paused {
        history.forget_suspicions();
        return Diagnosis::default();
    }
    history.look(scene);
    let mut symptoms = Vec::new();
    for inspect in [
        pull::inspect,
        start::inspect,
        crash::inspect,
        mount::inspect,
        failed::inspect,
        schedule::inspect,
        create::inspect,
        ready::inspect,
    ] {
        inspect(scene, history, &mut symptoms);
    }
    symptom::decide(symptoms, scene, history)
}

#[cfg(test)]
mod streams;
#[cfg(test)]
mod tests;
