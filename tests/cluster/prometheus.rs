//! A Prometheus, for as long as a test runs: it scrapes the application, and an alert fires in it.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use crate::world::{App, PATIENCE};

/// The alert that fires from the start.
pub(crate) const FIRING: &str = "SloBurn";

pub(crate) struct Prometheus {
    pub(crate) url: String,
    /// Killed with this.
    _child: Child,
    _directory: tempfile::TempDir,
}

impl Prometheus {
    /// Starts one that scrapes `app` by its node port, and waits until it has, and until the alert fires.
    pub(crate) async fn start(app: &App) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        let target = app.address().await;
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [{}]\n\
             scrape_configs:\n\
             - {{job_name: app, metrics_path: /actuator/prometheus, static_configs: [{{targets: ['{target}']}}]}}\n",
            file("rules.yml").display()
        );
        std::fs::write(file("prometheus.yml"), config).unwrap();
        let rules = format!("groups: [{{name: slo, rules: [{{alert: {FIRING}, expr: vector(1)}}]}}]\n");
        std::fs::write(file("rules.yml"), rules).unwrap();
        // The kernel knows which port is free; it is free a moment later too.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", file("data").display()))
            .arg(format!("--web.listen-address={free}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("`lab/prepare dashboard` installs prometheus");
        let it = Self { url: format!("http://{free}"), _child: child, _directory: directory };
        it.until("up{job='app'} == 1").await;
        it.until(&format!("ALERTS{{alertname='{FIRING}',alertstate='firing'}}")).await;
        it
    }

    /// Waits until a query has a value.
    async fn until(&self, query: &str) {
        let started = Instant::now();
        loop {
            let answer = rollway::probe::prometheus::query(&self.url, query, &[]).await;
            if answer.as_ref().is_ok_and(|samples| !samples.is_empty()) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "`{query}` never has a value: {answer:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
