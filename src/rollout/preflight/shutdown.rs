//! Rules about how old pods end (D). That is written in the pods that run now: a hook in the template
//! protects the next rollout, so what is amiss only there is information.

use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod, PodSpec};

use super::facts::Severity::{Info, Warn};
use super::facts::{Facts, Findings, Rule, Severity, Trial};
use super::words::pods;
use crate::rollout::annotations::DRAINS;
use crate::rollout::observe::{annotation, is_detached};
use crate::rollout::plan::drain::{Way, shutdown};
use crate::rollout::{Drain, Order};

/// The first server that has the native sleep.
const NATIVE_SLEEP: (u32, u32) = (1, 30);
/// What the kubelet leaves for SIGTERM itself.
const LEAST_GRACE: u64 = 2;

/// The rules of this file.
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "D401",
        name: "no drain",
        severity: Warn,
        when: "a serving container of the pods that run has no preStop hook, and the pod no `rollway.dev/drains`; info where the drain is detached or nothing sends traffic",
        fix: "`drain: detached` for this rollout; a preStop sleep in the template for the next ones",
    },
    Rule {
        id: "D402",
        name: "short drain",
        severity: Warn,
        when: "the pods that run go on serving for less than `drain_wait`; info as D401",
        fix: "as D401, with a longer sleep",
    },
    Rule {
        id: "D403",
        name: "exec hook",
        severity: Warn,
        when: "a preStop hook runs a command of the image on a server that has the native sleep (1.30); info as D401",
        fix: "`preStop: {sleep: {seconds: N}}`, which needs nothing from the image",
    },
    Rule {
        id: "D404",
        name: "grace",
        severity: Warn,
        when: "terminationGracePeriodSeconds is shorter than the preStop hook, the app's own drain and 2 s; info where the drain is detached",
        fix: "raise terminationGracePeriodSeconds to the number in the message",
    },
    Rule {
        id: "D405",
        name: "next time",
        severity: Info,
        when: "the template has a preStop hook that the pods that run do not have",
        fix: "nothing: it protects the next rollout",
    },
    Rule {
        id: "D406",
        name: "sidecar",
        severity: Warn,
        when: "istio-proxy or linkerd-proxy runs as an ordinary container and is not told to wait for the application; info where the drain is detached",
        fix: "native sidecars, EXIT_ON_ZERO_ACTIVE_CONNECTIONS (Istio), or proxy-wait-before-exit-seconds (Linkerd)",
    },
    Rule {
        id: "D407",
        name: "sleep version",
        severity: Warn,
        when: "the template has a native sleep and the server is older than 1.30, or drops it from the pod",
        fix: "a preStop hook that runs `sleep`, until the server is newer",
    },
];

/// Lets each rule look.
pub(super) fn inspect(facts: &Facts<'_>, findings: &mut Findings) {
    let template = facts.new_template();
    let new = Pod { metadata: template.metadata.unwrap_or_default(), spec: template.spec, status: None };
    let pair = Pair { facts, old: facts.snapshot.own_pods().filter(|pod| !is_detached(pod)).collect(), new };
    no_drain(&pair, findings);
    short_drain(&pair, findings);
    exec_hook(&pair, findings);
    grace(&pair, findings);
    next_time(&pair, findings);
    sidecar(&pair, findings);
    sleep_version(&pair, findings);
}

/// The pods that will end, and what those that replace them will be.
struct Pair<'a> {
    facts: &'a Facts<'a>,
    old: Vec<&'a Pod>,
    new: Pod,
}

/// What one rule is about.
struct Matter<'a> {
    rule: &'static str,
    /// What comes of it where nothing prevents it.
    outcome: &'a str,
    /// Whether nothing comes of it where no Service sends traffic.
    needs_traffic: bool,
    /// What to change in the template.
    next: &'a str,
}

impl Pair<'_> {
    /// Says what is amiss with the old pods, and if it is nothing, what is with the new ones.
    /// `says` gets a pod that is amiss, and whom it stands for.
    fn tell(
        &self,
        findings: &mut Findings,
        matter: &Matter<'_>,
        is_amiss: impl Fn(&Pod) -> bool,
        says: impl Fn(&Pod, &str) -> String,
    ) {
        let amiss: Vec<&&Pod> = self.old.iter().filter(|pod| is_amiss(pod)).collect();
        if let Some(pod) = amiss.first() {
            let severity = if matter.needs_traffic { self.facts.risk() } else { self.risk_of_work() };
            let outcome = if severity == Warn { matter.outcome } else { self.relief() };
            let words = format!("{}: {outcome}", says(pod, &format!("{} that run", pods(amiss.len()))));
            let hint = if severity == Warn { self.remedy(matter) } else { String::new() };
            findings.add(matter.rule, severity, words, hint);
        } else if is_amiss(&self.new) {
            let words = format!("{}: that is for the next rollout", says(&self.new, "the new pods"));
            findings.add(matter.rule, Info, words, "");
        }
    }

    /// How bad it is when work is cut off that no Service need have brought.
    fn risk_of_work(&self) -> Severity {
        if self.facts.choice.way == Way::Detached { Info } else { Warn }
    }

    /// Why it is nothing to warn of here.
    fn relief(&self) -> &'static str {
        if self.facts.choice.way == Way::Detached {
            "nothing is lost, they leave their Services before they are asked to end"
        } else {
            "no Service sends them traffic"
        }
    }

    /// What would prevent it.
    fn remedy(&self, matter: &Matter<'_>) -> String {
        let Order { drain, wait, .. } = self.facts.order;
        let this = match drain {
            Drain::None | Drain::Rolling if wait.is_some() => "`drain: detached` loses nothing",
            _ => &self.facts.choice.why,
        };
        format!("{this}; for the next rollouts: {}", matter.next)
    }

    fn hooks<'a>(&self, pod: &'a Pod) -> Vec<Option<&'a LifecycleHandler>> {
        let Some(spec) = pod.spec.as_ref() else { return Vec::new() };
        let serving = self.facts.serving(spec);
        if !serving.is_empty() {
            return serving.into_iter().map(hook).collect();
        }
        // Where no Service sends traffic it is the rolled container whose end counts.
        let name = &self.facts.snapshot.container;
        spec.containers.iter().filter(|container| container.name == *name).map(hook).collect()
    }

    /// Returns whether nothing holds back the end of the pod.
    fn has_no_drain(&self, pod: &Pod) -> bool {
        annotation(&pod.metadata, DRAINS).is_none() && self.hooks(pod).contains(&None)
    }

    fn serves(&self, pod: &Pod) -> u64 {
        shutdown(pod, &self.facts.snapshot.container).serves
    }
}

fn hook(container: &Container) -> Option<&LifecycleHandler> {
    container.lifecycle.as_ref()?.pre_stop.as_ref()
}

fn no_drain(pair: &Pair<'_>, findings: &mut Findings) {
    let (outcome, next) = exposure(pair);
    let matter = Matter { rule: "D401", outcome: &outcome, needs_traffic: true, next: &next };
    pair.tell(
        findings,
        &matter,
        |pod| pair.has_no_drain(pod),
        |_, who| format!("{who} have no preStop hook"),
    );
}

/// What comes of pods that end while they get traffic, and what prevents it from the template.
fn exposure(pair: &Pair<'_>) -> (String, String) {
    let seconds = pair.facts.order.drain_wait.as_secs();
    let outcome = format!(
        "they stop while they still get traffic, expect refused connections for about a second per pod, at worst {seconds} s"
    );
    (outcome, format!("a preStop sleep of {seconds} s in the template"))
}

fn short_drain(pair: &Pair<'_>, findings: &mut Findings) {
    let wanted = pair.facts.order.drain_wait.as_secs();
    let (outcome, next) = exposure(pair);
    let matter = Matter { rule: "D402", outcome: &outcome, needs_traffic: true, next: &next };
    let is_short = |pod: &Pod| !pair.has_no_drain(pod) && pair.serves(pod) < wanted;
    pair.tell(findings, &matter, is_short, |pod, who| match pair.serves(pod) {
        0 => format!("{who} have a preStop hook of unknown length, where {wanted} s are wanted"),
        serves => format!("{who} go on serving for {serves} s, where {wanted} s are wanted"),
    });
}

fn exec_hook(pair: &Pair<'_>, findings: &mut Findings) {
    let runs = |pod: &Pod| pair.hooks(pod).into_iter().flatten().any(|hook| hook.exec.is_some());
    match pair.facts.survey.server {
        _ if !pair.old.iter().any(|pod| runs(pod)) && !runs(&pair.new) => {}
        None => findings.skip("D403", "the API server's version"),
        Some(version) if version < NATIVE_SLEEP => {}
        Some(_) => {
            let next = "`preStop: {sleep: {seconds: N}}`, which needs nothing from the image";
            let outcome = "where that fails they end at once";
            let matter = Matter { rule: "D403", outcome, needs_traffic: true, next };
            let says = |_: &Pod, who: &str| format!("the preStop hook of {who} runs a command of the image");
            pair.tell(findings, &matter, runs, says);
        }
    }
}

fn grace(pair: &Pair<'_>, findings: &mut Findings) {
    let given = |pod: &Pod| shutdown(pod, &pair.facts.snapshot.container).grace;
    let needed = |pod: &Pod| pair.serves(pod) + app_drain(pod) + LEAST_GRACE;
    let is_short = |pod: &Pod| given(pod) < needed(pod);
    let matter = Matter {
        rule: "D404",
        outcome: "work in flight is cut off",
        needs_traffic: false,
        next: "a longer terminationGracePeriodSeconds in the template",
    };
    pair.tell(findings, &matter, is_short, |pod, who| {
        format!(
            "{who} are killed {} s after they are asked to end, and {} s of serving on, {} s of the app's own drain and {LEAST_GRACE} s need {}",
            given(pod),
            pair.serves(pod),
            app_drain(pod),
            needed(pod)
        )
    });
}

/// Returns how long the application finishes its work after SIGTERM, beyond what its pod declares, where
/// its environment says so as Spring Boot reads it.
fn app_drain(pod: &Pod) -> u64 {
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let value = |container: &Container, name: &str| {
        container
            .env
            .iter()
            .flatten()
            .find(|variable| variable.name == name)
            .and_then(|known| known.value.clone())
    };
    let drains = containers.iter().filter_map(|container| {
        let is_off =
            value(container, "SERVER_SHUTDOWN").is_some_and(|way| way.eq_ignore_ascii_case("immediate"));
        let text = value(container, "SPRING_LIFECYCLE_TIMEOUT_PER_SHUTDOWN_PHASE").filter(|_| !is_off)?;
        let text = text.trim().to_ascii_lowercase();
        text.trim_start_matches("pt").strip_suffix('s')?.parse().ok()
    });
    drains.max().unwrap_or(0)
}

fn next_time(pair: &Pair<'_>, findings: &mut Findings) {
    let lacking = pair.old.iter().filter(|pod| pair.has_no_drain(pod)).count();
    if lacking > 0 && !pair.has_no_drain(&pair.new) {
        let words = format!(
            "the template has a preStop hook and {} that run do not: it protects the next rollout, not this one",
            pods(lacking)
        );
        findings.add("D405", Info, words, "");
    }
}

fn sidecar(pair: &Pair<'_>, findings: &mut Findings) {
    let matter = Matter {
        rule: "D406",
        outcome: "its last requests are cut off",
        needs_traffic: false,
        next: "a native sidecar, or the proxy's own drain settings",
    };
    pair.tell(
        findings,
        &matter,
        |pod| hasty_proxy(pod).is_some(),
        |pod, who| {
            let proxy = hasty_proxy(pod).unwrap_or_default();
            format!("{proxy} in {who} does not wait for the application to end")
        },
    );
}

/// Returns the mesh proxy that does not wait for the application's end.
fn hasty_proxy(pod: &Pod) -> Option<&str> {
    let config = annotation(&pod.metadata, "proxy.istio.io/config").map_or("", String::as_str);
    let told = ["EXIT_ON_ZERO_ACTIVE_CONNECTIONS", "terminationDrainDuration"];
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let proxies = containers.iter().filter(|container| hook(container).is_none());
    let mut hasty = proxies.filter(|container| match container.name.as_str() {
        "linkerd-proxy" => true,
        "istio-proxy" => {
            let names = container.env.iter().flatten().map(|variable| variable.name.as_str());
            !names.chain([config]).any(|text| told.iter().any(|key| text.contains(key)))
        }
        _ => false,
    });
    hasty.next().map(|container| container.name.as_str())
}

fn sleep_version(pair: &Pair<'_>, findings: &mut Findings) {
    let Some(spec) = pair.new.spec.as_ref() else { return };
    let sleeps = |spec: &PodSpec, name: &str| {
        let container = spec.containers.iter().find(|container| container.name == name);
        container.map(|container| hook(container).is_some_and(|hook| hook.sleep.is_some()))
    };
    let mut asleep = spec.containers.iter().filter(|container| sleeps(spec, &container.name) == Some(true));
    let Some(container) = asleep.next() else { return };
    let survey = pair.facts.survey;
    let words = match (survey.server, survey.trial.known()) {
        (Some(version), _) if version < NATIVE_SLEEP => {
            format!("the API server is {}.{}", version.0, version.1)
        }
        (_, Some(Trial::Allowed(pod))) if drops(pod, |spec| sleeps(spec, &container.name)) => {
            "the API server drops it from the pod".to_owned()
        }
        (None, None) => return findings.skip("D407", "the API server's version"),
        _ => return,
    };
    let name = &container.name;
    let words = format!(
        "container `{name}` has a native sleep as its preStop hook and {words}: its pods would end at once"
    );
    findings.add("D407", Warn, words, "use a hook that runs `sleep` until the server is newer");
}

/// Returns whether the pod as it would be created has the container without the sleep.
fn drops(pod: &Pod, sleeps: impl Fn(&PodSpec) -> Option<bool>) -> bool {
    pod.spec.as_ref().and_then(sleeps) == Some(false)
}

#[cfg(test)]
pub(super) mod tests;
