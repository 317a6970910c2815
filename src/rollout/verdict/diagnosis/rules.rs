//! The catalogue of what makes a rollout hopeless. The ids are stable across versions; pipelines and
//! people look them up.

use super::Class;

/// One rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The id, stable across versions.
    pub id: &'static str,
    /// A short name.
    pub name: &'static str,
    /// Who has to act.
    pub class: Class,
    /// When it speaks, in one clause.
    pub when: &'static str,
    /// How long it waits before it is final.
    pub patience: &'static str,
    /// Whose word settles it.
    pub decides: &'static str,
}

/// Returns the catalogue, in the order of the ids.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    RULES.iter().copied()
}

const fn rule(
    names: [&'static str; 2],
    class: Class,
    when: &'static str,
    settled: [&'static str; 2],
) -> Rule {
    let ([id, name], [patience, decides]) = (names, settled);
    Rule { id, name, class, when, patience, decides }
}

// F1xx: the image cannot be had.
/// The node says not found and the registry says 404.
pub const ABSENT: Rule = rule(
    ["F101", "image-absent"],
    Class::Template,
    "the node says not found and the registry says 404",
    ["none", "the registry"],
);
/// The node gets 401 or 403 and the pull secrets of the pod get it too.
pub const DENIED: Rule = rule(
    ["F102", "image-denied"],
    Class::Template,
    "the node gets 401 or 403 and the pull secrets of the pod get it too",
    ["none; 2 pods or 15 s where nobody can ask", "the registry, with the pod's own pull secrets"],
);
/// The image has no part for the node's platform.
pub const PLATFORM: Rule = rule(
    ["F103", "image-platform"],
    Class::Template,
    "the image has no part for the node's platform",
    ["none", "the node's runtime"],
);
/// The node does not accept the registry's certificate or protocol.
pub const UNTRUSTED: Rule = rule(
    ["F104", "registry-untrusted"],
    Class::Node,
    "the node does not accept the registry's certificate or protocol",
    ["2 nodes or 60 s", "a second node"],
);
/// The registry answers 429 or 5xx, or not at all.
pub const UNREACHABLE: Rule = rule(
    ["F105", "registry-unreachable"],
    Class::Registry,
    "the registry answers 429 or 5xx, or not at all",
    ["120 s of back-off", "time"],
);
/// `InvalidImageName`.
pub const BAD_NAME: Rule =
    rule(["F106", "image-name"], Class::Template, "`InvalidImageName`", ["none", "the kubelet"]);
/// `ErrImageNeverPull`: the policy forbids to pull and the node has no copy.
pub const NEVER: Rule = rule(
    ["F107", "image-never"],
    Class::Template,
    "`ErrImageNeverPull`: the policy forbids to pull and the node has no copy",
    ["none", "the kubelet"],
);
/// `SignatureValidationFailed`.
pub const SIGNATURE: Rule =
    rule(["F108", "image-signature"], Class::Policy, "`SignatureValidationFailed`", ["none", "the runtime"]);
/// `ImageInspectError`.
pub const INSPECT: Rule =
    rule(["F109", "image-inspect"], Class::Node, "`ImageInspectError`", ["2 nodes or 60 s", "a second node"]);
/// No space left on the node for the image.
pub const DISK: Rule = rule(
    ["F110", "node-disk"],
    Class::Node,
    "no space left on the node for the image",
    ["2 nodes or 60 s", "a second node"],
);
/// A pod runs a digest that is not the image's.
pub const OTHER: Rule = rule(
    ["F111", "image-other"],
    Class::Policy,
    "a pod runs a digest that the registry does not count to the image",
    ["5 s; `wait_until_ready` where the registry does not say", "the registry"],
);

// F2xx: the container cannot be made or started.
/// A secret, config map or key that a container names is not there.
pub const REFERENCE: Rule = rule(
    ["F201", "reference-missing"],
    Class::Template,
    "a secret, config map or key that a container names is not there",
    ["10 s after the API server confirmed it; 20 s where nobody may ask", "the API server"],
);
/// `runAsNonRoot` and the image's user is root or not a number.
pub const ROOT: Rule = rule(
    ["F202", "run-as-root"],
    Class::Template,
    "`runAsNonRoot` and the image's user is root or not a number",
    ["none", "the kubelet"],
);
/// `CreateContainerConfigError` for another reason.
pub const CONFIG: Rule = rule(
    ["F203", "container-config"],
    Class::Template,
    "`CreateContainerConfigError` for another reason",
    ["60 s", "time"],
);
/// `CreateContainerError`: no command, or an invalid specification.
pub const CREATE: Rule = rule(
    ["F204", "container-create"],
    Class::Template,
    "`CreateContainerError`: no command, or an invalid specification",
    ["none for these; 2 pods or 60 s for others", "the runtime"],
);
/// The command is not in the image, or may not be run.
pub const COMMAND: Rule = rule(
    ["F205", "command"],
    Class::Template,
    "the command is not in the image, or may not be run",
    ["none", "the runtime"],
);
/// `exec format error`: built for another processor, or no program.
pub const FORMAT: Rule = rule(
    ["F206", "exec-format"],
    Class::Template,
    "`exec format error`: built for another processor, or no program",
    ["none", "the runtime, or the log of a container that ends at once"],
);
/// A hook of the container fails.
pub const HOOK: Rule = rule(
    ["F207", "hook"],
    Class::App,
    "a hook of the container fails",
    ["the second time, or 2 pods", "repetition"],
);
/// The container does not start for another reason.
pub const START: Rule = rule(
    ["F208", "container-start"],
    Class::Node,
    "the container does not start for another reason",
    ["the second time, or 2 pods", "repetition"],
);

// F3xx: the application ends.
/// A container ends with the same signature: container, exit code, reason, message.
pub const CRASH: Rule = rule(
    ["F301", "crash"],
    Class::App,
    "a container ends with the same signature: container, exit code, reason, message",
    ["the second time in a pod, or 2 pods; once more where the old pods did the same", "repetition"],
);
/// `OOMKilled`.
pub const OOM: Rule = rule(
    ["F302", "out-of-memory"],
    Class::App,
    "`OOMKilled`",
    [
        "the second time in a pod, or 2 pods; the first where the limit is lower than the old pods'",
        "repetition",
    ],
);
/// A container that should stay ends with exit code 0.
pub const EXITS: Rule = rule(
    ["F303", "exits"],
    Class::App,
    "a container that should stay ends with exit code 0",
    ["the second time in a pod, or 2 pods", "repetition"],
);
/// An init container fails.
pub const INIT: Rule = rule(
    ["F304", "init-crash"],
    Class::App,
    "an init container fails",
    ["the second time in a pod, or 2 pods", "repetition"],
);
/// The startup probe has the container killed.
pub const STARTUP: Rule = rule(
    ["F305", "startup-kill"],
    Class::App,
    "the startup probe has the container killed",
    ["the second time in a pod, or 2 pods", "repetition"],
);
/// The liveness probe has the container killed.
pub const LIVENESS: Rule = rule(
    ["F306", "liveness-kill"],
    Class::App,
    "the liveness probe has the container killed",
    ["the second time in a pod, or 2 pods", "repetition"],
);
/// In the settle window 2 new pods lose their readiness, or one does twice.
pub const FLAPPING: Rule = rule(
    ["F307", "flapping"],
    Class::App,
    "in the settle window 2 new pods lose their readiness, or one does twice; in a canary, one does",
    ["none", "repetition"],
);

/// A new pod restarts while it is watched.
pub const RESTARTS: Rule = rule(
    ["F308", "restart"],
    Class::App,
    "a new pod restarts after all served, until they have held still for `settle` and the old ones are gone; or while a canary is watched",
    ["none", "the kubelet"],
);
/// The probe's requests fail.
pub const REQUESTS: Rule = rule(
    ["F309", "requests"],
    Class::App,
    "since new pods serve, more than 1 % and at least 5 of the probe's requests fail, or 5 in a row",
    ["none", "the probe"],
);
/// A request fails while a canary is watched.
pub const CANARY_REQUEST: Rule = rule(
    ["F310", "canary-request"],
    Class::App,
    "one of the probe's requests fails while a canary is watched",
    ["none", "the probe"],
);
/// A metric is out of bounds while a canary is watched.
pub const CANARY_METRIC: Rule = rule(
    ["F311", "canary-metric"],
    Class::App,
    "a metric is out of its bounds while a canary is watched",
    ["none", "Prometheus"],
);
/// A metric has no value, or cannot be asked, when a canary has been watched.
pub const CANARY_BLIND: Rule = rule(
    ["F312", "canary-blind"],
    Class::External,
    "a metric has no value, or cannot be asked, at the end of a canary",
    ["the hold", "Prometheus"],
);

// F4xx: a node or a volume.
/// A volume's object or key is not there.
pub const MOUNT_REFERENCE: Rule = rule(
    ["F401", "mount-reference"],
    Class::Template,
    "a volume's object or key is not there",
    ["10 s after the API server confirmed it; 20 s where nobody may ask", "the API server"],
);
/// A volume cannot be mounted.
pub const MOUNT: Rule = rule(
    ["F402", "mount"],
    Class::Node,
    "a volume cannot be mounted",
    ["2 nodes and 30 s, or 120 s, also where nobody says why", "time"],
);
/// The pod's sandbox or network cannot be made.
pub const SANDBOX: Rule = rule(
    ["F403", "sandbox"],
    Class::Node,
    "the pod's sandbox or network cannot be made",
    ["2 nodes and 15 s, or 60 s; 90 s where nobody says why", "time"],
);
/// The kubelet rejects or evicts pods for one reason.
pub const ENDED: Rule = rule(
    ["F404", "pods-failed"],
    Class::Node,
    "the kubelet rejects or evicts pods for one reason",
    ["more pods than wanted, at least 3; 2 pods on every node that takes them", "repetition"],
);

// F5xx: no room.
/// A quota is full, no old pod may go first, and none is going.
pub const QUOTA: Rule = rule(
    ["F501", "quota"],
    Class::Capacity,
    "a quota is full, no old pod may go first, and none is going",
    ["none once a trial pod is refused too; 5 s where nobody may try", "the API server"],
);
/// The old pods keep the new one from its node, no old pod may go first, and none is going.
pub const DEADLOCK: Rule = rule(
    ["F502", "deadlock"],
    Class::Capacity,
    "the old pods keep the new one from its node, no old pod may go first, and none is going",
    ["none where nothing adds nodes; 15 s where that is not known; 300 s otherwise", "proof"],
);
/// No node takes the pod.
pub const UNSCHEDULABLE: Rule = rule(
    ["F503", "unschedulable"],
    Class::Capacity,
    "no node takes the pod",
    ["60 s; 300 s where nodes are added; none once the autoscaler declined twice", "the autoscaler, or time"],
);
/// An old pod holds the volume, and it may not go first.
pub const ATTACHED: Rule = rule(
    ["F504", "volume-attached"],
    Class::Capacity,
    "an old pod holds the volume, and it may not go first",
    ["none", "proof"],
);
/// A scheduling gate stays on the pod.
pub const GATED: Rule =
    rule(["F505", "scheduling-gated"], Class::Policy, "a scheduling gate stays on the pod", ["60 s", "time"]);
/// The scheduler fails.
pub const SCHEDULER: Rule =
    rule(["F506", "scheduler-error"], Class::Capacity, "the scheduler fails", ["60 s", "time"]);

// F6xx: pods are not admitted.
/// The service account or priority class of the pods is not there.
pub const ADMISSION_REFERENCE: Rule = rule(
    ["F601", "admission-reference"],
    Class::Template,
    "the service account or priority class of the pods is not there",
    ["none once confirmed; 5 s where nobody may ask", "the API server"],
);
/// The namespace's pod security level forbids the pod.
pub const POD_SECURITY: Rule = rule(
    ["F602", "pod-security"],
    Class::Policy,
    "the namespace's pod security level forbids the pod",
    ["none once a trial pod is refused too; 5 s where nobody may try", "the API server"],
);
/// An admission webhook or policy denies the pod.
pub const WEBHOOK: Rule = rule(
    ["F603", "webhook-denied"],
    Class::Policy,
    "an admission webhook or policy denies the pod",
    ["none once a trial pod is refused too; 5 s where nobody may try", "the API server"],
);
/// An admission webhook cannot be called.
pub const WEBHOOK_DOWN: Rule =
    rule(["F604", "webhook-down"], Class::Policy, "an admission webhook cannot be called", ["30 s", "time"]);
/// The pod is not valid.
pub const INVALID: Rule = rule(
    ["F605", "pod-invalid"],
    Class::Template,
    "the pod is not valid",
    ["none once a trial pod is refused too; 5 s where nobody may try", "the API server"],
);
/// The pod is forbidden for another reason.
pub const FORBIDDEN: Rule = rule(
    ["F606", "pod-forbidden"],
    Class::Policy,
    "the pod is forbidden for another reason",
    ["none once a trial pod is refused too; 5 s where nobody may try", "the API server"],
);
/// `ReplicaSetCreateError`.
pub const SET: Rule =
    rule(["F607", "set-create"], Class::Policy, "`ReplicaSetCreateError`", ["30 s", "time"]);
/// Pods are not created for another reason, or are refused to the controller alone.
pub const NOT_CREATED: Rule = rule(
    ["F608", "pod-create"],
    Class::Policy,
    "pods are not created for another reason, or are refused to the controller alone",
    ["60 s", "time"],
);

// F7xx: somebody else acted.
/// The template holds another image than the one written.
pub const SUPERSEDED: Rule = rule(
    ["F701", "superseded"],
    Class::External,
    "the template holds another image than the one written",
    ["none", "the rollout loop"],
);
/// The image from before is back, and not by us.
pub const REVERTED: Rule = rule(
    ["F702", "reverted"],
    Class::External,
    "the image from before is back, and not by us",
    ["none", "the rollout loop"],
);
/// The workload was deleted or made anew.
pub const GONE: Rule = rule(
    ["F703", "gone"],
    Class::External,
    "the workload was deleted or made anew",
    ["none", "the rollout loop"],
);
/// The workload was paused.
pub const PAUSED: Rule = rule(
    ["F704", "paused"],
    Class::External,
    "the workload was paused",
    ["the clocks stop", "the rollout loop"],
);

// F8xx: time is over.
/// `wait_until_ready` is over and nothing else is known.
pub const LATE: Rule = rule(
    ["F801", "late"],
    Class::Time,
    "`wait_until_ready` is over and nothing else is known",
    ["as asked", "the rollout loop"],
);

/// No new pod was ever ready though its containers run.
pub const NEVER_READY: Rule = rule(
    ["F802", "never-ready"],
    Class::Time,
    "no new pod was ever ready though its containers run",
    [
        "three times what the old pods took, or three times what the probe allows, at least 60 s; at least `wait_until_ready` where it is set",
        "what was learned from the old pods",
    ],
);
/// A readiness gate stays closed though the containers are ready.
pub const GATE: Rule = rule(
    ["F803", "readiness-gate"],
    Class::Time,
    "a readiness gate stays closed though the containers are ready",
    ["120 s", "time"],
);
/// `ProgressDeadlineExceeded`.
pub const DEADLINE: Rule = rule(
    ["F804", "progress-deadline"],
    Class::Time,
    "`ProgressDeadlineExceeded`",
    ["none; the controller goes on trying", "the controller"],
);

// F9xx: nothing is known.
/// The API server was out of sight.
pub const LOST: Rule = rule(
    ["F901", "api-lost"],
    Class::External,
    "the API server was out of sight",
    ["60 s; the outcome is unknown, not failed", "the rollout loop"],
);

const RULES: &[&Rule] = &[
    &ABSENT,
    &DENIED,
    &PLATFORM,
    &UNTRUSTED,
    &UNREACHABLE,
    &BAD_NAME,
    &NEVER,
    &SIGNATURE,
    &INSPECT,
    &DISK,
    &OTHER,
    &REFERENCE,
    &ROOT,
    &CONFIG,
    &CREATE,
    &COMMAND,
    &FORMAT,
    &HOOK,
    &START,
    &CRASH,
    &OOM,
    &EXITS,
    &INIT,
    &STARTUP,
    &LIVENESS,
    &FLAPPING,
    &RESTARTS,
    &REQUESTS,
    &CANARY_REQUEST,
    &CANARY_METRIC,
    &CANARY_BLIND,
    &MOUNT_REFERENCE,
    &MOUNT,
    &SANDBOX,
    &ENDED,
    &QUOTA,
    &DEADLOCK,
    &UNSCHEDULABLE,
    &ATTACHED,
    &GATED,
    &SCHEDULER,
    &ADMISSION_REFERENCE,
    &POD_SECURITY,
    &WEBHOOK,
    &WEBHOOK_DOWN,
    &INVALID,
    &FORBIDDEN,
    &SET,
    &NOT_CREATED,
    &SUPERSEDED,
    &REVERTED,
    &GONE,
    &PAUSED,
    &LATE,
    &NEVER_READY,
    &GATE,
    &DEADLINE,
    &LOST,
];
