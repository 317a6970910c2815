//! Rules about room, volumes and references (C) and autoscalers (A). Whether room is missing depends on
//! the way that the rollout goes: a detached drain wants all new pods beside the old ones and falls back
//! to a rolling update where they do not fit, so what it lacks is a warning; what not even one new pod
//! has is a block, if no old pod may go first.

use super::facts::Severity::{Block, Info, Warn};
use super::facts::{Facts, Findings, Rule, Severity};
use crate::rollout::plan::drain::Way;
use crate::rollout::plan::pace::pace;

mod autoscaling;
pub mod nodes;
mod placement;
pub mod quantity;
mod quota;
mod references;

/// The rules of this file.
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "C601",
        name: "anti-affinity",
        severity: Block,
        when: "required anti-affinity keeps new pods off every node (or zone) where an old one is, and no other is eligible",
        fix: "add `matchLabelKeys: [pod-template-hash]` to the term, or allow one pod to be missing with `drain: none`",
    },
    Rule {
        id: "C602",
        name: "spread",
        severity: Warn,
        when: "a `DoNotSchedule` spread counts old and new pods together",
        fix: "add `matchLabelKeys: [pod-template-hash]` to the constraint",
    },
    Rule {
        id: "C603",
        name: "host port",
        severity: Block,
        when: "the pods take ports of their nodes, and on every eligible node an old pod has them",
        fix: "use a Service instead of `hostPort`, or allow one pod to be missing with `drain: none`",
    },
    Rule {
        id: "C604",
        name: "volume",
        severity: Block,
        when: "old and new pods cannot have a volume at the same time; a warning where it depends on the node",
        fix: "use a `ReadWriteMany` volume, or the strategy `Recreate` and an outage",
    },
    Rule {
        id: "C605",
        name: "quota",
        severity: Block,
        when: "a quota leaves no room for one new pod; a warning where it leaves some",
        fix: "raise the quota",
    },
    Rule {
        id: "C606",
        name: "dry-run",
        severity: Block,
        when: "the API server refuses a pod of the new template that is tried without being created",
        fix: "what the API server says",
    },
    Rule {
        id: "C607",
        name: "references",
        severity: Block,
        when: "an object that the new template names, or a key of it, is not there and not optional; a warning for a pull secret",
        fix: "create it, or mark it as optional",
    },
    Rule {
        id: "C608",
        name: "capacity",
        severity: Warn,
        when: "no eligible node has room for one new pod, or the nodes have room for some, and nothing adds nodes",
        fix: "add nodes, or ask for less",
    },
    Rule {
        id: "C609",
        name: "drains",
        severity: Warn,
        when: "a node under a running pod is being emptied",
        fix: "wait until it is done: both take pods away at the same time",
    },
    Rule {
        id: "A701",
        name: "autoscaler",
        severity: Info,
        when: "an autoscaler sets the number of replicas",
        fix: "nothing: it is not touched",
    },
    Rule {
        id: "A702",
        name: "autoscaler at its maximum",
        severity: Warn,
        when: "the autoscaler wants as many pods as it may have",
        fix: "raise `maxReplicas`, or roll when there is less to do",
    },
    Rule {
        id: "A703",
        name: "autoscaler feedback",
        severity: Warn,
        when: "an autoscaler on pod or external metrics, 20 pods or more, and a quarter of them added at once",
        fix: "lower `maxSurge`: the metric counts the added pods too",
    },
    Rule {
        id: "A704",
        name: "vertical autoscaler",
        severity: Warn,
        when: "a VerticalPodAutoscaler evicts pods by itself",
        fix: "set its `updateMode` to `Initial`",
    },
];

/// Lets each rule look.
pub(super) fn inspect(facts: &Facts<'_>, findings: &mut Findings) {
    placement::inspect(facts, findings);
    references::inspect(facts, findings);
    quota::inspect(facts, findings);
    autoscaling::inspect(facts, findings);
}

/// Lets the rules look that hold for pods which take the place of old ones.
pub(super) fn inspect_set(facts: &Facts<'_>, findings: &mut Findings) {
    placement::drains(facts, findings);
    references::inspect(facts, findings);
    quota::inspect(facts, findings);
    autoscaling::inspect(facts, findings);
}

/// How many new pods there are to be beside the old ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surge {
    /// As many as the chosen way wants.
    pub(super) all: usize,
    /// Whether the rollout can go on without any: an old pod may go first.
    pub(super) may_wait: bool,
    /// Whether it is a detached drain, which falls back to a rolling update.
    pub(super) is_detached: bool,
}

impl Surge {
    pub(super) fn of(facts: &Facts<'_>) -> Self {
        let pace = pace(facts.snapshot, facts.order, facts.choice.way);
        let is_detached = facts.choice.way == Way::Detached;
        Self { all: pace.surge, may_wait: pace.unavailable > 0 || facts.snapshot.wanted() == 0, is_detached }
    }

    /// Returns how bad it is that there is room for only `room` new pods, if it is.
    pub(super) fn verdict(self, room: usize) -> Option<Severity> {
        match room {
            0 if self.all > 0 && !self.may_wait => Some(Block),
            _ if room < self.all => Some(Warn),
            _ => None,
        }
    }

    /// Returns what becomes of a rollout that has room for `room` new pods, in one clause.
    pub(super) fn consequence(self, room: usize) -> &'static str {
        match room {
            0 if self.may_wait => "new pods wait until old ones are gone",
            0 => "no new pod can start beside the old ones",
            _ if self.is_detached => "the detached drain falls back to a rolling update",
            _ => "it goes slower than `maxSurge` allows",
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
