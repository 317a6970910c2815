//! Rollouts that are hit at random moments, against the real control plane and a node without containers:
//! whatever is left behind, the next run finishes or undoes it, and the Service never has fewer ready pods.
//!
//! `ROLLWAY_SEED=n` repeats one run, `ROLLWAY_RUNS=n` makes it so many.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use rollway::rollout::annotations::DETACHED;
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::fake_node::{Behaviour, FakeNode, Seeded};
use crate::proxy::{Line, Proxy};
use crate::world::{App, Ended, PATIENCE, Put, ROLLOUT, Shape, World};

/// How many runs there are when nobody says.
const RUNS: u64 = 100;
/// How many at once: they wait most of the time.
const AT_ONCE: usize = 12;

/// What one seed decides.
#[derive(Clone, Debug)]
struct Script {
    replicas: usize,
    /// How the old pods leave, or that a canary goes first.
    drain: &'static str,
    /// What the pods of the first order do.
    first: Behaviour,
    /// After how long, counted from the first word of the log or from the write, the blow falls.
    after: Duration,
    from_the_write: bool,
    blow: Blow,
    /// Whether the next order is the same one.
    again: bool,
}

#[derive(Clone, Copy, Debug)]
enum Blow {
    /// The machine loses power.
    Kill,
    /// The build is aborted.
    Terminate,
    /// The API server is away for a while.
    Away(Line, Duration),
    /// The API server is away, and the run is killed meanwhile.
    AwayAndKill(Line),
    /// A newer image is ordered while this one is under way.
    Newer,
}

impl Script {
    fn of(seed: u64) -> Self {
        let seeded = Seeded::new(seed);
        let line = seeded.pick(&[Line::Cut, Line::Silent]);
        let away = Duration::from_millis(300 + seeded.below(4000));
        Self {
            replicas: usize::try_from(1 + seeded.below(4)).unwrap(),
            drain: seeded.pick(&["auto", "detached", "rolling", "none", "canary"]),
            first: seeded.pick(&[
                Behaviour::Ready,
                Behaviour::Ready,
                Behaviour::Ready,
                Behaviour::NeverReady,
                Behaviour::Crash,
            ]),
            after: Duration::from_millis(seeded.below(6000)),
            from_the_write: seeded.below(3) > 0,
            blow: seeded.pick(&[
                Blow::Kill,
                Blow::Kill,
                Blow::Terminate,
                Blow::Away(line, away),
                Blow::AwayAndKill(line),
                Blow::Newer,
            ]),
            again: seeded.below(2) == 0,
        }
    }
}

/// The images of all runs; their content does not matter, the registry has them.
struct Images {
    old: String,
    good: String,
    never_ready: String,
    crashes: String,
    newer: String,
}

impl Images {
    async fn publish(world: &World) -> Self {
        let images = Self {
            old: world.publish("11.0.5", &[]).await,
            good: world.publish("11.0.6", &[]).await,
            never_ready: world.publish("11.0.6", &[("NEVER_READY", "1")]).await,
            crashes: world.publish("11.0.6", &[("CRASH_AFTER", "0")]).await,
            newer: world.publish("11.0.7", &[]).await,
        };
        let all = [&images.old, &images.good, &images.never_ready, &images.crashes, &images.newer];
        assert_eq!(BTreeSet::from(all).len(), 5);
        images
    }

    fn can_run(&self, image: &str) -> bool {
        image != self.never_ready && image != self.crashes
    }

    fn behaving(&self, behaviour: Behaviour) -> &str {
        match behaviour {
            Behaviour::Ready => &self.good,
            Behaviour::NeverReady => &self.never_ready,
            Behaviour::Crash => &self.crashes,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the lab"]
async fn whatever_hits_a_rollout_the_next_run_finishes_or_undoes_it() {
    let world = World::connect().await;
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seeds: Vec<u64> = match number("ROLLWAY_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("ROLLWAY_RUNS").unwrap_or(RUNS)).collect(),
    };
    let images = Arc::new(Images::publish(&world).await);
    let node = Arc::new(FakeNode::join(&world, 0).await);
    node.behave(&images.never_ready, Behaviour::NeverReady);
    node.behave(&images.crashes, Behaviour::Crash);
    let started = Instant::now();
    let mut running = JoinSet::new();
    let mut failed = BTreeMap::new();
    let mut next = seeds.iter().copied();
    loop {
        while running.len() < AT_ONCE
            && let Some(seed) = next.next()
        {
            let (world, images, node) = (world.clone(), images.clone(), node.clone());
            running.spawn(async move { (seed, tokio::spawn(hit(world, images, node, seed)).await) });
        }
        let Some(ended) = running.join_next().await else { break };
        if let (seed, Err(panic)) = ended.unwrap() {
            failed.insert(seed, panic.to_string());
        }
    }
    let seconds = started.elapsed().as_secs();
    eprintln!("{} runs in {seconds} s, {} failed", seeds.len(), failed.len());
    Arc::into_inner(node).unwrap().remove().await;
    assert!(failed.is_empty(), "repeat one with ROLLWAY_SEED=n: {failed:#?}");
}

/// One run: an order that is hit, and the one after it.
async fn hit(world: World, images: Arc<Images>, node: Arc<FakeNode>, seed: u64) {
    let script = Script::of(seed);
    let shape = Shape {
        replicas: script.replicas,
        pod: node.placement(),
        service: "ClusterIP",
        ..Shape::dies_at_once(&images.old)
    };
    let app = world.deploy(shape).await;
    let floor = Floor::watch(&app, script.replicas).await;
    let settings = app.view().await.settings();
    let proxy = Proxy::start(world.api()).await;
    let first = images.behaving(script.first).to_owned();
    let wait = |image: &str| if images.can_run(image) { 60 } else { 6 };

    let mut log = vec![format!("seed {seed}: {script:?} in {}", app.namespace)];
    let direct = app.request(json!({}))["source"]["kubeconfig"].clone();
    let through = world.kubeconfig.replace(&format!(":{}", world.api().port()), &format!(":{}", proxy.port));
    assert_ne!(direct, through);
    let mut request = order(&app, &first, script.drain, wait(&first));
    request["source"]["kubeconfig"] = through.into();
    let mut put = Put::start(ROLLOUT, "out", request).await;
    if script.from_the_write && !put.says("image written").await {
        log.push("the first run ended before it wrote".to_owned());
    }
    tokio::time::sleep(script.after).await;
    let wanted = if script.again { first.clone() } else { images.newer.clone() };
    let mut rolled_over = None;
    match script.blow {
        Blow::Kill => log.extend(put.kill().await),
        Blow::Terminate => {
            let asked = Instant::now();
            let ended = put.terminate().await;
            log.push(ended.stderr);
            assert!(asked.elapsed() < Duration::from_secs(10), "{}", log.join("\n"));
        }
        Blow::Away(line, length) => {
            proxy.set(line);
            tokio::time::sleep(length).await;
            proxy.set(Line::Up);
            log.push(put.end().await.stderr);
        }
        Blow::AwayAndKill(line) => {
            proxy.set(line);
            tokio::time::sleep(Duration::from_millis(500)).await;
            log.extend(put.kill().await);
        }
        Blow::Newer => {
            let request = order(&app, &images.newer, script.drain, wait(&images.newer));
            let superseding = async { Put::start(ROLLOUT, "out", request).await.end().await };
            let (older, newer) = tokio::join!(put.end(), superseding);
            log.push(format!("{}\nthe newer one meanwhile:\n{}", older.stderr, newer.stderr));
            rolled_over = Some(newer);
        }
    }
    let (wanted, ended) = match rolled_over {
        Some(ended) if ended.success => (images.newer.clone(), ended),
        _ => {
            let ended = Put::start(ROLLOUT, "out", order(&app, &wanted, script.drain, wait(&wanted)))
                .await
                .end()
                .await;
            (wanted, ended)
        }
    };
    log.push(format!("the last run:\n{}", ended.stderr));
    let log = log.join("\n");
    let image = expected(&images, &wanted, &ended, &log);
    app.until_after("only the wanted pods are left", |view| view.pods.len() == script.replicas, &log).await;
    let view = app.view().await;
    let marked: Vec<String> = view
        .pods
        .iter()
        .filter(|pod| pod.labels().contains_key(DETACHED))
        .map(ResourceExt::name_any)
        .collect();
    assert!(marked.is_empty(), "still detached: {marked:?}\n{log}");
    view.assert_settled_after(image, script.replicas, &settings, &log);
    let broken = floor.end();
    // A rollout by the Deployment's own strategy promises nothing.
    assert!(script.drain == "none" || broken.is_empty(), "the floor broke: {broken:#?}\n{log}");
    app.remove().await;
}

/// Returns the image that must run in the end.
fn expected<'a>(images: &'a Images, wanted: &'a str, ended: &Ended, log: &str) -> &'a str {
    let can_run = images.can_run(wanted);
    assert_eq!(ended.success, can_run, "{log}");
    if can_run { wanted } else { &images.old }
}

fn order(app: &App, image: &str, drain: &str, wait: u32) -> Value {
    let mut params = json!({ "reference": image, "wait_until_ready": wait, "drain_wait": 1, "settle": 0 });
    if drain == "canary" {
        params["canary"] = json!({ "pods": 1, "hold": 2 });
    } else {
        params["drain"] = drain.into();
    }
    app.request(params)
}

/// Counts the ready endpoints of the application's Service as they change.
struct Floor {
    broken: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Floor {
    /// Watches until it is ended; `least` endpoints must be ready at every moment.
    async fn watch(app: &App, least: usize) -> Self {
        let started = Instant::now();
        loop {
            let slices = app.api::<EndpointSlice>().list(&kube::api::ListParams::default()).await.unwrap();
            if ready(&slices.items) >= least {
                break;
            }
            assert!(started.elapsed() < PATIENCE, "the endpoints are never ready: {slices:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let broken = Arc::new(Mutex::new(Vec::new()));
        let notes = broken.clone();
        let mut events = watcher(app.api::<EndpointSlice>(), Config::default()).default_backoff().boxed();
        let task = tokio::spawn(async move {
            let mut slices: BTreeMap<String, EndpointSlice> = BTreeMap::new();
            let mut is_whole = false;
            while let Some(event) = events.next().await {
                match event {
                    Ok(Event::Init) => is_whole = false,
                    Ok(Event::InitDone) => is_whole = true,
                    Ok(Event::Apply(slice) | Event::InitApply(slice)) => {
                        slices.insert(slice.name_any(), slice);
                    }
                    // The namespace's end takes them away; nobody counts any more.
                    Ok(Event::Delete(_)) => return,
                    Err(_) => continue,
                }
                let count = ready(slices.values());
                if is_whole && count < least {
                    let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
                    notes.push(format!("{:.1} s: {count} of {least} ready", started.elapsed().as_secs_f64()));
                }
            }
        });
        Self { broken, task }
    }

    /// Ends the watch and returns every moment at which too few were ready.
    fn end(self) -> Vec<String> {
        self.task.abort();
        std::mem::take(&mut *self.broken.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn ready<'a>(slices: impl IntoIterator<Item = &'a EndpointSlice>) -> usize {
    let endpoints = slices.into_iter().flat_map(|slice| &slice.endpoints);
    let ready = endpoints.filter(|endpoint| {
        endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
    });
    let uids: BTreeSet<&str> =
        ready.filter_map(|endpoint| endpoint.target_ref.as_ref()?.uid.as_deref()).collect();
    uids.len()
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn fake_node_runs_what_is_bound_to_it_and_nothing_else() {
    let world = World::connect().await;
    let node = FakeNode::join(&world, 1).await;
    let images = Images::publish(&world).await;
    let shape = Shape { pod: node.placement(), service: "ClusterIP", ..Shape::dies_at_once(&images.old) };
    let app = world.deploy(shape).await;
    let pods = app.view().await.pods;
    let hosts: BTreeSet<Option<String>> =
        pods.iter().map(|pod: &Pod| pod.spec.as_ref().unwrap().node_name.clone()).collect();
    assert!(hosts.len() == 1 && hosts.iter().flatten().all(|host| host.starts_with("fake-")), "{hosts:?}");
    app.change(json!({ "spec": { "replicas": 0 } })).await;
    app.until("the pods end", |view| view.pods.is_empty()).await;
    app.remove().await;
    node.remove().await;
}
