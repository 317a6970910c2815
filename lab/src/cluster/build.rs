//! Builds Kubernetes, etcd and containerd from the Go module that pins them. The module's files are part of this
//! binary, so a checkout is not needed to build them.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::go::{self, Build, Recipe, Site};
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
    let recipe = Recipe {
        what: "Kubernetes, etcd and containerd (the first time takes about 15 minutes on 2 cores)",
        key: key(&go::version()?),
        is_complete,
    };
    go::once(cache, &recipe, (log, progress), make)
}

fn make(site: &Site<'_>) -> anyhow::Result<()> {
    site.write(&MODULE)?;
    let containerd = CONTAINERD.map(|name| format!("github.com/containerd/containerd/v2/cmd/{name}"));
    let containerd: Vec<_> = containerd.iter().map(String::as_str).collect();
    for packages in [containerd.as_slice(), &["./kube"]] {
        site.build(&Build { tags: TAGS, values: &version_flags(), packages })?;
    }
    for name in KUBE {
        std::os::unix::fs::symlink("kube", site.bin.join(name))
            .with_context(|| format!("failed to link `{name}`"))?;
    }
    Ok(())
}

/// What the linker writes into Kubernetes so that it knows its own version.
fn version_flags() -> String {
    let version = kubernetes().unwrap_or("v0.0.0");
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or("0"), numbers.next().unwrap_or("0"));
    [("gitVersion", version), ("gitMajor", major), ("gitMinor", minor), ("gitTreeState", "clean")]
        .map(|(name, value)| format!("-X k8s.io/component-base/version.{name}={value}"))
        .join(" ")
}

/// The version of Kubernetes that the module pins.
fn kubernetes() -> Option<&'static str> {
    let [(_, module), ..] = MODULE;
    go::pinned(module, "k8s.io/kubernetes")
}

/// The name of the directory for these sources, flags and this compiler.
fn key(go_version: &str) -> String {
    let files = MODULE.iter().flat_map(|(path, text)| [*path, *text]);
    go::key(kubernetes().unwrap_or("unknown"), files.chain([TAGS, go_version]))
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
        let version = kubernetes().unwrap();
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
