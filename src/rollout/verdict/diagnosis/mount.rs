//! Volumes that are not mounted and sandboxes that are not made. Only events tell of these.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Volume};

use super::rules as r;
use super::scene::{Notice, Object, Question, Said, Scene, age, condition, containers, waiting};
use super::symptom::{Settles, Symptom};
use super::{History, start, text};

const MOUNT: Duration = Duration::from_secs(120);
const MOUNT_ON_TWO: Duration = Duration::from_secs(30);
const SANDBOX: Duration = Duration::from_secs(60);
/// How long a pod may wait for its volumes in silence. Kubelets are at times slow to say why, or say it
/// where we may not listen; the objects themselves can be asked for.
const UNHEARD: Duration = Duration::from_secs(2);
/// How long a node may take to set a pod up before its silence is suspicious.
const SILENT: Duration = Duration::from_secs(30);
const SANDBOX_ON_TWO: Duration = Duration::from_secs(15);

pub(super) fn inspect(scene: &Scene<'_>, _: &History, symptoms: &mut Vec<Symptom>) {
    let mut found = Vec::new();
    for pod in scene.living().filter(|pod| is_waiting_for_its_node(pod)) {
        let latest = |reasons: &[&str]| {
            let about = scene.events_of(pod).filter(|event| reasons.contains(&event.reason.as_str()));
            about.max_by_key(|event| event.last)
        };
        let mount = latest(&["FailedMount", "FailedAttachVolume", "FailedMapVolume"]);
        let sandbox = latest(&["FailedCreatePodSandBox", "NetworkNotReady"]);
        let has_sandbox =
            condition(pod, "PodReadyToStartContainers").is_some_and(|ready| ready.status == "True");
        if mount.is_none() && !has_sandbox && waits(scene, pod) >= UNHEARD {
            found.extend(unheard(scene, pod));
        }
        if mount.is_none() && sandbox.is_none() && is_not_set_up(pod) && waits(scene, pod) >= SILENT {
            found.push(silent(pod).on(pod, None));
        }
        found.extend(mount.map(|event| volume(scene, pod, event).on(pod, None)));
        found.extend(sandbox.filter(|_| !has_sandbox).map(|event| {
            Symptom::of(
                &r::SANDBOX,
                format!("the node cannot set the pod up: {}", text::tidy(&event.message)),
            )
            .hint("look at the node's runtime and network plugin, or cordon the node")
            .settles(Settles::After(SANDBOX))
            .on(pod, None)
        }));
    }
    symptoms.extend(sooner_on_two_nodes(found));
}

/// The kubelet itself says that it is not ready with the pod's volumes and sandbox.
fn is_not_set_up(pod: &Pod) -> bool {
    condition(pod, "PodReadyToStartContainers").is_some_and(|ready| ready.status == "False")
}

/// A pod that is not set up without a word about it: events may be hidden from us, or late.
fn silent(pod: &Pod) -> Symptom {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    // Everything else has to be brought to the node first.
    let is_made_on_the_node = |volume: &Volume| {
        let is_written = volume.config_map.is_some() || volume.secret.is_some() || volume.projected.is_some();
        is_written
            || volume.empty_dir.is_some()
            || volume.downward_api.is_some()
            || volume.host_path.is_some()
    };
    let words = "the node has not set the pod up and does not say why";
    if !volumes.into_iter().all(is_made_on_the_node) {
        return Symptom::of(&r::MOUNT, format!("{words}: its volumes may not be attached"))
            .hint("look at the pod's events, the volume's driver and the node")
            .settles(Settles::After(MOUNT - SILENT));
    }
    Symptom::of(&r::SANDBOX, words)
        .hint("look at the pod's events, and at the node's runtime and network plugin")
        .settles(Settles::After(SANDBOX))
}

fn waits(scene: &Scene<'_>, pod: &Pod) -> Duration {
    let since = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    since.map_or(Duration::ZERO, |since| age(scene.now, since.0))
}

/// Objects that the pod's volumes are made from, of which nobody has said anything: the API server is
/// asked, and one that is not there is told.
fn unheard(scene: &Scene<'_>, pod: &Pod) -> Vec<Symptom> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let objects = volumes.filter_map(|volume| match (&volume.secret, &volume.config_map) {
        (Some(secret), _) if secret.optional != Some(true) => {
            Some(text::object("secret", secret.secret_name.as_deref()?, None))
        }
        (_, Some(map)) if map.optional != Some(true) => Some(text::object("configmap", &map.name, None)),
        _ => None,
    });
    let asked = |object: Object| match scene.answers.to(&Question::Object(object.clone())).map(|it| &it.said)
    {
        Some(Said::No) => Some(start::missing(scene, &r::MOUNT_REFERENCE, object)),
        Some(_) => None,
        None => Some(
            Symptom::of(&r::MOUNT_REFERENCE, format!("the pod waits for its volumes: is {object} there?"))
                .asks(Question::Object(object)),
        ),
    };
    objects.filter_map(asked).map(|symptom| symptom.on(pod, None)).collect()
}

/// A fault that two nodes show is less likely to be a hiccup of one.
fn sooner_on_two_nodes(found: Vec<Symptom>) -> Vec<Symptom> {
    let nodes = |id: &str| {
        let alike = found.iter().filter(|symptom| symptom.rule.id == id);
        let nodes = alike.filter_map(|symptom| symptom.pod.as_ref().and_then(|(.., node)| node.clone()));
        nodes.collect::<std::collections::BTreeSet<_>>().len()
    };
    let (mounts, sandboxes) = (nodes(r::MOUNT.id), nodes(r::SANDBOX.id));
    let sooner = |symptom: Symptom| match symptom.rule.id {
        id if id == r::MOUNT.id && mounts >= 2 => symptom.settles(Settles::After(MOUNT_ON_TWO)),
        id if id == r::SANDBOX.id && sandboxes >= 2 => symptom.settles(Settles::After(SANDBOX_ON_TWO)),
        _ => symptom,
    };
    found.into_iter().map(sooner).collect()
}

/// No container of it has been made yet.
fn is_waiting_for_its_node(pod: &Pod) -> bool {
    let is_on_a_node = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    let statuses: Vec<_> = containers(pod).collect();
    let is_pending = |(status, _): &(&_, _)| {
        waiting(status).is_some_and(|(reason, _)| matches!(reason, "ContainerCreating" | "PodInitializing"))
    };
    is_on_a_node && statuses.iter().all(is_pending)
}

fn volume(scene: &Scene<'_>, pod: &Pod, event: &Notice) -> Symptom {
    let message = event.message.as_str();
    let said = text::tidy(message);
    // The kubelet has not seen the object yet, which says nothing about the object.
    if message.contains("failed to sync") {
        return Symptom::of(&r::MOUNT, format!("a volume waits for its object: {said}"));
    }
    if let Some(object) = text::missing(message).or_else(|| missing_key(pod, message)) {
        return start::missing(scene, &r::MOUNT_REFERENCE, object);
    }
    let symptom = Symptom::of(&r::MOUNT, format!("a volume cannot be mounted: {said}"));
    let symptom = symptom.hint("look at the volume's driver and at the node");
    if !message.contains("Multi-Attach") {
        return symptom.settles(Settles::After(MOUNT));
    }
    let held_by_ours = scene.staying().any(|old| {
        old.metadata.name.as_deref().is_some_and(|name| message.contains(name)) || shares_a_claim(pod, old)
    });
    if held_by_ours && scene.unavailable == 0 && !scene.is_making_room() {
        return Symptom::of(
            &r::ATTACHED,
            format!("deadlock: an old pod holds the volume and may not go first: {said}"),
        )
        .hint("a volume for one node needs strategy Recreate, or a claim that several nodes may use")
        .settles(Settles::Now);
    }
    symptom.settles(Settles::After(MOUNT))
}

fn shares_a_claim(one: &Pod, other: &Pod) -> bool {
    let claims = |pod: &Pod| -> Vec<String> {
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        volumes
            .filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.clone()))
            .collect()
    };
    let others = claims(other);
    claims(one).iter().any(|claim| others.contains(claim))
}

/// `MountVolume.SetUp failed for volume "v" : references non-existent secret key: k` names the volume
/// and not the object; the pod says which object that is.
fn missing_key(pod: &Pod, message: &str) -> Option<Object> {
    let volume = text::between(message, "for volume \"", "\"")?;
    let (_, rest) = message.split_once("references non-existent ")?;
    let key = rest.split_once("key: ")?.1.split_whitespace().next()?;
    let volumes = pod.spec.as_ref()?.volumes.as_deref()?;
    let volume = volumes.iter().find(|known| known.name == volume)?;
    if let Some(secret) = volume.secret.as_ref().and_then(|secret| secret.secret_name.as_deref()) {
        return Some(text::object("secret", secret, Some(key)));
    }
    let map = volume.config_map.as_ref()?;
    Some(text::object("configmap", &map.name, Some(key)))
}
