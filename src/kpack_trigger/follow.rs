//! How a build that is watched stands, and what is worth saying about it. A build is known by its uid:
//! kpack gives the name of a deleted build again, and judges the new one by the old one's pod. Pure.

use k8s_openapi::api::core::v1::Pod;

use crate::kpack::steps::{Stuck, belongs_to, stuck};
use crate::kpack::{Build, State};

/// How it stands.
#[derive(Clone, Debug)]
pub enum Standing {
    /// No verdict yet.
    Running(Box<Build>),
    /// It has published an image.
    Succeeded(Box<Build>),
    /// It failed.
    Failed(Box<Build>),
    /// It has a verdict that is of another build's pod.
    Phantom(Box<Build>),
    /// It was deleted.
    Deleted {
        /// Whether another build has its name now.
        again: bool,
    },
}

/// Returns how the build `followed` stands.
#[must_use]
pub fn standing(followed: &Build, builds: &[Build], pods: &[Pod]) -> Standing {
    let Some(build) = builds.iter().find(|build| build.uid == followed.uid) else {
        return Standing::Deleted { again: builds.iter().any(|build| build.name == followed.name) };
    };
    let found = Box::new(build.clone());
    if build.state != State::Running && is_phantom(build, pods) {
        return Standing::Phantom(found);
    }
    match build.state {
        State::Running => Standing::Running(found),
        State::Succeeded => Standing::Succeeded(found),
        State::Failed => Standing::Failed(found),
    }
}

fn is_phantom(build: &Build, pods: &[Pod]) -> bool {
    let named = pods.iter().find(|pod| pod.metadata.name.is_some() && pod.metadata.name == build.pod);
    named.is_some_and(|pod| !belongs_to(pod, &build.uid)) && own_pod(build, pods).is_none()
}

/// Returns the build's own pod.
#[must_use]
pub fn own_pod<'a>(build: &Build, pods: &'a [Pod]) -> Option<&'a Pod> {
    pods.iter().find(|pod| belongs_to(pod, &build.uid))
}

/// Returns what keeps a running build from going on.
#[must_use]
pub fn trouble(build: &Build, pods: &[Pod]) -> Option<Stuck> {
    if let Some(why) = own_pod(build, pods).and_then(stuck) {
        return Some(why);
    }
    // Without a right to see pods, the Build itself tells, if less.
    let condition = &build.condition;
    let is_usual = matches!(condition.reason.as_str(), "" | "PodInitializing" | "ContainerCreating");
    (build.state == State::Running && !is_usual).then(|| Stuck::NoStart(condition.words()))
}

#[cfg(test)]
mod tests;
