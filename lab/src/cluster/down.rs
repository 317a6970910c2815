//! Stops a lab, or what a killed one left: processes, cgroups, directories. Interfaces, mounts, network namespaces
//! and iptables rules go with the lab's namespaces when its first process does.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use rustix::mount::{UnmountFlags, unmount};

use super::cgroups::{self, Hierarchy};
use super::place::Place;
use super::processes;

/// Whether there is anything to stop or to remove.
pub(crate) fn is_needed(place: &Place) -> anyhow::Result<bool> {
    Ok(processes::any(place)
        || place.data().exists()
        || place.state().exists()
        || cgroups::any(&Hierarchy::all()?, &place.cgroup()))
}

/// Stops everything of the lab and removes all but its logs.
pub(crate) fn down(place: &Place) -> anyhow::Result<()> {
    for path in [place.state(), place.kubeconfig(), place.authority()] {
        remove(&path, fs::remove_file(&path))?;
    }
    let manifests = place.target().join("kpack");
    remove(&manifests, fs::remove_dir_all(&manifests))?;
    processes::end(place)?;
    cgroups::remove(&Hierarchy::all()?, &place.cgroup())?;
    let data = place.data();
    unmount_below(&data)?;
    remove(&data, fs::remove_dir_all(&data))?;
    // The directory of all labs stays while another checkout's is in it.
    if let Some(parent) = data.parent() {
        let _ = fs::remove_dir(parent);
    }
    Ok(())
}

fn remove(path: &Path, result: std::io::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result.with_context(|| format!("failed to remove `{}`", path.display())),
    }
}

/// The lab mounts nothing on the host. Should anybody have, it must not be emptied with the directory.
fn unmount_below(directory: &Path) -> anyhow::Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("failed to read the mounts")?;
    let points = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|point| Path::new(point).starts_with(directory));
    for point in points.collect::<Vec<_>>().into_iter().rev() {
        unmount(point, UnmountFlags::DETACH).with_context(|| format!("failed to unmount `{point}`"))?;
    }
    Ok(())
}
