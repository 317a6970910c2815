//! `lab demo-kpack`: three apps that kpack builds from Git. The store moves to a newer runtime, then the stack to
//! newer libraries; kpack builds and rebases, and each app's pipeline rolls what kpack has finished, under load.

pub mod cli;
mod fleet;
mod outcome;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures::future::try_join_all;
use tokio::time::{Instant, sleep};

use self::fleet::{Built, Fleet};
use self::outcome::{App as Played, Outcome, Patched, Update};
use super::manifests::APPS;
use super::pipeline::{Pipeline, Variables};
use super::progress::{Progress, so_far};
use super::rollout::Stand;
use super::stage::Stage;
use super::{Lane, MARGIN, apply, short, stop};
use crate::load::{self, Load, Target};

/// What people apply, one after the other, and what kpack calls the reason.
const UPDATES: [(&str, &str); 2] = [("jvm-update", "BUILDPACK"), ("stack-update", "STACK")];

/// How long builds, and the rollouts after them, may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// An app on the stage.
struct Player {
    app: super::manifests::App,
    address: SocketAddr,
    /// What it runs.
    digest: String,
    java: String,
    openssl: String,
}

/// Plays the whole demo; the outcome is not judged here.
async fn play(stage: &Stage, fleet: &Fleet<'_>, progress: &Progress) -> anyhow::Result<Outcome> {
    let first = build(fleet, progress).await?;
    let mut players = deploy(stage, progress, &first).await?;
    let variables = Variables::write(stage).await?;
    let mut pipelines = APPS
        .iter()
        .map(|&app| Pipeline::start(stage, app, &variables))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let loads =
        players.iter().map(|player| Load::start(target(player))).collect::<anyhow::Result<Vec<_>>>()?;
    progress.say("three pipelines watch kpack's builds; load on all apps");
    sleep(MARGIN).await;
    let mut updates = Vec::new();
    for (number, (path, reason)) in (2..).zip(UPDATES) {
        progress.say(format_args!("kubectl apply -f kpack/{path}"));
        let started = Instant::now();
        fleet.apply(path).await?;
        let mut watched = Watched { stage, fleet, progress, pipelines: &mut pipelines, loads: &loads };
        let patched = watched.update(number, started, &mut players).await?;
        let seconds = started.elapsed().as_secs_f64();
        progress.say(format_args!("all pods patched after {seconds:.1} s"));
        updates.push(Update { name: path, reason, seconds, apps: patched });
        sleep(MARGIN).await;
    }
    let reports = stop(loads).await;
    stage.keep("load.json", &reports)?;
    try_join_all(pipelines.into_iter().map(Pipeline::stop)).await?;
    let apps = players.iter().zip(&reports).map(|(player, report)| Played {
        name: player.app.name,
        lanes: report.lanes.iter().map(Lane::from).collect(),
        app: player.app,
    });
    Ok(Outcome { updates, apps: apps.collect() })
}

/// Applies what `kpack/` has, and waits for the first images.
async fn build(fleet: &Fleet<'_>, progress: &Progress) -> anyhow::Result<Vec<Built>> {
    progress.say("clearing away what an earlier demo has built");
    fleet.clear().await?;
    for path in ["credentials", "custom-java-builder.yml", "images"] {
        progress.say(format_args!("kubectl apply -f kpack/{path}"));
        fleet.apply(path).await?;
    }
    let started = Instant::now();
    loop {
        sleep(Duration::from_millis(500)).await;
        let found = fleet.built(1).await?;
        if found.iter().all(Option::is_some) {
            progress.say(format_args!("kpack has built three images from Git"));
            return Ok(found.into_iter().flatten().collect());
        }
        if started.elapsed() > PATIENCE {
            bail!("kpack has not built the images after {} s", PATIENCE.as_secs());
        }
    }
}

/// Deploys what kpack has built and waits until it serves.
async fn deploy(stage: &Stage, progress: &Progress, built: &[Built]) -> anyhow::Result<Vec<Player>> {
    progress.say("deploying app-foo, app-bar and app-baz");
    try_join_all(APPS.iter().zip(built).map(|(app, built)| apply(stage, app, &built.image))).await?;
    for role in ["k8s/rollout-role.yml", "kpack/pipeline-role.yml"] {
        stage.kubectl.run(&["apply", "-f", &stage.root.join(role).display().to_string()]).await?;
    }
    let mut players = Vec::new();
    for (app, built) in APPS.into_iter().zip(built) {
        let status = ["rollout", "status", "deployment/app", "--namespace", app.name, "--timeout=120s"];
        stage.kubectl.run(&status).await?;
        let address = stage.address(&app).await?;
        let java = stage.told(address, "java.version").await?;
        let openssl = stage.told(address, "openssl.version").await?;
        let digest = built.digest().to_owned();
        progress.say(format_args!("{} serves {} with Java {java}", app.name, short(&digest)));
        players.push(Player { app, address, digest, java, openssl });
    }
    Ok(players)
}

/// What is looked at while an update goes through.
struct Watched<'a> {
    stage: &'a Stage,
    fleet: &'a Fleet<'a>,
    progress: &'a Progress,
    pipelines: &'a mut [Pipeline],
    loads: &'a [Load],
}

impl Watched<'_> {
    /// Waits until every app has the build `number` on all its pods.
    async fn update(
        &mut self,
        number: u64,
        started: Instant,
        players: &mut [Player],
    ) -> anyhow::Result<Vec<Patched>> {
        let mut builds: Vec<Option<(Built, f64)>> = players.iter().map(|_| None).collect();
        let mut patched: Vec<Option<Patched>> = players.iter().map(|_| None).collect();
        let mut told = Instant::now();
        while patched.iter().any(Option::is_none) {
            sleep(Duration::from_millis(500)).await;
            self.pipelines.iter_mut().try_for_each(Pipeline::check)?;
            self.look(number, started, players, &mut builds).await?;
            for ((player, build), patched) in players.iter_mut().zip(&builds).zip(&mut patched) {
                if let (Some((build, seconds)), None) = (build, &patched) {
                    *patched = self.patched(player, build, (started, *seconds)).await?;
                }
            }
            if told.elapsed() > Duration::from_secs(5) {
                self.progress.say(so_far(self.loads));
                told = Instant::now();
            }
            if started.elapsed() > PATIENCE {
                let logs: Vec<_> =
                    self.pipelines.iter().map(|pipeline| pipeline.log().display().to_string()).collect();
                bail!(
                    "not all pods are patched after {} s\nhint: what the pipelines did is in {}",
                    PATIENCE.as_secs(),
                    logs.join(", ")
                );
            }
        }
        Ok(patched.into_iter().flatten().collect())
    }

    /// Notes the builds that have succeeded since the last look.
    async fn look(
        &self,
        number: u64,
        started: Instant,
        players: &[Player],
        builds: &mut [Option<(Built, f64)>],
    ) -> anyhow::Result<()> {
        if builds.iter().all(Option::is_some) {
            return Ok(());
        }
        let found = self.fleet.built(number).await?;
        for ((player, known), found) in players.iter().zip(builds).zip(found) {
            if let (None, Some(build)) = (&known, found) {
                let seconds = started.elapsed().as_secs_f64();
                self.progress.say(format_args!(
                    "{}: kpack's build {number} ({}) has finished after {seconds:.1} s",
                    player.app.name, build.reason
                ));
                *known = Some((build, seconds));
            }
        }
        Ok(())
    }

    /// Returns what became of an app, once the pipeline has rolled it.
    async fn patched(
        &self,
        player: &mut Player,
        build: &Built,
        (started, built_after): (Instant, f64),
    ) -> anyhow::Result<Option<Patched>> {
        let deployment = self.stage.kubectl.object(player.app.name, "deployment", "app").await?;
        if !Stand::of(&deployment, build.digest()).is_over {
            return Ok(None);
        }
        let seconds = started.elapsed().as_secs_f64();
        let java = self.stage.told(player.address, "java.version").await?;
        let openssl = self.stage.told(player.address, "openssl.version").await?;
        self.progress
            .say(format_args!("{} runs Java {java} on all pods after {seconds:.1} s", player.app.name));
        let digest = build.digest().to_owned();
        let patched = Patched {
            name: player.app.name,
            build: build.number.clone(),
            reason: build.reason.clone(),
            from: std::mem::replace(&mut player.digest, digest.clone()),
            to: digest,
            java: [std::mem::replace(&mut player.java, java.clone()), java],
            openssl: [std::mem::replace(&mut player.openssl, openssl.clone()), openssl],
            built_after,
            seconds,
        };
        Ok(Some(patched))
    }
}

/// Three lanes that promise nothing is lost where the app is able to keep it, beside kpack at work on two cores.
fn target(player: &Player) -> Target {
    let lanes = vec![
        load::Lane::Fresh { rate: 50.0 },
        load::Lane::KeepAlive { rate: 25.0, connections: 4 },
        load::Lane::Slow { rate: 1.0, delay: Duration::from_secs(2) },
    ];
    Target { name: player.app.name.to_owned(), address: player.address, lanes }
}

/// Finds kpack's objects for the demo's apps.
fn position(name: &str) -> anyhow::Result<usize> {
    APPS.iter().position(|app| app.name == name).with_context(|| format!("kpack builds an unknown `{name}`"))
}
