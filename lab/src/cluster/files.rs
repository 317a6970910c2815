//! Writes the lab's directory and the files in the checkout: all for the owner only, each whole or not at all.

use std::fs::{self, File, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;

use super::accounts::{self, Accounts};
use super::certificates::Authority;
use super::configuration::{BridgeNetfilter, render};
use super::place::Place;
use super::plan::Plan;
use super::{Lab, Registry};

/// Writes what the parts read.
pub(crate) fn prepare(plan: &Plan, authority: &Authority, registry: &Registry) -> anyhow::Result<()> {
    let bridge_netfilter = if Path::new("/proc/sys/net/bridge").exists() {
        BridgeNetfilter::Present
    } else {
        BridgeNetfilter::Missing
    };
    fs::create_dir_all(&plan.data).with_context(|| format!("failed to create `{}`", plan.data.display()))?;
    fs::set_permissions(&plan.data, Permissions::from_mode(0o700))
        .context("failed to close the lab's directory")?;
    for file in render(plan, authority, &htpasswd(registry)?, bridge_netfilter)? {
        private(&plan.data.join(&file.path), &file.text)?;
    }
    let text = serde_json::to_string(plan).context("failed to render the plan")?;
    private(&Plan::path(&plan.data), &text)
}

/// Writes what people and tests read.
pub(crate) fn publish(
    place: &Place,
    lab: &Lab,
    authority: &Authority,
    admin_token: &str,
    deployer_token: &str,
) -> anyhow::Result<()> {
    let kubeconfig = accounts::kubeconfig(&Accounts {
        server: &lab.api,
        authority: authority.certificate(),
        admin_token,
        certificate: &authority.client("rollway-admin", Some("system:masters"))?,
        deployer_token,
    });
    private(&place.kubeconfig(), &kubeconfig)?;
    private(&place.authority(), authority.certificate())?;
    // Last, because whoever reads it may use all of the above.
    let text = serde_json::to_string_pretty(lab).context("failed to render the lab's description")?;
    private(&place.state(), &format!("{text}\n"))
}

/// Returns 128 random bits, in hexadecimal.
pub(crate) fn random() -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    let mut source = File::open("/dev/urandom").context("failed to open `/dev/urandom`")?;
    source.read_exact(&mut bytes).context("failed to read `/dev/urandom`")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn private(path: &Path, text: &str) -> anyhow::Result<()> {
    let failed = || format!("failed to write `{}`", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(failed)?;
    }
    let mut next = path.as_os_str().to_owned();
    next.push(".next");
    let mut file = File::create(&next).with_context(failed)?;
    file.set_permissions(Permissions::from_mode(0o600)).with_context(failed)?;
    file.write_all(text.as_bytes()).with_context(failed)?;
    fs::rename(&next, path).with_context(failed)
}

/// The line that lets the registry's user in. The password goes over a pipe: arguments can be read by anybody.
fn htpasswd(registry: &Registry) -> anyhow::Result<String> {
    let mut child = Command::new("htpasswd")
        .args(["-niB", "-C", "5", &registry.username])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("failed to start `htpasswd`")?;
    if let Some(mut input) = child.stdin.take() {
        writeln!(input, "{}", registry.password).context("failed to speak to `htpasswd`")?;
    }
    let output = child.wait_with_output().context("failed to wait for `htpasswd`")?;
    anyhow::ensure!(output.status.success(), "`htpasswd` ended with {}", output.status);
    String::from_utf8(output.stdout).context("`htpasswd` printed no text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_is_for_its_owner_and_replaces_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("below/secret");
        private(&path, "one").unwrap();
        private(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn no_two_secrets_are_the_same() {
        assert_ne!(random().unwrap(), random().unwrap());
        assert_eq!(random().unwrap().len(), 32);
    }
}
