//! Rules about who sends traffic (N), and what else has to hear of a pod than the nodes.

use k8s_openapi::api::core::v1::{PodSpec, Service, ServiceSpec};
use k8s_openapi::api::networking::v1::Ingress;

use super::facts::Severity::{Block, Info, Warn};
use super::facts::{Facts, Findings, Rule, Trial};
use super::serving::name;
use super::words::pods;
use crate::rollout::observe::{annotation, is_detached, labels};
use crate::rollout::plan::drain::{Way, shutdown};
use crate::rollout::plan::labels::{Bound, bound};

/// For how many seconds a load balancer may go on sending traffic to a node or an address that is gone.
const LB_WINDOW: u64 = 30;
const AWS_GATE: &str = "target-health.elbv2.k8s.aws";
const GKE_GATE: &str = "cloud.google.com/load-balancer-neg-ready";

/// The rules of this file.
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "N501",
        name: "no service",
        severity: Info,
        when: "no Service selects the pods: no endpoints are waited for",
        fix: "nothing, if nothing should send them traffic",
    },
    Rule {
        id: "N502",
        name: "selector",
        severity: Block,
        when: "a Service selects pods that run and would not select the new ones",
        fix: "make the Service's selector and the template's labels agree",
    },
    Rule {
        id: "N503",
        name: "baseline",
        // Not a block: a rollout may be the cure for it.
        severity: Warn,
        when: "a Service has fewer ready endpoints than there are replicas, before anything is changed",
        fix: "find out why before you change it, unless this image is the cure",
    },
    Rule {
        id: "N504",
        name: "local lb",
        severity: Warn,
        when: "externalTrafficPolicy Local, and old pods stop before a load balancer's health check sees that their node has none left",
        fix: "externalTrafficPolicy Cluster, or a preStop sleep of 30 s",
    },
    Rule {
        id: "N505",
        name: "local internal",
        severity: Warn,
        when: "internalTrafficPolicy Local with more than one node: new pods may be on nodes other than their clients'",
        fix: "internalTrafficPolicy Cluster, or trafficDistribution PreferClose",
    },
    Rule {
        id: "N506",
        name: "no gate",
        severity: Warn,
        when: "a load balancer sends traffic to pod addresses (ALB or NLB target type ip, GKE NEG) and the pods have no readiness gate for it",
        fix: "let its controller inject the gate: a label on the namespace, then new pods",
    },
    Rule {
        id: "N507",
        name: "sticky",
        severity: Warn,
        when: "sessionAffinity ClientIP: clients stay on a pod until it goes, and lose what it kept for them",
        fix: "keep sessions outside the pods",
    },
    Rule {
        id: "N508",
        name: "network policy",
        severity: Warn,
        when: "a NetworkPolicy of the namespace goes by every label by which a Service selects the pods, so they cannot be detached; info where they drain by themselves",
        fix: "one more label in the Service's selector and in the template, which no policy names",
    },
];

/// Lets each rule look.
pub(super) fn inspect(facts: &Facts<'_>, findings: &mut Findings) {
    let Some(services) = facts.services() else {
        return RULES.iter().for_each(|rule| findings.skip(rule.id, "list services and endpointslices"));
    };
    no_service(facts, &services, findings);
    selector(facts, &services, findings);
    baseline(facts, &services, findings);
    local_lb(facts, &services, findings);
    local_internal(facts, &services, findings);
    no_gate(facts, &services, findings);
    sticky(facts, &services, findings);
    policy(facts, findings);
}

fn policy(facts: &Facts<'_>, findings: &mut Findings) {
    let Some(routing) = facts.snapshot.routing.as_ref().filter(|_| facts.snapshot.set.is_none()) else {
        return;
    };
    if routing.policies.is_none() {
        return findings.skip("N508", "list networkpolicies");
    }
    if let Some(Bound { service, policy }) = bound(facts.snapshot) {
        let severity = if facts.choice.loses.is_some() { Warn } else { Info };
        let words = format!(
            "network policy `{policy}` goes by every label by which service `{service}` selects the pods: they are not taken out of it before they end"
        );
        let hint = "add a label to its selector and to the template that no policy names";
        findings.add("N508", severity, words, hint);
    }
}

fn no_service(facts: &Facts<'_>, services: &[&Service], findings: &mut Findings) {
    if services.is_empty() && facts.snapshot.wanted() > 0 {
        let words = "no Service selects the pods: that they are ready is all that is waited for".to_owned();
        findings.add("N501", Info, words, "");
    }
}

fn selector(facts: &Facts<'_>, services: &[&Service], findings: &mut Findings) {
    let kept: Vec<&str> = services.iter().map(|service| name(service)).collect();
    let old = facts.snapshot.own_pods().filter(|pod| !is_detached(pod));
    let lost = old.flat_map(|pod| facts.snapshot.services(labels(&pod.metadata)));
    if let Some(service) = lost.map(name).find(|service| !kept.contains(service)) {
        let words = format!(
            "service `{service}` selects pods that run and would not select the new ones: it would have no endpoints left"
        );
        findings.add("N502", Block, words, "make its selector and the template's labels agree");
    }
}

fn baseline(facts: &Facts<'_>, services: &[&Service], findings: &mut Findings) {
    // While a rollout of ours is under way, endpoints come and go.
    if facts.snapshot.journal().is_some() {
        return;
    }
    let wanted = facts.snapshot.wanted();
    let ready = |service: &Service| facts.snapshot.ready_endpoints(name(service)).len();
    let short =
        services.iter().map(|service| (name(service), ready(service))).find(|(_, ready)| *ready < wanted);
    if let Some((service, ready)) = short {
        let words =
            format!("service `{service}` has {ready} ready endpoints for {} before the change", pods(wanted));
        findings.add("N503", Warn, words, "find out why first, unless this image is the cure");
    }
}

fn spec(service: &Service) -> ServiceSpec {
    service.spec.clone().unwrap_or_default()
}

fn is_local(policy: Option<&String>) -> bool {
    policy.is_some_and(|policy| policy == "Local")
}

fn local_lb(facts: &Facts<'_>, services: &[&Service], findings: &mut Findings) {
    let is_outside = |spec: &ServiceSpec| matches!(spec.type_.as_deref(), Some("LoadBalancer" | "NodePort"));
    let local = services.iter().find(|service| {
        let spec = spec(service);
        is_outside(&spec) && is_local(spec.external_traffic_policy.as_ref())
    });
    let Some(service) = local else { return };
    let container = &facts.snapshot.container;
    let short = facts.snapshot.own_pods().filter(|pod| shutdown(pod, container).serves < LB_WINDOW).count();
    let words = match facts.choice.way {
        // A pod that ends by itself is still served as a last resort; one that is no endpoint is not.
        Way::Detached => "a node whose last pod leaves its Services drops connections".to_owned(),
        Way::Rolling | Way::Plain if short > 0 => {
            format!("{} that run stop before that, and connections to their nodes are dropped", pods(short))
        }
        Way::Rolling | Way::Plain => return,
    };
    let words = format!(
        "service `{}` has externalTrafficPolicy Local, and a load balancer may take {LB_WINDOW} s to see that a node has no pod left: {words}",
        name(service)
    );
    findings.add(
        "N504",
        Warn,
        words,
        "externalTrafficPolicy Cluster; or a preStop sleep of 30 s and `drain: rolling`",
    );
}

fn local_internal(facts: &Facts<'_>, services: &[&Service], findings: &mut Findings) {
    let local = services.iter().find(|service| is_local(spec(service).internal_traffic_policy.as_ref()));
    let Some(service) = local else { return };
    let Some(nodes) = findings.need("N505", &facts.survey.nodes) else { return };
    if nodes.len() > 1 {
        let words = format!(
            "service `{}` has internalTrafficPolicy Local: new pods may be on any of {} nodes, and clients on a node without one get nothing",
            name(service),
            nodes.len()
        );
        findings.add(
            "N505",
            Warn,
            words,
            "internalTrafficPolicy Cluster, or trafficDistribution PreferClose",
        );
    }
}

fn no_gate(facts: &Facts<'_>, services: &[&Service], findings: &mut Findings) {
    let own =
        services.iter().find_map(|service| Some((direct(service)?, format!("service `{}`", name(service)))));
    let target = own.or_else(|| {
        let ingresses = findings.need("N506", &facts.survey.ingresses)?;
        let balanced = |ingress: &&Ingress| {
            let kind = annotation(&ingress.metadata, "alb.ingress.kubernetes.io/target-type");
            kind.is_some_and(|kind| kind == "ip")
                && services.iter().any(|service| routes(ingress, name(service)))
        };
        let ingress = ingresses.iter().find(balanced)?;
        Some((AWS_GATE, format!("ingress `{}`", ingress.metadata.name.as_deref().unwrap_or_default())))
    });
    let Some((gate, who)) = target else { return };
    let is_gated = |spec: &PodSpec| {
        spec.readiness_gates.iter().flatten().any(|known| known.condition_type.starts_with(gate))
    };
    // The gate is put into pods when they are created: the template need not have it.
    let tried = match facts.survey.trial.known() {
        Some(Trial::Allowed(pod)) => pod.spec.as_ref(),
        _ => None,
    };
    if facts.new_template().spec.iter().chain(facts.old_specs()).chain(tried).any(is_gated) {
        return;
    }
    let words = format!(
        "{who} sends traffic to pod addresses, and no readiness gate `{gate}` says when the load balancer knows a new pod: for {} it may still know only the old one when that goes",
        pods(facts.snapshot.wanted())
    );
    findings.add("N506", Warn, words, "let the load balancer's controller inject its gate into new pods");
}

/// Returns the gate that belongs to a Service whose load balancer sends traffic to pod addresses.
fn direct(service: &Service) -> Option<&'static str> {
    let value = |key: &str| annotation(&service.metadata, key).map(String::as_str);
    let nlb = value("service.beta.kubernetes.io/aws-load-balancer-nlb-target-type") == Some("ip")
        || value("service.beta.kubernetes.io/aws-load-balancer-type") == Some("nlb-ip");
    if nlb {
        return Some(AWS_GATE);
    }
    let neg: serde_json::Value = serde_json::from_str(value("cloud.google.com/neg")?).ok()?;
    let is_used =
        neg["ingress"] == true || neg["exposed_ports"].as_object().is_some_and(|ports| !ports.is_empty());
    is_used.then_some(GKE_GATE)
}

fn routes(ingress: &Ingress, service: &str) -> bool {
    let Some(spec) = ingress.spec.as_ref() else { return false };
    let paths =
        spec.rules.iter().flatten().filter_map(|rule| rule.http.as_ref()).flat_map(|http| &http.paths);
    let backends = paths.map(|path| &path.backend).chain(&spec.default_backend);
    backends.filter_map(|backend| backend.service.as_ref()).any(|backend| backend.name == service)
}

fn sticky(facts: &Facts<'_>, services: &[&Service], findings: &mut Findings) {
    let sticky =
        services.iter().find(|service| spec(service).session_affinity.as_deref() == Some("ClientIP"));
    if let Some(service) = sticky {
        let words = format!(
            "service `{}` has sessionAffinity ClientIP: the clients of {} lose what their pod kept for them",
            name(service),
            pods(facts.snapshot.wanted())
        );
        findings.add("N507", Warn, words, "keep sessions outside the pods");
    }
}

#[cfg(test)]
pub(super) mod tests;
