//! The Debian packages that the lab runs on: the one list of them, and their installation when some are missing.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use super::progress::Progress;

/// What the lab needs from the system: the package, and one of its files.
const PACKAGES: [(&str, &[&str]); 8] = [
    ("apache2-utils", &["/usr/bin/htpasswd"]),
    ("conntrack", &["/usr/sbin/conntrack"]),
    ("containernetworking-plugins", &["/usr/lib/cni/bridge"]),
    ("docker-registry", &["/usr/bin/docker-registry"]),
    ("iproute2", &["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"]),
    ("iptables", &["/usr/sbin/iptables", "/sbin/iptables"]),
    ("runc", &["/usr/sbin/runc", "/usr/bin/runc"]),
    ("util-linux", &["/usr/bin/unshare"]),
];

/// Installs what is missing.
pub(crate) fn install(progress: &Progress) -> anyhow::Result<()> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("these programs are missing and there is no apt-get to install them: {names}");
    }
    progress.say(&format!("installing {names}"));
    let installed = apt(&["install"], &missing).is_ok() || {
        apt(&["update"], &[])?;
        apt(&["install"], &missing).is_ok()
    };
    let left = self::missing();
    if !installed || !left.is_empty() {
        bail!("failed to install {}; try `apt-get install {}`", left.join(" "), left.join(" "));
    }
    Ok(())
}

fn missing() -> Vec<&'static str> {
    let is_missing = |files: &[&str]| !files.iter().any(|file| Path::new(file).exists());
    PACKAGES.iter().filter(|(_, files)| is_missing(files)).map(|(name, _)| *name).collect()
}

fn apt(verb: &[&str], packages: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("apt-get")
        .args(["-qq", "-y", "--no-install-recommends"])
        .args(verb)
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .context("failed to start `apt-get`")?;
    let message = String::from_utf8_lossy(&output.stderr);
    let last = message.trim().lines().last().unwrap_or("it gave no reason");
    anyhow::ensure!(output.status.success(), "`apt-get {}` failed: {last}", verb.join(" "));
    Ok(())
}
