//! Rules about the pace of the Deployment (S): what may be missing meanwhile, and how long it takes. They
//! judge the way that was chosen, not the Deployment's own strategy where that is overridden.

use std::time::Duration;

use super::facts::Severity::{Block, Info, Warn};
use super::facts::{Facts, Findings, Rule};
use super::is_recreate;
use super::words::pods;
use crate::rollout::learned::{eta, start_p95};
use crate::rollout::plan::drain::Way;
use crate::rollout::plan::pace::{Pace, pace};

/// The rules of this file.
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "S201",
        name: "unavailable",
        severity: Block,
        when: "the Deployment's own strategy is used and lets pods be missing; it blocks where it lets all be missing",
        fix: "maxUnavailable 0, or a `drain` other than `none`, which overrides it",
    },
    Rule {
        id: "S202",
        name: "no surge",
        severity: Warn,
        when: "the Deployment's own strategy is used and adds no pod before it removes one",
        fix: "maxSurge 1, or a `drain` other than `none`, which overrides it",
    },
    Rule {
        id: "S203",
        name: "single",
        severity: Warn,
        when: "one replica; info where its successor serves before it leaves",
        fix: "2 replicas or more",
    },
    Rule {
        id: "S204",
        name: "min ready",
        severity: Warn,
        when: "minReadySeconds is 0, so a pod counts the second it is ready; info where a detached drain holds the old pods back",
        fix: "minReadySeconds 5",
    },
    Rule {
        id: "S205",
        name: "deadline",
        severity: Warn,
        when: "progressDeadlineSeconds or `wait_until_ready` is shorter than one and a half times the slowest start of the pods that run",
        fix: "raise it above the number in the message",
    },
    Rule {
        id: "S206",
        name: "no deadline",
        severity: Info,
        when: "progressDeadlineSeconds is off, so the controller never reports a rollout as stuck",
        fix: "nothing: the verdict here does not need it",
    },
    Rule {
        id: "S207",
        name: "history",
        severity: Warn,
        when: "revisionHistoryLimit is 0, so no old ReplicaSet is kept and `kubectl rollout undo` has nothing to go back to",
        fix: "revisionHistoryLimit 2 or more; the way back here needs the previous digest only",
    },
    Rule {
        id: "S208",
        name: "eta",
        severity: Info,
        when: "there are pods to replace: how many at a time, and for about how long",
        fix: "nothing",
    },
    Rule {
        id: "S209",
        name: "set-stays",
        severity: Block,
        when: "a StatefulSet or DaemonSet that a new image would not roll (OnDelete, a partition that keeps every pod), or a canary of one",
        fix: "updateStrategy.type RollingUpdate, a lower partition; leave `canary` out",
    },
];

/// Lets each rule look.
pub(super) fn inspect(facts: &Facts<'_>, findings: &mut Findings) {
    let pace = pace(facts.snapshot, facts.order, facts.choice.way);
    // Recreate has a rule of its own, and no pods have no pace.
    if facts.snapshot.wanted() > 0 && !is_recreate(facts.snapshot) {
        unavailable(facts, &pace, findings);
        no_surge(facts, &pace, findings);
        min_ready(facts, &pace, findings);
    }
    single(facts, findings);
    deadline(facts, &pace, findings);
    no_deadline(&pace, findings);
    history(facts, findings);
    time_to_go(facts, findings);
}

fn unavailable(facts: &Facts<'_>, pace: &Pace, findings: &mut Findings) {
    let (missing, wanted) = (pace.unavailable, facts.snapshot.wanted());
    if missing == 0 {
        return;
    }
    let severity = if missing >= wanted && !facts.is_unrouted() { Block } else { facts.risk() };
    let words = format!("up to {missing} of {} may be missing during the rollout", pods(wanted));
    findings.add("S201", severity, words, "set maxUnavailable to 0, or let `drain` be `auto`");
}

fn no_surge(facts: &Facts<'_>, pace: &Pace, findings: &mut Findings) {
    if pace.surge == 0 {
        let words = "maxSurge is 0: each old pod goes before its successor starts".to_owned();
        findings.add("S202", facts.risk(), words, "set maxSurge to 1, or let `drain` be `auto`");
    }
}

fn single(facts: &Facts<'_>, findings: &mut Findings) {
    if facts.snapshot.wanted() != 1 {
        return;
    }
    let words = match facts.choice.way {
        Way::Detached => "one replica: its successor serves first, but a node that fails is an outage",
        Way::Rolling | Way::Plain => "one replica: any stall is an outage",
    };
    findings.add("S203", facts.risk(), words.to_owned(), "set replicas to 2 or more");
}

fn min_ready(facts: &Facts<'_>, pace: &Pace, findings: &mut Findings) {
    if pace.min_ready > Duration::ZERO {
        return;
    }
    let words = match facts.choice.way {
        Way::Detached => "minReadySeconds is 0; this rollout holds the old pods back itself",
        Way::Rolling | Way::Plain => {
            "minReadySeconds is 0: an old pod goes the second a new one is ready, before every node knows the new one"
        }
    };
    findings.add("S204", facts.risk(), words.to_owned(), "set minReadySeconds to 5");
}

fn deadline(facts: &Facts<'_>, pace: &Pace, findings: &mut Findings) {
    if facts.snapshot.wanted() == 0 {
        return;
    }
    let Some(start) = start_p95(facts.snapshot) else {
        return findings.skip("S205", "a running pod that shows how long its start took");
    };
    let needs = (start * 3 / 2).as_secs();
    let held = facts.choice.way == Way::Detached;
    let limits = [
        // A detached drain sets a deadline of its own for as long as it holds the old pods.
        ("progressDeadlineSeconds", pace.deadline.filter(|_| !held), needs + pace.min_ready.as_secs()),
        ("wait_until_ready", facts.order.wait, needs),
    ];
    let short = limits.into_iter().find_map(|(key, limit, needs)| {
        let limit = limit?.as_secs();
        (limit < needs).then_some((key, limit, needs))
    });
    if let Some((key, limit, needs)) = short {
        let start = start.as_secs();
        let words = format!(
            "{key} is {limit} s and a pod takes up to {start} s to start: it may be given up before it can be ready"
        );
        findings.add("S205", Warn, words, format!("set {key} above {needs}"));
    }
}

fn no_deadline(pace: &Pace, findings: &mut Findings) {
    if pace.deadline.is_none() {
        let words = "progressDeadlineSeconds is off: the controller never reports a stuck rollout".to_owned();
        findings.add("S206", Info, words, "");
    }
}

fn history(facts: &Facts<'_>, findings: &mut Findings) {
    let limit = facts.snapshot.deployment.spec.as_ref().and_then(|spec| spec.revision_history_limit);
    if limit == Some(0) {
        let words = "revisionHistoryLimit is 0: no old ReplicaSet will be kept".to_owned();
        findings.add("S207", Warn, words, "set revisionHistoryLimit to 2 or more");
    }
}

fn time_to_go(facts: &Facts<'_>, findings: &mut Findings) {
    let wanted = facts.snapshot.wanted();
    let Some(batch) = pace(facts.snapshot, facts.order, facts.choice.way).batch() else { return };
    let at_a_time = if batch >= wanted { "all at once".to_owned() } else { format!("{batch} at a time") };
    let time = eta(facts.snapshot, facts.order, facts.choice.way, Duration::ZERO);
    let time = time.map_or_else(
        || "no running pod shows how long a start takes".to_owned(),
        |eta| {
            let (each, total) = (eta.each.as_secs(), eta.total.as_secs());
            format!("about {} × {each} s and the drain = {total} s", eta.batches)
        },
    );
    findings.add("S208", Info, format!("{}, {at_a_time}: {time}", pods(wanted)), "");
}

#[cfg(test)]
pub(super) mod tests;
