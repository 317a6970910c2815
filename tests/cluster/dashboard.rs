//! Every query of `grafana/kpack-dashboard.json`, asked of a real Prometheus that scrapes pods of two versions.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::world::{App, PATIENCE, Shape, World};

/// Where it listens, in the lab's own network.
const ADDRESS: &str = "127.0.0.1:9099";

/// A Prometheus that scrapes what `targets.json` in its directory says.
struct Prometheus {
    directory: tempfile::TempDir,
    _process: Child,
}

impl Prometheus {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let configuration = json!({
            "global": { "scrape_interval": "1s" },
            "scrape_configs": [{
                "job_name": "apps",
                "metrics_path": "/actuator/prometheus",
                "file_sd_configs": [{ "files": [directory.path().join("targets.json")] }],
            }],
        });
        std::fs::write(directory.path().join("prometheus.yml"), configuration.to_string()).unwrap();
        std::fs::write(directory.path().join("targets.json"), "[]").unwrap();
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let process = Command::new("/usr/bin/prometheus")
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address={ADDRESS}"))
            .current_dir(directory.path())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("Debian's package `prometheus` is there after `lab/prepare dashboard`");
        Self { directory, _process: process }
    }

    /// Scrapes these pods too; all have one `namespace`, each app has a `job` of its own.
    async fn scrape(&self, apps: &[&App]) {
        let mut targets = Vec::new();
        for app in apps {
            let pods = app.view().await.pods;
            let addresses: Vec<_> = pods
                .iter()
                .map(|pod| format!("{}:8080", pod.status.clone().unwrap().pod_ip.unwrap()))
                .collect();
            let labels = json!({ "namespace": "fleet", "job": app.namespace });
            targets.push(json!({ "targets": addresses, "labels": labels }));
        }
        // Whole or not at all, because it is read when it changes.
        let next = self.directory.path().join("next");
        std::fs::write(&next, Value::from(targets).to_string()).unwrap();
        std::fs::rename(next, self.directory.path().join("targets.json")).unwrap();
    }

    async fn ask(&self, query: &str) -> Option<Vec<(Value, f64)>> {
        let url = format!("http://{ADDRESS}/api/v1/query");
        let answer = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = answer.get(url).query(&[("query", query)]).send().await.ok()?;
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["status"], "success", "{query}: {body}");
        let series = body["data"]["result"].as_array().unwrap().iter();
        Some(
            series
                .map(|one| (one["metric"].clone(), one["value"][1].as_str().unwrap().parse().unwrap()))
                .collect(),
        )
    }

    /// Asks until the answer is as it should be.
    async fn until(&self, query: &str, wanted: impl Fn(&[(Value, f64)]) -> bool) -> Vec<(Value, f64)> {
        let started = Instant::now();
        loop {
            let answer = self.ask(query).await.unwrap_or_default();
            if wanted(&answer) {
                return answer;
            }
            let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap();
            assert!(started.elapsed() < PATIENCE, "{query}: {answer:#?}\n{log}");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
}

fn dashboard() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana/kpack-dashboard.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Returns the query of the panel with this title, with the variables set.
fn query(dashboard: &Value, title: &str, variables: &[(&str, &str)]) -> String {
    let panel = dashboard["panels"].as_array().unwrap().iter().find(|panel| panel["title"] == title);
    let query = panel.unwrap()["targets"][0]["expr"].as_str().unwrap().to_owned();
    variables.iter().fold(query, |query, (name, value)| query.replace(&format!("${name}"), value))
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn every_panel_shows_what_two_versions_side_by_side_are() {
    let world = World::connect().await;
    let [old, new] = [world.publish("11.0.5", &[]).await, world.publish("11.0.6", &[]).await];
    let old = world.deploy(Shape { replicas: 1, ..Shape::dies_at_once(&old) }).await;
    let new = world.deploy(Shape { replicas: 2, ..Shape::dies_at_once(&new) }).await;
    let (prometheus, dashboard) = (Prometheus::start(), dashboard());
    prometheus.scrape(&[&old]).await;
    let one = |wanted: f64| move |answer: &[(Value, f64)]| matches!(answer, [(_, value)] if *value == wanted);
    prometheus.until(&query(&dashboard, "Pods running", &[]), one(1.0)).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    prometheus.scrape(&[&old, &new]).await;
    prometheus.until(&query(&dashboard, "Pods running", &[]), one(3.0)).await;

    let by_java =
        prometheus.until(&query(&dashboard, "Pods by Java version", &[]), |found| found.len() == 2).await;
    let pods = |java: &str| by_java.iter().find(|(labels, _)| labels["java_version"] == java).unwrap().1;
    assert_eq!((pods("11.0.5"), pods("11.0.6")), (1.0, 2.0));
    let by_openssl = prometheus.until(&query(&dashboard, "Pods by OpenSSL version", &[]), one(3.0)).await;
    let openssl = by_openssl[0].0["openssl_version"].as_str().unwrap().to_owned();

    // What appeared last is what the variable offers first; here within seconds.
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let variable = variables.iter().find(|variable| variable["name"] == "java").unwrap();
    let asked = variable["definition"].as_str().unwrap();
    let asked = asked.strip_prefix("query_result(").unwrap().strip_suffix(')').unwrap();
    let offered = prometheus.until(&asked.replace("[7d:1m]", "[10m:1s]"), |found| found.len() == 2).await;
    assert_eq!(offered[0].0["java_version"], "11.0.6", "{offered:?}");

    let share = |java| query(&dashboard, "Pods up to date", &[("java", java), ("openssl", &openssl)]);
    let shown = prometheus.until(&share("11.0.6"), |found| found.len() == 1).await;
    assert!((shown[0].1 - 2.0 / 3.0).abs() < 1e-9, "{shown:?}");
    prometheus.until(&share("11.0.7"), one(0.0)).await;

    let rollouts = |label| query(&dashboard, "Rollouts in progress", &[("app", label)]);
    prometheus.until(&rollouts("namespace"), one(1.0)).await;
    prometheus.until(&rollouts("job"), one(0.0)).await;
    let rows = prometheus
        .until(&query(&dashboard, "What the apps run", &[("app", "job")]), |found| found.len() == 2)
        .await;
    assert_eq!((&rows[0].0["job"], rows[0].1), (&Value::from(new.namespace.as_str()), 2.0));
    old.remove().await;
    new.remove().await;
}
