//! The first process of the lab's namespaces: prepares them, starts the parts in order, reaps what ends and keeps
//! the record that `lab up` and `lab status` read. It restarts a part only when told to: a lab with a dead part says so.

mod children;
mod surroundings;

use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use self::children::Children;
use super::api;
use super::kpack;
use super::parts::{Part, Ready, groups};
use super::place::{INSIDE, SANDBOX_IMAGE};
use super::plan::Plan;

/// How long a part may take to show that it is there.
const PATIENCE: Duration = Duration::from_secs(90);

/// Runs the lab whose directory on the host is `data`. Returns only when it cannot start.
pub(crate) fn supervise(data: &Path) -> anyhow::Result<()> {
    let plan = Plan::load(data)?;
    surroundings::prepare(&plan)?;
    let children = Arc::new(Children::new(PathBuf::from(INSIDE)));
    let starter = Arc::clone(&children);
    std::thread::spawn(move || {
        if let Err(error) = start(&plan, &starter) {
            starter.fail(&format!("{error:#}"));
        }
    });
    children.reap()
}

fn start(plan: &Plan, children: &Children) -> anyhow::Result<()> {
    for group in groups(plan) {
        for part in &group {
            if part.name == kpack::CONTROLLER {
                let mut kubectl = command("kubectl");
                children.run("kubectl", kubectl.args(kpack::definitions()))?;
            }
            let mut command = command(part.program);
            command.args(&part.arguments).envs(part.environment.iter().map(|(name, value)| (name, value)));
            children.start(part.name, command)?;
        }
        for part in &group {
            wait(plan, children, part)?;
            if part.name == "containerd" {
                import_sandbox(children)?;
            }
            children.ready(part.name)?;
        }
    }
    attend(plan, children)
}

/// Notes for ever which restarted parts are there again.
fn attend(plan: &Plan, children: &Children) -> anyhow::Result<()> {
    let parts: Vec<Part> = groups(plan).into_iter().flatten().collect();
    loop {
        for name in children.starting() {
            if parts.iter().any(|part| part.name == name && is_ready(plan, part)) {
                children.ready(&name)?;
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The command of a part: an environment of its own, so that nothing of the caller's leaks in.
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", surroundings::PATH)
        .env("HOME", format!("{INSIDE}/home"))
        .env("TMPDIR", format!("{INSIDE}/tmp"))
        .current_dir(INSIDE);
    command
}

fn wait(plan: &Plan, children: &Children, part: &Part) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_ready(plan, part) {
        if children.has_ended(part.name) {
            bail!("`{}` has ended", part.name);
        }
        if Instant::now() > deadline {
            bail!("`{}` is not ready after {} s", part.name, PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn is_ready(plan: &Plan, part: &Part) -> bool {
    match part.ready {
        Ready::Port(port) => TcpStream::connect(("127.0.0.1", port)).is_ok(),
        Ready::Socket(path) => UnixStream::connect(path).is_ok(),
        Ready::Readyz(port) => {
            let authority = std::fs::read_to_string(format!("{INSIDE}/pki/ca.crt")).unwrap_or_default();
            api::is_ready_now(port, &authority, &plan.admin_token)
        }
    }
}

/// Gives containerd the image that holds every pod's namespaces; no registry has it.
fn import_sandbox(children: &Children) -> anyhow::Result<()> {
    let socket = "--address=/run/containerd/containerd.sock";
    let archive = format!("{INSIDE}/pause.tar");
    for arguments in [
        vec![socket, "-n", "k8s.io", "images", "import", &archive],
        vec![socket, "-n", "k8s.io", "images", "label", SANDBOX_IMAGE, "io.cri-containerd.pinned=pinned"],
    ] {
        children.run("ctr", command("ctr").args(arguments)).context("failed to import the sandbox image")?;
    }
    Ok(())
}
