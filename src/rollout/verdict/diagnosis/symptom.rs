//! From symptoms to a verdict: equal ones are counted over pods and nodes, timed, and the first rule
//! whose patience is over gives the cause.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;

use super::scene::{Question, Scene};
use super::{Cause, Diagnosis, History, Rule, Suspect};

/// What makes a symptom final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settles {
    /// It is certain.
    Now,
    /// It has lasted this long.
    After(Duration),
    /// It is seen on so many nodes, or has lasted this long.
    Nodes(usize, Duration),
    /// It is seen on so many pods, or has lasted this long.
    Pods(usize, Duration),
    /// This moment has come.
    At(Timestamp),
    /// Time does not settle it.
    Never,
}

/// One thing that is wrong with one pod, or with the making of pods.
#[derive(Clone, Debug)]
pub(super) struct Symptom {
    pub(super) rule: &'static Rule,
    /// What must be equal for two of them to be the same one.
    pub(super) key: String,
    /// Uid, name and node of the pod.
    pub(super) pod: Option<(String, String, Option<String>)>,
    pub(super) container: Option<String>,
    pub(super) words: String,
    pub(super) hint: String,
    pub(super) settles: Settles,
    pub(super) asks: Vec<Question>,
}

impl Symptom {
    /// Returns a symptom that nothing settles yet.
    pub(super) fn of(rule: &'static Rule, words: impl Into<String>) -> Self {
        Self {
            rule,
            key: String::new(),
            pod: None,
            container: None,
            words: words.into(),
            hint: String::new(),
            settles: Settles::Never,
            asks: Vec::new(),
        }
    }

    pub(super) fn on(self, pod: &Pod, container: Option<&str>) -> Self {
        let metadata = &pod.metadata;
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        let named =
            (metadata.uid.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default(), node);
        Self { pod: Some(named), container: container.map(str::to_owned), ..self }
    }

    pub(super) fn keyed(self, key: impl Into<String>) -> Self {
        Self { key: key.into(), ..self }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: hint.into(), ..self }
    }

    pub(super) fn settles(self, settles: Settles) -> Self {
        Self { settles, ..self }
    }

    pub(super) fn asks(mut self, question: Question) -> Self {
        self.asks.push(question);
        self
    }
}

/// Groups, times and judges.
pub(super) fn decide(symptoms: Vec<Symptom>, scene: &Scene<'_>, history: &mut History) -> Diagnosis {
    let mut questions = BTreeSet::new();
    let mut groups: BTreeMap<(&'static str, String), Vec<Symptom>> = BTreeMap::new();
    for symptom in symptoms {
        questions.extend(symptom.asks.iter().cloned());
        groups.entry((symptom.rule.id, symptom.key.clone())).or_default().push(symptom);
    }
    let mut diagnosis = Diagnosis { questions: questions.into_iter().collect(), ..Diagnosis::default() };
    for group in groups.into_values() {
        let group = Group::of(group, scene, history);
        // Groups come in the order of the rules' ids: the nearest cause is told, not its consequence.
        if diagnosis.cause.is_none() && group.is_final(scene.now) {
            diagnosis.cause = Some(group.cause(scene));
        } else {
            diagnosis.suspects.push(group.suspect());
        }
    }
    history.forget_what_passed(scene.now);
    diagnosis
}

/// Equal symptoms.
struct Group {
    members: Vec<(Symptom, Timestamp)>,
    pods: usize,
    nodes: usize,
}

impl Group {
    fn of(symptoms: Vec<Symptom>, scene: &Scene<'_>, history: &mut History) -> Self {
        let mut members = Vec::new();
        for symptom in symptoms {
            let uid = symptom.pod.as_ref().map(|(uid, ..)| uid.clone()).unwrap_or_default();
            let since = history.since(symptom.rule.id, &symptom.key, &uid, scene.now);
            members.push((symptom, since));
        }
        let pods = members.iter().filter_map(|(symptom, _)| symptom.pod.as_ref());
        let uids: BTreeSet<&str> = pods.clone().map(|(uid, ..)| uid.as_str()).collect();
        let nodes: BTreeSet<&str> = pods.filter_map(|(.., node)| node.as_deref()).collect();
        let (pods, nodes) = (uids.len(), nodes.len());
        Self { members, pods, nodes }
    }

    /// Returns when time alone settles a member; `None` where it does not.
    fn settles_at(&self, symptom: &Symptom, since: Timestamp) -> Option<Timestamp> {
        let patience = match symptom.settles {
            Settles::Now => Duration::ZERO,
            Settles::Nodes(least, _) if self.nodes >= least => Duration::ZERO,
            Settles::Pods(least, _) if self.pods >= least => Duration::ZERO,
            Settles::After(patience) | Settles::Nodes(_, patience) | Settles::Pods(_, patience) => patience,
            Settles::At(moment) => return Some(moment),
            Settles::Never => return None,
        };
        since.checked_add(patience).ok()
    }

    fn earliest(&self) -> Option<Timestamp> {
        self.members.iter().filter_map(|(symptom, since)| self.settles_at(symptom, *since)).min()
    }

    fn is_final(&self, now: Timestamp) -> bool {
        self.earliest().is_some_and(|moment| moment <= now)
    }

    /// Returns the member that shows it best: the one that is settled, else the first.
    fn best(&self) -> Option<&Symptom> {
        let settled = |(symptom, since): &&(Symptom, Timestamp)| {
            self.settles_at(symptom, *since).unwrap_or(Timestamp::MAX)
        };
        self.members.iter().min_by_key(settled).map(|(symptom, _)| symptom)
    }

    fn cause(&self, scene: &Scene<'_>) -> Cause {
        let best = self.best().expect("a group is made of at least one symptom");
        let only = scene.nodes == Some(1) && best.rule.class == super::Class::Node;
        let only = if only { " (on the only node that could take it)" } else { "" };
        Cause {
            class: best.rule.class,
            rule: best.rule.id,
            words: format!("{}{only}", best.words),
            hint: best.hint.clone(),
            pod: best.pod.as_ref().map(|(_, name, _)| name.clone()),
            container: best.container.clone(),
            count: self.pods,
        }
    }

    fn suspect(&self) -> Suspect {
        let best = self.best().expect("a group is made of at least one symptom");
        let since = self.members.iter().map(|(_, since)| *since).min();
        Suspect {
            class: best.rule.class,
            rule: best.rule.id,
            words: best.words.clone(),
            pod: best.pod.as_ref().map(|(_, name, _)| name.clone()),
            count: self.pods,
            since: since.map_or(0, Timestamp::as_millisecond),
            settles_at: self.earliest().map(Timestamp::as_millisecond),
        }
    }
}
