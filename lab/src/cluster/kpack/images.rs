//! The images that kpack runs builds with: its own, the lifecycle, a stack and a buildpack, the last two in two
//! versions. The buildpack's launch layer is the sample application with the version of its runtime.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use serde_json::json;

use super::build::{self, LAYERS};
use super::{NEW, OLD, Release};
use crate::app::OPENSSL_FILE;
use crate::cluster::place::NODE_ADDRESS;
use crate::cluster::plan::Ports;
use crate::image::{Entry, Image, Layer, Parts, Registry};

/// The stack's id, as the manifests in `kpack/` have it.
pub(super) const STACK: &str = "io.buildpacks.stacks.jammy";
/// The buildpack's id.
pub(super) const BUILDPACK: &str = "lab/java";
const BUILDPACK_API: &str = "0.10";
/// Who builds and runs applications.
const USER: &str = "1000";
/// Who runs in kpack's own images; a number, because a pod that must not be root is refused otherwise.
const NOBODY: &str = "65532:65532";

const BUILDPACK_APIS: [&str; 5] = ["0.7", "0.8", "0.9", "0.10", "0.11"];
const PLATFORM_APIS: [&str; 8] = ["0.7", "0.8", "0.9", "0.10", "0.11", "0.12", "0.13", "0.14"];

/// What the build image can do besides `sh`.
const APPLETS: [&str; 10] = ["sh", "cat", "cp", "head", "ls", "mkdir", "mv", "rm", "sleep", "yes"];

/// Names an image as controllers and nodes find it.
pub(super) fn reference(ports: Ports, name: &str, tag: &str) -> String {
    format!("{NODE_ADDRESS}:{}/kpack/{name}:{tag}", ports.plain)
}

/// Pushes all of them. `sample` is the static program of the sample application.
pub(super) async fn publish(programs: &Path, sample: &Path, ports: Ports) -> anyhow::Result<()> {
    let registry = Registry::new(&format!("http://127.0.0.1:{}", ports.plain), None, None)?;
    for name in LAYERS {
        let layer = Layer::load(name, &programs.join(format!("{name}.layer")))?;
        let (image, tag) = match name {
            "lifecycle" => (lifecycle(layer), build::lifecycle()),
            _ => (own(name, layer), build::version()),
        };
        registry.push(&image, &format!("kpack/{name}"), tag).await?;
    }
    for release in [OLD, NEW] {
        registry.push(&build_image(&release)?, "kpack/build", release.stack).await?;
        registry.push(&run_image(&release)?, "kpack/run", release.stack).await?;
        registry.push(&buildpack(&release, sample)?, "kpack/java", release.java).await?;
    }
    Ok(())
}

/// One of kpack's own. The pod names the command, except where it gives it arguments alone.
fn own(name: &str, layer: Layer) -> Image {
    Image::new(Parts {
        layers: vec![layer],
        entrypoint: vec![format!("/cnb/process/{name}")],
        user: NOBODY.to_owned(),
        ..Parts::default()
    })
}

/// What the lifecycle says of itself in its own layer.
pub(super) fn descriptor() -> String {
    let list = |apis: &[&str]| apis.iter().map(|api| format!("\"{api}\"")).collect::<Vec<_>>().join(", ");
    format!(
        "[apis]\n[apis.buildpack]\ndeprecated = []\nsupported = [{}]\n[apis.platform]\ndeprecated = []\n\
         supported = [{}]\n\n[lifecycle]\nversion = \"{}\"\n",
        list(&BUILDPACK_APIS),
        list(&PLATFORM_APIS),
        build::lifecycle(),
    )
}

fn lifecycle(layer: Layer) -> Image {
    let version = build::lifecycle();
    let apis = json!({
        "buildpack": { "deprecated": [], "supported": BUILDPACK_APIS },
        "platform": { "deprecated": [], "supported": PLATFORM_APIS },
    });
    let metadata = json!({
        "lifecycle": { "version": version },
        "api": { "buildpack": BUILDPACK_APIS[0], "platform": PLATFORM_APIS[0] },
    });
    let labels = labels([
        ("io.buildpacks.lifecycle.version", version.to_owned()),
        ("io.buildpacks.lifecycle.apis", apis.to_string()),
        ("io.buildpacks.builder.metadata", metadata.to_string()),
    ]);
    Image::new(Parts { layers: vec![layer], labels, ..Parts::default() })
}

fn labels<const N: usize>(labels: [(&str, String); N]) -> BTreeMap<String, String> {
    labels.map(|(key, value)| (key.to_owned(), value)).into()
}

fn build_image(release: &Release) -> anyhow::Result<Image> {
    let mut base = BTreeMap::from([
        ("bin/busybox".to_owned(), Entry::program(Path::new("/bin/busybox"))?),
        ("etc/passwd".to_owned(), passwd()),
        ("tmp".to_owned(), Entry::Directory { mode: 0o1777 }),
    ]);
    base.extend(APPLETS.map(|name| (format!("bin/{name}"), Entry::Link("busybox".to_owned()))));
    let environment =
        [("CNB_USER_ID", USER), ("CNB_GROUP_ID", USER), ("CNB_STACK_ID", STACK), ("PATH", "/bin")];
    Ok(Image::new(Parts {
        layers: vec![Layer::new("base", &base)?, openssl(release)?],
        environment: environment.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        labels: labels([("io.buildpacks.stack.id", STACK.to_owned())]),
        user: format!("{USER}:{USER}"),
        ..Parts::default()
    }))
}

fn run_image(release: &Release) -> anyhow::Result<Image> {
    let base = BTreeMap::from([
        ("etc/passwd".to_owned(), passwd()),
        ("tmp".to_owned(), Entry::Directory { mode: 0o1777 }),
    ]);
    Ok(Image::new(Parts {
        layers: vec![Layer::new("base", &base)?, openssl(release)?],
        labels: labels([("io.buildpacks.stack.id", STACK.to_owned())]),
        user: format!("{USER}:{USER}"),
        ..Parts::default()
    }))
}

fn passwd() -> Entry {
    Entry::text("root:x:0:0::/root:/none\ncnb:x:1000:1000::/home/cnb:/none\n")
}

/// What a stack update is about.
fn openssl(release: &Release) -> anyhow::Result<Layer> {
    let entries = BTreeMap::from([(OPENSSL_FILE.to_owned(), Entry::text(format!("{}\n", release.openssl)))]);
    Layer::new("openssl", &entries)
}

fn buildpack(release: &Release, sample: &Path) -> anyhow::Result<Image> {
    let version = release.java;
    let toml = format!(
        "api = \"{BUILDPACK_API}\"\n\n[buildpack]\nid = \"{BUILDPACK}\"\nversion = \"{version}\"\nname = \"Lab Java\"\n\n\
         [[targets]]\nos = \"linux\"\n"
    );
    let script = |text: &str| Entry::File { mode: 0o755, content: text.as_bytes().to_vec() };
    let files = [
        ("buildpack.toml", Entry::text(toml)),
        ("version", Entry::text(format!("{version}\n"))),
        ("java", Entry::program(sample).context("the buildpack needs the sample application")?),
        ("bin/detect", script(include_str!("../../../kpack/buildpack/bin/detect"))),
        ("bin/build", script(include_str!("../../../kpack/buildpack/bin/build"))),
    ];
    let directory = format!("cnb/buildpacks/{}/{version}", BUILDPACK.replace('/', "_"));
    let entries = files.map(|(name, entry)| (format!("{directory}/{name}"), entry)).into();
    let layer = Layer::new("buildpack", &entries)?;
    let metadata = json!({ "id": BUILDPACK, "version": version, "homepage": "" });
    let layers = json!({ BUILDPACK: { version: { "api": BUILDPACK_API, "layerDiffID": layer.diff_id(), "homepage": "" } } });
    let labels = labels([
        ("io.buildpacks.buildpackage.metadata", metadata.to_string()),
        ("io.buildpacks.buildpack.layers", layers.to_string()),
    ]);
    Ok(Image::new(Parts { layers: vec![layer], labels, ..Parts::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(image: &Image, name: &str) -> serde_json::Value {
        let config = image.config().unwrap();
        serde_json::from_str(config["config"]["Labels"][name].as_str().unwrap()).unwrap()
    }

    #[test]
    fn two_stacks_differ_in_one_layer_only() {
        let [old, new] = [OLD, NEW].map(|release| run_image(&release).unwrap());
        assert_eq!(old.layers()[0].diff_id(), new.layers()[0].diff_id());
        assert_ne!(old.layers()[1].diff_id(), new.layers()[1].diff_id());
    }

    #[test]
    fn a_buildpackage_names_the_layer_of_its_buildpack() {
        let directory = tempfile::tempdir().unwrap();
        let sample = directory.path().join("sample-app");
        std::fs::write(&sample, "program").unwrap();
        let image = buildpack(&NEW, &sample).unwrap();
        let listed = &label(&image, "io.buildpacks.buildpack.layers")[BUILDPACK][NEW.java];
        assert_eq!(listed["layerDiffID"], image.layers()[0].diff_id());
        assert_eq!(label(&image, "io.buildpacks.buildpackage.metadata")["version"], NEW.java);
    }

    #[test]
    fn the_lifecycle_says_the_same_version_in_its_layer_and_in_its_labels() {
        let image = lifecycle(Layer::new("lifecycle", &BTreeMap::new()).unwrap());
        let version = label(&image, "io.buildpacks.builder.metadata")["lifecycle"]["version"].clone();
        assert!(descriptor().contains(&format!("version = {version}")), "{}", descriptor());
    }
}
