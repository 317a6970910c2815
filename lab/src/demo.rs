//! `lab demo`: three apps under load get new images through their pipelines; then the same change with kubectl.
//! It plays on whatever KUBECONFIG and ROLLWAY_REGISTRY name; `cli` makes that the lab where they are not set.

pub mod cli;
pub mod kpack;
mod kubectl;
mod manifests;
mod outcome;
mod pipeline;
mod progress;
mod rollout;
mod stage;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures::future::try_join_all;
use tokio::time::{Instant, sleep};

use self::manifests::{APPS, App};
use self::outcome::{Aside, Control, Lane, Outcome, Rolled, short};
use self::pipeline::{Pipeline, Variables};
use self::progress::{Progress, so_far};
use self::rollout::Stand;
use self::stage::{Release, Stage};
use crate::load::{self, Load, Target};

const OLD_STACK: &str = "OpenSSL 1.1.1  11 Sep 2018 built on: Thu Jun 20 17:36:28 2019 UTC";
const NEW_STACK: &str = "OpenSSL 1.1.1  11 Sep 2018 built on: Tue Nov 12 16:58:35 2019 UTC";

/// What runs before.
const FIRST: Release = Release { name: "the first images", runtime: "11.0.5", openssl: OLD_STACK };

/// The updates, one after the other until enough requests were sent to mean something.
const UPDATES: [Release; 3] = [
    Release { name: "a JVM update", runtime: "11.0.6", openssl: OLD_STACK },
    Release { name: "a stack update", runtime: "11.0.6", openssl: NEW_STACK },
    Release { name: "another JVM update", runtime: "11.0.7", openssl: NEW_STACK },
];

/// What the control arm rolls to.
const CONTROL: Release = Release { name: "one more JVM update", runtime: "11.0.8", openssl: NEW_STACK };

/// Fresh requests to the app that dies at once. No loss in so many bounds the rate below 1 in 10,000 (95 %).
const ENOUGH: u64 = 30_000;

/// How long load goes on before and after what it measures.
const MARGIN: Duration = Duration::from_secs(3);

/// An app on the stage.
struct Player {
    app: App,
    address: SocketAddr,
    /// The digest that it runs.
    digest: String,
    runtime: String,
    /// From publications until all pods ran what was published.
    seconds: f64,
}

/// Plays the whole demo; the outcome is not judged here.
async fn play(stage: &Stage, progress: &Progress) -> anyhow::Result<Outcome> {
    let mut players = deploy(stage, progress).await?;
    let before: Vec<String> = players.iter().map(|player| player.digest.clone()).collect();

    let variables = Variables::write(stage).await?;
    let mut pipelines = APPS
        .iter()
        .map(|&app| Pipeline::start(stage, app, &variables))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let loads = players
        .iter()
        .map(|player| Load::start(target(player, APPS[1].name)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    progress.say("three pipelines watch their images; load on all apps");
    sleep(MARGIN).await;
    let mut rollouts = 0;
    for release in &UPDATES {
        update(stage, progress, release, &mut players, (&mut pipelines, &loads)).await?;
        rollouts += 1;
        sleep(MARGIN).await;
        if fresh(&loads[1]) >= ENOUGH {
            break;
        }
    }
    let reports = stop(loads).await;
    stage.keep("load.json", &reports)?;
    try_join_all(pipelines.into_iter().map(Pipeline::stop)).await?;

    let mut apps = Vec::new();
    for ((player, from), report) in players.iter().zip(before).zip(&reports) {
        let now = stage.runtime(player.address).await?;
        apps.push(Rolled {
            name: player.app.name.to_owned(),
            from,
            to: player.digest.clone(),
            seconds: player.seconds,
            lanes: report.lanes.iter().map(Lane::from).collect(),
            aside: Aside { app: player.app, runtimes: [player.runtime.clone(), now], rollouts },
        });
    }
    let control = control(stage, progress, &players[1]).await?;
    Ok(Outcome { apps, control })
}

/// Publishes the first images, deploys the apps and waits until they serve.
async fn deploy(stage: &Stage, progress: &Progress) -> anyhow::Result<Vec<Player>> {
    progress.say(format_args!("publishing {} (Java {})", FIRST.name, FIRST.runtime));
    let digests = try_join_all(APPS.iter().map(|app| stage.publish(app, &FIRST))).await?;
    progress.say("deploying app-foo, app-bar and app-baz");
    try_join_all(APPS.iter().zip(&digests).map(|(app, digest)| {
        let image = format!("{}@{digest}", stage.repository(app));
        async move { apply(stage, app, &image).await }
    }))
    .await?;
    let role = stage.root.join("k8s/rollout-role.yml");
    stage.kubectl.run(&["apply", "-f", &role.display().to_string()]).await?;
    let mut players = Vec::new();
    for (app, digest) in APPS.into_iter().zip(digests) {
        stage
            .kubectl
            .run(&["rollout", "status", "deployment/app", "--namespace", app.name, "--timeout=120s"])
            .await?;
        let address = stage.address(&app).await?;
        let runtime = stage.runtime(address).await?;
        progress.say(format_args!(
            "{} serves {} with Java {runtime}; it {}",
            app.name,
            short(&digest),
            app.end()
        ));
        players.push(Player { app, address, digest, runtime, seconds: 0.0 });
    }
    Ok(players)
}

async fn apply(stage: &Stage, app: &App, image: &str) -> anyhow::Result<()> {
    let path = stage.root.join("k8s").join(format!("{}.yml", app.name));
    let manifest =
        std::fs::read_to_string(&path).with_context(|| format!("failed to read `{}`", path.display()))?;
    let manifest = app.render(&manifest, image)?;
    // What an earlier demo left, perhaps in the middle of a rollout, is no place to start from.
    let gone = [
        "delete",
        "deployment",
        "app",
        "--namespace",
        app.name,
        "--ignore-not-found",
        "--cascade=foreground",
        "--timeout=60s",
    ];
    stage.kubectl.run(&gone).await?;
    stage
        .kubectl
        .run(&["delete", "pods", "--all", "--namespace", app.name, "--grace-period=1", "--timeout=60s"])
        .await?;
    stage.kubectl.apply(&manifest).await
}

/// Publishes one release for every app and waits until the pipelines have rolled it.
async fn update(
    stage: &Stage,
    progress: &Progress,
    release: &Release,
    players: &mut [Player],
    (pipelines, loads): (&mut [Pipeline], &[Load]),
) -> anyhow::Result<()> {
    progress.say(format_args!("publishing {}: Java {}, {}", release.name, release.runtime, release.openssl));
    let digests = try_join_all(APPS.iter().map(|app| stage.publish(app, release))).await?;
    let published = Instant::now();
    for (player, digest) in players.iter_mut().zip(digests) {
        player.digest = digest;
    }
    let mut open: Vec<&mut Player> = players.iter_mut().collect();
    let mut told = Instant::now();
    while !open.is_empty() {
        sleep(Duration::from_millis(500)).await;
        pipelines.iter_mut().try_for_each(Pipeline::check)?;
        let mut stands = Vec::new();
        let mut waiting = Vec::new();
        for player in open {
            let deployment = stage.kubectl.object(player.app.name, "deployment", "app").await?;
            let stand = Stand::of(&deployment, &player.digest);
            if stand.is_over {
                let seconds = published.elapsed().as_secs_f64();
                player.seconds += seconds;
                progress.say(format_args!(
                    "{} runs {} on all pods after {seconds:.1} s",
                    player.app.name,
                    short(&player.digest)
                ));
            } else {
                stands.push(format!("{} {}/{}", player.app.name, stand.updated, stand.wanted));
                waiting.push(player);
            }
        }
        open = waiting;
        if !stands.is_empty() && told.elapsed() > Duration::from_secs(3) {
            progress.say(format_args!("{}; {}", stands.join(", "), so_far(loads)));
            told = Instant::now();
        }
        if published.elapsed() > Duration::from_secs(120) {
            let logs: Vec<String> =
                pipelines.iter().map(|pipeline| pipeline.log().display().to_string()).collect();
            bail!(
                "{} after 120 s\nhint: what the pipelines did is in {}",
                stands.join(", "),
                logs.join(", ")
            );
        }
    }
    Ok(())
}

/// The same kind of change with what everybody has, on the app that needs help most.
async fn control(stage: &Stage, progress: &Progress, player: &Player) -> anyhow::Result<Control> {
    let app = player.app;
    progress.say(format_args!(
        "control: {} for {} with kubectl set image, under the same load",
        CONTROL.name, app.name
    ));
    let load = Load::start(target(player, app.name))?;
    sleep(MARGIN).await;
    let image = format!("app={}@{}", stage.repository(&app), stage.publish(&app, &CONTROL).await?);
    let started = Instant::now();
    stage.kubectl.run(&["set", "image", "deployment/app", &image, "--namespace", app.name]).await?;
    stage
        .kubectl
        .run(&["rollout", "status", "deployment/app", "--namespace", app.name, "--timeout=120s"])
        .await?;
    let seconds = started.elapsed().as_secs_f64();
    sleep(MARGIN).await;
    let loads = [load];
    progress.say(format_args!("control: {}", so_far(&loads)));
    let reports = stop(loads.into()).await;
    stage.keep("load-control.json", &reports)?;
    let lanes = reports.iter().flat_map(|report| &report.lanes).map(Lane::from).collect();
    Ok(Control { lanes, seconds, on: app.name })
}

/// Four lanes for every app; most of the new connections go to the one that has nothing to protect it.
fn target(player: &Player, busiest: &str) -> Target {
    let fresh = if player.app.name == busiest { 700.0 } else { 100.0 };
    let lanes = vec![
        load::Lane::Fresh { rate: fresh },
        load::Lane::KeepAlive { rate: 50.0, connections: 8 },
        load::Lane::Slow { rate: 2.0, delay: Duration::from_secs(2) },
        load::Lane::Stream { length: Duration::from_secs(5) },
    ];
    Target { name: player.app.name.to_owned(), address: player.address, lanes }
}

fn fresh(load: &Load) -> u64 {
    load.so_far().iter().filter(|(lane, ..)| *lane == "fresh").map(|(_, requests, _)| requests).sum()
}

async fn stop(loads: Vec<Load>) -> Vec<load::Report> {
    futures::future::join_all(loads.into_iter().map(Load::stop)).await
}
