//! A resource image run through runc as a worker runs it: unprivileged (root is mapped to a high
//! user), its own copy of the image, the CA directory read-only, the build's directory at
//! `/tmp/build/get` or `/tmp/build/put`, the worker's network.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::process::Command;

use super::archive::Image;
use super::process::{self, Ran};
use super::program::Call;
use super::tree::{self, Owner};
use super::{Error, on};
use crate::concourse::Step;

mod bundle;

/// Where the container's user 0 stands on the host. Garden's own maximum is no fixed number; any
/// range that no real user has will do.
pub const MAPPED_ROOT: u32 = 1_000_000;

/// An unpacked image, ready to be run.
pub struct Container {
    image: Image,
    certificates: PathBuf,
    work: tempfile::TempDir,
    runs: AtomicU64,
}

impl Container {
    /// Unpacks the OCI archive or layout at `path`. `certificates` is the worker's CA directory.
    ///
    /// # Errors
    ///
    /// Without root or runc, or when the image cannot be read.
    pub fn open(path: &Path, certificates: &Path) -> Result<Self, Error> {
        if !rustix::process::geteuid().is_root() {
            return Err(Error::NotRoot);
        }
        std::process::Command::new("runc").arg("--version").output().map_err(Error::NoRunc)?;
        let certificates = std::fs::canonicalize(certificates).map_err(on("find", certificates))?;
        let work = tempfile::tempdir().map_err(on("create", "a temporary directory"))?;
        tree::passable(work.path())?;
        let image = Image::unpack(path, &work.path().join("image"), MAPPED_ROOT)?;
        Ok(Self { image, certificates, work, runs: AtomicU64::new(0) })
    }

    pub(super) async fn run(&self, call: &Call<'_>) -> Result<Ran, Error> {
        let executable = self.image.root.join("opt/resource").join(call.step.executable());
        if std::fs::symlink_metadata(executable).is_err() {
            return Err(Error::NoStep { path: "/opt/resource".into(), step: call.step });
        }
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let folder = self.work.path().join(format!("run-{number}"));
        let result = self.run_in(&folder, call).await;
        // What a run wrote outside its directory ends with it, as a container's volume does.
        let _ = std::fs::remove_dir_all(&folder);
        result
    }

    async fn run_in(&self, folder: &Path, call: &Call<'_>) -> Result<Ran, Error> {
        let build = folder.join("build");
        tree::passable(folder)?;
        tree::copy(&self.image.root, &folder.join("rootfs"), Owner::Same)?;
        if call.step == Step::Check {
            tree::passable(&build)?;
        } else {
            tree::copy(call.directory, &build, Owner::Is(MAPPED_ROOT))?;
        }
        let config = bundle::config(call, &self.image, &self.certificates, &build);
        let path = folder.join("config.json");
        std::fs::write(&path, config.to_string()).map_err(on("write", path))?;

        let runc = Runc { state: self.work.path().join("state"), id: self.container_id(folder) };
        let request = call.payload.request(call.step);
        let command = runc.command(&["run", "--bundle"], folder);
        let ran = process::run(command, &request, &call.limits, call.lines, &|| runc.kill()).await;
        runc.delete();
        if call.step == Step::Get {
            tree::copy(&build, call.directory, Owner::Copier)?;
        }
        ran
    }

    /// The temporary directory's name is unique on this machine, and so is this.
    fn container_id(&self, folder: &Path) -> String {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().replace('.', "");
        format!("rollway-{}-{}", name(self.work.path()), name(folder))
    }
}

struct Runc {
    state: PathBuf,
    id: String,
}

impl Runc {
    fn command(&self, verb: &[&str], bundle: &Path) -> Command {
        let mut command = Command::new("runc");
        command.arg("--root").arg(&self.state).args(verb).arg(bundle).arg(&self.id).current_dir("/");
        command
    }

    fn kill(&self) {
        let _ = self.quietly(&["kill", "--all"], &["KILL"]);
    }

    /// Ends whatever the process left behind; after an ordinary end there is nothing to delete.
    fn delete(&self) {
        let _ = self.quietly(&["delete", "--force"], &[]);
    }

    fn quietly(&self, verb: &[&str], rest: &[&str]) -> std::io::Result<std::process::Output> {
        let mut command = std::process::Command::new("runc");
        command.arg("--root").arg(&self.state).args(verb).arg(&self.id).args(rest).output()
    }
}
