//! `rollway roll`: the answer on stdout, the exit code, and a log that is only text. The test plays
//! the controllers.

use std::time::Duration;

use serde_json::json;

use crate::support::apiserver::{ApiServer, TOKEN, kubeconfig};
use crate::support::shop;
use crate::support::toolkit::{Outcome, Toolkit, finish};

/// Rolls to image `b` while the test plays the controllers.
fn roll(server: &ApiServer, toolkit: &Toolkit, args: &[&str]) -> Outcome {
    roll_chosen(server, toolkit, &["app"], args)
}

fn roll_chosen(server: &ApiServer, toolkit: &Toolkit, chosen: &[&str], args: &[&str]) -> Outcome {
    let path = toolkit.file("kubeconfig", &kubeconfig(server, TOKEN));
    let image = format!("{}:v2@{}", shop::REPOSITORY, shop::digest('b'));
    let run =
        toolkit.binary("rollway").arg("roll").args(chosen).args([&image, "--settle", "0", "--drain", "none"]);
    let mut child = run.args(args).arg("--kubeconfig").arg(path).start_without_stdin();
    while child.try_wait().unwrap().is_none() {
        if !shop::reconcile(server) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    finish(toolkit, child, b"")
}

/// Returns a server with the Deployment on image `a`.
fn scene() -> ApiServer {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    server
}

#[test]
fn json_is_one_object_on_stdout_and_the_log_is_plain_text() {
    let server = scene();
    let outcome = roll(&server, &Toolkit::new(), &["--output", "json"]);
    let report = outcome.json();
    assert_eq!((outcome.code, &report["outcome"]), (Some(0), &json!("rolled")), "{outcome}");
    assert_eq!(report["workload"], json!("shop/deployment/app"));
    assert_eq!(report["pods"], json!({"wanted": 3, "proven": 3}));
    assert!(report["findings"].is_array() && report.get("words").is_none(), "{outcome}");
    assert!(!outcome.stderr.contains('\u{1b}'), "{outcome}");
    assert!(outcome.stderr.contains("done: 3/3 pods run"), "{outcome}");
}

#[test]
fn a_selector_answers_in_the_form_of_several_however_many_it_finds() {
    let server = scene();
    let mut deployment = server.object(shop::DEPLOYMENT).unwrap();
    deployment["metadata"]["labels"] = json!({"team": "shop"});
    server.put(shop::DEPLOYMENT, deployment);
    let outcome = roll_chosen(&server, &Toolkit::new(), &["--selector", "team=shop"], &["--output", "json"]);
    let document = outcome.json();
    assert_eq!((outcome.code, &document["not_begun"]), (Some(0), &json!([])), "{outcome}");
    let workloads = document["workloads"].as_array().unwrap();
    assert_eq!(workloads.len(), 1, "{outcome}");
    assert_eq!(workloads[0]["workload"], json!("shop/deployment/app"));
}

#[test]
fn text_is_a_field_a_line_and_a_second_run_finds_it_there() {
    let (server, toolkit) = (scene(), Toolkit::new().variable("NO_COLOR", "1"));
    let outcome = roll(&server, &toolkit, &[]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(outcome.stdout.starts_with("outcome     rolled\n"), "{outcome}");
    let outcome = roll(&server, &toolkit, &["-o", "json"]);
    assert_eq!(outcome.json()["outcome"], json!("already there"), "{outcome}");
}

#[test]
fn a_refusal_is_exit_4_in_both_forms() {
    let server = scene();
    let mut deployment = server.object(shop::DEPLOYMENT).unwrap();
    deployment["spec"]["paused"] = json!(true);
    server.put(shop::DEPLOYMENT, deployment);
    let outcome = roll(&server, &Toolkit::new(), &["--output", "json"]);
    let report = outcome.json();
    assert_eq!((outcome.code, &report["outcome"]), (Some(4), &json!("blocked")), "{outcome}");
    assert_eq!((&report["exit"], &report["rule"]), (&json!(4), &json!("T004")));
    assert!(outcome.stderr.contains("error: ") && outcome.stderr.contains("\nhint: "), "{outcome}");
    let outcome = roll(&server, &Toolkit::new(), &[]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(4), ""), "{outcome}");
    assert!(server.writes().is_empty());
}

#[test]
fn what_could_not_even_be_tried_is_one_object_too() {
    let toolkit = Toolkit::new();
    let image = format!("{}@{}", shop::REPOSITORY, shop::digest('b'));
    let run = toolkit.binary("rollway").args(["roll", "app", &image, "-o", "json", "--kubeconfig", "none"]);
    let outcome = run.run();
    let report = outcome.json();
    assert_eq!((outcome.code, &report["outcome"]), (Some(1), &json!("failed")), "{outcome}");
    assert!(report["words"].as_str().unwrap().contains("failed to read the kubeconfig `none`"), "{outcome}");
}

#[test]
fn help_documents_every_exit_code() {
    let outcome = Toolkit::new().binary("rollway").args(["roll", "--help"]).run();
    for code in ["0", "1", "2", "4", "5", "6", "7", "8", "9", "10", "143"] {
        let documented =
            outcome.stdout.lines().any(|line| line.trim_start().starts_with(&format!("{code} ")));
        assert!(documented, "{code} is missing in\n{outcome}");
    }
}
