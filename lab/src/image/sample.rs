//! The sample application's image, layered as a buildpack would: stack, runtime, application.
//! A JVM update is one new layer; so is a stack update.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde_json::json;

use super::{Entry, Image, Layer, Parts};
use crate::app::{OPENSSL_FILE, RUNTIME_FILE, SWITCHES_FILE};

/// The unprivileged user that Cloud Native Buildpacks run applications as.
const USER: &str = "1000:1000";

/// The OpenSSL of the seed's old stack.
pub(super) const OPENSSL: &str = "OpenSSL 1.1.1  11 Sep 2018 built on: Thu Jun 20 17:36:28 2019 UTC";

/// What one image of the sample application holds.
#[derive(Clone, Debug)]
pub struct SampleApp {
    /// `foo`, `bar` or `baz`.
    pub name: String,
    /// The Java version, in a layer of its own.
    pub runtime: String,
    /// The OpenSSL version, in the stack's layer.
    pub openssl: String,
    /// Switches baked into the image; the Deployment's environment overrides them.
    pub switches: BTreeMap<String, String>,
    /// The static `sample-app` program.
    pub program: PathBuf,
    /// The image's user; root where empty.
    pub user: String,
    /// What the container runs; nothing where empty.
    pub entrypoint: Vec<String>,
    /// The processor that the image says it is for; amd64 where empty.
    pub architecture: String,
}

impl SampleApp {
    /// An image of the app `name` with the seed's old versions, built from the program at `program`.
    pub fn new(name: &str, program: &Path) -> Self {
        Self {
            name: name.to_owned(),
            runtime: "11.0.5".to_owned(),
            openssl: OPENSSL.to_owned(),
            switches: BTreeMap::new(),
            program: program.to_owned(),
            user: USER.to_owned(),
            entrypoint: vec!["/app/sample-app".to_owned()],
            architecture: String::new(),
        }
    }

    /// Returns the same with another Java version.
    #[must_use]
    pub fn runtime(mut self, version: &str) -> Self {
        version.clone_into(&mut self.runtime);
        self
    }

    /// Returns the same with one more switch baked in.
    #[must_use]
    pub fn switch(mut self, key: &str, value: &str) -> Self {
        self.switches.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Finds the static program beside this executable, or in the musl build of the same checkout.
    ///
    /// # Errors
    /// None was built.
    pub fn program() -> anyhow::Result<PathBuf> {
        let this = std::env::current_exe().context("failed to find this executable's own path")?;
        let target = this.ancestors().find(|path| path.ends_with("target")).unwrap_or(Path::new("target"));
        let musl = target.join("x86_64-unknown-linux-musl");
        let places = [
            this.with_file_name("sample-app"),
            musl.join("release/sample-app"),
            musl.join("debug/sample-app"),
        ];
        match places.iter().find(|path| path.exists() && is_static(path)) {
            Some(found) => Ok(found.clone()),
            None => bail!("no static `sample-app` program is built; `make build` builds it"),
        }
    }
}

/// Tells whether a program can run in an image that holds nothing else.
fn is_static(path: &Path) -> bool {
    // A dynamic program names its loader, and the C library's loaders are all called so.
    std::fs::read(path)
        .is_ok_and(|bytes| !bytes.windows(9).take(64 * 1024).any(|window| window == b"ld-linux-"))
}

/// Assembles the sample application's image.
///
/// # Errors
/// The program cannot be read.
pub fn sample_app(app: &SampleApp) -> anyhow::Result<Image> {
    let stack = BTreeMap::from([
        (OPENSSL_FILE.to_owned(), Entry::text(format!("{}\n", app.openssl))),
        ("etc/passwd".to_owned(), Entry::text("root:x:0:0::/root:/none\ncnb:x:1000:1000::/home/cnb:/none\n")),
        ("tmp".to_owned(), Entry::Directory { mode: 0o1777 }),
    ]);
    let runtime = BTreeMap::from([(RUNTIME_FILE.to_owned(), Entry::text(format!("{}\n", app.runtime)))]);
    let application = BTreeMap::from([("app/sample-app".to_owned(), Entry::program(&app.program)?)]);
    let mut layers = vec![
        Layer::new("stack", &stack)?,
        Layer::new("runtime", &runtime)?,
        Layer::new("application", &application)?,
    ];
    if !app.switches.is_empty() {
        let lines: String = app.switches.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        layers
            .push(Layer::new("switches", &BTreeMap::from([(SWITCHES_FILE.to_owned(), Entry::text(lines))]))?);
    }
    let labels = labels(app, &layers);
    Ok(Image::new(Parts {
        layers,
        entrypoint: app.entrypoint.clone(),
        environment: BTreeMap::from([("APP_NAME".to_owned(), format!("app-{}", app.name))]),
        labels,
        user: app.user.clone(),
        architecture: app.architecture.clone(),
    }))
}

/// The labels a buildpack would write, as far as tools read them.
fn labels(app: &SampleApp, layers: &[Layer]) -> BTreeMap<String, String> {
    let build = json!({
        "bom": [
            { "name": "openjdk-jre", "metadata": { "version": app.runtime, "stacks": ["org.cloudfoundry.stacks.cflinuxfs3"] },
              "buildpack": { "id": "org.cloudfoundry.openjdk", "version": "v1.2.0" } },
        ],
        "buildpacks": [
            { "id": "org.cloudfoundry.openjdk", "version": "v1.2.0" },
            { "id": "org.cloudfoundry.springboot", "version": "v1.2.0" },
        ],
    });
    let lifecycle = json!({
        "stack": { "runImage": { "image": "cloudfoundry/run:base-cnb" } },
        "runImage": { "topLayer": layers[0].diff_id(), "reference": "cloudfoundry/run:base-cnb" },
    });
    BTreeMap::from(
        [
            ("io.buildpacks.build.metadata", build.to_string()),
            ("io.buildpacks.lifecycle.metadata", lifecycle.to_string()),
            ("io.buildpacks.stack.id", "org.cloudfoundry.stacks.cflinuxfs3".to_owned()),
            ("org.opencontainers.image.revision", "8532c6d23ff8a89f1de4854cbe0615de3cc0c415".to_owned()),
            (
                "org.opencontainers.image.source",
                "https://github.com/alexandreroman/cnb-springboot".to_owned(),
            ),
            ("org.opencontainers.image.title", format!("app-{}", app.name)),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
    )
}
