//! Pods that the kubelet rejects or evicts. Their controller makes new ones; only many of them mean
//! that the template fits no node.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;

use super::History;
use super::rules as r;
use super::scene::{Scene, is_disrupted};
use super::symptom::{Settles, Symptom};
use super::text;

/// One pod may meet a bad moment even where there is only one node.
const AGAIN: usize = 2;

pub(super) fn inspect(scene: &Scene<'_>, history: &History, symptoms: &mut Vec<Symptom>) {
    let mut by_reason: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
    for pod in scene.new.iter().copied().filter(|pod| !history.is_past(pod)) {
        let Some(status) = pod.status.as_ref().filter(|status| status.phase.as_deref() == Some("Failed"))
        else {
            continue;
        };
        let reason = status.reason.as_deref().unwrap_or("Failed");
        // A drain, a preemption or a node that goes down is somebody else's doing; an eviction for
        // what the pod itself uses is marked in the same way and is ours.
        if is_disrupted(pod) && reason != "Evicted" {
            continue;
        }
        by_reason.entry(reason).or_default().push(pod);
    }
    for (reason, pods) in by_reason {
        let is_many = pods.len() > scene.wanted.max(3);
        let places: BTreeSet<&str> =
            pods.iter().filter_map(|pod| pod.spec.as_ref()?.node_name.as_deref()).collect();
        let is_everywhere =
            pods.len() >= AGAIN && scene.nodes.is_some_and(|nodes| nodes > 0 && places.len() >= nodes);
        let place = if is_everywhere { " on every node that takes them" } else { "" };
        for pod in &pods {
            let message =
                pod.status.as_ref().and_then(|status| status.message.as_deref()).unwrap_or_default();
            let words = format!("{} pods ended with {reason}{place}: {}", pods.len(), text::tidy(message));
            let symptom = Symptom::of(&r::ENDED, words)
                .keyed(reason)
                .hint("look at what the pod asks for and what its nodes have")
                .settles(if is_many || is_everywhere { Settles::Now } else { Settles::Never });
            symptoms.push(symptom.on(pod, None));
        }
    }
}
