//! Builds kpack's and the lifecycle's programs, and packs those that run in pods into layers: both once.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::webhook;
use super::{CONTROLLER, WEBHOOK};
use crate::cluster::go::{self, Build, Recipe, Site};
use crate::cluster::progress::Progress;
use crate::image::{Entry, Layer};

/// The module: each file's path and contents.
const MODULE: [(&str, &str); 3] = [
    ("go.mod", include_str!("../../../kpack/go.mod")),
    ("go.sum", include_str!("../../../kpack/go.sum")),
    ("tools.go", include_str!("../../../kpack/tools.go")),
];
const KPACK: &str = "github.com/pivotal/kpack";
const LIFECYCLE: &str = "github.com/buildpacks/lifecycle";

/// The images' layers that hold a program, in the order in which they are packed.
pub(super) const LAYERS: [&str; 5] = ["build-init", "build-waiter", "completion", "rebase", "lifecycle"];

/// The definitions of kpack's kinds, as its module has them.
const DEFINITIONS: [&str; 10] = [
    "build",
    "builder",
    "buildpack",
    "clusterbuilder",
    "clusterbuildpack",
    "clusterlifecycle",
    "clusterstack",
    "clusterstore",
    "image",
    "sourceresolver",
];

/// The programs by which the lifecycle is started.
const PHASES: [&str; 8] =
    ["analyzer", "builder", "creator", "detector", "exporter", "extender", "rebaser", "restorer"];

/// Returns the directory with the controller, the layers and the definitions, after making what is missing.
pub(crate) fn build(cache: &Path, log: &Path, progress: &Progress) -> anyhow::Result<PathBuf> {
    let recipe = Recipe {
        what: "kpack and the lifecycle (the first time takes about 7 minutes on 2 cores)",
        key: key(&go::version()?),
        is_complete,
    };
    go::once(cache, &recipe, (log, progress), make)
}

fn make(site: &Site<'_>) -> anyhow::Result<()> {
    site.write(&MODULE)?;
    // The version in the program and the one in the image's label must be one, or kpack builds for ever.
    let values = format!("-X {LIFECYCLE}/cmd.Version={}", lifecycle());
    let lifecycle = ["lifecycle", "launcher"].map(|name| format!("{LIFECYCLE}/cmd/{name}"));
    site.build(&Build { tags: "", values: &values, packages: &lifecycle.each_ref().map(String::as_str) })?;
    let kpack = ["controller", "webhook", "build-init", "build-waiter", "completion", "rebase"]
        .map(|name| format!("{KPACK}/cmd/{name}"));
    let values = format!("-X {KPACK}/cmd.Version={0} -X {KPACK}/cmd.Identifer={0}", version());
    site.build(&Build { tags: "", values: &values, packages: &kpack.each_ref().map(String::as_str) })?;
    // A part is found by its program's name.
    for (program, part) in [("controller", CONTROLLER), ("webhook", WEBHOOK)] {
        fs::rename(site.bin.join(program), site.bin.join(part))
            .with_context(|| format!("failed to name the {program}"))?;
    }
    site.progress().say("packing kpack's images");
    for name in LAYERS {
        pack(&site.bin, name)?;
    }
    let source = site.directory(KPACK)?.join("config");
    let definitions = site.bin.join("definitions");
    fs::create_dir_all(&definitions).context("failed to create a directory in the cache")?;
    for name in DEFINITIONS {
        let file = format!("{name}.yaml");
        let text = fs::read(source.join(&file)).with_context(|| format!("kpack's module has no `{file}`"))?;
        fs::write(definitions.join(&file), text).with_context(|| format!("failed to write `{file}`"))?;
    }
    // Read first: the others are in its namespace.
    fs::write(definitions.join("00-webhook.json"), webhook::surroundings())
        .context("failed to write the webhook")
}

/// Packs a program, which is not needed beside its layer.
fn pack(bin: &Path, name: &str) -> anyhow::Result<()> {
    let mut entries = BTreeMap::new();
    if name == "lifecycle" {
        for program in ["lifecycle", "launcher"] {
            entries.insert(format!("cnb/lifecycle/{program}"), Entry::program(&bin.join(program))?);
        }
        for phase in PHASES {
            entries.insert(format!("cnb/lifecycle/{phase}"), Entry::Link("lifecycle".to_owned()));
        }
        entries.insert("cnb/lifecycle.toml".to_owned(), Entry::text(super::images::descriptor()));
    } else {
        entries.insert(format!("cnb/process/{name}"), Entry::program(&bin.join(name))?);
        entries.insert("tmp".to_owned(), Entry::Directory { mode: 0o1777 });
    }
    Layer::new(name, &entries)?.save(&bin.join(format!("{name}.layer")))?;
    let programs = if name == "lifecycle" { vec!["lifecycle", "launcher"] } else { vec![name] };
    programs.into_iter().try_for_each(|program| {
        fs::remove_file(bin.join(program)).with_context(|| format!("failed to remove `{program}`"))
    })
}

/// The version of kpack that the module pins.
pub(super) fn version() -> &'static str {
    let [(_, module), ..] = MODULE;
    go::pinned(module, KPACK).unwrap_or("unknown")
}

/// The version of the lifecycle that the module pins, as its image calls it.
pub(super) fn lifecycle() -> &'static str {
    let [(_, module), ..] = MODULE;
    go::pinned(module, LIFECYCLE).unwrap_or("unknown").trim_start_matches('v')
}

/// The name of the directory for these sources and this compiler.
fn key(go_version: &str) -> String {
    // What this file makes of the programs is in the cache too.
    let own = [include_str!("build.rs"), include_str!("images.rs"), include_str!("webhook.rs"), go_version];
    let files = MODULE.iter().flat_map(|(path, text)| [*path, *text]);
    go::key(&format!("kpack-{}", version()), files.chain(own))
}

fn is_complete(programs: &Path) -> bool {
    let layers = LAYERS.map(|name| format!("{name}.layer"));
    let definitions = DEFINITIONS.map(|name| format!("definitions/{name}.yaml"));
    let all = layers.iter().chain(&definitions).map(String::as_str);
    all.chain([CONTROLLER, WEBHOOK]).all(|name| programs.join(name).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_pins_kpack_and_the_lifecycle() {
        assert!(version().starts_with("v0."), "{}", version());
        assert!(lifecycle().starts_with("0."), "{}", lifecycle());
        assert!(key("go1.26.8").starts_with("kpack-v0."), "{}", key("go1.26.8"));
    }
}
