//! Containers that cannot be made or started. The API server settles what is missing; the runtime's
//! own words settle what can never work.

use std::time::Duration;

use super::History;
use super::Rule;
use super::history::ended;
use super::rules as r;
use super::scene::{Object, Question, Said, Scene, containers, waiting};
use super::symptom::{Settles, Symptom};
use super::text;

/// How long an object must be missing: what is applied together does not arrive together.
const CONFIRMED: Duration = Duration::from_secs(10);
const UNASKED: Duration = Duration::from_secs(20);
const OTHER: Duration = Duration::from_secs(60);

pub(super) fn inspect(scene: &Scene<'_>, _: &History, symptoms: &mut Vec<Symptom>) {
    for pod in scene.living() {
        for (status, _) in containers(pod) {
            let Some((reason, message)) = waiting(status) else { continue };
            let found = match reason {
                "CreateContainerConfigError" => config(scene, message),
                "CreateContainerError" => Some(create(message)),
                "RunContainerError" => run(message, ended(status)),
                "PreCreateHookError" | "PreStartHookError" | "PostStartHookError" => {
                    let said = text::tidy(message);
                    let again = ended(status) >= 2;
                    let symptom =
                        Symptom::of(&r::HOOK, format!("{reason} in container `{}`: {said}", status.name));
                    Some(
                        symptom
                            .hint("correct the hook, or the image that it runs in")
                            .settles(repeated(again)),
                    )
                }
                _ => None,
            };
            symptoms.extend(found.map(|symptom| {
                let key = if symptom.key.is_empty() { text::shape(message) } else { symptom.key.clone() };
                symptom.on(pod, Some(&status.name)).keyed(format!("{} {key}", status.name))
            }));
        }
    }
}

fn repeated(again: bool) -> Settles {
    if again { Settles::Now } else { Settles::Pods(2, OTHER) }
}

fn config(scene: &Scene<'_>, message: &str) -> Option<Symptom> {
    let said = text::tidy(message);
    // The kubelet has not seen the object yet, which says nothing about the object.
    if message.contains("failed to sync") {
        return None;
    }
    if let Some(object) = text::missing(message) {
        return Some(missing(scene, &r::REFERENCE, object));
    }
    if message.contains("runAsNonRoot") {
        let symptom = Symptom::of(&r::ROOT, format!("the kubelet refuses to run it: {said}"));
        let hint = "set `runAsUser` to a number, or build the image with a numeric user that is not root";
        return Some(symptom.keyed("root").hint(hint).settles(Settles::Now));
    }
    let symptom = Symptom::of(&r::CONFIG, format!("the container cannot be configured: {said}"));
    Some(symptom.hint("correct the container in the pod template").settles(Settles::After(OTHER)))
}

/// An object that a pod needs and that is not there, as far as the API server confirms it.
pub(super) fn missing(scene: &Scene<'_>, rule: &'static Rule, object: Object) -> Symptom {
    let question = Question::Object(object.clone());
    let answer = scene.answers.to(&question);
    let settles = match answer.map(|answer| (&answer.said, answer.since)) {
        Some((Said::No, since)) => since.checked_add(CONFIRMED).map_or(Settles::Never, Settles::At),
        Some((Said::Refused(_) | Said::Unknown(_), _)) => Settles::After(UNASKED),
        // It is there now, and the kubelet will see it.
        Some((Said::Yes, _)) => Settles::After(OTHER),
        None => Settles::Never,
    };
    Symptom::of(rule, format!("{object} is not there"))
        .keyed(object.to_string())
        .hint(format!("create {object} in the namespace, or correct the pod template"))
        .settles(settles)
        .asks(question)
}

fn create(message: &str) -> Symptom {
    let said = text::tidy(message);
    let is_certain = ["no command specified", "executable file not found", "invalid reference format"]
        .iter()
        .any(|words| message.contains(words));
    let is_passing = ["context deadline exceeded", "is reserved", "already in use", "failed to reserve"]
        .iter()
        .any(|words| message.contains(words));
    let settles = match (is_passing, is_certain) {
        (true, _) => Settles::After(2 * OTHER),
        (_, true) => Settles::Now,
        _ => Settles::Pods(2, OTHER),
    };
    Symptom::of(&r::CREATE, format!("the container cannot be created: {said}"))
        .hint("correct the command or the container's settings, or the image's entrypoint")
        .settles(settles)
}

/// A program that this kind of processor cannot run.
pub(super) fn foreign(words: &str) -> Symptom {
    let hint = "build the image for the nodes' platform";
    Symptom::of(&r::FORMAT, words).keyed("format").hint(hint).settles(Settles::Now)
}

/// Reads why a command could not be started.
pub(super) fn run(message: &str, ends: usize) -> Option<Symptom> {
    let said = text::tidy(message);
    if message.contains("exec format error") {
        return Some(foreign(&format!("the command is not for this processor: {said}")));
    }
    // A mount of the node's may be denied too; only what is said of the command itself counts.
    let of_command = message.rsplit_once("exec").map_or("", |(_, of_command)| of_command);
    let is_certain =
        ["executable file not found", "no such file or directory", "permission denied", "not a directory"]
            .iter()
            .any(|words| of_command.contains(words));
    if is_certain {
        let symptom = Symptom::of(&r::COMMAND, format!("the command cannot be run: {said}"));
        return Some(
            symptom
                .keyed("command")
                .hint("correct `command`, or the image that should have it")
                .settles(Settles::Now),
        );
    }
    let symptom = Symptom::of(&r::START, format!("the container does not start: {said}"));
    Some(symptom.hint("look at the node's container runtime").settles(repeated(ends >= 2)))
}
