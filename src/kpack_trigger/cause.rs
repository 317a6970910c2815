//! Why a build failed: which step, whose fault, and what to do about it. Only what the infrastructure
//! did is worth another try of the same; the words of a step decide that nowhere but in the steps that
//! do nothing but talk to registries and repositories. Pure.

use k8s_openapi::api::core::v1::Pod;

use crate::kpack::steps::{self, Progress, Step};
use crate::kpack::{Build, one_line};

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A node, a registry or a network: the same may go well next time.
    Infrastructure,
    /// The source, or what its build does.
    Source,
    /// The Image, its builder, its accounts.
    Configuration,
    /// It took longer than the Image allows.
    Time,
}

/// Why a build failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The step; `None` when none of them failed, or there never was a pod.
    pub step: Option<String>,
    /// Whether there was a pod.
    pub had_pod: bool,
    /// Whose fault it is.
    pub class: Class,
    /// kpack's own words, without its frame.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// What went wrong between machines, as Go's libraries say it.
const NETWORK: [&str; 23] = [
    "connection refused",
    "connection reset",
    "i/o timeout",
    "tls handshake timeout",
    "no such host",
    "no route to host",
    "temporary failure in name resolution",
    "context deadline exceeded",
    "unexpected eof",
    "broken pipe",
    "toomanyrequests",
    "too many requests",
    "bad gateway",
    "service unavailable",
    "gateway timeout",
    "internal server error",
    ": eof",
    "server misbehaving",
    "connection timed out",
    "network is unreachable",
    "client connection lost",
    "server closed idle connection",
    "timeout awaiting response headers",
];
/// The reasons for which a node or the cluster takes a pod away.
const TAKEN: [&str; 7] = [
    "Evicted",
    "Preempting",
    "NodeLost",
    "NodeShutdown",
    "Terminated",
    "NodeAffinity",
    "UnexpectedAdmissionError",
];
/// The steps that talk to a registry or a repository and run nobody's code.
const TALKING: [&str; 6] = ["prepare", "analyze", "restore", "export", "rebase", "completion"];

/// A pod that ended although none of its steps failed: nothing but the cluster does that.
const IN_NO_STEP: (Class, &str) = (
    Class::Infrastructure,
    "none of the steps failed: `kubectl get events` may say what ended the build's pod; build again",
);
/// What to do about a source that does not build.
const READ_LOG: &str = "the source does not build: its own words are in the log above";

impl Cause {
    /// Returns the words that go between the build and the message, with a space before them.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.step {
            Some(step) => format!(" in step {step}"),
            None if self.had_pod => String::new(),
            None => " before it had a pod".to_owned(),
        }
    }

    /// Does not send people to a log that was not shown.
    #[must_use]
    pub fn without_log(mut self, build: &Build) -> Self {
        if self.hint == READ_LOG {
            let (pod, step) =
                (build.pod.as_deref().unwrap_or("POD"), self.step.as_deref().unwrap_or_default());
            self.hint =
                format!("the source does not build: read the log with `kubectl logs {pod} -c {step}`");
        }
        self
    }
}

/// Explains the failure of `build`; `pod` is its own, where it may be seen.
#[must_use]
pub fn explain(build: &Build, pod: Option<&Pod>) -> Cause {
    let ended = pod.and_then(steps::failed);
    let is_dismissed = pod.is_some_and(steps::is_dismissed);
    let message = match &ended {
        // kpack repeats the words of the deadline that it set itself.
        Some(Step { name, progress: Progress::Ended { code, .. } }) if is_dismissed => {
            format!("step {name} ended with exit code {code}")
        }
        _ => unframed(&build.condition.message),
    };
    let step = ended.as_ref().map(|step| step.name.clone()).or_else(|| framed_step(&build.condition.message));
    let had_pod = pod.is_some() || build.pod.is_some() || step.is_some();
    let word = pod.and_then(|pod| pod.status.as_ref()?.reason.clone()).unwrap_or_default();
    let of = |class, hint: &str| Cause {
        step: step.clone(),
        had_pod,
        class,
        message: message.clone(),
        hint: hint.to_owned(),
    };
    if TAKEN.contains(&word.as_str()) {
        return of(
            Class::Infrastructure,
            "the cluster took the build's pod away: build again (`retry` does)",
        );
    }
    let is_late = word == "DeadlineExceeded" || message.contains("longer than the specified deadline");
    if is_late && !is_dismissed {
        return of(
            Class::Time,
            "raise `spec.build.buildTimeout` of the Image, or find what the step waited for",
        );
    }
    if let Some(Progress::Ended { code, reason }) = ended.map(|step| step.progress) {
        if reason == "OOMKilled" {
            return of(Class::Configuration, "raise `spec.build.resources.limits.memory` of the Image");
        }
        if reason == "ContainerStatusUnknown" || code == 137 {
            return of(Class::Infrastructure, "somebody or something killed the build's pod: build again");
        }
    }
    let lower = message.to_lowercase();
    let Some(name) = step.as_deref() else {
        let (class, hint) = if had_pod { IN_NO_STEP } else { before_a_pod(&lower) };
        return of(class, hint);
    };
    if TALKING.contains(&name) && NETWORK.iter().any(|words| lower.contains(words)) {
        return of(Class::Infrastructure, "check that the cluster reaches the host that the message names");
    }
    let (class, hint) = in_step(name, &lower);
    of(class, hint)
}

fn before_a_pod(message: &str) -> (Class, &'static str) {
    let hint = if message.contains("serviceaccount") && message.contains("not found") {
        "create the service account, or name another one (`service_account`)"
    } else if message.contains("environment variable name") || message.contains(".env[") {
        "correct the variable's name in `spec.build.env` of the Image"
    } else if message.contains("exceeded quota") {
        "the namespace's quota leaves no room for the build's pod"
    } else if message.contains("unauthorized") || message.contains("manifest_unknown") {
        "let kpack's controller read the builder's image, or make the builder anew"
    } else {
        "kpack refused to make the build's pod: correct in the Image what the message names"
    };
    (Class::Configuration, hint)
}

fn in_step(step: &str, message: &str) -> (Class, &'static str) {
    let has = |words: &str| message.contains(words);
    match step {
        "prepare" if has("write access") => (
            Class::Configuration,
            "let the build's service account push to the Image's tag: a Secret with the registry's credentials",
        ),
        "prepare" if has("remote ref") || has("reference not found") || has("revision") => {
            (Class::Source, "set `revision` to a commit, a branch or a tag of the repository")
        }
        "prepare" if has("exact sha1") => (
            Class::Configuration,
            "let the Git server hand out single commits (`uploadpack.allowReachableSHA1InWant`)",
        ),
        "prepare" if has("repository") || has("authentication") || has("clone") => (
            Class::Configuration,
            "check the repository's URL and the Git Secret of the build's service account",
        ),
        "prepare" => {
            (Class::Configuration, "check the source, and the Secrets of the build's service account")
        }
        "detect" => (
            Class::Source,
            "no group of the builder's buildpacks takes this source: check `subPath`, or add a buildpack to its order",
        ),
        "build" => (Class::Source, READ_LOG),
        "analyze" | "restore" => {
            (Class::Configuration, "let the build's service account pull the Image's tag and the run image")
        }
        "export" => (Class::Configuration, "let the build's service account push to every tag of the Image"),
        "rebase" => (
            Class::Configuration,
            "let the build's service account read the run image; `trigger: true` builds from the source instead",
        ),
        _ => (Class::Configuration, "the image is pushed and not signed: check the Secrets for signing"),
    }
}

/// Returns the message without `Error: Container … terminated with error` and the advice to use kubectl.
fn unframed(message: &str) -> String {
    let message = one_line(message);
    let inner = message.split_once("terminated with error").map_or(message.as_str(), |(_, inner)| inner);
    let inner = inner.split_once(": For more info use `kubectl").map_or(inner, |(inner, _)| inner);
    let inner = inner.trim();
    if inner.is_empty() { message.clone() } else { inner.to_owned() }
}

fn framed_step(message: &str) -> Option<String> {
    let (before, _) = message.split_once(" terminated with error")?;
    let (_, step) = before.rsplit_once("Container ")?;
    Some(step.to_owned())
}

#[cfg(test)]
mod tests;
