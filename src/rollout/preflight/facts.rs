//! What a preflight rule may know, and what it says. Whoever fills a [`Survey`] says for each part
//! whether it was asked at all: a rule that could not look is listed as skipped, never as passed.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{
    Container, LimitRange, Node, PersistentVolumeClaim, Pod, PodSpec, PodTemplateSpec, ResourceQuota,
};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::jiff::Timestamp;

use super::rights::Need;
use crate::image::{Config, Digest, Platform};
use crate::rollout::Order;
use crate::rollout::observe::Snapshot;
use crate::rollout::plan::drain::Choice;

/// What a finding means for the rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Info,
    /// May lose requests or fail later; blocks with `strict`.
    Warn,
    /// Cannot succeed, would take the service down, or would fight an owner.
    Block,
}

/// One rule of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The id, stable across versions.
    pub id: &'static str,
    /// A short name.
    pub name: &'static str,
    /// The worst that it can say.
    pub severity: Severity,
    /// When it speaks, in one clause.
    pub when: &'static str,
    /// What to do about it, in one clause.
    pub fix: &'static str,
}

/// What one rule has to say about this rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule's id.
    pub rule: &'static str,
    /// How bad it is here.
    pub severity: Severity,
    /// What is the matter, with the values.
    pub words: String,
    /// What to do about it; empty where there is nothing to do.
    pub hint: String,
}

/// A rule that could not look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The rule's id.
    pub rule: &'static str,
    /// What was missing: `list nodes`, `the registry's answer`.
    pub needs: String,
}

/// An answer, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked<T> {
    /// The answer.
    Known(T),
    /// Nobody could or may answer: `list nodes`, `the registry's answer`.
    Unknown(String),
}

impl<T> Default for Asked<T> {
    fn default() -> Self {
        Self::Unknown("nobody asked".to_owned())
    }
}

impl<T> Asked<T> {
    /// Returns the answer, if there is one.
    pub const fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }
}

/// What the registry says about one image.
#[derive(Clone, Debug, Default)]
pub struct ImageFacts {
    /// Whether it is there.
    pub exists: bool,
    /// Whether the registry refused to say (401, 403).
    pub denied: bool,
    /// Every digest that a container runtime may report for it.
    pub identities: BTreeSet<Digest>,
    /// The platforms it has; none where nobody says.
    pub platforms: Vec<Platform>,
    /// The config of the platform that the nodes have, else of the first.
    pub config: Option<Config>,
    /// Its layers and their compressed sizes.
    pub layers: Vec<(Digest, u64)>,
}

/// What the API server said to a pod that was tried and not created.
#[derive(Clone, Debug, PartialEq)]
pub enum Trial {
    /// It would be created like this.
    Allowed(Box<Pod>),
    /// It would not, in the server's words.
    Denied(String),
}

/// Somebody else who holds the image field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The field manager.
    pub manager: String,
    /// The field.
    pub field: String,
    /// When it last wrote, as the API has it.
    pub at: Option<String>,
}

/// A custom resource that has its own mind about the workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its kind: `Canary`, `Rollout`, `VerticalPodAutoscaler`, …
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What it does there (`updateMode: Auto`), where that matters.
    pub detail: String,
}

/// An object that the new template names and cannot do without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Its kind, as people write it: `secret`, `configmap`, …
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Whether it is there.
    pub there: Asked<bool>,
    /// Keys that the template names and that it does not have.
    pub lacks: Vec<String>,
    /// Whether pods start without it: it is only shown to registries.
    pub only_pulls: bool,
}

/// Everything that was found out beside the workload itself.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// When it was made.
    pub now: Timestamp,
    /// The API server's version, major and minor.
    pub server: Option<(u32, u32)>,
    /// The API server's clock minus ours, in seconds.
    pub clock_skew: Asked<i64>,
    /// The image to roll to.
    pub image: Asked<ImageFacts>,
    /// The images of other containers that are rolled with it, where they are others.
    pub other_images: BTreeMap<String, Asked<ImageFacts>>,
    /// The image that runs now.
    pub running: Asked<ImageFacts>,
    /// Nodes of the cluster.
    pub nodes: Asked<Vec<Node>>,
    /// The pods of all namespaces, for the room that they leave on their nodes.
    pub node_pods: Asked<Vec<Pod>>,
    /// The namespace's quotas.
    pub quotas: Asked<Vec<ResourceQuota>>,
    /// The namespace's limit ranges.
    pub limit_ranges: Asked<Vec<LimitRange>>,
    /// The namespace's autoscalers.
    pub autoscalers: Asked<Vec<HorizontalPodAutoscaler>>,
    /// The namespace's disruption budgets.
    pub budgets: Asked<Vec<PodDisruptionBudget>>,
    /// The namespace's volume claims.
    pub claims: Asked<Vec<PersistentVolumeClaim>>,
    /// The namespace's ingresses.
    pub ingresses: Asked<Vec<Ingress>>,
    /// Objects that the new template names.
    pub references: Vec<Reference>,
    /// What the API server says to a pod of the new template.
    pub trial: Asked<Trial>,
    /// Who else holds the image field.
    pub owners: Asked<Vec<Owner>>,
    /// Custom resources that claim the workload.
    pub claimed_by: Asked<Vec<Claim>>,
    /// What the credentials may not do and a rollout wants to.
    pub rights_missing: Asked<Vec<Need>>,
    /// Who rolls it to another image now, and to which.
    pub lock: Asked<Option<(String, String)>>,
    /// Names of alerts that fire and stop a rollout.
    pub alerts: Asked<Vec<String>>,
}

/// What a rule reads.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The workload as it is.
    pub snapshot: &'a Snapshot,
    /// What is asked.
    pub order: &'a Order,
    /// How the old pods would leave.
    pub choice: &'a Choice,
    /// What else was found out.
    pub survey: &'a Survey,
}

impl Facts<'_> {
    /// Returns the template with the new image in it.
    #[must_use]
    pub fn new_template(&self) -> PodTemplateSpec {
        new_template(self.snapshot, self.order)
    }

    /// Returns a new pod's spec as the API server would complete it (defaults, sidecars), where it
    /// was asked, else as the template has it.
    #[must_use]
    pub fn new_pod(&self) -> PodSpec {
        let completed = match self.survey.trial.known() {
            Some(Trial::Allowed(pod)) => pod.spec.clone(),
            _ => None,
        };
        completed.or_else(|| self.new_template().spec).unwrap_or_default()
    }

    /// Returns the specs of the pods that run now: they decide how they die.
    #[must_use]
    pub fn old_specs(&self) -> Vec<&PodSpec> {
        self.snapshot.own_pods().filter_map(|pod| pod.spec.as_ref()).collect()
    }

    /// Returns the template's container that gets the image.
    #[must_use]
    pub fn container(&self) -> Option<Container> {
        let name = &self.snapshot.container;
        let spec = self.new_template().spec?;
        spec.containers.into_iter().find(|container| container.name == *name)
    }
}

/// Returns the template with the new images in it.
#[must_use]
pub fn new_template(snapshot: &Snapshot, order: &Order) -> PodTemplateSpec {
    let spec = snapshot.deployment.spec.clone().unwrap_or_default();
    let mut template = spec.template;
    let is_rolled = |name: &String| *name == snapshot.container || snapshot.others.contains(name);
    let containers = template
        .spec
        .iter_mut()
        .flat_map(|spec| spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()));
    for container in containers.filter(|container| is_rolled(&container.name)) {
        container.image = Some(order.image_of(&container.name).to_string());
    }
    template
}

/// What all rules said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// In the order of the catalogue.
    pub found: Vec<Finding>,
    /// Rules that could not look.
    pub skipped: Vec<Skipped>,
}

impl Findings {
    /// Adds what a rule found.
    pub fn add(&mut self, rule: &'static str, severity: Severity, words: String, hint: impl Into<String>) {
        self.found.push(Finding { rule, severity, words, hint: hint.into() });
    }

    /// Lists a rule as skipped for want of something.
    pub fn skip(&mut self, rule: &'static str, needs: &str) {
        self.skipped.push(Skipped { rule, needs: needs.to_owned() });
    }

    /// Returns the answer a rule needs; without one the rule is listed as skipped.
    pub fn need<'a, T>(&mut self, rule: &'static str, asked: &'a Asked<T>) -> Option<&'a T> {
        match asked {
            Asked::Known(value) => Some(value),
            Asked::Unknown(needs) => {
                self.skipped.push(Skipped { rule, needs: needs.clone() });
                None
            }
        }
    }

    /// Returns what stops the rollout: blocks, and with `strict` warnings, except for allowed rules.
    #[must_use]
    pub fn blocking(&self, policy: &crate::rollout::Policy) -> Vec<&Finding> {
        let least = if policy.strict { Severity::Warn } else { Severity::Block };
        let stops = |finding: &&Finding| finding.severity >= least && !policy.allow.contains(finding.rule);
        self.found.iter().filter(stops).collect()
    }

    /// Returns the findings by rule, for tests and for people who look one up.
    #[must_use]
    pub fn by_rule(&self) -> BTreeMap<&'static str, &Finding> {
        self.found.iter().map(|finding| (finding.rule, finding)).collect()
    }
}
