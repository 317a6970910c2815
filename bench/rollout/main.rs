//! `make bench`, the rollout's part: the same change by `kubectl set image && kubectl rollout status` and by
//! `rollway roll`, on the same cluster under the same load, and what each lost, took, asked and told.
//!
//! Needs the lab and the release binaries. Not in it: what the registry is asked, which `bench/run` measures.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]
#![expect(dead_code, reason = "the world has more than this needs")]

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rollway_lab::load::{Lane, LaneReport, Load, Target};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::cost::{crowd, most_resident};
use crate::counter::Counter;
use crate::fake_node::FakeNode;
use crate::table::{Cell, Table};
use crate::world::{App, Shape, World};

#[path = "../../tests/cluster/cost.rs"]
mod cost;
#[path = "../../tests/cluster/counter.rs"]
mod counter;
#[path = "../../tests/cluster/fake_node.rs"]
mod fake_node;
#[path = "../table.rs"]
mod table;
#[path = "../../tests/cluster/world.rs"]
mod world;

/// What is measured, unless the first argument names another: not what `cargo` builds beside this.
const ROLLWAY: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/target/x86_64-unknown-linux-musl/release/rollway");
const REPORT: &str = "rollout.txt";
/// The deadline that kubectl's verdict waits for; the API's default is 600.
const DEADLINE: u32 = 30;
/// How long kubectl is waited for beyond that.
const LONGEST: Duration = Duration::from_secs(45);
/// Deployments in the crowded namespace.
const CROWD: usize = 300;

/// Who rolls.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arm {
    Kubectl,
    Rollway,
}

/// One rollout, measured.
struct Run {
    success: bool,
    seconds: f64,
    /// The most KiB that any of its processes had resident.
    memory: u64,
    report: Value,
}

#[tokio::main]
async fn main() {
    let rollway = rollway();
    assert!(Path::new(&rollway).exists(), "{rollway} is not built: `make build` builds it");
    let world = World::connect().await;
    let mut table = Table::of(["kubectl", "rollway"]);
    lanes(&world, &mut table).await;
    verdicts(&world, &mut table).await;
    crowded(&world, &mut table).await;
    table.save(REPORT);
}

fn rollway() -> String {
    std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or(ROLLWAY.to_owned())
}

/// Three pods that die at once on SIGTERM, rolled under load.
async fn lanes(world: &World, table: &mut Table) {
    let images = [world.publish("11.0.5", &[]).await, world.publish("11.0.6", &[]).await];
    let mut lost = Vec::new();
    for arm in [Arm::Kubectl, Arm::Rollway] {
        let app = world.deploy(Shape::dies_at_once(&images[0])).await;
        let counter = Counter::start(world).await;
        let kubeconfig = Kubeconfig::of(&counter, &app);
        let load = start(&app).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let run = roll(arm, &kubeconfig, &images[1], &[]).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let report = load.stop().await;
        assert!(run.success, "{}", run.report);
        lost.push((report.lanes, run.seconds, counter.take().values().sum::<usize>(), run.memory));
        app.remove().await;
    }
    let [theirs, ours] = &lost[..] else { unreachable!("there are two arms") };
    table.head("one rollout of 3 pods that die at once on SIGTERM, under load");
    for (their, our) in theirs.0.iter().zip(&ours.0) {
        table.row(&format!("lost, {}", our.name), lane(their), lane(our));
    }
    table.row("seconds", Cell::seconds(theirs.1), Cell::seconds(ours.1));
    table.row("API requests", Cell::count(theirs.2), Cell::count(ours.2));
    table.row("resident memory", Cell::memory(theirs.3), Cell::memory(ours.3));
}

async fn start(app: &App) -> Load {
    // Waits for the node port, and is over at once.
    app.load(1.0).await.stop().await;
    let lanes = vec![
        Lane::Fresh { rate: 200.0 },
        Lane::KeepAlive { rate: 100.0, connections: 10 },
        Lane::Slow { rate: 5.0, delay: Duration::from_secs(2) },
        Lane::Stream { length: Duration::from_secs(3) },
    ];
    Load::start(Target { name: "app".to_owned(), address: app.address().await, lanes }).unwrap()
}

/// New pods that cannot come up: after how long does somebody say so?
async fn verdicts(world: &World, table: &mut Table) {
    table.head(&format!(
        "seconds to the verdict; kubectl's progressDeadlineSeconds is {DEADLINE} instead of 600"
    ));
    let old = world.publish("11.0.5", &[]).await;
    let (repository, _) = old.split_once('@').unwrap();
    let absent = format!("{repository}@sha256:{}", "0".repeat(64));
    let crashes = world.publish("11.0.6", &[("CRASH_AFTER", "0")]).await;
    let confused = world.publish("11.0.6", &[("START_DELAY", "-1")]).await;
    for (fault, image, allow) in [
        ("digest is not in the registry", absent, &["--allow", "I101"][..]),
        ("crashes at the start", crashes, &[]),
        ("cannot read its settings", confused, &[]),
    ] {
        let mut all = Vec::new();
        for arm in [Arm::Kubectl, Arm::Rollway] {
            let shape = Shape { replicas: 2, service: "ClusterIP", ..Shape::dies_at_once(&old) };
            let app = world.deploy(shape).await;
            if arm == Arm::Kubectl {
                app.change(json!({ "spec": { "progressDeadlineSeconds": DEADLINE } })).await;
            }
            let counter = Counter::start(world).await;
            let kubeconfig = Kubeconfig::of(&counter, &app);
            let run = tokio::time::timeout(LONGEST, roll(arm, &kubeconfig, &image, allow)).await;
            let seconds = run.map_or(LONGEST.as_secs_f64(), |run| {
                assert!(!run.success, "{fault}: {}", run.report);
                run.report["verdict_seconds"].as_f64().unwrap_or(run.seconds)
            });
            all.push(seconds);
            app.remove().await;
        }
        table.row(fault, verdict(all[0]), verdict(all[1]));
    }
}

/// The same rollout in a namespace with hundreds of other Deployments.
async fn crowded(world: &World, table: &mut Table) {
    table
        .head(&format!("one rollout in a namespace with {CROWD} Deployments, each with a pod and a Service"));
    let node = FakeNode::join(world, 0).await;
    let images = [world.publish("11.0.5", &[]).await, world.publish("11.0.6", &[]).await];
    let shape = Shape { pod: node.placement(), service: "ClusterIP", ..Shape::dies_at_once(&images[0]) };
    let app = world.deploy(shape.clone()).await;
    crowd(&app, &shape, CROWD - 1).await;
    let mut all = Vec::new();
    for (arm, image) in [(Arm::Kubectl, &images[1]), (Arm::Rollway, &images[0])] {
        let counter = Counter::start(world).await;
        let run = roll(arm, &Kubeconfig::of(&counter, &app), image, &[]).await;
        assert!(run.success, "{}", run.report);
        all.push((counter.take().values().sum::<usize>(), run.memory));
    }
    let [theirs, ours] = all[..] else { unreachable!("there are two arms") };
    table.row("API requests", Cell::count(theirs.0), Cell::count(ours.0));
    table.row("resident memory", Cell::memory(theirs.1), Cell::memory(ours.1));
    app.remove().await;
    node.remove().await;
}

/// A kubeconfig in a file, for as long as this lives.
struct Kubeconfig(tempfile::NamedTempFile);

impl Kubeconfig {
    fn of(counter: &Counter, app: &App) -> Self {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "{}", counter.kubeconfig(&app.namespace)).unwrap();
        Self(file)
    }
}

async fn roll(arm: Arm, kubeconfig: &Kubeconfig, image: &str, arguments: &[&str]) -> Run {
    let path = kubeconfig.0.path().to_str().unwrap();
    let started = Instant::now();
    let kubectl = || "kubectl".to_owned();
    let commands: Vec<(String, Vec<String>)> = match arm {
        Arm::Kubectl => vec![
            (kubectl(), words(&["set", "image", "deployment/app", &format!("app={image}")])),
            (kubectl(), words(&["rollout", "status", "deployment/app"])),
        ],
        Arm::Rollway => {
            vec![(rollway(), words(&[&["roll", "app", image, "--output", "json"], arguments].concat()))]
        }
    };
    let (mut memory, mut success, mut answer) = (0, true, Vec::new());
    for (program, arguments) in commands {
        let child = Command::new(program)
            .args(arguments)
            .args(["--kubeconfig", path])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let resident = tokio::spawn(most_resident(child.id().unwrap()));
        let output = child.wait_with_output().await.unwrap();
        memory = memory.max(resident.await.unwrap());
        success &= output.status.success();
        answer = if output.stdout.starts_with(b"{") { output.stdout } else { output.stderr };
        if !success {
            break;
        }
    }
    let report = serde_json::from_slice(&answer)
        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&answer).into_owned()));
    Run { success, seconds: started.elapsed().as_secs_f64(), memory, report }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn lane(lane: &LaneReport) -> Cell {
    Cell(lane.lost as f64, format!("{} of {}", lane.lost, lane.requests))
}

/// Seconds to a verdict that nobody waited for beyond the longest.
fn verdict(seconds: f64) -> Cell {
    if seconds < LONGEST.as_secs_f64() {
        return Cell::seconds(seconds);
    }
    Cell(seconds, format!("> {} s", LONGEST.as_secs()))
}
