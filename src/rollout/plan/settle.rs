//! Whether the new pods hold still: no restart, no pod that loses its readiness. Watched from the
//! moment at which they all serve, so the time in which old pods drain counts too.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use crate::rollout::observe::{Snapshot, is_ready};
use crate::rollout::verdict::diagnosis::Cause;
use crate::rollout::verdict::diagnosis::rules::{FLAPPING, RESTARTS};

/// How long a better reason for pods that are not ready any more is waited for: a probe often fails a
/// moment before the kubelet tells that the process has ended.
const REASON: Duration = Duration::from_secs(2);

/// What the new pods did since they were first seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Pulse {
    pods: BTreeMap<String, (i32, bool)>,
}

/// What is not still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stir {
    Restarted(String),
    Unready(String),
}

impl Pulse {
    /// Compares the new pods with what they were at the last look. One that is new now, or ends, is
    /// nobody's unrest.
    pub(super) fn look(&mut self, snapshot: &Snapshot) -> Vec<Stir> {
        let mut stirs = Vec::new();
        let mut seen = BTreeMap::new();
        for pod in snapshot.new_pods() {
            let uid = pod.uid().unwrap_or_default();
            let now = (restarts(pod), is_ready(pod));
            if let Some((count, was_ready)) = self.pods.get(&uid) {
                if now.0 > *count {
                    stirs.push(Stir::Restarted(pod.name_any()));
                } else if *was_ready && !now.1 {
                    stirs.push(Stir::Unready(pod.name_any()));
                }
            }
            seen.insert(uid, now);
        }
        self.pods = seen;
        stirs
    }
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref());
    statuses.unwrap_or_default().iter().map(|status| status.restart_count).sum()
}

impl Stir {
    /// Returns this as what ends a rollout.
    pub(super) fn cause(&self, when: &str) -> Cause {
        let (rule, words, hint, pod) = match self {
            Self::Restarted(pod) => (
                RESTARTS,
                format!("pod {pod} restarted {when}"),
                "its log from before the restart says why: `kubectl logs --previous`",
                pod,
            ),
            Self::Unready(pod) => (
                FLAPPING,
                format!("pod {pod} lost its readiness {when}"),
                "its readiness probe fails once it gets traffic: give it more time or more room",
                pod,
            ),
        };
        Cause {
            class: rule.class,
            rule: rule.id,
            words,
            hint: hint.to_owned(),
            pod: Some(pod.clone()),
            container: None,
            count: 1,
        }
    }
}

/// The time in which a finished rollout must hold still.
#[derive(Clone, Debug)]
pub struct Settle {
    window: Duration,
    pulse: Pulse,
    /// When all new pods first served.
    begun: Option<Duration>,
    since: Option<Duration>,
    /// The one flip that is let pass.
    forgiven: bool,
    /// What ends the rollout unless a better reason shows, and since when.
    doomed: Option<(Cause, Duration)>,
}

impl Settle {
    /// Returns a window of this length; none at all when it is zero.
    #[must_use]
    pub fn new(window: Duration) -> Self {
        Self { window, pulse: Pulse::default(), begun: None, since: None, forgiven: false, doomed: None }
    }

    /// Takes a look into account: `serves` says whether all new pods are ready and routed. Returns what
    /// ends the rollout.
    pub fn look(&mut self, snapshot: &Snapshot, serves: bool, now: Duration) -> Option<Cause> {
        if self.window.is_zero() || (self.begun.is_none() && !serves) {
            return None;
        }
        let begun = *self.begun.get_or_insert(now);
        let when = format!("{} s after all new pods served", now.saturating_sub(begun).as_secs());
        let stirs = self.pulse.look(snapshot);
        if let Some(stir) = stirs.iter().find(|stir| matches!(stir, Stir::Restarted(_))) {
            return Some(stir.cause(&when));
        }
        if let Some((cause, since)) = &self.doomed {
            return (now.saturating_sub(*since) >= REASON).then(|| cause.clone());
        }
        if let Some(stir) = stirs.first() {
            if self.forgiven || stirs.len() > 1 {
                self.doomed = Some((Cause { count: stirs.len(), ..stir.cause(&when) }, now));
                self.since = None;
                return None;
            }
            // A single missed probe happens to healthy pods: the window begins again, once.
            self.forgiven = true;
            self.since = None;
        }
        if serves {
            self.since = self.since.or(Some(now));
        }
        None
    }

    /// Returns how long it still has to hold still; zero when that is over.
    #[must_use]
    pub fn rest(&self, now: Duration) -> Duration {
        if self.window.is_zero() {
            return Duration::ZERO;
        }
        self.since.map_or(self.window, |since| self.window.saturating_sub(now.saturating_sub(since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::fixtures::*;
    use serde_json::json;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn settle() -> Settle {
        let mut settle = Settle::new(at(10));
        assert_eq!(settle.look(&mk_snapshot(), false, at(1)), None);
        assert_eq!(settle.look(&mk_snapshot(), true, at(2)), None);
        settle
    }

    fn unready(which: &[usize]) -> Snapshot {
        let mut look = mk_snapshot();
        for index in which {
            look.pods[*index] = mk_unready(&look.pods[*index]);
        }
        look
    }

    fn restarted() -> Snapshot {
        let mut look = mk_snapshot();
        let status = json!([{
            "name": "main", "image": "a", "imageID": "a", "ready": true, "restartCount": 1,
        }]);
        look.pods[0] = with(&look.pods[0], &json!({ "status": { "containerStatuses": status } }));
        look
    }

    #[test]
    fn the_window_begins_when_all_new_pods_serve() {
        let settle = settle();
        assert_eq!((settle.rest(at(2)), settle.rest(at(9)), settle.rest(at(12))), (at(10), at(3), at(0)));
        assert_eq!(Settle::new(at(10)).rest(at(99)), at(10));
    }

    #[test]
    fn a_restart_ends_it_and_one_from_before_does_not() {
        let cause = settle().look(&restarted(), true, at(5)).unwrap();
        assert_eq!((cause.rule, cause.pod.as_deref()), (RESTARTS.id, Some("app-1a-x")));
        assert_eq!(cause.words, "pod app-1a-x restarted 3 s after all new pods served");
        let mut late = Settle::new(at(10));
        assert_eq!(late.look(&restarted(), true, at(1)), None);
        assert_eq!(late.look(&restarted(), true, at(2)), None);
    }

    #[test]
    fn one_flip_begins_the_window_again_and_the_second_ends_it() {
        let mut settle = settle();
        assert_eq!(settle.look(&unready(&[0]), false, at(5)), None);
        assert_eq!(settle.look(&unready(&[0]), false, at(6)), None);
        assert_eq!(settle.rest(at(6)), at(10));
        assert_eq!(settle.look(&mk_snapshot(), true, at(7)), None);
        assert_eq!(settle.rest(at(9)), at(8));
        assert_eq!(settle.look(&unready(&[1]), false, at(9)), None);
        assert_eq!(settle.look(&unready(&[1]), false, at(11)).unwrap().rule, FLAPPING.id);
    }

    #[test]
    fn two_pods_that_flip_together_end_it() {
        let mut settle = settle();
        assert_eq!(settle.look(&unready(&[0, 2]), false, at(5)), None);
        let cause = settle.look(&mk_snapshot(), true, at(7)).unwrap();
        assert_eq!((cause.rule, cause.count), (FLAPPING.id, 2));
    }

    #[test]
    fn an_end_of_the_process_is_the_better_reason_for_a_lost_readiness() {
        let mut settle = settle();
        assert_eq!(settle.look(&unready(&[0, 2]), false, at(5)), None);
        assert_eq!(settle.look(&restarted(), false, at(6)).unwrap().rule, RESTARTS.id);
        assert_eq!(settle.rest(at(30)), at(10), "it does not settle meanwhile");
    }

    #[test]
    fn pods_that_come_and_go_are_no_unrest() {
        let mut settle = settle();
        let mut fewer = mk_snapshot();
        fewer.pods[0] = mk_ending(&fewer.pods[0]);
        assert_eq!(settle.look(&fewer, true, at(3)), None);
        let mut more = mk_snapshot();
        more.pods.push(mk_unready(&mk_pod(&more.replica_sets[0], "w")));
        assert_eq!(settle.look(&more, false, at(4)), None);
        assert_eq!(settle.rest(at(12)), at(0));
    }

    #[test]
    fn no_window_means_no_watch() {
        let mut none = Settle::new(Duration::ZERO);
        assert_eq!(none.look(&mk_snapshot(), true, at(1)), None);
        assert_eq!(none.look(&restarted(), true, at(2)), None);
        assert_eq!(none.rest(at(0)), at(0));
    }
}
