//! Plays recorded streams through the diagnosis. The first line of a stream says what is expected of
//! it and what registry and API server answer; each other line is laid over the world at its time.

use std::collections::BTreeMap;
use std::fmt::Write;

use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::record::World;
use super::{Answers, Cause, History, Question, Said, diagnose};
use crate::rollout::outcome::class_word;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    /// What happens.
    about: String,
    /// The verdict; none where the rollout must be left alone.
    expect: Option<Expected>,
    /// How long to go on.
    until: i64,
    /// What is answered, by question; what is not here is not answered.
    #[serde(default)]
    authority: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    rule: String,
    class: String,
    /// The first and the last moment at which the verdict may come.
    at: (i64, i64),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    at: i64,
    #[serde(default)]
    patch: Value,
    world: Option<Value>,
    /// Other answers from here on.
    #[serde(default)]
    authority: BTreeMap<String, String>,
}

fn name(question: &Question) -> String {
    match question {
        Question::Image(_) => "image".to_owned(),
        Question::Pull { .. } => "pull".to_owned(),
        Question::Object(object) => object.to_string().replace('`', ""),
        Question::Log { .. } => "log".to_owned(),
        Question::Trial => "trial".to_owned(),
        Question::Autoscaler => "autoscaler".to_owned(),
    }
}

fn said(answer: Option<&String>) -> Said {
    match answer.map(String::as_str) {
        Some("yes") => Said::Yes,
        Some("no") => Said::No,
        Some(words) => Said::Refused(words.to_owned()),
        None => Said::Unknown("nobody may ask".to_owned()),
    }
}

/// Returns the first verdict and when it came, looking twice a second as the driver does.
fn play(stream: &str) -> (Head, Option<(i64, Cause)>) {
    let mut lines = stream.lines().filter(|line| !line.trim().is_empty());
    let mut head: Head = serde_json::from_str(lines.next().unwrap()).unwrap();
    let mut lines = lines
        .map(|line| serde_json::from_str::<Line>(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .peekable();
    let (mut world, mut answers, mut history) = (Value::Null, Answers::default(), History::default());
    for at in (0..=head.until).step_by(500) {
        while let Some(line) = lines.next_if(|line| line.at <= at) {
            world = line.world.unwrap_or(world);
            json_patch::merge(&mut world, &line.patch);
            head.authority.extend(line.authority);
        }
        let now = Timestamp::from_millisecond(1_700_000_000_000 + at).unwrap();
        let world: World = serde_json::from_value(world.clone()).unwrap();
        let mut diagnosis = diagnose(&world.scene(&answers, now), &mut history);
        for question in &diagnosis.questions {
            answers.hear(question.clone(), said(head.authority.get(&name(question))), now);
        }
        if diagnosis.cause.is_none() {
            diagnosis = diagnose(&world.scene(&answers, now), &mut history);
        }
        if let Some(cause) = diagnosis.cause {
            return (head, Some((at, cause)));
        }
    }
    (head, None)
}

/// Returns what is wrong with the verdict on a stream.
fn complaint(stream: &str) -> Option<String> {
    let (head, verdict) = play(stream);
    let told = match (&head.expect, &verdict) {
        (None, None) => return None,
        (Some(expected), Some((at, cause))) => {
            let is_right = cause.rule == expected.rule && class_word(cause.class) == expected.class;
            if is_right && (expected.at.0..=expected.at.1).contains(at) && !cause.hint.is_empty() {
                return None;
            }
            format!("{} {} at {at} ms: {}", cause.rule, class_word(cause.class), cause.words)
        }
        (None, Some((at, cause))) => format!("{} at {at} ms: {}", cause.rule, cause.words),
        (Some(_), None) => "no verdict".to_owned(),
    };
    Some(format!("{}: {told}", head.about))
}

macro_rules! streams {
    ($($name:literal),* $(,)?) => {
        const STREAMS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../streams/", $name, ".jsonl")))),*];
    };
}

streams![
    "anti-affinity",
    "anti-affinity-declined",
    "anti-affinity-held",
    "anti-affinity-scaled",
    "anti-affinity-under-way",
    "anti-affinity-unknown",
    "attached-late",
    "bad-command",
    "claim-missing",
    "config-cache",
    "config-key",
    "config-key-late",
    "config-unasked",
    "crash-after-5s",
    "crash-as-before",
    "crash-at-start",
    "crash-differently",
    "crash-once",
    "crash-two-pods",
    "create-conflict",
    "deadline",
    "drained",
    "evicted-before",
    "evicted-once",
    "exec-format",
    "exec-format-log",
    "exec-format-log-two-pods",
    "exit-zero",
    "init-crash",
    "init-fine",
    "liveness-kill",
    "mount-cache",
    "mount-key",
    "mount-secret",
    "mount-silent",
    "mount-silent-for-long",
    "mount-slow",
    "multi-attach",
    "name-invalid",
    "never-pull",
    "never-ready",
    "never-ready-said",
    "no-command",
    "no-cpu",
    "one-of-two-ready",
    "oom",
    "oom-lowered",
    "paused",
    "pod-security",
    "preempting",
    "pull-absent",
    "pull-absent-two-pods",
    "pull-absent-unasked",
    "pull-denied",
    "pull-denied-once",
    "pull-down",
    "pull-platform",
    "pull-rate-limit",
    "pull-transient",
    "pull-untrusted",
    "pull-untrusted-two-nodes",
    "quota",
    "quota-fallback",
    "quota-gap",
    "quota-held",
    "quota-leaving",
    "readiness-gate",
    "rejected",
    "rejected-everywhere",
    "rejected-once-on-the-only-node",
    "run-as-root",
    "sandbox",
    "sandbox-silent",
    "sandbox-once",
    "sandbox-two-nodes",
    "service-account",
    "set-refused",
    "set-refused-once",
    "sidecar-crash",
    "slow-start",
    "start-cgroup",
    "startup-kill-once",
    "taken-over",
    "taken-over-crash",
    "webhook-back",
    "webhook-denied",
    "webhook-denied-untried",
    "webhook-down",
];

#[test]
fn every_stream_gets_its_verdict_and_no_other() {
    let wrong = STREAMS.iter().filter_map(|(name, stream)| Some((name, complaint(stream)?)));
    let wrong = wrong.fold(String::new(), |mut all, (name, complaint)| {
        let _ = writeln!(all, "{name}: {complaint}");
        all
    });
    assert!(wrong.is_empty(), "{wrong}");
}
