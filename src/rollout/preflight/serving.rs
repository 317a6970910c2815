//! Who serves: the Services that send traffic to the pods, and the containers that get it.

use k8s_openapi::api::core::v1::{Container, PodSpec, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::facts::{Facts, Severity};
use crate::rollout::plan::drain::Way;

impl Facts<'_> {
    /// Returns the Services that send traffic to the template's pods; `None` where nobody may list them.
    #[must_use]
    pub fn services(&self) -> Option<Vec<&Service>> {
        self.snapshot.routing.as_ref()?;
        Some(self.snapshot.services(&self.snapshot.template_labels()))
    }

    /// Returns whether it is known that no Service sends traffic to the pods.
    #[must_use]
    pub fn is_unrouted(&self) -> bool {
        self.services().is_some_and(|services| services.is_empty())
    }

    /// Returns how bad it is when pods do not leave their Services before they end: nothing is lost where
    /// they are taken out first, or where nothing sends them traffic.
    #[must_use]
    pub fn risk(&self) -> Severity {
        if self.choice.way == Way::Detached || self.is_unrouted() { Severity::Info } else { Severity::Warn }
    }

    /// Returns the containers that get traffic from Services. A port that no container declares is the
    /// rolled one's: declaring ports is a courtesy. So is it where nobody may list Services.
    #[must_use]
    pub fn serving<'a>(&self, spec: &'a PodSpec) -> Vec<&'a Container> {
        let rolled = |container: &&Container| container.name == self.snapshot.container;
        let Some(services) = self.services() else { return spec.containers.iter().filter(rolled).collect() };
        let ports: Vec<IntOrString> = services.into_iter().flat_map(target_ports).collect();
        let is_declared = |port: &IntOrString| spec.containers.iter().any(|container| has(container, port));
        let undeclared = ports.iter().any(|port| !is_declared(port));
        let gets = |container: &&Container| {
            ports.iter().any(|port| has(container, port)) || undeclared && rolled(container)
        };
        spec.containers.iter().filter(gets).collect()
    }
}

fn target_ports(service: &Service) -> Vec<IntOrString> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let target = ports.iter().map(|port| port.target_port.clone().unwrap_or(IntOrString::Int(port.port)));
    let targets: Vec<IntOrString> = target.collect();
    // A headless Service may name no port: its clients know it.
    if targets.is_empty() { vec![IntOrString::Int(0)] } else { targets }
}

fn has(container: &Container, port: &IntOrString) -> bool {
    container.ports.iter().flatten().any(|declared| match port {
        IntOrString::Int(number) => declared.container_port == *number,
        IntOrString::String(name) => declared.name.as_ref() == Some(name),
    })
}

/// Returns the Service's name.
#[must_use]
pub(super) fn name(service: &Service) -> &str {
    service.metadata.name.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::rollout::preflight::tests::Scene;

    fn serving(scene: &Scene) -> Vec<String> {
        let choice = crate::rollout::plan::drain::choose(&scene.order, &scene.snapshot, None);
        let facts = super::Facts {
            snapshot: &scene.snapshot,
            order: &scene.order,
            choice: &choice,
            survey: &scene.survey,
        };
        let spec = facts.new_template().spec.unwrap();
        facts.serving(&spec).iter().map(|container| container.name.clone()).collect()
    }

    #[test]
    fn traffic_goes_to_the_container_that_declares_the_port_else_to_the_rolled_one() {
        let proxy = json!({ "name": "proxy", "ports": [{ "name": "web", "containerPort": 80 }] });
        let beside = || {
            Scene::fine().but(|scene| {
                let spec = scene.snapshot.deployment.spec.as_mut().unwrap();
                let containers = &mut spec.template.spec.as_mut().unwrap().containers;
                containers.push(crate::rollout::fixtures::mk(proxy.clone()));
            })
        };
        let port = |port| json!({ "spec": { "ports": [{ "port": 80, "targetPort": port }] } });
        assert_eq!(serving(&beside()), ["main"]);
        assert_eq!(serving(&beside().service(&port(json!("web")))), ["proxy"]);
        assert_eq!(serving(&beside().service(&port(json!(null)))), ["proxy"]);
        assert_eq!(serving(&beside().service(&port(json!(9999)))), ["main"]);
        assert_eq!(serving(&beside().but(|scene| scene.snapshot.routing = None)), ["main"]);
    }
}
