//! One rollout by `rollway roll`, with `kubectl rollout status` beside it, and what both said.

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use rollway_lab::image::SampleApp;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};

use crate::world::{App, Shape, World};

const ROLLWAY: &str = env!("CARGO_BIN_EXE_rollway");

/// What was seen of a fault.
pub(super) struct Seen {
    pub(super) outcome: String,
    pub(super) rule: String,
    /// From the written image to the verdict.
    pub(super) seconds: Option<f64>,
    /// The last line of `kubectl rollout status` at that moment.
    pub(super) kubectl: String,
    pub(super) log: String,
}

/// An application that serves, and what it was before anything went wrong.
pub(super) struct Scene {
    pub(super) app: App,
    pub(super) old: String,
    replicas: usize,
    settings: Value,
}

impl Scene {
    /// Lets the application of this shape serve.
    pub(super) async fn set(world: &World, shape: Shape<'_>) -> Self {
        let app = world.deploy(Shape { service: "ClusterIP", ..shape.clone() }).await;
        let settings = app.view().await.settings();
        Self { app, old: shape.image.to_owned(), replicas: shape.replicas, settings }
    }

    /// Lets two pods of the usual application serve.
    pub(super) async fn usual(world: &World) -> Self {
        let old = world.publish("11.0.5", &[]).await;
        Self::set(world, usual(&old)).await
    }

    /// Starts a rollout.
    pub(super) fn start(&self, image: &str, arguments: &[&str]) -> Roll {
        Roll::start(&self.app, image, arguments)
    }

    /// Rolls to `image`, to whatever end.
    pub(super) async fn roll(&self, image: &str, arguments: &[&str]) -> Seen {
        self.start(image, arguments).end().await
    }

    /// Asserts that the old image is on all pods, or still is, and that nothing is left of the new one.
    pub(super) async fn goes_on_as_before(self, seen: Seen) -> Seen {
        let old = self.old.clone();
        self.settles_on(&old, seen).await
    }

    /// Asserts that `image` is on all pods and that nothing else is left.
    pub(super) async fn settles_on(self, image: &str, seen: Seen) -> Seen {
        let Self { app, replicas, settings, .. } = self;
        let is_alone = |view: &crate::world::View| {
            view.pods.len() == replicas && view.images().values().all(|running| running == image)
        };
        let view = app.until_after("only the wanted pods are left", is_alone, &seen.log).await;
        view.assert_settled_after(image, replicas, &settings, &seen.log);
        app.remove().await;
        seen
    }

    /// Takes note that somebody else wants so many pods now.
    pub(super) fn has_replicas(&mut self, replicas: usize) {
        self.replicas = replicas;
        self.settings[3] = replicas.into();
    }
}

/// Two pods that die at once on SIGTERM.
pub(super) fn usual(image: &str) -> Shape<'_> {
    Shape { replicas: 2, ..Shape::dies_at_once(image) }
}

/// Returns the sample application as a newer image of it begins.
pub(super) fn newer() -> SampleApp {
    SampleApp::new("foo", &SampleApp::program().unwrap()).runtime("11.0.6")
}

/// A rollout under way.
pub(super) struct Roll {
    child: Child,
    lines: tokio::io::Lines<BufReader<ChildStderr>>,
    said: Vec<String>,
    kubectl: Option<Kubectl>,
    /// What kubectl had said when the verdict came.
    meanwhile: Option<String>,
    namespace: String,
}

impl Roll {
    fn start(app: &App, image: &str, arguments: &[&str]) -> Self {
        let kubeconfig = std::env::var("KUBECONFIG").unwrap();
        let usual = [["--drain-wait", "2"], ["--settle", "1"]];
        let usual = usual.into_iter().filter(|[option, _]| !arguments.contains(option));
        let mut child = Command::new(ROLLWAY)
            .args(["roll", "app", image, "--namespace", &app.namespace, "--kubeconfig", &kubeconfig])
            .args(["--output", "json"])
            .args(usual.flatten())
            .args(arguments)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let namespace = app.namespace.clone();
        Self { child, lines, said: Vec::new(), kubectl: None, meanwhile: None, namespace }
    }

    /// Reads on until a line contains `words`; `false` if it ended before.
    pub(super) async fn says(&mut self, words: &str) -> bool {
        while let Some(line) = self.lines.next_line().await.unwrap() {
            if line.contains("image written") {
                self.kubectl = Some(Kubectl::watch(&self.namespace));
            }
            if self.meanwhile.is_none() && line.contains("verdict: ") {
                self.meanwhile = self.kubectl.as_ref().map(Kubectl::last);
            }
            let found = line.contains(words);
            self.said.push(line);
            if found {
                return true;
            }
        }
        false
    }

    /// Waits for the written image.
    pub(super) async fn is_written(&mut self) {
        assert!(self.says("image written").await, "it never was:\n{}", self.said.join("\n"));
    }

    /// Reads on to its end.
    pub(super) async fn end(mut self) -> Seen {
        while self.says("\0").await {}
        let output = self.child.wait_with_output().await.unwrap();
        let log = format!("{}\n{}", self.said.join("\n"), String::from_utf8_lossy(&output.stdout));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or(json!({}));
        let text = |key: &str| report[key].as_str().unwrap_or_default().to_owned();
        let kubectl = self.meanwhile.or_else(|| self.kubectl.as_ref().map(Kubectl::last));
        Seen {
            outcome: text("outcome"),
            rule: text("rule"),
            seconds: report["verdict_seconds"].as_f64(),
            kubectl: kubectl.unwrap_or_default(),
            log,
        }
    }
}

/// `kubectl rollout status`, from the write on.
struct Kubectl {
    last: Arc<Mutex<String>>,
    /// Killed with this.
    _child: Child,
}

impl Kubectl {
    fn watch(namespace: &str) -> Self {
        let mut child = Command::new("kubectl")
            .args(["--namespace", namespace, "rollout", "status", "deployment/app", "--timeout=180s"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let last = Arc::new(Mutex::new(String::new()));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let note = last.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                *note.lock().unwrap_or_else(PoisonError::into_inner) = line;
            }
        });
        Self { last, _child: child }
    }

    fn last(&self) -> String {
        let line = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if line.is_empty() {
            return "nothing yet".to_owned();
        }
        line.replace("Waiting for deployment \"app\" rollout to finish: ", "waiting: ").replace("...", "")
    }
}
