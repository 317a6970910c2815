//! When each old pod was asked to end, left its Services, and ended.
//!
//! Three clocks tell of it: ours, the API server's and the node's. Only times of the same side are
//! taken from each other, with the moment of the request to end as what both sides saw: the cluster
//! says how long after it the container ended, we how long before or after it the endpoint was gone.
//! The cluster tells whole seconds, so a margin is true to one second.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use super::{MARGIN, seconds, tenths};
use crate::rollout::observe::Snapshot;
use crate::rollout::verdict::diagnosis::Notice;

/// What became of an old pod.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OldPod {
    /// Its name.
    pub pod: String,
    /// The same in a word.
    pub fate: Fate,
    /// How long it had been out of its Services when it ended; negative when it ended first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margin_seconds: Option<f64>,
    /// How its containers ended.
    pub exits: Vec<Exit>,
    /// What the kubelet said about its end (`FailedPreStopHook`).
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub events: BTreeSet<String>,
}

/// Whether requests can have met a pod that was gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// It ended long enough after no Service sent it anything.
    Safe,
    /// It ended before that, or too soon after it.
    Exposed,
    /// No Service sent it anything in the first place.
    Unrouted,
    /// Its end was not seen.
    Unseen,
    /// It lives.
    Stays,
}

/// How one container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exit {
    /// Its name.
    pub container: String,
    /// Its exit code.
    pub code: i32,
    /// The runtime's reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether its grace period was over: it was killed with work in flight.
    pub killed: bool,
    #[serde(skip)]
    finished: Option<Timestamp>,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    name: String,
    /// A Service sent it traffic at some time.
    was_in: bool,
    /// Since when none does.
    out: Option<Duration>,
    /// When we saw that it was asked to end.
    asked: Option<Asked>,
    exits: BTreeMap<String, Exit>,
    /// It had ended while an endpoint still named it as ready.
    ended_inside: bool,
    is_there: bool,
    events: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    seen: Duration,
    at: Timestamp,
    grace: i64,
}

/// All old pods, and the first moments of both sides.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    pods: BTreeMap<String, Entry>,
    first_new: Option<Duration>,
    first_left: Option<Duration>,
}

impl Ledger {
    pub(super) fn look(&mut self, snapshot: &Snapshot, now: Duration) {
        let ready = ready(snapshot);
        let uids = |pods: Vec<&Pod>| pods.into_iter().filter_map(ResourceExt::uid).collect::<BTreeSet<_>>();
        let new = uids(snapshot.new_pods());
        if self.first_new.is_none() && new.iter().any(|uid| ready.contains(uid.as_str())) {
            self.first_new = Some(now);
        }
        for pod in snapshot.old_pods() {
            let entry = self.pods.entry(pod.uid().unwrap_or_default()).or_default();
            entry.name = pod.name_any();
        }
        // An image that comes back makes old pods the current ones again.
        self.pods.retain(|uid, _| !new.contains(uid));
        let here: BTreeMap<String, &Pod> =
            snapshot.pods.iter().filter_map(|pod| Some((pod.uid()?, pod))).collect();
        for (uid, entry) in &mut self.pods {
            let pod = here.get(uid);
            entry.is_there = pod.is_some();
            if let Some(pod) = pod {
                entry.asked = entry.asked.or_else(|| asked(pod, now));
                entry.take_exits(pod);
            }
            if snapshot.routing.is_none() {
                continue;
            }
            if ready.contains(uid.as_str()) {
                (entry.was_in, entry.out) = (true, None);
                entry.ended_inside |= !entry.exits.is_empty();
            } else if entry.was_in && entry.out.is_none() {
                entry.out = Some(now);
                self.first_left = self.first_left.or(Some(now));
            }
        }
    }

    pub(super) fn gone(&mut self, pod: &Pod) {
        if let Some(entry) = pod.uid().and_then(|uid| self.pods.get_mut(&uid)) {
            entry.take_exits(pod);
        }
    }

    pub(super) fn notice(&mut self, notice: &Notice) {
        if matches!(notice.reason.as_str(), "FailedPreStopHook" | "ExceededGracePeriod")
            && let Some(entry) = self.pods.get_mut(&notice.uid)
        {
            entry.events.insert(notice.reason.clone());
        }
    }

    pub(super) fn first_new(&self) -> Option<Duration> {
        self.first_new
    }

    /// Returns how long a new pod had been in its Services when the first old one left them: negative
    /// when the old one was first.
    pub(super) fn overlap(&self) -> Option<f64> {
        let (new, left) = (self.first_new?, self.first_left?);
        Some(tenths(left.as_secs_f64() - new.as_secs_f64()))
    }

    pub(super) fn report(&self) -> Vec<OldPod> {
        self.pods.values().map(Entry::report).collect()
    }

    /// Says what would have kept old pods from being exposed or killed.
    pub(super) fn warnings(&self, report: &[OldPod]) -> Vec<String> {
        let mut warnings = Vec::new();
        let exposed: Vec<&OldPod> = report.iter().filter(|pod| pod.fate == Fate::Exposed).collect();
        if !exposed.is_empty() {
            let least = exposed.iter().filter_map(|pod| pod.margin_seconds).fold(f64::INFINITY, f64::min);
            let when = if least.is_finite() && least > 0.0 {
                format!("only {least:.1} s after their last endpoint was gone")
            } else {
                "while endpoints still named them".to_owned()
            };
            let (hook, grace) = self.remedy();
            warnings.push(format!(
                "{} of {} old pods ended {when}: requests can have met them: `drain: detached`, or \
                 `preStop: {{sleep: {{seconds: {hook}}}}}` with `terminationGracePeriodSeconds: {grace}` in the pods",
                exposed.len(),
                report.len()
            ));
        }
        let killed: Vec<&OldPod> =
            report.iter().filter(|pod| pod.exits.iter().any(|exit| exit.killed)).collect();
        if !killed.is_empty() {
            let grace = self.pods.values().filter_map(|entry| entry.asked).map(|asked| asked.grace).max();
            warnings.push(format!(
                "{} old pods were killed with work in flight after their {} s of grace: raise \
                 `terminationGracePeriodSeconds`, or let the application end sooner on SIGTERM",
                killed.len(),
                grace.unwrap_or(0)
            ));
        }
        let failed = report.iter().filter(|pod| pod.events.contains("FailedPreStopHook")).count();
        if failed > 0 {
            warnings.push(format!(
                "the preStop hook of {failed} old pods failed: `preStop: {{sleep: {{seconds: 5}}}}` needs no program in the \
                 image"
            ));
        }
        warnings
    }

    /// Returns the hook that outlasts the slowest endpoint seen, and the grace that holds it beside what
    /// the slowest application took.
    fn remedy(&self) -> (u64, i64) {
        let late = |entry: &Entry| Some(entry.out?.saturating_sub(entry.asked?.seen));
        let slowest = self.pods.values().filter_map(late).max().unwrap_or_default();
        let hook = (slowest + MARGIN + Duration::from_secs(1)).as_secs().max(5);
        let took = self.pods.values().filter_map(Entry::took).max().unwrap_or(0);
        let given = self.pods.values().filter_map(|entry| entry.asked).map(|asked| asked.grace).max();
        let needed = i64::try_from(hook).unwrap_or(i64::MAX).saturating_add(took).saturating_add(2);
        (hook, needed.max(given.unwrap_or(0)))
    }
}

impl Entry {
    fn take_exits(&mut self, pod: &Pod) {
        let status = pod.status.as_ref();
        let statuses = status.and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
        let ended: Vec<Exit> = statuses.iter().filter_map(|status| exit(status, self.asked)).collect();
        for exit in ended {
            self.exits.insert(exit.container.clone(), exit);
        }
    }

    /// Returns how many seconds after it was asked the first of its containers ended.
    fn took(&self) -> Option<i64> {
        let asked = self.asked?.at.as_second();
        let ends = self.exits.values().filter_map(|exit| exit.finished).map(Timestamp::as_second);
        // A container that was down already tells nothing of how the pod ended.
        ends.filter(|end| *end >= asked).min().map(|end| end - asked)
    }

    fn margin(&self) -> Option<f64> {
        let asked = self.asked?.seen.as_secs_f64();
        let took = Duration::from_secs(u64::try_from(self.took()?).ok()?);
        Some(tenths(took.as_secs_f64() + asked - self.out?.as_secs_f64()))
    }

    fn report(&self) -> OldPod {
        let margin = self.margin().filter(|_| self.was_in);
        let fate = match margin {
            _ if self.exits.is_empty() && self.is_there => Fate::Stays,
            _ if self.ended_inside => Fate::Exposed,
            _ if self.exits.is_empty() => Fate::Unseen,
            _ if !self.was_in => Fate::Unrouted,
            Some(margin) if margin >= seconds(MARGIN) => Fate::Safe,
            Some(_) => Fate::Exposed,
            None => Fate::Unseen,
        };
        OldPod {
            pod: self.name.clone(),
            fate,
            margin_seconds: margin,
            exits: self.exits.values().cloned().collect(),
            events: self.events.clone(),
        }
    }
}

/// Reads when the pod was asked to end: what the API shows is when its grace is over.
fn asked(pod: &Pod, now: Duration) -> Option<Asked> {
    let over = pod.metadata.deletion_timestamp.as_ref()?.0;
    let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(0);
    let at = Timestamp::from_second(over.as_second().checked_sub(grace)?).ok()?;
    Some(Asked { seen: now, at, grace })
}

fn exit(status: &ContainerStatus, asked: Option<Asked>) -> Option<Exit> {
    let ended = status.state.as_ref()?.terminated.as_ref()?;
    // What the kubelet makes up for a container that it lost sight of is no end that was seen.
    if ended.reason.as_deref() == Some("ContainerStatusUnknown") {
        return None;
    }
    let finished = ended.finished_at.as_ref().map(|time| time.0);
    let is_over =
        |asked: Asked| finished.is_some_and(|at| at.as_second() + 1 >= asked.at.as_second() + asked.grace);
    let is_oom = ended.reason.as_deref() == Some("OOMKilled");
    Some(Exit {
        container: status.name.clone(),
        code: ended.exit_code,
        reason: ended.reason.clone(),
        killed: ended.exit_code == 137 && !is_oom && asked.is_some_and(is_over),
        finished,
    })
}

/// Returns the uids of all pods that some Service sends traffic to.
fn ready(snapshot: &Snapshot) -> BTreeSet<&str> {
    let services = snapshot.routing.iter().flat_map(|routing| &routing.services);
    let names = services.filter_map(|service| service.metadata.name.as_deref());
    names.flat_map(|name| snapshot.ready_endpoints(name)).collect()
}
