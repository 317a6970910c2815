//! A cgroup tree of its own for each lab, so that two labs and the machine's other users never meet. It lies
//! below the group that `lab up` runs in and becomes the root of the lab's cgroup namespace.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::mount::{MountFlags, mount};

/// One mounted cgroup hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// Where it is mounted.
    mount: PathBuf,
    /// The mount options that name it; `None` for the unified hierarchy of cgroup v2.
    options: Option<String>,
    /// The group, below the mount, that this process is in.
    group: PathBuf,
}

impl Hierarchy {
    /// Lists the hierarchies that this process sees.
    pub(crate) fn all() -> anyhow::Result<Vec<Self>> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("failed to read the mounts")?;
        let groups = fs::read_to_string("/proc/self/cgroup").context("failed to read the control groups")?;
        Ok(hierarchies(&mounts, &groups))
    }

    /// Where a lab's own group goes. In v2 a group that has processes cannot hand controllers to groups below
    /// it, except for the root; so there the lab's group is a child of the root.
    fn parent(&self) -> PathBuf {
        if self.options.is_some() { self.mount.join(&self.group) } else { self.mount.clone() }
    }

    /// Creates the group `name` and moves this process into it.
    pub(crate) fn enter(&self, name: &str) -> anyhow::Result<()> {
        let parent = self.parent();
        let group = parent.join(name);
        fs::create_dir_all(&group)
            .with_context(|| format!("failed to create the cgroup `{}`", group.display()))?;
        for file in ["cpuset.cpus", "cpuset.mems"] {
            // A new v1 cpuset is empty and takes no process until it has processors and memory.
            if self
                .options
                .as_deref()
                .is_some_and(|options| options.split(',').any(|option| option == "cpuset"))
                && let Ok(value) = fs::read(parent.join(file))
            {
                let _ = fs::write(group.join(file), value);
            }
        }
        if self.options.is_none() {
            hand_down(&parent);
        }
        fs::write(group.join("cgroup.procs"), "0")
            .with_context(|| format!("failed to enter the cgroup `{}`", group.display()))
    }

    /// Mounts the hierarchy anew at its place, with this namespace's group as the root.
    pub(crate) fn mount_again(&self) -> anyhow::Result<()> {
        let failed = || format!("failed to mount the cgroups at `{}`", self.mount.display());
        if let Some(options) = &self.options {
            fs::create_dir_all(&self.mount).with_context(failed)?;
            let options =
                if options.starts_with("name=") { format!("none,{options}") } else { options.clone() };
            let options = std::ffi::CString::new(options).with_context(failed)?;
            return mount("cgroup", &self.mount, "cgroup", MountFlags::empty(), options.as_c_str())
                .with_context(failed);
        }
        mount("cgroup2", &self.mount, "cgroup2", MountFlags::empty(), None).with_context(failed)?;
        let leaf = self.mount.join("parts");
        fs::create_dir_all(&leaf).with_context(failed)?;
        fs::write(leaf.join("cgroup.procs"), "0").with_context(failed)?;
        hand_down(&self.mount);
        Ok(())
    }
}

/// Lets the v2 groups below `group` limit what they use. Where the machine does not allow that, pods without
/// limits may still run.
fn hand_down(group: &Path) {
    for controller in ["cpuset", "cpu", "io", "memory", "pids"] {
        let _ = fs::write(group.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

/// Whether the machine has cgroup v2 alone.
pub(crate) fn unified(hierarchies: &[Hierarchy]) -> bool {
    hierarchies.iter().any(|hierarchy| hierarchy.options.is_none())
}

/// Removes every group called `name`, with all below it. Processes in them must be gone or going.
pub(crate) fn remove(hierarchies: &[Hierarchy], name: &str) -> anyhow::Result<()> {
    for hierarchy in hierarchies {
        for group in find(&hierarchy.mount, name) {
            remove_group(&group)
                .with_context(|| format!("failed to remove the cgroup `{}`", group.display()))?;
        }
    }
    Ok(())
}

/// Whether a group called `name` is left.
pub(crate) fn any(hierarchies: &[Hierarchy], name: &str) -> bool {
    hierarchies.iter().any(|hierarchy| !find(&hierarchy.mount, name).is_empty())
}

fn find(directory: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for child in children(directory) {
        if child.file_name().is_some_and(|file_name| file_name == name) {
            found.push(child);
        } else {
            found.extend(find(&child, name));
        }
    }
    found
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn remove_group(group: &Path) -> std::io::Result<()> {
    for child in children(group) {
        remove_group(&child)?;
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match fs::remove_dir(group) {
            // A group stays busy for a moment after its last process has gone.
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            result => return result,
        }
    }
}

fn hierarchies(mounts: &str, groups: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    let mut unified = None;
    for line in mounts.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let left: Vec<_> = left.split(' ').collect();
        let right: Vec<_> = right.split(' ').collect();
        let (Some(root), Some(point), Some(kind)) = (left.get(3), left.get(4), right.first()) else {
            continue;
        };
        let options: Vec<_> = right.last().map(|options| options.split(',').collect()).unwrap_or_default();
        for group in groups.lines() {
            let mut fields = group.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
            let below = path.strip_prefix(root.trim_end_matches('/')).unwrap_or(path).trim_start_matches('/');
            let hierarchy = |options| Hierarchy { mount: point.into(), options, group: below.into() };
            if *kind == "cgroup2" && controllers.is_empty() {
                unified = Some(hierarchy(None));
            }
            let named = controllers.split(',').all(|controller| options.contains(&controller));
            if *kind == "cgroup" && !controllers.is_empty() && named {
                found.retain(|other| other.mount != Path::new(point));
                found.push(hierarchy(Some(controllers.to_owned())));
            }
        }
    }
    // Beside v1 hierarchies the unified one has no controllers, and nothing in the lab needs it.
    if found.is_empty() { unified.into_iter().collect() } else { found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v1_groups_are_found_below_their_mounts_and_the_empty_unified_one_is_left_alone() {
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let groups = "9:name=systemd:/\n4:memory:/session/1\n1:cpu,cpuacct:/\n0::/\n";
        let found = hierarchies(mounts, groups);
        let parents: Vec<_> = found.iter().map(Hierarchy::parent).collect();
        assert_eq!(
            parents,
            [
                PathBuf::from("/sys/fs/cgroup/cpu,cpuacct/"),
                PathBuf::from("/sys/fs/cgroup/memory/session/1"),
                PathBuf::from("/sys/fs/cgroup/systemd/"),
            ]
        );
        assert!(!unified(&found));
    }

    #[test]
    fn in_v2_the_group_is_a_child_of_the_root() {
        let mounts = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = hierarchies(mounts, "0::/user.slice/session-1.scope\n");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].parent(), PathBuf::from("/sys/fs/cgroup"));
        assert!(unified(&found));
    }

    #[test]
    fn the_root_of_a_bind_mounted_hierarchy_is_not_counted_twice() {
        let mounts = "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let found = hierarchies(mounts, "4:memory:/docker/abc/inner\n");
        assert_eq!(found[0].parent(), PathBuf::from("/sys/fs/cgroup/memory/inner"));
    }
}
