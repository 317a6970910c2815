use serde_json::json;

use super::*;
use crate::image::Config;
use crate::rollout::Order;
use crate::rollout::fixtures::{mk_digest, mk_order, mk_snapshot, mk_started};
use crate::rollout::plan::drain::Choice;
use crate::rollout::preflight::facts::{Asked, ImageFacts, Survey};

const COMMAND: &str = "rollway roll deployment/app registry/app@sha256:b -n apps";

/// Everything that a plan is made of, owned.
struct Scene {
    snapshot: Snapshot,
    order: Order,
    choice: Choice,
    survey: Survey,
    findings: Findings,
}

impl Scene {
    fn plan(&self) -> Plan<'_> {
        let facts = Facts {
            snapshot: &self.snapshot,
            order: &self.order,
            choice: &self.choice,
            survey: &self.survey,
        };
        Plan { facts, findings: &self.findings, command: COMMAND }
    }

    fn text(&self) -> String {
        self.plan().lines().join("\n")
    }
}

fn mk_image_facts(layers: &str) -> Asked<ImageFacts> {
    let layers = layers.chars().map(|letter| (mk_digest(letter), 7_100_000)).collect();
    Asked::Known(ImageFacts {
        exists: true,
        config: Some(Config::default()),
        layers,
        ..ImageFacts::default()
    })
}

fn mk_scene() -> Scene {
    let mut snapshot = mk_snapshot();
    snapshot.pods = snapshot.pods.iter().map(|pod| mk_started(pod, 12)).collect();
    let choice = Choice { way: Way::Rolling, why: "no Service sends traffic".to_owned(), loses: None };
    let survey = Survey { image: mk_image_facts("cde"), running: mk_image_facts("abe"), ..Survey::default() };
    Scene { snapshot, order: mk_order('b'), choice, survey, findings: Findings::default() }
}

#[test]
fn a_plan_says_what_changes_how_and_for_how_long_and_ends_with_the_command() {
    let (a, b) = ("a".repeat(64), "b".repeat(64));
    insta::assert_snapshot!(mk_scene().text().replace(&a, "[A]").replace(&b, "[B]"), @r"
    apps/deployment/app: container main, 3 pods, revision 1
    from     registry/app@sha256:[A]
    to       registry/app@sha256:[B] (tag latest)
    changes  only the run image moved; 14.2 MB to pull, 2 of 3 layers
    drain    rolling: no Service sends traffic
    time     about 36 s: 3 pods, 1 at a time, 12 s each, and what pulling 14.2 MB takes

    ready: rollway roll deployment/app registry/app@sha256:b -n apps
    ");
}

#[test]
fn what_stops_it_comes_first_and_the_last_line_names_it() {
    let mut scene = mk_scene();
    scene.choice.loses = Some("3 old pods stop serving".to_owned());
    scene.findings.add("X101", Severity::Info, "one".to_owned(), "");
    scene.findings.add("X102", Severity::Warn, "two".to_owned(), "do that");
    scene.findings.add("X103", Severity::Block, "three".to_owned(), "do this");
    let nodes: Asked<()> = Asked::Unknown("list nodes".to_owned());
    assert!(scene.findings.need("X104", &nodes).is_none() && scene.findings.need("X105", &nodes).is_none());
    let text = scene.text();
    let (_, said) = text.split_once("\n\n").unwrap();
    insta::assert_snapshot!(said, @r"
    block    X103 three
             hint: do this
    warn     X102 two
             hint: do that
    info     X101 one
    skipped  X104, X105: needs list nodes

    blocked by X103; to go ahead all the same: rollway roll deployment/app registry/app@sha256:b -n apps --allow X103
    ");
    assert!(text.contains("\n         may lose requests: 3 old pods stop serving\n"), "{text}");
    assert_eq!(scene.plan().outlook(), Outlook::Blocked);
    assert_eq!(scene.plan().outlook().code(), Code::Blocked);
}

#[test]
fn an_allowed_rule_stops_nothing_and_is_still_said() {
    let mut scene = mk_scene();
    scene.findings.add("X103", Severity::Block, "three".to_owned(), "do this");
    scene.order.policy.allow.insert("X103".to_owned());
    assert!(scene.text().contains("\nallowed  X103 three\n"), "{}", scene.text());
    assert_eq!(scene.plan().outlook(), Outlook::Ready);
}

#[test]
fn warnings_stop_it_only_when_they_are_asked_to() {
    let mut scene = mk_scene();
    scene.findings.add("X102", Severity::Warn, "two".to_owned(), "");
    assert_eq!(scene.plan().outlook().code(), Code::Done);
    scene.order.policy.strict = true;
    assert_eq!(scene.plan().outlook(), Outlook::Warned);
    assert_eq!(scene.plan().outlook().code(), Code::Warned);
    assert_eq!(
        scene.text().lines().last().unwrap(),
        format!("stopped by warnings, X102; to go ahead all the same: {COMMAND} --allow X102")
    );
}

#[test]
fn an_image_that_is_there_already_would_only_be_proven() {
    let mut scene = mk_scene();
    scene.order = mk_order('a');
    scene.survey.image = scene.survey.running.clone();
    assert_eq!(scene.plan().outlook(), Outlook::AlreadyThere);
    assert!(scene.text().contains("changes  both are the same image"), "{}", scene.text());
    assert!(
        scene.text().contains("\ntime     none for pods that run the image already\n"),
        "{}",
        scene.text()
    );
    assert!(scene.plan().json().get("eta").is_none());
}

#[test]
fn a_time_that_nobody_waits_for_is_said_to_be_that() {
    let mut scene = mk_scene();
    scene.order.wait = None;
    assert!(scene.text().contains("\ntime     not waited for, about 36 s: 3 pods"), "{}", scene.text());
}

#[test]
fn what_nobody_knows_is_said_to_be_unknown() {
    let mut scene = mk_scene();
    scene.survey.running = Asked::Unknown("the registry's answer".to_owned());
    scene.snapshot = mk_snapshot();
    let text = scene.text();
    assert!(text.contains("changes  not known"), "{text}");
    assert!(text.contains("time     not known: no running pod shows how long a start takes\n"), "{text}");
    let json = scene.plan().json();
    assert!(json.get("diff").is_none() && json.get("eta").is_none(), "{json}");
}

#[test]
fn json_has_all_of_it_in_one_object() {
    let mut scene = mk_scene();
    scene.findings.add("X103", Severity::Block, "three".to_owned(), "do this");
    let nodes: Asked<()> = Asked::Unknown("list nodes".to_owned());
    assert!(scene.findings.need("X104", &nodes).is_none());
    let json = scene.plan().json();
    assert_eq!(json["outlook"], json!("blocked"));
    assert_eq!(json["exit"], json!(4));
    assert_eq!(json["workload"], json!("apps/deployment/app"));
    assert_eq!(json["diff"]["kind"], json!("rebase only"));
    assert_eq!(json["drain"], json!({"way": "rolling", "why": "no Service sends traffic"}));
    assert_eq!(json["eta"]["pods_at_a_time"], json!(1));
    let finding =
        json!({"rule": "X103", "severity": "block", "stops": true, "words": "three", "hint": "do this"});
    assert_eq!(json["findings"], json!([finding]));
    assert_eq!(json["skipped"], json!([{"rule": "X104", "needs": "list nodes"}]));
    assert_eq!(json["command"], json!(COMMAND));
}

#[test]
fn a_canary_is_told_with_its_pods_and_its_time() {
    let mut scene = mk_scene();
    scene.order.canary = Some(crate::rollout::order::canary::Canary::default());
    assert!(scene.text().contains("\ncanary   1 of 3 pods first, watched for 60 s\n"), "{}", scene.text());
    assert_eq!(scene.plan().json()["canary"], json!({"pods": 1, "seconds": 60}));
}
