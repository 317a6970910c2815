//! The step between `lab up` and the supervisor: leaves the terminal's session, enters the lab's cgroups, and
//! becomes the `unshare` that starts the supervisor in namespaces of its own. When either of the two is killed the
//! kernel ends the other, and with the supervisor every process, mount, interface and iptables rule of the lab.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use super::cgroups::Hierarchy;
use super::place::Place;

/// Turns this process into the lab's `unshare`. Returns only when that fails.
pub(crate) fn launch(place: &Place, executable: &Path) -> anyhow::Result<()> {
    rustix::process::setsid().context("failed to leave the session")?;
    for hierarchy in Hierarchy::all()? {
        hierarchy.enter(&place.cgroup())?;
    }
    let error = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--ipc", "--uts", "--cgroup"])
        .args(["--propagation=private", "--mount-proc", "--fork", "--kill-child=KILL", "--"])
        .arg(executable)
        .arg("supervise")
        .arg(place.marker())
        .arg(format!("--data={}", place.data().display()))
        .current_dir("/")
        .exec();
    Err(error).context("failed to start `unshare`")
}
