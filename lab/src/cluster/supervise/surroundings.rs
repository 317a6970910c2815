//! Prepares the lab's namespaces: directories of its own in the places where the parts insist on writing, the
//! cgroups, the kernel's settings, the node's addresses and the pods' bridge. Nothing here is seen by the host.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use rustix::mount::{MountFlags, mount, mount_bind, mount_bind_recursive};

use crate::cluster::cgroups::{Hierarchy, unified};
use crate::cluster::place::{INSIDE, NODE, NODE_ADDRESS};
use crate::cluster::plan::Plan;

/// Where the parts look for programs: what was built first, then the system's.
pub(super) const PATH: &str =
    "/run/lab/bin:/run/lab/kpack:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Settings of the whole machine that the kubelet wants to change. It is given files instead.
const PRETENDED: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// Prepares everything before the first part starts.
pub(super) fn prepare(plan: &Plan) -> anyhow::Result<()> {
    // The hierarchies are read before `/sys` is mounted anew and hides them.
    let hierarchies = Hierarchy::all()?;
    rustix::system::sethostname(NODE.as_bytes()).context("failed to set the host's name")?;
    directories(plan)?;
    control_groups(&hierarchies)?;
    settings(plan)?;
    network()
}

fn directories(plan: &Plan) -> anyhow::Result<()> {
    for name in ["bin", "logs", "tmp", "home", "var-lib", "var-log", "etcd"] {
        let path = plan.data.join(name);
        fs::create_dir_all(&path).with_context(|| format!("failed to create `{}`", path.display()))?;
    }
    bind(&plan.programs, &plan.data.join("bin"))?;
    if let Some(programs) = &plan.kpack {
        let inside = plan.data.join("kpack");
        fs::create_dir_all(&inside).with_context(|| format!("failed to create `{}`", inside.display()))?;
        bind(programs, &inside)?;
    }
    bind(&plan.logs, &plan.data.join("logs"))?;
    mount("tmpfs", "/run", "tmpfs", MountFlags::empty(), c"mode=755").context("failed to mount `/run`")?;
    fs::create_dir_all(INSIDE).context("failed to create the lab's directory")?;
    mount_bind_recursive(&plan.data, INSIDE).context("failed to mount the lab's directory")?;
    bind(&Path::new(INSIDE).join("var-log"), Path::new("/var/log"))?;
    bind(&Path::new(INSIDE).join("var-lib"), Path::new("/var/lib"))
}

fn bind(from: &Path, to: &Path) -> anyhow::Result<()> {
    mount_bind(from, to)
        .with_context(|| format!("failed to mount `{}` at `{}`", from.display(), to.display()))
}

fn control_groups(hierarchies: &[Hierarchy]) -> anyhow::Result<()> {
    mount("sysfs", "/sys", "sysfs", MountFlags::empty(), None).context("failed to mount `/sys`")?;
    if !unified(hierarchies) {
        mount("tmpfs", "/sys/fs/cgroup", "tmpfs", MountFlags::empty(), c"mode=755")
            .context("failed to mount `/sys/fs/cgroup`")?;
    }
    hierarchies.iter().try_for_each(Hierarchy::mount_again)
}

fn settings(plan: &Plan) -> anyhow::Result<()> {
    let ports = plan.ports.all().map(|port| port.to_string()).join(",");
    set("net/ipv4/ip_forward", "1")?;
    set("net/ipv4/conf/all/route_localnet", "1")?;
    // A load of new connections leaves each port unusable for a minute: give it twice as many as usual, all above
    // those that the parts listen on.
    set("net/ipv4/ip_local_port_range", "11000 65535")?;
    // No outgoing connection may take a port before its listener does.
    set("net/ipv4/ip_local_reserved_ports", &ports)?;
    if Path::new("/proc/sys/net/bridge").exists() {
        set("net/bridge/bridge-nf-call-iptables", "1")?;
    }
    let directory = Path::new(INSIDE).join("sysctl");
    fs::create_dir_all(&directory).context("failed to create the directory of settings")?;
    for (name, value) in PRETENDED {
        let real = Path::new("/proc/sys").join(name);
        if real.exists() {
            let pretended = directory.join(name.replace('/', "."));
            fs::write(&pretended, format!("{value}\n")).context("failed to write a setting")?;
            bind(&pretended, &real)?;
        }
    }
    Ok(())
}

fn set(name: &str, value: &str) -> anyhow::Result<()> {
    fs::write(Path::new("/proc/sys").join(name), value)
        .with_context(|| format!("failed to set `{name}` to `{value}`"))
}

fn network() -> anyhow::Result<()> {
    let node = format!("{NODE_ADDRESS}/32");
    for arguments in [
        "link set lo up",
        &format!("address add {node} dev lo"),
        // A bridge takes the lowest address of its ports unless it has one of its own, and a change of address
        // loses the packets of pods that remember the old one.
        "link add cni0 address 02:00:0a:f4:00:01 type bridge",
        "address add 10.244.0.1/24 dev cni0",
        "link set cni0 up",
        // A Service's address must have a route before iptables is asked; there is nothing else to reach.
        &format!("route add 10.96.0.0/16 dev lo src {NODE_ADDRESS}"),
    ] {
        ip(arguments)?;
    }
    Ok(())
}

fn ip(arguments: &str) -> anyhow::Result<()> {
    let output = Command::new("ip").args(arguments.split(' ')).env("PATH", PATH).output();
    let output = output.context("failed to start `ip`")?;
    let message = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "`ip {arguments}` failed: {}", message.trim());
    Ok(())
}
