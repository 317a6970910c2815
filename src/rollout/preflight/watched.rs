//! Rules about what is to watch a rollout (V): its probe and its canary. They speak when the first request
//! is sent or the first query made, after everything else was looked at and before anything is written.
//! There is nothing to allow: who does not want to be watched leaves `probe` or `canary` out.

use super::Refusal;
use super::facts::Rule;
use super::facts::Severity::Block;

/// The probe's address does not answer.
pub const PROBE: &Rule = &Rule {
    id: "V101",
    name: "probe-silent",
    severity: Block,
    when: "`probe.url` cannot be asked, or none of the first requests, in at most 8 s, is answered; a warning with `fail: false`",
    fix: "make it answer, or set `fail: false` to roll out all the same",
};
/// The canary's metric cannot be asked.
pub const METRIC: &Rule = &Rule {
    id: "V102",
    name: "metric-silent",
    severity: Block,
    when: "Prometheus does not answer the query of a canary's check",
    fix: "correct the check: a canary that cannot be judged would not pass",
};
/// The strategy stops the old pods first.
pub const CANARY: &Rule = &Rule {
    id: "V103",
    name: "canary-recreate",
    severity: Block,
    when: "a canary is asked for, which serves beside the old pods, and the strategy is Recreate",
    fix: "leave `canary` out, or use RollingUpdate",
};

/// All of them.
pub const RULES: &[&Rule] = &[PROBE, METRIC, CANARY];

/// Refuses by one of them.
#[must_use]
pub fn refused(rule: &Rule, words: String) -> Refusal {
    Refusal { rule: rule.id, words, hint: rule.fix.to_owned() }
}
