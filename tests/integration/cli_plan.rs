//! `rollway plan`: everything that a rollout would look at, and nothing written.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::support::apiserver::{ApiServer, TOKEN, kubeconfig};
use crate::support::registry::Registry;
use crate::support::shop;
use crate::support::toolkit::{Outcome, Toolkit};

/// A Deployment on an image of a registry that has a newer one.
struct Scene {
    server: ApiServer,
    registry: Registry,
    old: String,
    new: String,
}

impl Scene {
    fn new() -> Self {
        let (server, registry) = (ApiServer::start(), Registry::plain());
        let old = registry.image("shop/app", "1.0", &[("org.opencontainers.image.version", "1.0")]);
        let new = registry.image("shop/app", "1.1", &[("org.opencontainers.image.version", "1.1")]);
        shop::fill(&server, 'a');
        shop::run(&server, &format!("{}@{old}", registry.repository("shop/app")), &old);
        Self { server, registry, old, new }
    }

    fn toolkit(&self) -> Toolkit {
        let toolkit = Toolkit::new().filter(&self.registry.host(), "[HOST]");
        toolkit.filter(&self.old, "[OLD]").filter(&self.new, "[NEW]")
    }

    fn plan(&self, args: &[&str]) -> Outcome {
        let toolkit = self.toolkit();
        let path = toolkit.file("kubeconfig", &kubeconfig(&self.server, TOKEN));
        let image = self.registry.repository("shop/app:1.1");
        toolkit.binary("rollway").args(["plan", "app", &image]).args(args).arg("--kubeconfig").arg(path).run()
    }

    /// Returns `--allow` for every rule that stops the plan.
    fn allowed(&self) -> Vec<String> {
        let plan = self.plan(&["-o", "json"]).json();
        let stopping = plan["findings"].as_array().unwrap().iter().filter(|finding| finding["stops"] == true);
        stopping.map(|finding| format!("--allow={}", finding["rule"].as_str().unwrap())).collect()
    }

    fn pause(&self) {
        let mut deployment = self.server.object(shop::DEPLOYMENT).unwrap();
        deployment["spec"]["paused"] = json!(true);
        self.server.put(shop::DEPLOYMENT, deployment);
    }
}

fn strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

#[test]
fn plan_says_what_would_change_and_how_and_writes_nothing() {
    let scene = Scene::new();
    let outcome = scene.plan(&strs(&scene.allowed()));
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{outcome}");
    let (head, rest) = outcome.stdout.split_once("\n\n").unwrap();
    assert_snapshot!(head, @r"
    shop/deployment/app: container app, 3 pods, revision 4
    from     [HOST]/shop/app@[OLD]
    to       [HOST]/shop/app@[NEW] (tag 1.1)
    changes  the application changed: version 1.0 → 1.1; nothing to pull
    drain    detached: 3 old pods have no drain of 10 s of their own
    time     not known: no running pod shows how long a start takes
    ");
    let last = rest.lines().last().unwrap();
    let ready = "ready: rollway roll deployment/app [HOST]/shop/app@[NEW] -n shop";
    assert!(last.starts_with(ready), "{outcome}");
    assert!(scene.server.writes().is_empty(), "{:?}", scene.server.writes());
}

#[test]
fn a_rule_that_stops_it_is_exit_4_until_it_is_allowed() {
    let scene = Scene::new();
    scene.pause();
    let outcome = scene.plan(&[]);
    assert_eq!(outcome.code, Some(4), "{outcome}");
    assert!(outcome.stdout.contains("\nblock    T004 "), "{outcome}");
    assert!(outcome.stdout.lines().last().unwrap().starts_with("blocked by "), "{outcome}");
    assert!(
        outcome.stdout.trim_end().ends_with("--allow T004") || outcome.stdout.contains("--allow T004 "),
        "{outcome}"
    );
    let allowed = scene.allowed();
    assert!(allowed.contains(&"--allow=T004".to_owned()), "{allowed:?}");
    let outcome = scene.plan(&strs(&allowed));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(outcome.stdout.contains("\nallowed  T004 "), "{outcome}");
}

#[test]
fn warnings_are_exit_3_with_strict_and_0_without() {
    let scene = Scene::new();
    let mut args = scene.allowed();
    assert_eq!(scene.plan(&strs(&args)).code, Some(0));
    args.push("--strict".to_owned());
    let outcome = scene.plan(&strs(&args));
    assert_eq!(outcome.code, Some(3), "{outcome}");
    assert!(outcome.stdout.lines().last().unwrap().starts_with("stopped by warnings, "), "{outcome}");
}

#[test]
fn json_is_one_object() {
    let scene = Scene::new();
    let outcome = scene.plan(&["--output", "json", "--drain", "rolling"]);
    let plan = outcome.json();
    assert_eq!(plan["workload"], json!("shop/deployment/app"), "{outcome}");
    assert_eq!(plan["exit"], json!(outcome.code.unwrap()));
    assert_eq!(plan["to"], json!("[HOST]/shop/app@[NEW]"));
    assert_eq!(plan["tag"], json!("1.1"));
    let version = json!({"what": "version", "from": "1.0", "to": "1.1"});
    assert_eq!(plan["diff"]["changes"], json!([version]));
    assert_eq!(plan["drain"]["way"], json!("rolling"));
    let command = plan["command"].as_str().unwrap();
    assert!(command.contains(" -n shop --kubeconfig ") && command.ends_with(" --drain rolling"), "{outcome}");
    let named = |finding: &Value| finding["name"].is_string() && finding["severity"].is_string();
    assert!(plan["findings"].as_array().unwrap().iter().all(named), "{outcome}");
}

#[test]
fn what_is_wrong_with_the_command_line_is_said_before_anybody_is_asked() {
    let scene = Scene::new();
    let outcome = scene.plan(&["--allow", "T0004"]);
    assert_snapshot!(outcome, @r"
    exit 2
    --- stderr
    error: `--allow`: there is no rule `T0004`
    hint: the nearest are `T004`, `T001`, `T002`
    ");
    assert!(scene.server.seen().is_empty() && scene.registry.requests().is_empty());
    let toolkit = scene.toolkit();
    let outcome = toolkit.binary("rollway").args(["plan", "cronjob/app", "x:1"]).run();
    assert_eq!(outcome.code, Some(2), "{outcome}");
    assert!(outcome.stderr.contains("`cronjob` is not a kind that can be rolled"), "{outcome}");
}

#[test]
fn a_tag_that_is_not_there_is_told_with_those_that_are() {
    let scene = Scene::new();
    let image = scene.registry.repository("shop/app:1.2");
    let outcome = scene.toolkit().binary("rollway").args(["plan", "app", &image]).run();
    assert_snapshot!(outcome, @r"
    exit 1
    --- stderr
    error: `[HOST]/shop/app:1.2` is not in the registry
    hint: the nearest tags there are `1.0`, `1.1`
    ");
}

#[test]
fn a_closed_window_stops_it_and_the_command_keeps_what_was_typed() {
    let scene = Scene::new();
    let mut args = scene.allowed();
    // Neither today nor tomorrow, whatever the time of day is.
    let day = k8s_openapi::jiff::Timestamp::now() + k8s_openapi::jiff::SignedDuration::from_hours(72);
    let closed = format!("days: [{}]", day.strftime("%a"));
    args.push(format!("--window={closed}"));
    let outcome = scene.plan(&strs(&args));
    assert_eq!(outcome.code, Some(4), "{outcome}");
    assert!(outcome.stdout.contains("rollouts start only on: "), "{outcome}");
    args.push("--window=location: Europe/Zurich".to_owned());
    let outcome = scene.plan(&strs(&args));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let command = outcome.stdout.lines().last().unwrap();
    let windows = format!("--window '{closed}' --window 'location: Europe/Zurich'");
    assert!(command.ends_with(&windows), "{outcome}");
}

#[test]
fn options_that_make_no_sense_are_refused_before_anybody_is_asked() {
    let scene = Scene::new();
    assert_snapshot!(scene.plan(&["--freeze", "http://bob:canary@prometheus"]), @r"
    exit 2
    --- stderr
    error: `--freeze`: expected an object, found a string
    ");
    for (wrong, words) in [
        (&["--probe", "notaurl"][..], "error: `--probe` has the address `notaurl`"),
        (&["--canary", "1", "--wait", "0"], "error: `--canary` is set, and nobody stays to watch it"),
        (&["--settle", "3601"], "error: invalid value '3601' for '--settle <SECONDS>'"),
    ] {
        let outcome = scene.plan(wrong);
        assert_eq!(outcome.code, Some(2), "{outcome}");
        assert!(outcome.stderr.starts_with(words), "{outcome}");
    }
    assert_snapshot!(scene.plan(&["--window", "day: [mon]"]), @r"
    exit 2
    --- stderr
    error: `--window.day`: unknown key; did you mean `days`?
    ");
    assert!(scene.server.seen().is_empty() && scene.registry.requests().is_empty());
}
