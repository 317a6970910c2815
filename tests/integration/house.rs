//! The house's own papers: what the Makefile, the documents, the Dockerfile and the manifests say about each other
//! and about the files must stay true. What the code does is tested elsewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the first group of every match.
fn captures(pattern: &str, text: &str) -> BTreeSet<String> {
    let pattern = Regex::new(pattern).unwrap();
    pattern.captures_iter(text).map(|found| found[1].to_owned()).collect()
}

/// Returns every Markdown file of the project, relative to its root.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![root().to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["target", "dist", "node_modules", ".git", "shared"].contains(&name.as_str()) {
                    directories.push(path);
                }
            } else if name.ends_with(".md") {
                found.push(path);
            }
        }
    }
    found
}

/// Returns the text without fenced code blocks, in which brackets and backticks mean something else.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let mut kept = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// Returns the anchors that the headings of a document make.
fn anchors(text: &str) -> BTreeSet<String> {
    captures(r"(?m)^#+ (.+)$", &prose(text))
        .iter()
        .map(|heading| {
            let kept = heading.to_lowercase().replace(' ', "-");
            kept.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect()
        })
        .collect()
}

/// Returns what is wrong with one link of a document, if anything is.
fn broken(document: &Path, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() { document.to_owned() } else { document.parent().unwrap().join(path) };
    if !target.exists() {
        return Some(format!("{}: `{link}` names no file", document.display()));
    }
    if anchor.is_empty() || target.extension().is_none_or(|extension| extension != "md") {
        return None;
    }
    let known = anchors(&fs::read_to_string(&target).unwrap());
    (!known.contains(anchor)).then(|| format!("{}: `{link}` names no heading", document.display()))
}

/// Returns the dependencies that a manifest names, development ones included.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut found = BTreeSet::new();
    for line in read(manifest).lines() {
        if line.starts_with('[') {
            inside = matches!(line, "[dependencies]" | "[dev-dependencies]");
        } else if inside && let Some((name, _)) = line.split_once(['.', ' ', '=']) {
            found.insert(name.to_owned());
        }
    }
    found.remove("rollway-lab");
    found.remove("rollway");
    found
}

#[test]
fn make_help_lists_every_target_and_the_readme_too() {
    let makefile = read("Makefile");
    let readme = read("README.md");
    let phony = captures(r"(?m)^\.PHONY: (.+)$", &makefile);
    let phony: BTreeSet<_> = phony.iter().flat_map(|line| line.split(' ')).map(str::to_owned).collect();
    let helped = captures(r"(?m)^([a-z-]+):[^=\n]*## ", &makefile);
    assert_eq!(captures(r"(?m)^([a-z-]+):", &makefile), helped, "a target has no `##` line for `make help`");
    assert_eq!(phony, helped, "a target is missing in .PHONY");
    let missing: Vec<_> =
        helped.iter().filter(|target| !readme.contains(&format!("make {target}"))).collect();
    assert!(missing.is_empty(), "README.md does not mention the targets {missing:?}");
}

#[test]
fn every_link_in_a_document_resolves() {
    let mut wrong = Vec::new();
    for document in documents() {
        let text = prose(&fs::read_to_string(&document).unwrap());
        let links = captures(r"\]\(([^)\s]+)\)", &text);
        let sources = captures(r#"(?:src|href)="([^"]+)""#, &text);
        wrong.extend(links.iter().chain(&sources).filter_map(|link| broken(&document, link)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_path_in_the_project_documents_exists() {
    // What a user creates from a template is named in the documents and ignored by git.
    let ignored = read(".gitignore");
    let mut wrong = Vec::new();
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "bench/README.md", "resource/README.md"] {
        let path = r"`((?:src|lab|tests|resource|ci|k8s|bench|\.ci)/[A-Za-z0-9_./-]*)`";
        for path in captures(path, &prose(&read(name))) {
            if !root().join(&path).exists() && !ignored.contains(&path) {
                wrong.push(format!("{name}: `{path}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "documents name files that do not exist: {}", wrong.join(", "));
}

#[test]
fn the_code_map_names_every_module_and_folder() {
    let map = read("ARCHITECTURE.md");
    let mut missing = Vec::new();
    for folder in [".", "src"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let shown = match folder {
                "." if path.is_dir() && !name.starts_with('.') => format!("`{name}/`"),
                "src" if name.ends_with(".rs") => format!("`src/{name}`"),
                _ => continue,
            };
            if !["`target/`", "`dist/`", "`shared/`"].contains(&shown.as_str()) && !map.contains(&shown) {
                missing.push(shown);
            }
        }
    }
    assert!(missing.is_empty(), "ARCHITECTURE.md does not name {missing:?}");
}

#[test]
fn every_dependency_has_its_reason_in_the_architecture() {
    let used: BTreeSet<_> =
        dependencies("Cargo.toml").union(&dependencies("lab/Cargo.toml")).cloned().collect();
    let text = read("ARCHITECTURE.md");
    let section = text.split("\n## ").find(|section| section.starts_with("Dependencies")).unwrap();
    let explained = captures(r"(?m)^\| `([a-z0-9_-]+)` \|", section);
    assert_eq!(explained, used, "left: what ARCHITECTURE.md explains, right: what the manifests name");
}

#[test]
fn every_resource_type_has_an_image_and_a_debug_image() {
    let dockerfile = read("Dockerfile");
    let stages = captures(r"(?m)^FROM \S+ AS (\S+)$", &dockerfile);
    for entry in fs::read_dir(root().join("resource")).unwrap() {
        let path = entry.unwrap().path();
        if !path.join("main.rs").exists() {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(stages.contains(&name), "the Dockerfile has no stage `{name}`");
        assert!(stages.contains(&format!("{name}-debug")), "the Dockerfile has no stage `{name}-debug`");
        assert!(
            dockerfile.contains(&format!("COPY --from=binaries /{name}/ /")),
            "`{name}` copies no binary"
        );
        for script in ["resource/images", "resource/rootfs"] {
            assert!(read(script).contains(&name), "{script} does not build `{name}`");
        }
    }
}

#[test]
fn the_dockerfile_builds_with_the_pinned_toolchain() {
    let pinned = captures(r#"(?m)^channel = "(.+)"$"#, &read("rust-toolchain.toml"));
    assert_eq!(captures(r"(?m)^FROM \S+/rust:([0-9.]+)-", &read("Dockerfile")), pinned);
}

#[test]
fn ci_runs_what_the_readme_tells_a_person_to_run() {
    let script = read(".ci/run");
    assert_eq!(captures(r"(?m)^(make .+)$", &script), BTreeSet::from(["make test".to_owned()]));
    assert!(read("README.md").contains("make test"), "README.md does not say `make test`");
}
