//! How a rollout ends when it does not end well: exit code, JSON, what is left in the cluster. The
//! test plays a controller that never brings the new image's pods up.

use std::process::Child;
use std::time::{Duration, Instant};

use axum::http::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::apiserver::{ApiServer, TOKEN, kubeconfig};
use crate::support::shop;
use crate::support::toolkit::{Outcome, Toolkit, finish};

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/shop/leases/rollway-deployment-app";

fn image(letter: char) -> String {
    format!("{}@{}", shop::REPOSITORY, shop::digest(letter))
}

fn toolkit(server: &ApiServer) -> Toolkit {
    let toolkit = Toolkit::new().variable("NO_COLOR", "1");
    toolkit.file("kubeconfig", &kubeconfig(server, TOKEN));
    toolkit
}

fn start(toolkit: &Toolkit, letter: char, options: &[&str]) -> Child {
    let run = toolkit.binary("rollway").args(["roll", "app"]).arg(image(letter));
    let run = run.args(["-n", "shop", "--kubeconfig", "kubeconfig", "--output", "json"]);
    run.args(["--drain", "none", "--settle", "0"]).args(options).start_without_stdin()
}

fn template_image(server: &ApiServer) -> String {
    let deployment = server.object(shop::DEPLOYMENT).unwrap();
    deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
}

/// Follows the Deployment's image only while it is the old one.
fn control(server: &ApiServer) {
    if template_image(server) == image('a') {
        shop::reconcile(server);
    }
}

fn change(server: &ApiServer, change: impl Fn(&mut Value)) {
    let mut deployment = server.object(shop::DEPLOYMENT).unwrap();
    change(&mut deployment);
    let generation = deployment["metadata"]["generation"].as_i64().unwrap() + 1;
    deployment["metadata"]["generation"] = json!(generation);
    server.put(shop::DEPLOYMENT, deployment);
}

fn write_as(server: &ApiServer, manager: &str, letter: char) {
    change(server, |deployment| {
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image(letter));
        let container = json!({"k:{\"name\":\"app\"}": {"f:image": {}}});
        deployment["metadata"]["managedFields"] = json!([{
            "manager": manager, "operation": "Update", "time": "2026-01-02T03:05:00Z",
            "fieldsV1": {"f:spec": {"f:template": {"f:spec": {"f:containers": container}}}},
        }]);
    });
}

fn pass(server: &ApiServer) {
    control(server);
    std::thread::sleep(Duration::from_millis(20));
}

fn until(server: &ApiServer, what: &str, is_true: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_true() {
        assert!(started.elapsed() < Duration::from_secs(20), "never happened: {what}");
        pass(server);
    }
}

fn until_written(server: &ApiServer, letter: char) {
    until(server, "the image is written", || template_image(server) == image(letter));
}

/// Plays the controller until the run has ended.
fn end(server: &ApiServer, toolkit: &Toolkit, mut child: Child) -> Outcome {
    while child.try_wait().unwrap().is_none() {
        pass(server);
    }
    finish(toolkit, child, b"")
}

fn shop() -> (ApiServer, Toolkit) {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    let toolkit = toolkit(&server);
    (server, toolkit)
}

fn annotation(server: &ApiServer, name: &str) -> String {
    let deployment = server.object(shop::DEPLOYMENT).unwrap();
    deployment["metadata"]["annotations"][format!("rollway.dev/{name}")]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn terminate(child: &Child) {
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), Signal::TERM).unwrap();
}

#[test]
fn what_is_not_ready_in_time_goes_back_and_that_is_proven() {
    let (server, toolkit) = shop();
    let outcome = end(&server, &toolkit, start(&toolkit, 'b', &["--wait", "2"]));
    assert_eq!(outcome.code, Some(5), "{outcome}");
    let report = outcome.json();
    assert_eq!(report["outcome"], json!("failed and rolled back"), "{outcome}");
    assert_eq!((&report["rule"], &report["exit"]), (&json!("F801"), &json!(5)));
    assert_eq!(report["previous"], json!(image('a')));
    assert!(outcome.stderr.contains("rolled back: 3 pods on"), "{outcome}");
    assert_eq!(template_image(&server), image('a'));
    assert_eq!(
        (annotation(&server, "rollout"), annotation(&server, "outcome")),
        ("finished".into(), "failed and rolled back".into())
    );
    assert_eq!(server.object(LEASE).unwrap()["spec"]["holderIdentity"], json!(""), "the lock is given back");
}

#[test]
fn a_way_back_is_proven_though_the_pods_from_before_have_ended() {
    let (server, toolkit) = shop();
    let run = toolkit.binary("rollway").args(["roll", "app"]).arg(image('b'));
    let run = run.args(["-n", "shop", "--kubeconfig", "kubeconfig", "--output", "json"]);
    let mut child = run.args(["--drain", "none", "--settle", "30"]).start_without_stdin();
    let pod = "/api/v1/namespaces/shop/pods/app-8d1-1";
    let passes = |child: &mut Child, is_over: &dyn Fn() -> bool| {
        while !is_over() && child.try_wait().unwrap().is_none() {
            shop::reconcile(&server);
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    passes(&mut child, &|| server.object(pod).is_some());
    let seen = server.seen().len();
    passes(&mut child, &|| server.seen().len() > seen + 3);
    std::thread::sleep(Duration::from_secs(1));
    let mut crashed = server.object(pod).unwrap();
    crashed["status"]["containerStatuses"][0]["restartCount"] = json!(1);
    server.put(pod, crashed);
    passes(&mut child, &|| false);
    let outcome = finish(&toolkit, child, b"");
    assert_eq!((outcome.code, outcome.json()["rule"].clone()), (Some(5), json!("F308")), "{outcome}");
    assert!(outcome.stderr.contains("rolled back: 3 pods on"), "{outcome}");
    assert_eq!(annotation(&server, "rollout"), "finished");
}

#[test]
fn on_failure_leave_keeps_the_image_and_says_the_way_back() {
    let (server, toolkit) = shop();
    let child = start(&toolkit, 'b', &["--wait", "2", "--on-failure", "leave"]);
    let outcome = end(&server, &toolkit, child);
    assert_eq!((outcome.code, template_image(&server)), (Some(6), image('b')), "{outcome}");
    assert_eq!(outcome.json()["outcome"], json!("failed and left"));
    let command = format!("kubectl -n shop set image deployment/app app={}", image('a'));
    assert!(outcome.stderr.contains(&command), "{outcome}");
    assert_eq!(annotation(&server, "outcome"), "failed and left");
}

#[test]
fn another_image_supersedes_and_the_old_one_reverts_and_both_name_who_did_it() {
    for (letter, manager, code, word) in
        [('c', "kubectl-set", 7, "superseded"), ('a', "argocd-controller", 8, "reverted")]
    {
        let (server, toolkit) = shop();
        let child = start(&toolkit, 'b', &["--wait", "30"]);
        until_written(&server, 'b');
        write_as(&server, manager, letter);
        let outcome = end(&server, &toolkit, child);
        assert_eq!((outcome.code, outcome.json()["outcome"].clone()), (Some(code), json!(word)), "{outcome}");
        assert!(outcome.stderr.contains(&format!("by `{manager}`")), "{outcome}");
        assert_eq!(template_image(&server), image(letter), "nothing is rolled back");
    }
}

#[test]
fn a_pause_stops_the_clock_and_then_the_rollout() {
    let (server, toolkit) = shop();
    let child = start(&toolkit, 'b', &["--wait", "2"]);
    until_written(&server, 'b');
    change(&server, |deployment| deployment["spec"]["paused"] = json!(true));
    let outcome = end(&server, &toolkit, child);
    assert_eq!((outcome.code, template_image(&server)), (Some(9), image('b')), "{outcome}");
    assert!(outcome.stderr.contains("rollout resume deployment/app"), "{outcome}");
}

#[test]
fn a_deployment_that_is_made_again_is_another_one() {
    let (server, toolkit) = shop();
    let child = start(&toolkit, 'b', &["--wait", "30"]);
    until_written(&server, 'b');
    change(&server, |deployment| deployment["metadata"]["uid"] = json!("another"));
    let outcome = finish(&toolkit, child, b"");
    assert_eq!((outcome.code, outcome.json()["rule"].clone()), (Some(7), json!("F703")), "{outcome}");
    assert!(
        outcome.stderr.contains(&format!("was deleted and made again with `{}`", image('b'))),
        "{outcome}"
    );
}

#[test]
fn sigterm_ends_it_in_three_seconds_with_a_record_that_the_next_run_goes_on_from() {
    let (server, toolkit) = shop();
    let child = start(&toolkit, 'b', &["--wait", "60"]);
    until_written(&server, 'b');
    std::thread::sleep(Duration::from_millis(300));
    let writes = server.writes().len();
    let started = Instant::now();
    terminate(&child);
    let outcome = finish(&toolkit, child, b"");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert_eq!((outcome.code, template_image(&server)), (Some(143), image('b')), "{outcome}");
    assert_eq!(outcome.json()["outcome"], json!("aborted"));
    assert_eq!(server.writes().len(), writes + 1, "one record and nothing else");
    assert!(annotation(&server, "rollout").contains("interrupted at"), "{}", annotation(&server, "rollout"));
    assert_eq!(server.object(LEASE).unwrap()["spec"]["holderIdentity"], json!(""));
    let mut child = start(&toolkit, 'b', &["--wait", "60"]);
    while child.try_wait().unwrap().is_none() {
        shop::reconcile(&server);
        std::thread::sleep(Duration::from_millis(20));
    }
    let outcome = finish(&toolkit, child, b"");
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(outcome.stderr.contains("an earlier run wrote this image and was interrupted at"), "{outcome}");
    assert!(!annotation(&server, "rollout").contains("interrupted"));
}

#[test]
fn a_newer_digest_takes_over_and_the_older_run_writes_nothing_more() {
    let (server, toolkit) = shop();
    let first = start(&toolkit, 'b', &["--wait", "60"]);
    until_written(&server, 'b');
    let second = start(&toolkit, 'c', &["--wait", "60"]);
    until(&server, "the lock changes hands", || {
        server.object(LEASE).unwrap()["metadata"]["annotations"]["rollway.dev/wanted"] == json!(image('c'))
    });
    let taken = Instant::now();
    let writes = server.writes().len();
    let outcome = finish(&toolkit, first, b"");
    assert!(taken.elapsed() < Duration::from_secs(2), "{:?}\n{outcome}", taken.elapsed());
    assert_eq!(
        (outcome.code, outcome.json()["outcome"].clone()),
        (Some(7), json!("superseded")),
        "{outcome}"
    );
    assert_eq!(server.writes().len(), writes, "the older run stops before the newer one begins");
    until_written(&server, 'c');
    terminate(&second);
    let outcome = finish(&toolkit, second, b"");
    assert!(outcome.stderr.contains("superseding rollway"), "{outcome}");
}

#[test]
fn two_runs_to_the_same_digest_go_on_together() {
    let (server, toolkit) = shop();
    let first = start(&toolkit, 'b', &["--wait", "60"]);
    until_written(&server, 'b');
    let asked = || server.seen().iter().filter(|seen| seen.method == "GET" && seen.path == LEASE).count();
    let before = asked();
    let second = start(&toolkit, 'b', &["--wait", "60"]);
    until(&server, "the second run reads the lock", || asked() > before);
    let mut children = [first, second];
    while children.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
        shop::reconcile(&server);
        std::thread::sleep(Duration::from_millis(20));
    }
    let [first, second] = children.map(|child| finish(&toolkit, child, b""));
    assert_eq!((first.code, second.code), (Some(0), Some(0)), "{first}\n{second}");
    assert!(second.stderr.contains("rolls the same image: both go on"), "{second}");
}

#[test]
fn without_the_right_to_leases_the_deployment_alone_keeps_runs_apart() {
    let (server, toolkit) = shop();
    server.script(Method::GET, LEASE, (403, "Forbidden", "leases are forbidden"), 99);
    let first = start(&toolkit, 'b', &["--wait", "60"]);
    until_written(&server, 'b');
    let second = start(&toolkit, 'c', &["--wait", "60"]);
    let outcome = finish(&toolkit, first, b"");
    assert_eq!(outcome.code, Some(7), "{outcome}");
    assert!(outcome.stderr.contains("note: no Lease (403)"), "{outcome}");
    until_written(&server, 'c');
    terminate(&second);
    assert_eq!(finish(&toolkit, second, b"").code, Some(143));
}

#[test]
fn a_takeover_whose_note_came_too_late_is_noted_again() {
    let (server, toolkit) = shop();
    server.script(Method::GET, LEASE, (403, "Forbidden", "leases are forbidden"), 99);
    let first = start(&toolkit, 'b', &["--wait", "60"]);
    until_written(&server, 'b');
    terminate(&first);
    assert_eq!(finish(&toolkit, first, b"").code, Some(143));
    server.script(Method::PATCH, shop::DEPLOYMENT, (422, "Invalid", "testing value failed"), 1);
    let second = start(&toolkit, 'c', &["--wait", "60"]);
    until_written(&server, 'c');
    terminate(&second);
    assert_eq!(finish(&toolkit, second, b"").code, Some(143));
}

#[test]
fn without_leases_an_older_run_hears_of_a_newer_one_as_soon_as_that_says_so() {
    let (server, toolkit) = shop();
    server.script(Method::GET, LEASE, (403, "Forbidden", "leases are forbidden"), 99);
    let child = start(&toolkit, 'b', &["--wait", "60"]);
    until_written(&server, 'b');
    let writes = server.writes().len();
    change(&server, |deployment| {
        let text = deployment["metadata"]["annotations"]["rollway.dev/rollout"].as_str().unwrap();
        let mut journal: Value = serde_json::from_str(text).unwrap();
        journal["taken"] = json!(image('c'));
        deployment["metadata"]["annotations"]["rollway.dev/rollout"] = json!(journal.to_string());
    });
    let outcome = end(&server, &toolkit, child);
    assert_eq!(
        (outcome.code, outcome.json()["outcome"].clone()),
        (Some(7), json!("superseded")),
        "{outcome}"
    );
    assert!(outcome.stderr.contains(&image('c')), "{outcome}");
    assert_eq!((server.writes().len(), template_image(&server)), (writes, image('b')), "{outcome}");
}

#[test]
fn a_registry_that_an_admission_policy_renames_supersedes_nothing() {
    let (server, toolkit) = shop();
    let mut child = start(&toolkit, 'b', &["--wait", "60"]);
    until_written(&server, 'b');
    let renamed = format!("mirror.test/shop/app@{}", shop::digest('b'));
    change(&server, |deployment| {
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!(renamed);
    });
    while child.try_wait().unwrap().is_none() {
        shop::reconcile(&server);
        std::thread::sleep(Duration::from_millis(20));
    }
    let outcome = finish(&toolkit, child, b"");
    assert_eq!((outcome.code, outcome.json()["outcome"].clone()), (Some(0), json!("rolled")), "{outcome}");
    let outcome = finish(&toolkit, start(&toolkit, 'b', &["--wait", "60"]), b"");
    assert_eq!(outcome.json()["outcome"], json!("already there"), "{outcome}");
    assert_eq!(template_image(&server), renamed);
}

#[test]
fn every_watch_may_expire_at_any_moment() {
    let (server, toolkit) = shop();
    let mut child = start(&toolkit, 'b', &["--wait", "60"]);
    until_written(&server, 'b');
    while child.try_wait().unwrap().is_none() {
        server.expire_watches();
        shop::reconcile(&server);
        std::thread::sleep(Duration::from_millis(100));
    }
    let outcome = finish(&toolkit, child, b"");
    assert_eq!((outcome.code, outcome.json()["outcome"].clone()), (Some(0), json!("rolled")), "{outcome}");
}

#[test]
fn an_api_server_that_is_away_for_a_while_is_waited_for() {
    let (server, toolkit) = shop();
    let away = (500, "InternalError", "the server is starting");
    let child = start(&toolkit, 'b', &["--wait", "2"]);
    until_written(&server, 'b');
    server.script(Method::GET, shop::DEPLOYMENT, away, 4);
    server.script(Method::PATCH, shop::DEPLOYMENT, away, 1);
    let outcome = end(&server, &toolkit, child);
    assert_eq!((outcome.code, template_image(&server)), (Some(5), image('a')), "{outcome}");
}

#[test]
fn a_first_write_that_came_too_late_is_made_again_over_the_same_image() {
    let (server, toolkit) = shop();
    server.script(Method::PATCH, shop::DEPLOYMENT, (422, "Invalid", "testing value failed"), 1);
    let child = start(&toolkit, 'b', &["--wait", "30"]);
    until_written(&server, 'b');
    terminate(&child);
    assert_eq!(finish(&toolkit, child, b"").code, Some(143));
}

#[test]
fn a_resource_fails_with_one_whatever_the_ending() {
    let (server, toolkit) = shop();
    let request = json!({
        "source": {"server": server.url(), "token": TOKEN, "namespace": "shop", "deployment": "app"},
        "params": {"reference": image('b'), "drain": "none", "wait_until_ready": 1},
    });
    let mut child = toolkit.binary("rollout").arg("out").arg(toolkit.directory()).start_without_stdin();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), request.to_string().as_bytes()).unwrap();
    let outcome = end(&server, &toolkit, child);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""), "{outcome}");
    assert!(outcome.stderr.contains("rolled back: 3 pods on"), "{outcome}");
}
