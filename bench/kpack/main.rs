//! `make bench`, kpack's part: what `kpack-trigger` adds to a build, what a check of many builds costs, and what a
//! long build log takes, each beside `kubectl` on the same cluster.
//!
//! Needs the lab with kpack and the release binaries. Ends with an error when a goal is missed.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]
#![expect(dead_code, reason = "the world and the yard have more than this needs")]

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::counter::Counter;
use crate::kpack_yard::{Yard, condition, resource};
use crate::table::{Cell, Table};
use crate::watched::{Clock, Process};
use crate::world::PATIENCE;

#[path = "../../tests/cluster/cost.rs"]
mod cost;
#[path = "../../tests/cluster/counter.rs"]
mod counter;
#[path = "../../tests/cluster/fake_node.rs"]
mod fake_node;
#[path = "../../tests/cluster/kpack_yard.rs"]
mod kpack_yard;
#[path = "../table.rs"]
mod table;
mod watched;
#[path = "../../tests/cluster/world.rs"]
mod world;

/// What is measured, unless the first argument names another: not what `cargo` builds beside this.
const KPACK_TRIGGER: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/target/x86_64-unknown-linux-musl/release/kpack-trigger");
/// Builds that each of the two has made and waits for.
const BUILDS: usize = 3;
/// Builds that a check lists.
const MANY: usize = 100;
/// Checks of each of the two, after those that do not count.
const CHECKS: usize = 30;
const WARM_UP: usize = 3;
/// Lines of the long log, of 100 bytes each.
const LINES: usize = 1_000_000;

/// What is promised: seconds over kpack's own, milliseconds of a check, KiB of a process.
const OVERHEAD: f64 = 2.0;
const CHECK: f64 = 50.0;
const MEMORY: u64 = 32 << 10;

#[tokio::main]
async fn main() -> ExitCode {
    let bench = Bench { yard: Yard::open().await, program: program() };
    let mut table = Table::of(["kubectl", "kpack-trigger"]);
    let mut missed = bench.builds(&mut table).await;
    missed += &bench.checks(&mut table).await;
    missed += &bench.log(&mut table).await;
    bench.yard.close().await;
    table.line("");
    table.line(if missed.is_empty() { "every goal is met" } else { missed.trim_end() });
    table.save("kpack.txt");
    if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn program() -> String {
    let named = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let program = named.unwrap_or(KPACK_TRIGGER.to_owned());
    assert!(Path::new(&program).exists(), "{program} is not built: `make build` builds it");
    program
}

/// Where it is measured, and what.
struct Bench {
    yard: Yard,
    program: String,
}

/// Who does it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arm {
    Kubectl,
    Ours,
}

const ARMS: [Arm; 2] = [Arm::Kubectl, Arm::Ours];

impl Bench {
    /// Builds that are asked for and waited for: what comes on top of kpack's own time, which is that from the Build's
    /// creation to its verdict, as a watch sees them.
    async fn builds(&self, table: &mut Table) -> String {
        self.yard.built("app", json!({})).await;
        let clock = Clock::start(self.builds_api(), "app");
        let mut own = [Vec::new(), Vec::new()];
        let mut over = [Vec::new(), Vec::new()];
        for run in 0..BUILDS {
            for (index, arm) in ARMS.into_iter().enumerate() {
                let newest = 1 + run * ARMS.len() + index;
                let started = Instant::now();
                match arm {
                    Arm::Kubectl => self.annotate_and_wait(newest).await,
                    Arm::Ours => {
                        let put = self.start("out", &json!({ "params": { "trigger": true } }), "app").await;
                        let ended = put.end().await;
                        assert!(ended.success, "{}", ended.text);
                    }
                }
                let whole = started.elapsed().as_secs_f64();
                let kpacks = clock.seconds_of(&format!("app-build-{}", newest + 1)).await;
                own[index].push(kpacks);
                over[index].push(whole - kpacks);
            }
        }
        let [their_own, our_own] = own.map(median);
        let [theirs, ours] = over.map(median);
        table.head(&format!("a build that is asked for and waited for, medians of {BUILDS}"));
        table.row("kpack's own time", Cell::seconds(their_own), Cell::seconds(our_own));
        table.row("on top of it", Cell::milliseconds(theirs * 1e3), Cell::milliseconds(ours * 1e3));
        goal(ours < OVERHEAD, &format!("{ours:.2} s on top of kpack's own time, and not under {OVERHEAD} s"))
    }

    /// What people write who have no resource type: they must know the next build's name.
    async fn annotate_and_wait(&self, newest: usize) {
        let (newest, next) = (
            format!("builds.kpack.io/app-build-{newest}"),
            format!("builds.kpack.io/app-build-{}", newest + 1),
        );
        let annotation = "image.kpack.io/additionalBuildNeeded=now";
        for words in [
            &["annotate", &newest, annotation][..],
            &["wait", "--for=create", &next, "--timeout=60s"],
            &["wait", "--for=condition=Succeeded", &next, "--timeout=120s"],
        ] {
            let ended = self.kubectl(words).end().await;
            assert!(ended.success, "{}", ended.text);
        }
    }

    /// Checks of an Image with many builds.
    async fn checks(&self, table: &mut Table) -> String {
        self.crowd().await;
        let selector = "--selector=image.kpack.io/image=many";
        let get = ["get", "builds.kpack.io", selector, "--output=json"];
        let known = self.builds_api().get("many-build-1").await.unwrap();
        let request = json!({ "version": { "build": "1", "uid": known.metadata.uid } });
        let mut times = [Vec::new(), Vec::new()];
        let mut memory = [0, 0];
        for run in 0..CHECKS + WARM_UP {
            for (index, arm) in ARMS.into_iter().enumerate() {
                let started = Instant::now();
                let ended = match arm {
                    Arm::Kubectl => self.kubectl(&get).end().await,
                    Arm::Ours => self.start("check", &request, "many").await.end().await,
                };
                let milliseconds = started.elapsed().as_secs_f64() * 1e3;
                assert!(ended.success, "{}", ended.text);
                if arm == Arm::Ours {
                    let versions: Vec<Value> = serde_json::from_str(&ended.answer).unwrap();
                    assert_eq!(versions.len(), MANY, "{}", ended.text);
                }
                memory[index] = memory[index].max(ended.memory);
                if run >= WARM_UP {
                    times[index].push(milliseconds);
                }
            }
        }
        let [theirs, ours] = times.map(median);
        let (their_requests, our_requests, lists) = self.count(&get, &request).await;
        table.head(&format!("a check of {MANY} builds, medians of {CHECKS}"));
        table.row("wall time", Cell::milliseconds(theirs), Cell::milliseconds(ours));
        table.row("API requests", Cell::count(their_requests), Cell::count(our_requests));
        table.row("resident memory", Cell::memory(memory[0]), Cell::memory(memory[1]));
        goal(ours < CHECK, &format!("a check takes {ours:.0} ms, and not under {CHECK} ms"))
            + &goal(lists == 1, &format!("a check lists {lists} times, and not once"))
    }

    /// Returns how many requests each made, and how many of ours were lists.
    async fn count(&self, get: &[&str], request: &Value) -> (usize, usize, usize) {
        let counter = Counter::start(&self.yard.world).await;
        let kubeconfig = counter.kubeconfig(&self.yard.namespace);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), kubeconfig.to_string()).unwrap();
        let words = [get, &["--kubeconfig", file.path().to_str().unwrap()]].concat();
        // What kubectl finds out about the API is kept; only the second time counts.
        for _ in 0..2 {
            counter.take();
            let ended = self.kubectl(&words).end().await;
            assert!(ended.success, "{}", ended.text);
        }
        let theirs = counter.take().values().sum();
        let mut request = request.clone();
        request["source"] = self.yard.source("many");
        request["source"]["kubeconfig"] = kubeconfig;
        let ended = Process::step(&self.program, "check", &request).await.end().await;
        assert!(ended.success, "{}", ended.text);
        let ours = counter.take();
        (theirs, ours.values().sum(), ours.get("list").copied().unwrap_or_default())
    }

    /// Makes many finished builds of an Image that is not there, so that kpack neither builds nor prunes. Their service
    /// account is not there either: until they have a verdict kpack refuses them, and makes no pod.
    async fn crowd(&self) {
        let api = self.builds_api();
        let model = serde_json::to_value(api.get("app-build-2").await.unwrap()).unwrap();
        let made = stream::iter(1..=MANY).map(|number| {
            let (api, model) = (&api, &model);
            async move {
                let metadata = &model["metadata"];
                let mut object = json!({
                    "apiVersion": model["apiVersion"], "kind": model["kind"], "spec": model["spec"],
                    "metadata": {
                        "name": format!("many-build-{number}"), "labels": metadata["labels"],
                        "annotations": metadata["annotations"], "ownerReferences": metadata["ownerReferences"],
                    },
                });
                object["spec"]["serviceAccountName"] = "nobody".into();
                object["metadata"]["labels"]["image.kpack.io/image"] = "many".into();
                object["metadata"]["labels"]["image.kpack.io/buildNumber"] = number.to_string().into();
                let object: DynamicObject = serde_json::from_value(object).unwrap();
                api.create(&PostParams::default(), &object).await.unwrap();
                let status = json!({ "status": model["status"] });
                let name = object.metadata.name.unwrap();
                api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
            }
        });
        made.buffer_unordered(4).collect::<Vec<()>>().await;
        // The controller has looked at all of them, and left them as they are.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let all = api.list(&ListParams::default().labels("image.kpack.io/image=many")).await.unwrap();
        let has_succeeded = |it: &&DynamicObject| condition(&it.data, "Succeeded") == "True";
        assert_eq!(all.items.iter().filter(has_succeeded).count(), MANY);
    }

    /// A build that logs 100 MB, followed by both at once.
    async fn log(&self, table: &mut Table) -> String {
        self.yard.built("long", json!({})).await;
        let params = json!({ "params": { "env": { "LAB_LINES": LINES } } });
        let put = self.start("out", &params, "long").await;
        let build = self
            .yard
            .until("a build step", "Build", "long-build-2", |it| {
                it["status"]["stepsCompleted"]
                    .as_array()
                    .is_some_and(|steps| steps.iter().any(|it| it == "restore"))
            })
            .await;
        let pod = build["status"]["podName"].as_str().unwrap();
        let started = Instant::now();
        let logs = loop {
            // A container that has not started has no log.
            let ended = self.kubectl(&["logs", "--follow", pod, "--container=build"]).end().await;
            if ended.success {
                break ended;
            }
            assert!(started.elapsed() < PATIENCE, "{}", ended.text);
        };
        let out = put.end().await;
        assert!(out.success, "{}", out.text);
        table.head(&format!("a build log of {} MB, followed", LINES / 10_000));
        let percent = |lines: usize| format!("{:.0}%", lines as f64 / LINES as f64 * 100.0);
        table.row(
            "of it arrived",
            Cell(logs.rules as f64, percent(logs.rules)),
            Cell(out.rules as f64, percent(out.rules)),
        );
        table.row("resident memory", Cell::memory(logs.memory), Cell::memory(out.memory));
        let memory = Cell::memory(out.memory).1;
        goal(out.memory < MEMORY, &format!("{memory} were resident, and not under 32 MiB"))
    }

    fn builds_api(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.yard.world.client.clone(), &self.yard.namespace, &resource("Build"))
    }

    /// Starts a step of ours for an Image.
    async fn start(&self, step: &str, request: &Value, image: &str) -> Process {
        let mut request = request.clone();
        request["source"] = self.yard.source(image);
        Process::step(&self.program, step, &request).await
    }

    fn kubectl(&self, words: &[&str]) -> Process {
        let namespace = ["--namespace", &self.yard.namespace];
        Process::start("kubectl", &[words, &namespace].concat())
    }
}

/// Returns what is missed, as a line, unless it `is_met`.
fn goal(is_met: bool, missed: &str) -> String {
    let mut line = String::new();
    if !is_met {
        let _ = writeln!(line, "MISSED: {missed}");
    }
    line
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
