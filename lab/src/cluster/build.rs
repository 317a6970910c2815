//! Builds Kubernetes, etcd and containerd from the Go module that pins them, once for each set of versions. The
//! module's files are part of this binary, so a checkout is not needed to build them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};

use super::logs;
use super::progress::Progress;

/// The module: each file's path and contents.
const MODULE: [(&str, &str); 4] = [
    ("go.mod", include_str!("../../go.mod")),
    ("go.sum", include_str!("../../go.sum")),
    ("tools.go", include_str!("../../tools.go")),
    ("kube/main.go", include_str!("../../kube/main.go")),
];
/// The names under which `kube` is started.
const KUBE: [&str; 7] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
];
const CONTAINERD: [&str; 3] = ["containerd", "containerd-shim-runc-v2", "ctr"];
const TAGS: &str = "no_btrfs no_devmapper no_zfs";

/// Returns the directory with all programs, after building those that are missing.
pub(crate) fn build(cache: &Path, log: &Path, progress: &Progress) -> anyhow::Result<PathBuf> {
    let programs = cache.join(key(&go_version()?));
    if is_complete(&programs) {
        return Ok(programs);
    }
    fs::create_dir_all(cache).with_context(|| format!("failed to create `{}`", cache.display()))?;
    let lock = File::create(cache.join("lock")).context("failed to open the cache's lock")?;
    if lock.try_lock().is_err() {
        progress.say("waiting for another build of Kubernetes to end");
        lock.lock().context("failed to lock the cache")?;
    }
    if is_complete(&programs) {
        return Ok(programs);
    }
    progress
        .say("building Kubernetes, etcd and containerd (the first time takes about 15 minutes on 2 cores)");
    let work = cache.join(format!("building-{}", std::process::id()));
    let built = build_in(&work, log, progress).and_then(|()| {
        let _ = fs::remove_dir_all(&programs);
        fs::rename(work.join("bin"), &programs).context("failed to put the programs into the cache")
    });
    let _ = fs::remove_dir_all(&work);
    built.map(|()| programs)
}

fn build_in(work: &Path, log: &Path, progress: &Progress) -> anyhow::Result<()> {
    let (source, bin) = (work.join("source"), work.join("bin"));
    fs::create_dir_all(source.join("kube")).context("failed to create a directory in the cache")?;
    fs::create_dir_all(&bin).context("failed to create a directory in the cache")?;
    for (path, text) in MODULE {
        fs::write(source.join(path), text).with_context(|| format!("failed to write `{path}`"))?;
    }
    let containerd = CONTAINERD.map(|name| format!("github.com/containerd/containerd/v2/cmd/{name}"));
    let containerd: Vec<_> = containerd.iter().map(String::as_str).collect();
    for packages in [containerd.as_slice(), &["./kube"]] {
        go_build(&source, &bin, packages, log, progress)?;
    }
    for name in KUBE {
        std::os::unix::fs::symlink("kube", bin.join(name))
            .with_context(|| format!("failed to link `{name}`"))?;
    }
    Ok(())
}

fn go_build(
    source: &Path,
    bin: &Path,
    packages: &[&str],
    log: &Path,
    progress: &Progress,
) -> anyhow::Result<()> {
    let output = File::options().create(true).append(true).open(log);
    let output = output.with_context(|| format!("failed to open `{}`", log.display()))?;
    // The build must not go on when `lab up` is killed.
    let mut child = go("setpriv", &["--pdeathsig=KILL", "go", "build", "-trimpath", "-tags", TAGS])
        .arg(format!("-ldflags=-s -w {}", version_flags()))
        .arg("-o")
        .arg(format!("{}/", bin.display()))
        .args(packages)
        .current_dir(source)
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
            bail!("`go build` ended with {status}\n{}", logs::tail(log));
        }
        if start.elapsed().as_secs() / 60 > said {
            said += 1;
            progress.say(&format!("still building {}", packages.join(" ")));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn go(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .env("CGO_ENABLED", "0")
        .env("GOTOOLCHAIN", "local")
        .env("GOWORK", "off")
        .env("GOFLAGS", "-mod=mod");
    command
}

fn go_version() -> anyhow::Result<String> {
    let output = go("go", &["env", "GOVERSION"]).current_dir("/").output();
    let output =
        output.context("the lab builds Kubernetes and needs Go (https://go.dev/dl), which is not in PATH")?;
    anyhow::ensure!(output.status.success(), "`go env GOVERSION` failed");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What the linker writes into Kubernetes so that it knows its own version.
fn version_flags() -> String {
    let version = pinned("k8s.io/kubernetes").unwrap_or("v0.0.0");
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or("0"), numbers.next().unwrap_or("0"));
    [("gitVersion", version), ("gitMajor", major), ("gitMinor", minor), ("gitTreeState", "clean")]
        .map(|(name, value)| format!("-X k8s.io/component-base/version.{name}={value}"))
        .join(" ")
}

/// The version that the module pins `path` to.
fn pinned(path: &str) -> Option<&'static str> {
    let [(_, module), ..] = MODULE;
    module.lines().find_map(|line| line.trim().strip_prefix(path)?.strip_prefix(' '))?.split(' ').next()
}

/// The name of the directory for these sources, flags and this compiler.
fn key(go_version: &str) -> String {
    let mut hash = Sha256::new();
    for (path, text) in MODULE {
        hash.update(path);
        hash.update(text);
    }
    hash.update(TAGS);
    hash.update(go_version);
    let hex: String = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{hex}", pinned("k8s.io/kubernetes").unwrap_or("unknown"))
}

fn is_complete(programs: &Path) -> bool {
    KUBE.iter().chain(&CONTAINERD).all(|name| programs.join(name).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_compiler_is_another_cache() {
        assert_eq!(key("go1.26.8"), key("go1.26.8"));
        assert_ne!(key("go1.26.8"), key("go1.27.0"));
        assert!(key("go1.26.8").starts_with("v1."), "{}", key("go1.26.8"));
    }

    #[test]
    fn the_linker_is_told_the_version_that_the_module_pins() {
        let version = pinned("k8s.io/kubernetes").unwrap();
        assert!(version_flags().contains(&format!("gitVersion={version} ")), "{}", version_flags());
    }

    #[test]
    fn a_directory_without_every_program_is_not_complete() {
        let directory = tempfile::tempdir().unwrap();
        for name in KUBE.iter().chain(&CONTAINERD) {
            assert!(!is_complete(directory.path()));
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        assert!(is_complete(directory.path()));
    }
}
