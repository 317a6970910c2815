//! Builds Go programs from a module that pins them, once for each set of versions, into a cache that all labs share.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};

use super::logs;
use super::progress::Progress;

/// Files of a Go module: each one's path and contents.
pub(crate) type Files = [(&'static str, &'static str)];

/// What is built, and how its completeness shows.
pub(crate) struct Recipe<'a> {
    /// What people call it, and how long it takes.
    pub(crate) what: &'a str,
    /// The directory's name in the cache.
    pub(crate) key: String,
    /// Whether everything is in this directory.
    pub(crate) is_complete: fn(&Path) -> bool,
}

/// Where one build works and what it tells.
pub(crate) struct Site<'a> {
    /// The module.
    pub(crate) source: PathBuf,
    /// What is kept.
    pub(crate) bin: PathBuf,
    log: &'a Path,
    progress: &'a Progress,
}

/// One run of `go build`.
pub(crate) struct Build<'a> {
    /// The build tags.
    pub(crate) tags: &'a str,
    /// What the linker writes into the programs, as `-X` flags.
    pub(crate) values: &'a str,
    /// The packages.
    pub(crate) packages: &'a [&'a str],
}

/// Returns the directory of `recipe` in the cache, after `make` has filled it where it was not there.
pub(crate) fn once(
    cache: &Path,
    recipe: &Recipe<'_>,
    (log, progress): (&Path, &Progress),
    make: impl FnOnce(&Site<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<PathBuf> {
    let programs = cache.join(&recipe.key);
    if (recipe.is_complete)(&programs) {
        return Ok(programs);
    }
    fs::create_dir_all(cache).with_context(|| format!("failed to create `{}`", cache.display()))?;
    let lock = File::create(cache.join("lock")).context("failed to open the cache's lock")?;
    if lock.try_lock().is_err() {
        progress.say("waiting for another build to end");
        lock.lock().context("failed to lock the cache")?;
    }
    if (recipe.is_complete)(&programs) {
        return Ok(programs);
    }
    progress.say(&format!("building {}", recipe.what));
    let work = cache.join(format!("building-{}", std::process::id()));
    let site = Site { source: work.join("source"), bin: work.join("bin"), log, progress };
    let built = site.prepare().and_then(|()| make(&site)).and_then(|()| {
        let _ = fs::remove_dir_all(&programs);
        fs::rename(&site.bin, &programs).context("failed to put the programs into the cache")
    });
    let _ = fs::remove_dir_all(&work);
    built.map(|()| programs)
}

impl Site<'_> {
    fn prepare(&self) -> anyhow::Result<()> {
        for directory in [&self.source, &self.bin] {
            fs::create_dir_all(directory).context("failed to create a directory in the cache")?;
        }
        Ok(())
    }

    /// Writes the module's files.
    pub(crate) fn write(&self, files: &Files) -> anyhow::Result<()> {
        for (path, text) in files {
            let path = self.source.join(path);
            fs::create_dir_all(path.parent().unwrap_or(&self.source))
                .and_then(|()| fs::write(&path, text))
                .with_context(|| format!("failed to write `{}`", path.display()))?;
        }
        Ok(())
    }

    /// Returns whom to tell.
    pub(crate) fn progress(&self) -> &Progress {
        self.progress
    }

    /// Builds packages into [`Site::bin`].
    pub(crate) fn build(&self, build: &Build<'_>) -> anyhow::Result<()> {
        let output = File::options().create(true).append(true).open(self.log);
        let output = output.with_context(|| format!("failed to open `{}`", self.log.display()))?;
        // The build must not go on when `lab up` is killed.
        let mut child =
            command("setpriv", &["--pdeathsig=KILL", "go", "build", "-trimpath", "-tags", build.tags])
                .arg(format!("-ldflags=-s -w {}", build.values))
                .arg("-o")
                .arg(format!("{}/", self.bin.display()))
                .args(build.packages)
                .current_dir(&self.source)
                .stdout(output.try_clone().context("failed to share the log")?)
                .stderr(output)
                .spawn()
                .context("failed to start `go build`")?;
        let (start, mut said) = (Instant::now(), 0);
        loop {
            if let Some(status) = child.try_wait().context("failed to wait for `go build`")? {
                if status.success() {
                    return Ok(());
                }
                bail!("`go build` ended with {status}\n{}", logs::tail(self.log));
            }
            if start.elapsed().as_secs() / 60 > said {
                said += 1;
                self.progress.say(&format!("still building {}", build.packages.join(" ")));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Returns the directory of a module that this one requires.
    pub(crate) fn directory(&self, module: &str) -> anyhow::Result<PathBuf> {
        let output = command("go", &["list", "-m", "-f", "{{.Dir}}", module])
            .current_dir(&self.source)
            .output()
            .context("failed to start `go list`")?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        anyhow::ensure!(output.status.success() && !text.is_empty(), "`go list` does not find `{module}`");
        Ok(text.into())
    }
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .env("CGO_ENABLED", "0")
        .env("GOTOOLCHAIN", "local")
        .env("GOWORK", "off")
        .env("GOFLAGS", "-mod=mod")
        // A pseudo-version of theirs is unknown to the checksum database; go.sum has the sums all the same.
        .env("GONOSUMDB", "github.com/google/go-containerregistry/*");
    command
}

/// Returns the version of Go.
pub(crate) fn version() -> anyhow::Result<String> {
    let output = command("go", &["env", "GOVERSION"]).current_dir("/").output();
    let output =
        output.context("the lab builds Kubernetes and needs Go (https://go.dev/dl), which is not in PATH")?;
    anyhow::ensure!(output.status.success(), "`go env GOVERSION` failed");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Returns the version to which a go.mod pins `path`.
pub(crate) fn pinned(module: &'static str, path: &str) -> Option<&'static str> {
    module.lines().find_map(|line| line.trim().strip_prefix(path)?.strip_prefix(' '))?.split(' ').next()
}

/// Returns the name of the directory for these sources and flags, which begins with `name`.
pub(crate) fn key<'a>(name: &str, parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    parts.into_iter().for_each(|part| hash.update(part));
    let hex: String = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("{name}-{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_sources_are_another_directory() {
        assert_eq!(key("v1", ["a", "b"]), key("v1", ["a", "b"]));
        assert_ne!(key("v1", ["a", "b"]), key("v1", ["a", "c"]));
        assert!(key("v1", []).starts_with("v1-"));
    }

    #[test]
    fn what_failed_leaves_nothing_in_the_cache() {
        let cache = tempfile::tempdir().unwrap();
        let recipe = Recipe { what: "nothing", key: "k".to_owned(), is_complete: |path| path.exists() };
        let log = cache.path().join("log");
        let made = |text: &'static str| {
            once(cache.path(), &recipe, (&log, &Progress::new()), |site| match text {
                "" => bail!("no"),
                text => Ok(fs::write(site.bin.join("program"), text)?),
            })
        };
        assert!(made("").is_err());
        assert!(!cache.path().join("k").exists());
        assert_eq!(fs::read_to_string(made("one").unwrap().join("program")).unwrap(), "one");
        // What is there is not made again.
        assert_eq!(fs::read_to_string(made("two").unwrap().join("program")).unwrap(), "one");
        let left: Vec<_> =
            fs::read_dir(cache.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }
}
