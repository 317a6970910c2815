//! Rules about the image (I): whether it can be pulled, started, and left again.

use k8s_openapi::api::core::v1::{Container, Lifecycle, Probe};

use super::capacity::nodes::{self, platform};
use super::facts::{Asked, Facts, Findings, ImageFacts, Rule, Severity};
use super::references::containers;
use crate::image::diff::size;
use crate::image::{Config, Platform};
use crate::registry;

/// How many bytes of new layers nobody notices: every plan says how many there are.
const WORTH_A_WORD: u64 = 1_000_000;
/// How fast a node is taken to pull while nobody has measured it.
const BYTES_PER_SECOND: u64 = 10_000_000;

/// The rules of this file.
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "I101",
        name: "absent",
        severity: Severity::Block,
        when: "the registry does not have the digest",
        fix: "push it first, or give the digest that `image-digest` reported",
    },
    Rule {
        id: "I102",
        name: "denied",
        severity: Severity::Warn,
        when: "the registry denies access to the credentials that the rollout has",
        fix: "set `registry.username` and `registry.password`; the nodes may have credentials of their own",
    },
    Rule {
        id: "I103",
        name: "platform",
        severity: Severity::Block,
        when: "the image has no platform of the nodes that may run it; a warning where it lacks some",
        fix: "build it for the nodes' platforms, or select the nodes that it is for",
    },
    Rule {
        id: "I104",
        name: "other repository",
        severity: Severity::Warn,
        when: "the repository is not the one that the template names",
        fix: "check that the image is the one of this application",
    },
    Rule {
        id: "I105",
        name: "mutable tag",
        severity: Severity::Info,
        when: "the digest was seen under a tag",
        fix: "nothing: the digest is written, never the tag",
    },
    Rule {
        id: "I106",
        name: "never pulled",
        severity: Severity::Block,
        when: "`imagePullPolicy` is `Never`",
        fix: "set `imagePullPolicy: IfNotPresent`",
    },
    Rule {
        id: "I107",
        name: "root",
        severity: Severity::Block,
        when: "`runAsNonRoot` is set and the image's user is root, or a name that the kubelet cannot tell from root",
        fix: "set `runAsUser`, or give the image a numeric user",
    },
    Rule {
        id: "I108",
        name: "no command",
        severity: Severity::Block,
        when: "neither the image nor the container has an entrypoint or a command",
        fix: "set `command` in the container",
    },
    Rule {
        id: "I109",
        name: "pull time",
        severity: Severity::Warn,
        when: "there are layers that the running image does not have; a warning where pulling them takes half of the time that new pods have",
        fix: "raise `wait_until_ready` and `progressDeadlineSeconds`, or pull the image beforehand",
    },
    Rule {
        id: "I110",
        name: "no way back",
        severity: Severity::Warn,
        when: "the registry does not have the image that runs now any more",
        fix: "keep the images that run: a rollback needs them on every node that has not cached them",
    },
    Rule {
        id: "I111",
        name: "no shell",
        severity: Severity::Warn,
        when: "a probe or hook runs a program that an image without a shell does not have",
        fix: "use the native `sleep` hook, or an HTTP, TCP or gRPC probe",
    },
];

/// Lets each rule look.
pub(super) fn inspect(facts: &Facts<'_>, findings: &mut Findings) {
    repository(facts, findings);
    tag(facts, findings);
    never(facts, findings);
    way_back(facts, findings);
    for rule in ["I101", "I103", "I107", "I108", "I109", "I111"] {
        let _ = findings.need(rule, &facts.survey.image);
    }
    for (image, asked) in images(facts) {
        presence(&image, asked, findings);
    }
    if let Some(image) = there(&facts.survey.image) {
        platforms(facts, image, findings);
        pull_time(facts, image, findings);
    }
    for (container, image) in rolled(facts) {
        if let Some(config) = there(image).and_then(|image| image.config.as_ref()) {
            root(facts, config, &container, findings);
            command(config, &container, findings);
            shell(config, &container, findings);
        }
    }
}

/// Returns the new images and what is known of them.
fn images<'a>(facts: &'a Facts<'_>) -> impl Iterator<Item = (String, &'a Asked<ImageFacts>)> {
    let others = facts.survey.other_images.iter().map(|(name, asked)| (name.clone(), asked));
    std::iter::once((facts.order.image.to_string(), &facts.survey.image)).chain(others)
}

/// Returns the containers that get a new image, each with what is known of that.
fn rolled<'a>(facts: &'a Facts<'_>) -> Vec<(Container, &'a Asked<ImageFacts>)> {
    let template = facts.new_template().spec.unwrap_or_default();
    let names: Vec<&str> = facts.snapshot.slots().map(|slot| slot.name).collect();
    let containers = containers(&template).filter(|container| names.contains(&container.name.as_str()));
    let with_image = containers.filter_map(|container| {
        let image = facts.order.image_of(&container.name).to_string();
        let (_, asked) = images(facts).find(|(name, _)| *name == image)?;
        Some((container.clone(), asked))
    });
    with_image.collect()
}

/// Returns what there is to look at.
fn there(asked: &Asked<ImageFacts>) -> Option<&ImageFacts> {
    asked.known().filter(|image| image.exists && !image.denied)
}

fn presence(name: &str, asked: &Asked<ImageFacts>, findings: &mut Findings) {
    let Some(image) = asked.known() else { return };
    if image.denied {
        let words = format!("the registry denies access to `{name}`");
        let hint = "the nodes may have credentials of their own; set `registry.username` and `registry.password` to have it checked";
        findings.add("I102", Severity::Warn, words, hint);
    } else if !image.exists {
        let hint = "push it first, or give the digest that `image-digest` reported";
        findings.add("I101", Severity::Block, format!("`{name}` is not in the registry"), hint);
    }
}

fn platforms(facts: &Facts<'_>, image: &ImageFacts, findings: &mut Findings) {
    let Some(nodes) = findings.need("I103", &facts.survey.nodes) else { return };
    let eligible: Vec<Platform> =
        nodes::eligible(nodes, &facts.new_pod()).into_iter().filter_map(platform).collect();
    if image.platforms.is_empty() || eligible.is_empty() {
        return;
    }
    let runs = |node: &Platform| {
        image.platforms.iter().any(|has| has.os == node.os && has.architecture == node.architecture)
    };
    let (fitting, others): (Vec<Platform>, Vec<Platform>) = eligible.into_iter().partition(runs);
    let Some(other) = others.first() else { return };
    let has: Vec<String> = image.platforms.iter().map(ToString::to_string).collect();
    let all = fitting.len() + others.len();
    let words =
        format!("the image is for {}; {} of {all} eligible nodes are {other}", has.join(", "), others.len());
    let severity = if fitting.is_empty() { Severity::Block } else { Severity::Warn };
    findings.add(
        "I103",
        severity,
        words,
        "build it for the nodes' platforms, or select the nodes that it is for",
    );
}

fn repository(facts: &Facts<'_>, findings: &mut Findings) {
    let current = facts.snapshot.image();
    let name = current.split('@').next().unwrap_or_default();
    let parsed = |name: &str| registry::Repository::parse(registry::split(name).0).ok();
    let (Some(old), Some(new)) = (parsed(name), parsed(&facts.order.image.repository)) else { return };
    if (old.host(), old.path()) != (new.host(), new.path()) {
        let words = format!(
            "changes the repository from `{}` to `{}`",
            registry::split(name).0,
            facts.order.image.repository
        );
        findings.add("I104", Severity::Warn, words, "check that the image is the one of this application");
    }
}

fn tag(facts: &Facts<'_>, findings: &mut Findings) {
    if let Some(tag) = &facts.order.tag {
        let words =
            format!("tag `{tag}` resolved to {}; the digest is set", facts.order.image.digest.short());
        findings.add("I105", Severity::Info, words, "");
    }
}

fn never(facts: &Facts<'_>, findings: &mut Findings) {
    let is_never = |container: &Container| container.image_pull_policy.as_deref() == Some("Never");
    for (container, _) in rolled(facts).into_iter().filter(|(container, _)| is_never(container)) {
        let words = format!(
            "`imagePullPolicy` of container `{}` is `Never`: no node will pull the new image",
            container.name
        );
        findings.add("I106", Severity::Block, words, "set `imagePullPolicy: IfNotPresent`");
    }
}

/// Predicts what the kubelet says as `CreateContainerConfigError`.
fn root(facts: &Facts<'_>, config: &Config, container: &Container, findings: &mut Findings) {
    let spec = facts.new_pod();
    let pod = spec.security_context.as_ref();
    let own = container.security_context.as_ref();
    let non_root = own.and_then(|own| own.run_as_non_root).or(pod.and_then(|pod| pod.run_as_non_root));
    let user = own.and_then(|own| own.run_as_user).or(pod.and_then(|pod| pod.run_as_user));
    let image_user = config.user.split(':').next().unwrap_or_default();
    let problem = match (non_root, user, image_user) {
        (Some(true), Some(0), _) => "`runAsUser` is 0".to_owned(),
        (Some(true), None, "" | "0" | "root") => "the image's user is root".to_owned(),
        (Some(true), None, name) if name.parse::<u64>().is_err() => {
            format!("the image's user `{name}` is a name, which cannot be told from root")
        }
        _ => return,
    };
    let words = format!("the kubelet will refuse to start it: `runAsNonRoot` is set and {problem}");
    findings.add("I107", Severity::Block, words, "set `runAsUser`, or give the image a numeric user");
}

/// Predicts what the runtime says as `CreateContainerError`.
fn command(config: &Config, container: &Container, findings: &mut Findings) {
    let given = [&container.command, &container.args];
    let is_given = given.into_iter().flatten().any(|words| !words.is_empty());
    if config.entrypoint.is_empty() && config.command.is_empty() && !is_given {
        let words =
            format!("nothing to run: neither the image nor container `{}` has a command", container.name);
        findings.add("I108", Severity::Block, words, "set `command` in the container");
    }
}

fn pull_time(facts: &Facts<'_>, image: &ImageFacts, findings: &mut Findings) {
    let Some(running) = findings.need("I109", &facts.survey.running) else { return };
    let is_new = |digest| !running.layers.iter().any(|(known, _)| known == digest);
    let bytes: u64 = image.layers.iter().filter(|(digest, _)| is_new(digest)).map(|(_, size)| size).sum();
    if bytes < WORTH_A_WORD {
        return;
    }
    let seconds = bytes.div_ceil(BYTES_PER_SECOND);
    let words = format!("{} of new layers for each node, {seconds} s at 10 MB/s", size(bytes));
    let spec = facts.snapshot.deployment.spec.as_ref();
    let deadline = spec.and_then(|spec| spec.progress_deadline_seconds).and_then(|it| u64::try_from(it).ok());
    let wait = facts.order.wait.map(|wait| wait.as_secs());
    let patience = [deadline, wait].into_iter().flatten().min().unwrap_or(u64::MAX);
    if seconds > patience / 2 {
        let words = format!("{words}, of the {patience} s that new pods have");
        let hint = "raise `wait_until_ready` and `progressDeadlineSeconds`, or pull the image beforehand";
        findings.add("I109", Severity::Warn, words, hint);
    } else {
        findings.add("I109", Severity::Info, words, "");
    }
}

fn way_back(facts: &Facts<'_>, findings: &mut Findings) {
    let Some(running) = findings.need("I110", &facts.survey.running) else { return };
    if !running.exists && !running.denied {
        let words = format!("no way back: the registry no longer has `{}`", facts.snapshot.image());
        findings.add(
            "I110",
            Severity::Warn,
            words,
            "a rollback works only on nodes that still have it cached",
        );
    }
}

fn shell(config: &Config, container: &Container, findings: &mut Findings) {
    let Some(base) = bare_base(config) else { return };
    for (place, program) in programs(container) {
        let words = format!(
            "{place} of container `{}` runs `{program}`, but the image ({base}) has no shell",
            container.name
        );
        let hint = "use the native `sleep` hook, or an HTTP, TCP or gRPC probe";
        findings.add("I111", Severity::Warn, words, hint);
    }
}

/// Returns the base of an image that is known to have neither a shell nor its tools.
fn bare_base(config: &Config) -> Option<&str> {
    let labels = ["io.buildpacks.stack.id", "io.buildpacks.base.id", "org.opencontainers.image.base.name"];
    let bases = labels.into_iter().filter_map(|label| config.label(label));
    let is_bare = |base: &&str| ["tiny", "static", "distroless"].iter().any(|word| base.contains(word));
    bases.into_iter().find(is_bare)
}

/// Returns what the container's probes and hooks run, where that is a shell or one of its usual tools.
fn programs(container: &Container) -> Vec<(&'static str, String)> {
    let probe = |probe: &Option<Probe>| probe.as_ref().and_then(|it| it.exec.as_ref()?.command.clone());
    let hooks = container.lifecycle.as_ref();
    let pre_stop = |hooks: &Lifecycle| hooks.pre_stop.as_ref()?.exec.as_ref()?.command.clone();
    let post_start = |hooks: &Lifecycle| hooks.post_start.as_ref()?.exec.as_ref()?.command.clone();
    let all = [
        ("livenessProbe", probe(&container.liveness_probe)),
        ("readinessProbe", probe(&container.readiness_probe)),
        ("startupProbe", probe(&container.startup_probe)),
        ("preStop", hooks.and_then(pre_stop)),
        ("postStart", hooks.and_then(post_start)),
    ];
    let named = all.into_iter().filter_map(|(place, command)| Some((place, command?.into_iter().next()?)));
    named.filter(|(_, program)| is_tool(program)).collect()
}

fn is_tool(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or(program);
    ["sh", "bash", "ash", "sleep", "curl", "wget", "nc", "cat", "test", "pgrep", "kill"].contains(&name)
}

#[cfg(test)]
pub(super) mod tests;
