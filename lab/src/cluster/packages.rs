//! The Debian packages that the lab runs on: the one list of them, and their installation when some are missing.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use super::progress::Progress;

/// What is needed from the system: the package, and the places where one of its files may be.
pub(crate) type Package = (&'static str, &'static [&'static str]);

/// What every lab needs.
pub(crate) const PACKAGES: [Package; 8] = [
    ("apache2-utils", &["/usr/bin/htpasswd"]),
    ("conntrack", &["/usr/sbin/conntrack"]),
    ("containernetworking-plugins", &["/usr/lib/cni/bridge"]),
    ("docker-registry", &["/usr/bin/docker-registry"]),
    ("iproute2", &["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"]),
    ("iptables", &["/usr/sbin/iptables", "/sbin/iptables"]),
    ("runc", &["/usr/sbin/runc", "/usr/bin/runc"]),
    ("util-linux", &["/usr/bin/unshare"]),
];

/// Installs what is missing of `needed`.
pub(crate) fn install(needed: &[Package], progress: &Progress) -> anyhow::Result<()> {
    let missing = missing(needed);
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("these programs are missing and there is no apt-get to install them: {names}");
    }
    progress.say(&format!("installing {names}"));
    let _policy = Policy::forbid()?;
    let installed = apt(&["install"], &missing).is_ok() || {
        apt(&["update"], &[])?;
        apt(&["install"], &missing).is_ok()
    };
    let left = self::missing(needed);
    if !installed || !left.is_empty() {
        bail!("failed to install {}; try `apt-get install {}`", left.join(" "), left.join(" "));
    }
    Ok(())
}

/// Debian starts the service of a package that it installs, and the lab runs its own. While this file is there
/// and says 101 it does not.
struct Policy;

impl Policy {
    const PATH: &str = "/usr/sbin/policy-rc.d";

    /// Returns `None` where the machine has a policy of its own, which is left as it is.
    fn forbid() -> anyhow::Result<Option<Self>> {
        if Path::new(Self::PATH).exists() {
            return Ok(None);
        }
        let policy = Self;
        fs::write(Self::PATH, "#!/bin/sh\nexit 101\n")
            .and_then(|()| fs::set_permissions(Self::PATH, Permissions::from_mode(0o755)))
            .with_context(|| format!("failed to write `{}`", Self::PATH))?;
        Ok(Some(policy))
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        // Nothing can be done about a file that does not go, and the message would hide the one that matters.
        let _ = fs::remove_file(Self::PATH);
    }
}

fn missing(needed: &[Package]) -> Vec<&'static str> {
    let is_missing = |files: &[&str]| !files.iter().any(|file| Path::new(file).exists());
    needed.iter().filter(|(_, files)| is_missing(files)).map(|(name, _)| *name).collect()
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
