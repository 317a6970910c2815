//! Every rule of the catalogue has a case that makes it speak and one that leaves it silent. Each group
//! keeps its own cases; this file has what they are built from, and checks that none is missing.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, Node, Service};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::facts::{Asked, Facts, Findings, ImageFacts, Severity, Survey, Trial};
use super::{inspect, rules};
use crate::rollout::Order;
use crate::rollout::fixtures::{
    mk, mk_deployment, mk_order, mk_pod, mk_service, mk_set, mk_slice, mk_started, with,
};
use crate::rollout::observe::{Routing, Snapshot};
use crate::rollout::order::Window;
use crate::rollout::plan::drain::choose;

mod sets;

/// One rule, seen speaking and seen silent.
pub(super) struct Case {
    pub(super) rule: &'static str,
    /// What it is where it speaks.
    pub(super) severity: Severity,
    /// A part of its words there.
    pub(super) says: &'static str,
    pub(super) triggers: fn() -> Findings,
    /// A rollout at which it looked and found nothing.
    pub(super) silent: fn() -> Findings,
}

/// A rollout that is about to start.
pub(super) struct Scene {
    pub(super) snapshot: Snapshot,
    pub(super) order: Order,
    pub(super) survey: Survey,
    /// Why the old pods cannot be detached.
    pub(super) obstacle: Option<&'static str>,
}

impl Scene {
    /// Returns a rollout from image `a` to `b` that no rule has anything against: three pods behind one
    /// Service, which drain by themselves.
    pub(super) fn fine() -> Self {
        let container = json!({
            "name": "main", "image": crate::rollout::fixtures::mk_image('a'),
            "ports": [{ "name": "http", "containerPort": 8080 }],
            "readinessProbe": { "httpGet": { "path": "/ready", "port": "http" }, "periodSeconds": 5 },
            "lifecycle": { "preStop": { "sleep": { "seconds": 10 } } },
        });
        let deployment = with(
            &mk_deployment('a', 3),
            &json!({ "spec": {
                "minReadySeconds": 5, "revisionHistoryLimit": 10,
                "strategy": { "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } },
                "template": { "spec": { "containers": [container] } },
            } }),
        );
        let set = mk_set(&deployment, "1a", 3);
        let pods: Vec<_> = ["x", "y", "z"].iter().map(|name| mk_started(&mk_pod(&set, name), 8)).collect();
        let service = mk_service("app", &json!({ "app": "app" }));
        let ports = json!({ "spec": {
            "type": "ClusterIP", "clusterIP": "10.0.0.9", "ports": [{ "port": 80, "targetPort": "http" }],
        } });
        let routing = Routing {
            services: vec![with(&service, &ports)],
            slices: vec![mk_slice("app", &pods)],
            policies: Some(Vec::new()),
        };
        let snapshot = Snapshot {
            deployment,
            container: "main".to_owned(),
            others: Vec::new(),
            set: None,
            replica_sets: vec![set],
            pods,
            routing: Some(routing),
        };
        Self { snapshot, order: mk_order('b'), survey: mk_survey(), obstacle: None }
    }

    /// Returns the same with pods that have no drain of their own and cannot be detached.
    pub(super) fn exposed() -> Self {
        let mut scene = Self::fine().container(&json!({ "lifecycle": null }));
        scene.obstacle = Some("the credentials may not patch pods");
        scene
    }

    /// Lays `part` over the Deployment alone.
    pub(super) fn deployment(mut self, part: &Value) -> Self {
        self.snapshot.deployment = with(&self.snapshot.deployment, part);
        self
    }

    /// Lays `part` over the container of the template alone, and so of the new pods.
    pub(super) fn new_container(mut self, part: &Value) -> Self {
        let spec = self.snapshot.deployment.spec.as_mut().unwrap();
        let containers = &mut spec.template.spec.as_mut().unwrap().containers;
        containers[0] = with(&containers[0], part);
        self
    }

    /// Lays `part` over the container of the pods that run, and of their ReplicaSet.
    pub(super) fn old_container(mut self, part: &Value) -> Self {
        let lay = |containers: &mut Vec<Container>| containers[0] = with(&containers[0], part);
        for set in &mut self.snapshot.replica_sets {
            let template = set.spec.as_mut().unwrap().template.as_mut().unwrap();
            lay(&mut template.spec.as_mut().unwrap().containers);
        }
        self.snapshot.pods.iter_mut().for_each(|pod| lay(&mut pod.spec.as_mut().unwrap().containers));
        self
    }

    /// Lays `part` over the container everywhere.
    pub(super) fn container(self, part: &Value) -> Self {
        self.new_container(part).old_container(part)
    }

    /// Lays `part` over every pod that runs.
    pub(super) fn pods(mut self, part: &Value) -> Self {
        self.snapshot.pods = self.snapshot.pods.iter().map(|pod| with(pod, part)).collect();
        self
    }

    /// Lays `part` over the pod spec everywhere.
    pub(super) fn pod_spec(mut self, part: &Value) -> Self {
        let template = json!({ "spec": { "template": { "spec": part } } });
        for set in &mut self.snapshot.replica_sets {
            *set = with(set, &template);
        }
        self.deployment(&template).pods(&json!({ "spec": part }))
    }

    /// Lays `part` over the Service.
    pub(super) fn service(mut self, part: &Value) -> Self {
        let services = &mut self.snapshot.routing.as_mut().unwrap().services;
        services[0] = with::<Service>(&services[0], part);
        self
    }

    /// Changes the rest.
    pub(super) fn but(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Lets every rule look.
    pub(super) fn inspect(&self) -> Findings {
        let choice = choose(&self.order, &self.snapshot, self.obstacle);
        inspect(&Facts {
            snapshot: &self.snapshot,
            order: &self.order,
            choice: &choice,
            survey: &self.survey,
        })
    }
}

/// Returns a survey in which everything was asked and nothing is the matter.
pub(super) fn mk_survey() -> Survey {
    Survey {
        now: "2026-01-02T00:00:00Z".parse::<Timestamp>().unwrap(),
        server: Some((1, 34)),
        clock_skew: Asked::Known(0),
        image: Asked::Known(ImageFacts { exists: true, ..ImageFacts::default() }),
        other_images: BTreeMap::new(),
        running: Asked::Known(ImageFacts { exists: true, ..ImageFacts::default() }),
        nodes: Asked::Known((0..4).map(|number| mk_node(number, &json!({}))).collect()),
        node_pods: Asked::Known(Vec::new()),
        quotas: Asked::Known(Vec::new()),
        limit_ranges: Asked::Known(Vec::new()),
        autoscalers: Asked::Known(Vec::new()),
        budgets: Asked::Known(Vec::new()),
        claims: Asked::Known(Vec::new()),
        ingresses: Asked::Known(Vec::new()),
        references: Vec::new(),
        trial: Asked::Known(Trial::Allowed(Box::new(mk(json!({ "metadata": {} }))))),
        owners: Asked::Known(Vec::new()),
        claimed_by: Asked::Known(Vec::new()),
        rights_missing: Asked::Known(Vec::new()),
        lock: Asked::Known(None),
        alerts: Asked::Known(Vec::new()),
    }
}

/// Returns a node with room for a few pods, with `part` laid over it.
pub(super) fn mk_node(number: usize, part: &Value) -> Node {
    let name = format!("node-{number}");
    let node: Node = mk(json!({
        "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name } },
        "spec": {},
        "status": {
            "allocatable": { "cpu": "4", "memory": "8Gi", "pods": "110" },
            "nodeInfo": {
                "architecture": "amd64", "operatingSystem": "linux", "bootID": "", "kernelVersion": "",
                "kubeProxyVersion": "", "kubeletVersion": "", "machineID": "", "osImage": "",
                "systemUUID": "", "containerRuntimeVersion": "",
            },
        },
    }));
    with(&node, part)
}

/// Returns a window that is open on this day of the week alone.
pub(super) fn mk_window(day: &str) -> Window {
    mk(json!({ "days": [day] }))
}

/// The cases of all groups.
fn cases() -> Vec<&'static Case> {
    [
        super::target::tests::CASES,
        super::image::tests::CASES,
        super::strategy::tests::CASES,
        super::startup::tests::CASES,
        super::shutdown::tests::CASES,
        super::routing::tests::CASES,
        super::capacity::tests::CASES,
        super::ownership::tests::CASES,
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[test]
fn every_rule_speaks_where_it_should() {
    for case in cases() {
        let findings = (case.triggers)();
        let by_rule = findings.found.iter().filter(|finding| finding.rule == case.rule);
        let found: Vec<_> = by_rule.map(|finding| (finding.severity, finding.words.as_str())).collect();
        let is_it =
            |(severity, words): &(Severity, &str)| *severity == case.severity && words.contains(case.says);
        assert!(
            found.iter().any(is_it),
            "{} found {found:?}, not {:?}: {}",
            case.rule,
            case.severity,
            case.says
        );
    }
}

#[test]
fn every_rule_is_silent_where_it_should_be() {
    for case in cases() {
        let findings = (case.silent)();
        let found: Vec<_> = findings.found.iter().filter(|finding| finding.rule == case.rule).collect();
        assert!(found.is_empty(), "{found:?}");
        let skipped: Vec<_> = findings.skipped.iter().filter(|skipped| skipped.rule == case.rule).collect();
        assert!(skipped.is_empty(), "silent because it could not look: {skipped:?}");
    }
}

#[test]
fn no_rule_is_without_cases_and_no_case_without_a_rule() {
    let catalogue: BTreeSet<&str> = rules().map(|rule| rule.id).collect();
    let tried: BTreeSet<&str> = cases().iter().map(|case| case.rule).collect();
    assert_eq!(tried, catalogue, "left: the cases, right: the catalogue");
}

#[test]
fn catalogue_names_each_rule_once_and_its_worst() {
    let mut worst: BTreeMap<&str, Severity> = BTreeMap::new();
    for rule in rules() {
        assert!(worst.insert(rule.id, rule.severity).is_none(), "{} is there twice", rule.id);
        let texts = [rule.name, rule.when, rule.fix];
        assert!(texts.iter().all(|text| !text.is_empty() && !text.contains('|')), "{rule:?}");
    }
    for case in cases() {
        assert!(case.severity <= worst[case.rule], "{} says worse than the catalogue", case.rule);
    }
}

#[test]
fn rollout_that_is_fine_gets_information_at_most() {
    let findings = Scene::fine().inspect();
    let loud: Vec<_> = findings.found.iter().filter(|finding| finding.severity > Severity::Info).collect();
    assert!(loud.is_empty(), "{loud:#?}");
    assert!(findings.skipped.is_empty(), "{:?}", findings.skipped);
}
