//! `rollway status`: many workloads from a few lists, and what the registry adds.

use axum::http::Method;
use insta::assert_snapshot;
use serde_json::json;

use crate::support::apiserver::{ApiServer, TOKEN, kubeconfig};
use crate::support::registry::{Login, Registry};
use crate::support::toolkit::{Outcome, Toolkit};
use crate::support::{sets, shop};

fn status(toolkit: &Toolkit, server: &ApiServer, args: &[&str]) -> Outcome {
    let path = toolkit.file("kubeconfig", &kubeconfig(server, TOKEN));
    toolkit.binary("rollway").arg("status").args(args).arg("--kubeconfig").arg(path).run()
}

/// Lets the Deployment run an image of the registry that was rolled out as `latest`.
fn run(server: &ApiServer, registry: &Registry, digest: &str) {
    shop::fill(server, 'a');
    shop::run(server, &format!("{}@{digest}", registry.repository("shop/app")), digest);
    let mut deployment = server.object(shop::DEPLOYMENT).unwrap();
    deployment["metadata"]["annotations"]["rollway.dev/digest"] = json!(digest);
    deployment["metadata"]["annotations"]["rollway.dev/outcome"] = json!("rolled");
    server.put(shop::DEPLOYMENT, deployment);
}

#[test]
fn one_row_tells_what_runs_what_is_newer_and_what_is_in_it() {
    let (server, registry) = (ApiServer::start(), Registry::plain());
    let bom = json!({"buildpacks": [], "bom": [{"name": "openjdk-jre", "metadata": {"version": "11.0.5"}}]})
        .to_string();
    let stack = json!({"stack": {"runImage": {"image": "lab/run:base"}}}).to_string();
    let labels = [
        ("io.buildpacks.build.metadata", bom.as_str()),
        ("io.buildpacks.lifecycle.metadata", stack.as_str()),
    ];
    let old = registry.image("shop/app", "latest", &labels);
    let new = registry.image("shop/app", "latest", &[("v", "2")]);
    run(&server, &registry, &old);
    let toolkit = Toolkit::new().filter(&old[7..19], "[old-digest]").filter(&new[7..19], "[new-digest]");
    assert_snapshot!(status(&toolkit, &server, &[]), @r"
    exit 0
    --- stdout
    NAMESPACE  KIND        NAME  PODS  RUNNING       WANTED  NEWEST                  JAVA    RUN IMAGE     LAST ROLLOUT          BY                           OUTCOME
    shop       deployment  app   3/3   [old-digest]  same    [new-digest] (:latest)  11.0.5  lab/run:base  2026-01-02T03:04:00Z  https://ci.example/builds/7  rolled
    ");
    assert!(server.writes().is_empty());
    assert_snapshot!(status(&toolkit, &server, &["--offline"]), @r"
    exit 0
    --- stdout
    NAMESPACE  KIND        NAME  PODS  RUNNING       WANTED  LAST ROLLOUT          BY                           OUTCOME
    shop       deployment  app   3/3   [old-digest]  same    2026-01-02T03:04:00Z  https://ci.example/builds/7  rolled
    ");
}

#[test]
fn json_is_one_object_with_whole_digests() {
    let (server, registry) = (ApiServer::start(), Registry::plain());
    let digest = registry.image("shop/app", "latest", &[]);
    run(&server, &registry, &digest);
    let outcome = status(&Toolkit::new(), &server, &["deployment/app", "--output", "json"]);
    let document = outcome.json();
    let [row] = document["workloads"].as_array().unwrap().as_slice() else { panic!("{outcome}") };
    assert_eq!(row["workload"], json!("deployment/app"));
    assert_eq!((&row["wanted"], &row["newest"]), (&json!(digest), &json!(digest)));
    assert_eq!(row["running"], json!({digest: 3}));
    assert_eq!(row["outcome"], json!("rolled"));
}

#[test]
fn sets_are_shown_beside_deployments_and_alone_when_they_are_named() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    sets::DB.fill(&server, 'a');
    sets::AGENT.fill(&server, 'b');
    let (a, b) = (&shop::digest('a')[7..19], &shop::digest('b')[7..19]);
    let toolkit = Toolkit::new().filter(a, "[a]").filter(b, "[b]");
    assert_snapshot!(status(&toolkit, &server, &["--offline"]), @r"
    exit 0
    --- stdout
    NAMESPACE  KIND         NAME   PODS  RUNNING       WANTED  LAST ROLLOUT          BY
    shop       deployment   app    3/3   [a]  same    2026-01-02T03:04:00Z  https://ci.example/builds/7
    shop       statefulset  db     3/3   [a]  same    -                     -
    shop       daemonset    agent  2/2   [b]  same    -                     -
    ");
    let outcome = status(&toolkit, &server, &["--offline", "--output=json", "sts/db", "ds/agent"]);
    let document = outcome.json();
    let rows: Vec<_> = document["workloads"].as_array().unwrap().iter().map(|row| &row["kind"]).collect();
    assert_eq!(rows, [&json!("statefulset"), &json!("daemonset")], "{outcome}");
}

#[test]
fn kinds_that_may_not_be_listed_are_left_out_and_said() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    for plural in ["statefulsets", "daemonsets"] {
        let path = format!("/apis/apps/v1/namespaces/shop/{plural}");
        server.script(Method::GET, &path, (403, "Forbidden", "you may not list them"), 10);
    }
    let outcome = status(&Toolkit::new(), &server, &["--offline"]);
    assert_eq!((outcome.code, outcome.stdout.lines().count()), (Some(0), 2), "{outcome}");
    let warnings: Vec<&str> = outcome.stderr.lines().collect();
    assert!(warnings.len() == 2 && warnings.iter().all(|line| line.starts_with("warning: ")), "{outcome}");
    let outcome = status(&Toolkit::new(), &server, &["--offline", "sts/db"]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
}

#[test]
fn three_hundred_deployments_are_a_handful_of_lists() {
    let server = ApiServer::start();
    for number in 0..300 {
        let namespace = format!("team-{}", number % 3);
        let mut deployment = shop::deployment('a');
        deployment["metadata"]["name"] = json!(format!("app-{number:03}"));
        deployment["metadata"]["namespace"] = json!(namespace);
        deployment["metadata"]["uid"] = json!(format!("uid-{number}"));
        let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/app-{number:03}");
        server.put(&path, deployment);
    }
    let outcome = status(&Toolkit::new(), &server, &["-A", "--offline"]);
    assert_eq!(outcome.stdout.lines().count(), 301, "{outcome}");
    let lists: Vec<String> =
        server.seen().into_iter().map(|seen| seen.path).filter(|path| path != "/version").collect();
    assert_eq!(lists.len(), 5, "{lists:?}");
}

#[test]
fn registry_that_does_not_answer_is_one_warning_and_no_failure() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    let outcome = status(&Toolkit::new(), &server, &[]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(
        outcome.stderr.starts_with("warning: cannot ask the registry about `127.0.0.1:9/shop/app`"),
        "{outcome}"
    );
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome}");
}

#[test]
fn credentials_go_to_no_registry_when_there_are_several() {
    let server = ApiServer::start();
    let one = Registry::plain().with_login(Login::Basic("bob", "canary-password"));
    let other = Registry::plain().with_login(Login::Basic("eve", "x"));
    let digest = one.image("shop/app", "latest", &[]);
    run(&server, &one, &digest);
    let mut second = server.object(shop::DEPLOYMENT).unwrap();
    second["metadata"]["name"] = json!("second");
    second["metadata"]["uid"] = json!("uid-second");
    second["spec"]["template"]["spec"]["containers"][0]["image"] = json!(other.repository("x:1"));
    server.put("/apis/apps/v1/namespaces/shop/deployments/second", second);
    let toolkit = Toolkit::new().variable("ROLLWAY_REGISTRY_PASSWORD", "canary-password");
    let outcome = status(&toolkit, &server, &["--registry-username", "bob"]);
    assert!(outcome.stderr.contains("name it with --registry"), "{outcome}");
    for registry in [&one, &other] {
        assert!(registry.seen().iter().all(|seen| seen.authorization.is_none()), "{outcome}");
    }
    let host = one.host();
    let outcome = status(&toolkit, &server, &["--registry-username", "bob", "--registry", &host]);
    assert!(outcome.stdout.contains("same (:latest)"), "{outcome}");
    assert!(other.seen().iter().all(|seen| seen.authorization.is_none()), "{outcome}");
}

#[test]
fn what_is_not_there_or_cannot_be_said_is_one_line() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    assert_snapshot!(status(&Toolkit::new(), &server, &["ap"]), @r"
    exit 1
    --- stderr
    error: there is no Deployment `ap` in namespace `shop`
    hint: the Deployments in `shop` are `app`
    ");
    assert_snapshot!(status(&Toolkit::new(), &server, &["-A", "ap"]), @r"
    exit 1
    --- stderr
    error: there is no Deployment `ap` in any namespace
    ");
    let outcome = status(&Toolkit::new(), &server, &["statefulset/db"]);
    let words = "error: there is no StatefulSet `db` in namespace `shop`\n";
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stderr.starts_with(words), "{outcome}");
    assert_snapshot!(status(&Toolkit::new(), &server, &["cronjob/app"]), @r"
    exit 2
    --- stderr
    error: invalid value 'cronjob/app' for '[WORKLOADS]...': `cronjob` is not a kind that can be rolled; write `deployment/NAME`, `statefulset/NAME` or `daemonset/NAME`

    For more information, try '--help'.
    ");
    assert_snapshot!(status(&Toolkit::new(), &server, &["--output", "yaml"]), @r"
    exit 2
    --- stderr
    error: invalid value 'yaml' for '--output <FORM>'
      [possible values: text, json]

    For more information, try '--help'.
    ");
    assert_snapshot!(status(&Toolkit::new(), &server, &["-n", "empty"]), @r"
    exit 0
    --- stderr
    there are no workloads in `empty`
    ");
}
