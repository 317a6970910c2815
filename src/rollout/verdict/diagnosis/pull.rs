//! Images that do not come: the kubelet names the symptom, the registry settles it.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use super::History;
use super::rules as r;
use super::scene::{Question, Said, Scene, containers, spec_of, waiting};
use super::symptom::{Settles, Symptom};
use super::text::{self, Pull};

/// How long a registry may be in trouble: a few rounds of the kubelet's back-off.
const BACK_OFF: Duration = Duration::from_secs(120);
/// How long a node's word is doubted when nobody else can be asked: its second try has failed by then.
const SECOND_TRY: Duration = Duration::from_secs(15);
const ONE_NODE: Duration = Duration::from_secs(60);

pub(super) fn inspect(scene: &Scene<'_>, _: &History, symptoms: &mut Vec<Symptom>) {
    for pod in scene.living() {
        for (status, _) in containers(pod) {
            let Some((reason, message)) = waiting(status) else { continue };
            let image = spec_of(pod, &status.name).and_then(|container| container.image.clone());
            let image = image.unwrap_or_else(|| status.image.clone());
            if let Some(symptom) = symptom(scene, pod, &image, (reason, message)) {
                symptoms.push(symptom.on(pod, Some(&status.name)).keyed(image));
            }
        }
    }
}

fn symptom(scene: &Scene<'_>, pod: &Pod, image: &str, (reason, message): (&str, &str)) -> Option<Symptom> {
    let said = text::tidy(message);
    Some(match reason {
        "InvalidImageName" => Symptom::of(&r::BAD_NAME, format!("`{image}` is not the name of an image"))
            .hint("correct the image in the pod template")
            .settles(Settles::Now),
        "ErrImageNeverPull" => {
            Symptom::of(&r::NEVER, format!("`{image}` is not on the node and `imagePullPolicy` is Never"))
                .hint("set `imagePullPolicy: IfNotPresent`")
                .settles(Settles::Now)
        }
        "SignatureValidationFailed" => {
            Symptom::of(&r::SIGNATURE, format!("the signature of `{image}` is not accepted: {said}"))
                .hint("sign the image as the nodes' policy asks")
                .settles(Settles::Now)
        }
        "RegistryUnavailable" => unreachable(scene, image, &said),
        "ImageInspectError" => Symptom::of(&r::INSPECT, format!("the node cannot read `{image}`: {said}"))
            .hint("look at the node's container runtime")
            .settles(Settles::Nodes(2, ONE_NODE)),
        "ErrImagePull" | "ImagePullBackOff" => refused(scene, pod, image, message),
        _ => return None,
    })
}

/// The kubelet keeps the last error in the message, older ones only in an event.
fn refused(scene: &Scene<'_>, pod: &Pod, image: &str, message: &str) -> Symptom {
    let mut words = message.to_owned();
    if text::pull(&words) == Pull::Silent {
        let failed = scene.events_of(pod).filter(|event| event.reason == "Failed");
        let latest = failed.filter(|event| event.message.contains("pull")).max_by_key(|event| event.last);
        words = latest.map_or(words, |event| event.message.clone());
    }
    let said = text::tidy(&words);
    match text::pull(&words) {
        Pull::Absent => absent(scene, image, &said),
        Pull::Denied => denied(scene, pod, image, &said),
        Pull::Platform => Symptom::of(
            &r::PLATFORM,
            format!("`{image}` has no part for the node's platform: {said}"),
        )
        .hint("build the image for the platforms of the nodes, or pin the pods to nodes of its platform")
        .settles(Settles::Now),
        Pull::Untrusted => {
            Symptom::of(&r::UNTRUSTED, format!("the node does not trust the registry of `{image}`: {said}"))
                .hint("give the nodes the certificate of the registry's CA")
                .settles(Settles::Nodes(2, ONE_NODE))
        }
        Pull::Disk => Symptom::of(&r::DISK, format!("the node has no space left for `{image}`: {said}"))
            .hint("free disk space on the node, or let the pods go to others")
            .settles(Settles::Nodes(2, ONE_NODE)),
        Pull::Passing => unreachable(scene, image, &said),
        Pull::Silent => match scene.answers.said(&Question::Image(image.to_owned())) {
            Some(Said::No) => absent(scene, image, &said),
            _ => unreachable(scene, image, &said),
        },
    }
}

fn absent(scene: &Scene<'_>, image: &str, said: &str) -> Symptom {
    let question = Question::Image(image.to_owned());
    let (words, settles) = match scene.answers.said(&question) {
        Some(Said::No) => (format!("`{image}` is not in the registry"), Settles::Now),
        Some(Said::Yes) => {
            let words = format!("the nodes do not find `{image}`, which the registry says it has: {said}");
            // A mirror between them, or a part of the image that is gone: it may still come.
            let symptom = Symptom::of(&r::UNREACHABLE, words);
            return symptom
                .hint("look at the nodes' registry mirror, and push the image again")
                .settles(Settles::After(ONE_NODE))
                .asks(question);
        }
        None => (format!("`{image}` is not found, says the node"), Settles::Never),
        Some(Said::Refused(_) | Said::Unknown(_)) => {
            (format!("`{image}` is not found, says the node: {said}"), Settles::Pods(2, SECOND_TRY))
        }
    };
    Symptom::of(&r::ABSENT, words)
        .hint("push the image, or roll to a digest that the registry has")
        .settles(settles)
        .asks(question)
}

fn denied(scene: &Scene<'_>, pod: &Pod, image: &str, said: &str) -> Symptom {
    let secrets: Vec<String> = pod
        .spec
        .iter()
        .flat_map(|spec| spec.image_pull_secrets.iter().flatten())
        .map(|secret| secret.name.clone())
        .collect();
    let with = match secrets.as_slice() {
        [] => "without a pull secret".to_owned(),
        names => format!("with the pull secrets {}", names.join(", ")),
    };
    let as_pod = Question::Pull { image: image.to_owned(), secrets };
    let as_us = Question::Image(image.to_owned());
    let settles = match (scene.answers.said(&as_pod), scene.answers.said(&as_us)) {
        (Some(Said::Refused(_) | Said::No), _) => Settles::Now,
        // The pod's own credentials work from here, so the registry had a bad moment.
        (Some(Said::Yes), _) => Settles::After(ONE_NODE),
        (Some(Said::Unknown(_)), Some(Said::Refused(_))) => Settles::Now,
        (Some(Said::Unknown(_)), Some(_)) => Settles::Pods(2, SECOND_TRY),
        (None, _) | (_, None) => Settles::Never,
    };
    Symptom::of(&r::DENIED, format!("the registry refuses `{image}` to the pods ({with}): {said}"))
        .hint("give the pods' service account a pull secret that may pull it, or correct the one it has")
        .settles(settles)
        .asks(as_pod)
        .asks(as_us)
}

fn unreachable(scene: &Scene<'_>, image: &str, said: &str) -> Symptom {
    let question = Question::Image(image.to_owned());
    let here = match scene.answers.said(&question) {
        Some(Said::Yes) => "; it answers from here",
        Some(Said::Unknown(_)) => "; it does not answer from here either",
        _ => "",
    };
    Symptom::of(&r::UNREACHABLE, format!("`{image}` cannot be pulled{here}: {said}"))
        .hint("run the same put again when the registry answers")
        .settles(Settles::After(BACK_OFF))
        .asks(question)
}
