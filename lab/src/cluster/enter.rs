//! Commands that run inside the lab.

use std::path::Path;
use std::process::Command;

use super::Lab;
use super::place::{INSIDE, Place};
use super::processes::{VARIABLE, network_namespace};

/// A command in the lab's network, and in nothing else of it: files and processes are the caller's.
pub(crate) fn network(place: &Place, supervisor: u32, program: &Path) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", network_namespace(supervisor).display())).arg("--").arg(program);
    command.env(VARIABLE, place.key());
    command
}

/// A command in all of the lab's namespaces, where containerd's socket and the pods' processes are.
pub(crate) fn everything(place: &Place, supervisor: u32, program: &Path) -> Command {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--target={supervisor}"))
        .arg("--all")
        .arg(format!("--wdns={INSIDE}"))
        .arg("--")
        .arg(program);
    command.env(VARIABLE, place.key());
    command
}

/// Tells `command` where the cluster and the registry are.
pub(crate) fn introduce(command: &mut Command, lab: &Lab, path: &str) {
    let programs = lab.kubectl.parent().map(|directory| directory.display().to_string()).unwrap_or_default();
    command
        .env("KUBECONFIG", &lab.kubeconfig)
        .env("ROLLWAY_REGISTRY", &lab.registry.plain)
        .env("PATH", format!("{path}:{programs}:{INSIDE}/bin"));
}
