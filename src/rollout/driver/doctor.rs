//! Finds out why new pods do not come up: keeps the evidence of all looks, has the questions asked
//! that only the registry and the API server can settle, and says each suspicion once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use tokio::task::JoinSet;

use self::asking::Desk;
use super::Rollout;
use super::live::Notices;
use crate::rollout::observe::Snapshot;
use crate::rollout::verdict::diagnosis::record::World;
use crate::rollout::verdict::diagnosis::{
    Answers, Cause, Class, Diagnosis, History, Question, Said, Scene, Suspect, diagnose, text,
};

mod asking;

/// How long a look may be held up by a question; a slower answer is taken in by a later look.
const PROMPT: Duration = Duration::from_millis(500);
/// How long a question may take in all.
const BOUND: Duration = Duration::from_secs(3);
/// How soon a question is asked again; what does not change is asked less and less often.
const AGAIN: Duration = Duration::from_secs(2);
const SELDOM: Duration = Duration::from_secs(20);
/// A pod that only takes its time is nothing to tell before this.
const SLOW: Duration = Duration::from_secs(30);

/// The evidence so far.
#[derive(Default)]
pub(super) struct Doctor {
    history: History,
    answers: Answers,
    asked: BTreeMap<Question, (Instant, u32)>,
    asking: JoinSet<(Question, Said)>,
    open: BTreeSet<Question>,
    told: BTreeMap<(&'static str, String), String>,
    said_blind: bool,
    suspects: bool,
    /// How many nodes take pods, once that mattered and where it may be known.
    nodes: Option<Option<usize>>,
}

impl Doctor {
    /// Takes one look into account; returns what makes the rollout hopeless, once that is certain.
    pub(super) async fn look(
        &mut self,
        rollout: &Rollout<'_>,
        look: &Snapshot,
        notices: &Notices,
    ) -> Option<Cause> {
        if notices.forbidden && !self.said_blind {
            self.said_blind = true;
            rollout.say("note: the credentials may not watch events: trouble with volumes, sandboxes and probes shows later");
        }
        self.hear_answers();
        let mut diagnosis = self.diagnose(rollout, look, notices);
        self.tell(rollout, &diagnosis);
        self.suspects = diagnosis.suspects.iter().any(|suspect| suspect.class != Class::Time);
        if self.nodes.is_none() && diagnosis.suspects.iter().any(|suspect| suspect.class == Class::Node) {
            self.nodes = Some(Desk::of(rollout, look).nodes().await);
        }
        if diagnosis.cause.is_none() && self.ask(rollout, look, &diagnosis.questions) {
            self.wait_for_answers().await;
            diagnosis = self.diagnose(rollout, look, notices);
            self.tell(rollout, &diagnosis);
        }
        diagnosis.cause
    }

    /// Returns whether the last look showed more than that time passes.
    pub(super) const fn suspects(&self) -> bool {
        self.suspects
    }

    fn diagnose(&mut self, rollout: &Rollout<'_>, look: &Snapshot, notices: &Notices) -> Diagnosis {
        let mut scene = Scene::of(look, notices.iter(), &self.answers, Timestamp::now());
        scene.nodes = self.nodes.flatten();
        scene.said_wait = rollout.order.said_wait;
        rollout.site.reporter.evidence(&|| World::of(&scene));
        diagnose(&scene, &mut self.history)
    }

    /// Has the questions asked that are due. Returns whether any is under way.
    fn ask(&mut self, rollout: &Rollout<'_>, look: &Snapshot, questions: &[Question]) -> bool {
        for question in questions {
            let is_due =
                self.asked.get(question).is_none_or(|(last, times)| last.elapsed() > pause(question, *times));
            if !is_due || self.open.contains(question) {
                continue;
            }
            let times = self.asked.get(question).map_or(0, |(_, times)| *times);
            self.asked.insert(question.clone(), (Instant::now(), times + 1));
            self.open.insert(question.clone());
            let (desk, question) = (Desk::of(rollout, look), question.clone());
            self.asking.spawn(async move {
                let answer = tokio::time::timeout(BOUND, desk.ask(&question)).await;
                let said = answer
                    .unwrap_or_else(|_| Said::Unknown(format!("no answer within {} s", BOUND.as_secs())));
                (question, said)
            });
        }
        !self.asking.is_empty()
    }

    async fn wait_for_answers(&mut self) {
        let until = tokio::time::Instant::now() + PROMPT;
        while let Ok(Some(answered)) = tokio::time::timeout_at(until, self.asking.join_next()).await {
            self.hear(answered.ok());
        }
    }

    fn hear_answers(&mut self) {
        while let Some(answered) = self.asking.try_join_next() {
            self.hear(answered.ok());
        }
    }

    fn hear(&mut self, answered: Option<(Question, Said)>) {
        if let Some((question, said)) = answered {
            self.open.remove(&question);
            self.answers.hear(question, said, Timestamp::now());
        }
    }

    /// Says each suspicion once when it comes, and once when it has passed.
    fn tell(&mut self, rollout: &Rollout<'_>, diagnosis: &Diagnosis) {
        let now = Timestamp::now().as_millisecond();
        let mut there = BTreeSet::new();
        for suspect in &diagnosis.suspects {
            let key = (suspect.rule, text::shape(suspect.pod.as_deref().unwrap_or_default()));
            there.insert(key.clone());
            if is_worth_telling(suspect, now) && !self.told.contains_key(&key) {
                rollout.say(&words(suspect, now));
                self.told.insert(key, suspect.pod.clone().unwrap_or_default());
            }
        }
        if diagnosis.cause.is_some() {
            return;
        }
        let passed: Vec<_> = self.told.keys().filter(|key| !there.contains(*key)).cloned().collect();
        for key in passed {
            let pod = self.told.remove(&key).unwrap_or_default();
            let about = if pod.is_empty() { String::new() } else { format!("pod {pod}: ") };
            rollout.say(&format!("{about}{} has passed", key.0));
        }
    }
}

fn pause(question: &Question, times: u32) -> Duration {
    match question {
        // These may come true at any moment.
        Question::Object(_) | Question::Trial => AGAIN,
        Question::Autoscaler => Duration::from_secs(60),
        // What a program says when it cannot begin, it says each time.
        Question::Log { .. } => Duration::MAX,
        Question::Image(_) | Question::Pull { .. } => {
            (AGAIN * 2_u32.saturating_pow(times.min(8))).min(SELDOM)
        }
    }
}

fn is_worth_telling(suspect: &Suspect, now: i64) -> bool {
    let lasted = Duration::from_millis(u64::try_from(now - suspect.since).unwrap_or(0));
    suspect.class != Class::Time || lasted >= SLOW
}

fn words(suspect: &Suspect, now: i64) -> String {
    let about = suspect.pod.as_ref().map_or_else(String::new, |pod| format!("pod {pod}: "));
    let count = if suspect.count > 1 { format!(" (×{})", suspect.count) } else { String::new() };
    let rest = suspect.settles_at.map(|at| (at - now).max(0).unsigned_abs().div_ceil(1000));
    let rest = rest.map_or_else(String::new, |seconds| format!("; final in {seconds} s if it stays"));
    format!("{about}{}{count} ({}{rest})", suspect.words, suspect.rule)
}
