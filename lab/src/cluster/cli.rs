//! `lab up`, `down`, `status`, `exec`, `logs` and `restart`, and the hidden steps that `up` starts.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, ExitCode};

use anyhow::{Context as _, bail};
use clap::Subcommand;

use super::place::Place;
use super::progress::{Progress, print};
use super::status::{Status, status};
use super::up::{self, Extra, Started, up};
use super::{Lab, down, enter, forward, launch, processes, status, supervise};

/// What main.rs knows and this does not read by itself.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// This executable.
    pub executable: PathBuf,
    /// The current directory.
    pub directory: PathBuf,
    /// The user's home.
    pub home: Option<PathBuf>,
    /// The search path for programs.
    pub path: String,
}

/// The cluster's subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the cluster and the registries of this checkout, or say that they run.
    Up(Up),
    /// Stop them and leave nothing behind but the logs.
    Down(Of),
    /// Say whether they run, part by part; exit 1 unless they do.
    Status(Of),
    /// Run a command in the cluster's network, where node ports and Services answer.
    Exec(Exec),
    /// Print the log of a part.
    Logs(Logs),
    /// Kill a part and start it again.
    Restart(Restart),
    /// Enter the lab's cgroups and become its `unshare`; a step of `up`.
    #[command(hide = true)]
    Launch(Launch),
    /// Start the parts as the lab's first process; a step of `up`.
    #[command(hide = true)]
    Supervise(Supervise),
    /// Serve the lab's ports on the host; a step of `up`.
    #[command(hide = true)]
    Forward(Forward),
}

/// Which lab.
#[derive(Clone, Debug, clap::Args)]
pub struct Of {
    /// The checkout that the lab belongs to [default: the one around the current directory].
    #[arg(long, value_name = "DIRECTORY")]
    checkout: Option<PathBuf>,
}

/// `lab up`.
#[derive(Debug, clap::Args)]
pub struct Up {
    #[command(flatten)]
    of: Of,
    /// Start this too; the first build of it takes minutes.
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    with: Vec<Extra>,
}

/// `lab exec`.
#[derive(Debug, clap::Args)]
pub struct Exec {
    #[command(flatten)]
    of: Of,
    /// Enter all of the lab's namespaces, not only the network: for `ctr`, `ps` and `mount`.
    #[arg(long)]
    inside: bool,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// `lab logs`.
#[derive(Debug, clap::Args)]
pub struct Logs {
    #[command(flatten)]
    of: Of,
    /// Go on as the log grows.
    #[arg(short, long)]
    follow: bool,
    /// The part; without it the names of all are printed.
    part: Option<String>,
}

/// `lab restart`.
#[derive(Debug, clap::Args)]
pub struct Restart {
    #[command(flatten)]
    of: Of,
    /// The part, as `lab status` names it.
    part: String,
}

/// The step that becomes the lab's `unshare`.
#[derive(Debug, clap::Args)]
pub struct Launch {
    #[command(flatten)]
    of: Of,
    #[arg(long)]
    key: String,
}

/// The lab's first process.
#[derive(Debug, clap::Args)]
pub struct Supervise {
    #[arg(long)]
    key: String,
    #[arg(long)]
    data: PathBuf,
}

/// The lab's ports on the host.
#[derive(Debug, clap::Args)]
pub struct Forward {
    #[arg(long)]
    key: String,
    ports: Vec<u16>,
}

/// Runs the subcommand.
///
/// # Errors
/// What kept it from doing its work.
pub fn run(command: Command, surroundings: &Surroundings) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(up) => block_on(start(&up, surroundings)),
        Command::Down(of) => stop(&of, surroundings),
        Command::Status(of) => block_on(report(&of, surroundings)),
        Command::Exec(exec) => execute(&exec, surroundings),
        Command::Logs(logs) => show(&logs, surroundings),
        Command::Restart(restart) => {
            let place = place(&restart.of, surroundings)?;
            Lab::load(place.checkout())?.restart(&restart.part)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Launch(step) => {
            launch::launch(&place(&step.of, surroundings)?, &surroundings.executable)?;
            Ok(ExitCode::FAILURE)
        }
        Command::Supervise(step) => {
            supervise::supervise(&step.data)?;
            Ok(ExitCode::FAILURE)
        }
        Command::Forward(step) => {
            block_on(forward::forward(&step.ports))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A runtime of one thread: the forwarder enters another network with the thread that it runs on.
fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("failed to start the runtime")?.block_on(future)
}

async fn start(Up { of, with }: &Up, surroundings: &Surroundings) -> anyhow::Result<ExitCode> {
    check_machine()?;
    let place = place(of, surroundings)?;
    let _lock = lock(&place)?;
    let home = surroundings.home.as_ref().context("HOME is not set, so there is no place for the cache")?;
    let needs = up::Surroundings {
        executable: surroundings.executable.clone(),
        cache: home.join(".cache/rollway-lab"),
        with: with.clone(),
    };
    let (lab, started) = up(&place, &needs).await?;
    if matches!(started, Started::Before) {
        print("the lab is already up");
    }
    explain(&lab);
    Ok(ExitCode::SUCCESS)
}

fn stop(of: &Of, surroundings: &Surroundings) -> anyhow::Result<ExitCode> {
    check_machine()?;
    let place = place(of, surroundings)?;
    let _lock = lock(&place)?;
    if !down::is_needed(&place)? {
        print("no lab is up");
        return Ok(ExitCode::SUCCESS);
    }
    let progress = Progress::new();
    down::down(&place)?;
    progress.say("the lab is down; its logs are left in target/lab/logs");
    Ok(ExitCode::SUCCESS)
}

async fn report(of: &Of, surroundings: &Surroundings) -> anyhow::Result<ExitCode> {
    let place = place(of, surroundings)?;
    let status = status(&place).await;
    for line in status::parts(&place) {
        print(&line);
    }
    match status {
        Status::Healthy(lab) => {
            print("the lab is up");
            explain(&lab);
            return Ok(ExitCode::SUCCESS);
        }
        Status::Broken(why) => print(&format!("the lab is broken: {why}; `lab up` starts it anew")),
        Status::Absent => print("no lab is up"),
    }
    Ok(ExitCode::FAILURE)
}

fn execute(exec: &Exec, surroundings: &Surroundings) -> anyhow::Result<ExitCode> {
    let place = place(&exec.of, surroundings)?;
    let lab = Lab::load(place.checkout())?;
    let supervisor = processes::supervisor(&place);
    let supervisor = supervisor.context("the lab is not running; start it with `lab up`")?;
    let [program, arguments @ ..] = exec.command.as_slice() else { bail!("there is no command to run") };
    let enter = if exec.inside { enter::everything } else { enter::network };
    let mut command = enter(&place, supervisor, Path::new(program));
    enter::introduce(&mut command, &lab, &surroundings.path);
    Err(command.args(arguments).exec()).context("failed to start `nsenter`")
}

fn show(logs: &Logs, surroundings: &Surroundings) -> anyhow::Result<ExitCode> {
    let directory = place(&logs.of, surroundings)?.logs();
    let Some(part) = &logs.part else {
        for entry in std::fs::read_dir(&directory).context("there are no logs yet")?.flatten() {
            if let Some(name) = entry.file_name().to_str().and_then(|name| name.strip_suffix(".log")) {
                print(name);
            }
        }
        return Ok(ExitCode::SUCCESS);
    };
    let path = directory.join(format!("{part}.log"));
    anyhow::ensure!(path.exists(), "there is no log `{}`; `lab logs` lists them", path.display());
    let mut tail = Process::new("tail");
    tail.arg("--lines=+1");
    if logs.follow {
        tail.arg("--follow");
    }
    Err(tail.arg(path).exec()).context("failed to start `tail`")
}

fn place(of: &Of, surroundings: &Surroundings) -> anyhow::Result<Place> {
    if let Some(checkout) = &of.checkout {
        return Place::new(&surroundings.directory.join(checkout));
    }
    let around = surroundings.directory.ancestors().find(|directory| directory.join("lab/go.mod").exists());
    Place::new(around.context("the current directory is in no checkout; name one with --checkout")?)
}

/// Keeps two calls of `up` and `down` apart. The kernel lets go of it when this process ends.
fn lock(place: &Place) -> anyhow::Result<File> {
    let path = place.lock();
    std::fs::create_dir_all(place.target())
        .and_then(|()| File::create(&path))
        .and_then(|lock| match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(_) => {
                print("waiting for another `lab up` or `lab down` of this checkout");
                lock.lock().map(|()| lock)
            }
        })
        .with_context(|| format!("failed to lock `{}`", path.display()))
}

fn check_machine() -> anyhow::Result<()> {
    let missing = if !cfg!(target_os = "linux") {
        "Linux"
    } else if !rustix::process::geteuid().is_root() {
        "root"
    } else {
        return Ok(());
    };
    bail!(
        "the lab needs {missing}, which is missing here; `make demo` uses an existing cluster and registry when \
         KUBECONFIG and ROLLWAY_REGISTRY are set"
    )
}

fn explain(lab: &Lab) {
    let Lab { kubeconfig, kubectl, registry, node_ports: [first, last], .. } = lab;
    print(&format!(
        "
  export KUBECONFIG={}    # contexts: admin (current), certificate, deployer
  kubectl          {}
  registry, plain  {}
  registry, TLS    {}    # authority: {}
  registry, auth   {}    # user {}, password in target/lab/lab.json
  lab exec -- CMD  runs CMD where Services and the node ports {first}-{last} of 127.0.0.1 answer",
        kubeconfig.display(),
        kubectl.display(),
        registry.plain,
        registry.tls,
        registry.ca.display(),
        registry.auth,
        registry.username,
    ));
    if let Some(kpack) = &lab.kpack {
        print(&format!(
            "  kpack {:<10} {}    # its manifests, made for this lab\n  git              {}    # {}",
            kpack.version,
            kpack.manifests.display(),
            kpack.git,
            kpack.repository.display(),
        ));
    }
}
