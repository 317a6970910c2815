//! The manifests in `kpack/`, made for this lab: its registry, its repository, its stack and its buildpack. What
//! is applied here is what people apply, so a mistake in it shows.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use super::images::BUILDPACK;
use super::{Kpack, NEW, OLD, Release};

/// Reads the manifests in `from` and writes them, with the same names.
pub(super) fn write(from: &Path, kpack: &Kpack) -> anyhow::Result<()> {
    match fs::remove_dir_all(&kpack.manifests) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).context("failed to remove an earlier lab's manifests");
        }
        _ => {}
    }
    copy(from, &kpack.manifests, kpack)
}

fn copy(from: &Path, to: &Path, kpack: &Kpack) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| format!("failed to create `{}`", to.display()))?;
    let entries = fs::read_dir(from).with_context(|| format!("failed to read `{}`", from.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("failed to read `{}`", from.display()))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if path.is_dir() {
            copy(&path, &to.join(name), kpack)?;
            continue;
        }
        // Credentials that somebody has filled in belong to another registry.
        if !name.ends_with(".yml") || name.ends_with("-creds.yml") {
            continue;
        }
        let text =
            fs::read_to_string(&path).with_context(|| format!("failed to read `{}`", path.display()))?;
        put(&to.join(name), &render(&path, &text, kpack))?;
        if let Some(stem) = name.strip_suffix(".template.yml") {
            put(&to.join(format!("{stem}.yml")), &fill_in(&text, kpack))?;
        }
    }
    Ok(())
}

fn put(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("failed to write `{}`", path.display()))
}

/// Makes one manifest of the lab's.
fn render(path: &Path, text: &str, kpack: &Kpack) -> String {
    let is_update = path.components().any(|part| part.as_os_str().to_string_lossy().ends_with("-update"));
    let release = if is_update { &NEW } else { &OLD };
    let lines = text.lines().filter(|line| !is_cache(line)).map(|line| render_line(line, release, kpack));
    lines.map(|line| line + "\n").collect()
}

/// The lab has no storage class, so there are no volumes to cache in.
fn is_cache(line: &str) -> bool {
    matches!(line.trim(), "cache:" | "volume:" | "size: 2Gi")
}

fn render_line(line: &str, release: &Release, kpack: &Kpack) -> String {
    let images = [
        ("paketobuildpacks/java:", "java", release.java),
        ("paketobuildpacks/build-jammy-base:", "build", release.stack),
        ("paketobuildpacks/run-jammy-base:", "run", release.stack),
    ];
    for (theirs, ours, tag) in images {
        if let Some((before, _)) = line.split_once(theirs) {
            return format!("{before}{}/kpack/{ours}:{tag}", kpack.registry);
        }
    }
    if let Some((before, _)) = line.split_once("https://github.com/alexandreroman/") {
        return format!("{before}{}", kpack.git);
    }
    line.replace("registry.example.com", &kpack.registry).replace("paketo-buildpacks/java", BUILDPACK)
}

/// Fills a template in. The lab's servers take any credentials, but kpack must find them to offer them.
fn fill_in(template: &str, kpack: &Kpack) -> String {
    let git = kpack.git.split("/cgi-bin").next().unwrap_or_default();
    template
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .map(|line| line.replace("https://index.docker.io/v1/", &kpack.registry))
        .map(|line| line.replace("https://github.com", git) + "\n")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kpack(manifests: &Path) -> Kpack {
        Kpack {
            version: "v1".to_owned(),
            manifests: manifests.to_owned(),
            registry: "10.200.0.1:5000".to_owned(),
            git: "http://10.200.0.1:8418/cgi-bin/git/app.git".to_owned(),
            repository: "/nowhere".into(),
        }
    }

    #[test]
    fn nothing_of_the_lab_s_manifests_leads_out_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let to = directory.path().join("kpack");
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kpack");
        write(&from, &kpack(&to)).unwrap();
        let read = |name: &str| fs::read_to_string(to.join(name)).unwrap();
        let builder = read("custom-java-builder.yml");
        assert!(builder.contains("image: 10.200.0.1:5000/kpack/java:11.0.5\n"), "{builder}");
        assert!(builder.contains("image: 10.200.0.1:5000/kpack/run:1\n"), "{builder}");
        assert!(builder.contains("- id: lab/java\n"), "{builder}");
        assert!(read("jvm-update/jvm-update.yml").contains("/kpack/java:11.0.6\n"));
        assert!(read("stack-update/stack-update.yml").contains("/kpack/run:2\n"));
        let image = read("images/app-foo-image.yml");
        assert!(image.contains("tag: 10.200.0.1:5000/app-foo\n"), "{image}");
        assert!(image.contains("url: http://10.200.0.1:8418/cgi-bin/git/app.git\n"), "{image}");
        assert!(!image.contains("cache"), "{image}");
        assert!(read("credentials/github-creds.yml").contains("kpack.io/git: http://10.200.0.1:8418\n"));
        assert!(read("credentials/dockerhub-creds.yml").contains("kpack.io/docker: 10.200.0.1:5000\n"));
        for name in ["custom-java-builder.yml", "images/app-foo-image.yml", "jvm-update/jvm-update.yml"] {
            let text = read(name);
            let outside = text.lines().filter(|line| !line.starts_with('#'));
            let outside: Vec<_> =
                outside.filter(|line| line.contains("example.com") || line.contains("paketo")).collect();
            assert!(outside.is_empty(), "{name}: {outside:?}");
        }
    }
}
