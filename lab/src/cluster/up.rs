//! Starts a lab: what can fail for want of a program comes first, then the namespaces and the parts, then the
//! accounts. When a step fails everything is taken down again, except for the logs.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use tokio::signal::unix::{SignalKind, signal};

use super::api::Api;
use super::certificates::Authority;
use super::down::{self, down};
use super::forwarder::Forwarder;
use super::place::{NODE, NODE_ADDRESS, NODE_PORTS, Place};
use super::plan::Plan;
use super::progress::Progress;
use super::record::{Record, State};
use super::status::{Status, status};
use super::{Lab, Registry, accounts, build, files, kpack, logs, packages, parts, processes, sandbox};
use crate::image::SampleApp;

/// How long the parts and the node may take, all together.
const PATIENCE: Duration = Duration::from_secs(180);

/// What `up` needs to know of its surroundings.
pub(crate) struct Surroundings {
    /// This executable.
    pub(crate) executable: PathBuf,
    /// The directory for what is built.
    pub(crate) cache: PathBuf,
    /// What is wanted beside the cluster.
    pub(crate) with: Vec<Extra>,
}

/// What a lab can have beside the cluster and its registries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Extra {
    /// kpack, with a stack, a buildpack and a Git server.
    Kpack,
}

/// The programs that were built.
struct Programs {
    cluster: PathBuf,
    kpack: Option<PathBuf>,
}

/// When the lab was started.
pub(crate) enum Started {
    /// By this call.
    Now,
    /// By an earlier one.
    Before,
}

/// Starts the lab of `place` unless it runs and is well. The caller holds the lab's lock.
pub(crate) async fn up(place: &Place, surroundings: &Surroundings) -> anyhow::Result<(Lab, Started)> {
    let progress = Progress::new();
    match status(place).await {
        Status::Healthy(lab) if lab.kpack.is_none() && surroundings.with.contains(&Extra::Kpack) => bail!(
            "the lab is up without kpack; `lab down` stops it, and `lab up --with kpack` starts it with kpack"
        ),
        Status::Healthy(lab) => return Ok((*lab, Started::Before)),
        Status::Broken(why) => progress.say(&format!("clearing away an earlier lab: {why}")),
        Status::Absent => {}
    }
    if down::is_needed(place)? {
        down(place).context("failed to clear away an earlier lab")?;
    }
    let kpack = surroundings.with.contains(&Extra::Kpack);
    let mut needed = packages::PACKAGES.to_vec();
    needed.extend(kpack.then_some(kpack::PACKAGES).into_iter().flatten());
    packages::install(&needed, &progress)?;
    empty(&place.logs())?;
    let log = place.logs().join("build.log");
    let programs = Programs {
        cluster: build::build(&surroundings.cache, &log, &progress)?,
        kpack: kpack.then(|| kpack::build(&surroundings.cache, &log, &progress)).transpose()?,
    };
    // Until here there is nothing to clear away. From here on a signal must not leave half a lab.
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to watch for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("failed to watch for signals")?;
    let started = tokio::select! {
        started = start(place, surroundings, &programs, &progress) => started,
        _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
    };
    match started {
        Ok(lab) => Ok((lab, Started::Now)),
        Err(error) => {
            down(place).context("failed to clear away the lab that did not start")?;
            Err(error)
        }
    }
}

async fn start(
    place: &Place,
    surroundings: &Surroundings,
    programs: &Programs,
    progress: &Progress,
) -> anyhow::Result<Lab> {
    let mut forwarder = Forwarder::start(place, &surroundings.executable)?;
    let authority = Authority::new()?;
    let plan = Plan {
        ports: forwarder.ports(),
        admin_token: files::random()?,
        data: place.data(),
        programs: programs.cluster.clone(),
        kpack: programs.kpack.clone(),
        logs: place.logs(),
    };
    let registry = registry(place, &plan)?;
    files::prepare(&plan, &authority, &registry)?;
    sandbox::write(&surroundings.executable, &plan.data.join("pause.tar"))?;
    if plan.kpack.is_some() {
        kpack::lay_out(&plan.data)?;
    }

    progress.say("starting the lab");
    let mut launcher = launch(place, &surroundings.executable)?;
    let supervisor = supervisor(place, &mut launcher).await?;
    forwarder.enter(supervisor)?;
    let deadline = Instant::now() + PATIENCE;
    follow((place, &plan), &mut launcher, deadline, progress).await?;

    let api = Api::new(plan.ports.api, authority.certificate(), &plan.admin_token)?;
    let deployer_token = accounts::deployer(&api).await?;
    node(place, &api, deadline).await?;
    progress.say("the node is ready");
    let kpack = match &plan.kpack {
        Some(programs) => {
            let sample = SampleApp::program()?;
            Some(kpack::install(place, (programs, &sample), (&api, plan.ports), progress).await?)
        }
        None => None,
    };
    let lab = Lab {
        kubeconfig: place.kubeconfig(),
        kubectl: plan.programs.join("kubectl"),
        registry,
        api: format!("https://127.0.0.1:{}", plan.ports.api),
        node_ports: NODE_PORTS,
        node: NODE_ADDRESS.to_owned(),
        checkout: place.checkout().to_owned(),
        supervisor,
        kpack,
    };
    files::publish(place, &lab, &authority, &plan.admin_token, &deployer_token)?;
    Ok(lab)
}

fn registry(place: &Place, plan: &Plan) -> anyhow::Result<Registry> {
    let address = |port: u16| format!("127.0.0.1:{port}");
    Ok(Registry {
        plain: address(plan.ports.plain),
        tls: address(plan.ports.tls),
        auth: address(plan.ports.auth),
        username: "rollway".to_owned(),
        password: files::random()?,
        ca: place.authority(),
    })
}

fn empty(directory: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => fs::create_dir_all(directory),
    }
    .with_context(|| format!("failed to empty `{}`", directory.display()))
}

fn launch(place: &Place, executable: &Path) -> anyhow::Result<Child> {
    let path = place.logs().join("supervisor.log");
    let log = File::create(&path).with_context(|| format!("failed to create `{}`", path.display()))?;
    Command::new(executable)
        .arg("launch")
        .arg(place.marker())
        .arg(format!("--checkout={}", place.checkout().display()))
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("failed to share a log")?)
        .stderr(log)
        .spawn()
        .context("failed to start the lab's launcher")
}

async fn supervisor(place: &Place, launcher: &mut Child) -> anyhow::Result<u32> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(pid) = processes::supervisor(place) {
            return Ok(pid);
        }
        check(place, launcher)?;
        anyhow::ensure!(Instant::now() < deadline, "the lab's namespaces did not come up in 20 s");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn check(place: &Place, launcher: &mut Child) -> anyhow::Result<()> {
    if let Some(status) = launcher.try_wait().context("failed to look at the lab's launcher")? {
        let log = place.logs().join("supervisor.log");
        bail!("the lab's first process ended with {status}\n{}", logs::tail(&log));
    }
    Ok(())
}

/// Tells of each part as it becomes ready, until all are.
async fn follow(
    (place, plan): (&Place, &Plan),
    launcher: &mut Child,
    deadline: Instant,
    progress: &Progress,
) -> anyhow::Result<()> {
    let count = parts::groups(plan).iter().flatten().count();
    let mut told = BTreeSet::new();
    loop {
        check(place, launcher)?;
        let record = Record::load(&place.data());
        for (name, state) in &record.parts {
            if *state == State::Ready && told.insert(name.clone()) {
                progress.say(&format!("{name} is ready"));
            }
        }
        if let Some((name, how)) = record.ended() {
            bail!("`{name}` ended with {how}\n{}", logs::tail(&place.logs().join(format!("{name}.log"))));
        }
        if let Some(failure) = record.failure {
            bail!("the lab did not start: {failure}\n  the logs: {}", place.logs().display());
        }
        if told.len() == count {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < deadline, "the lab is not up after {} s", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn node(place: &Place, api: &Api, deadline: Instant) -> anyhow::Result<()> {
    while !api.has_ready_node(NODE).await {
        if Instant::now() > deadline {
            bail!("the node is not ready\n{}", logs::tail(&place.logs().join("kubelet.log")));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}
