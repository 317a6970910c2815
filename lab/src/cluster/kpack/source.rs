//! The source that kpack builds: one small repository, and the site from which it is served.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;

use super::REPOSITORY;

/// The root of the web server, inside the lab.
pub(super) const SITE: &str = "/run/lab/site";

/// The branch that the manifests in `kpack/` build from.
const BRANCH: &str = "testing";

const PROPERTIES: &str = "spring.application.name=cnb-springboot\ngreeting=Hello\n";

/// The repository's directory on the host, below the lab's.
pub(super) fn repository(data: &Path) -> PathBuf {
    data.join("git").join(REPOSITORY)
}

/// Creates the repository with its first commit, and the site.
pub(super) fn lay_out(data: &Path) -> anyhow::Result<()> {
    let script = data.join("site/cgi-bin/git");
    create(script.parent().unwrap_or(data))?;
    fs::write(&script, include_str!("../../../kpack/git-server"))
        .and_then(|()| fs::set_permissions(&script, Permissions::from_mode(0o755)))
        .context("failed to write the git server")?;
    let (work, bare) = (data.join("git/work"), repository(data));
    create(&work)?;
    fs::write(work.join("application.properties"), PROPERTIES).context("failed to write the source")?;
    let branch = format!("--initial-branch={BRANCH}");
    git(&work, &["init", "--quiet", &branch])?;
    git(&work, &["add", "."])?;
    git(&work, &["commit", "--quiet", "--message=a sample application"])?;
    let place = bare.display().to_string();
    git(&work, &["clone", "--quiet", "--bare", ".", &place])?;
    // kpack fetches the commit that it has resolved, by its id.
    for setting in ["allowTipSHA1InWant", "allowReachableSHA1InWant", "allowAnySHA1InWant"] {
        git(&bare, &["config", &format!("uploadpack.{setting}"), "true"])?;
    }
    fs::remove_dir_all(&work).context("failed to remove the source's working directory")
}

fn create(directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("failed to create `{}`", directory.display()))
}

fn git(directory: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(["-c", "user.name=lab", "-c", "user.email=lab@example.com"])
        .args(arguments)
        // The user's own settings, hooks and signatures among them, are not for the lab's repository.
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .stdin(Stdio::null())
        .output()
        .context("failed to start `git`")?;
    let message = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "`git {}` failed: {}", arguments.join(" "), message.trim());
    Ok(())
}
