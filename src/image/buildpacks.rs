//! What Cloud Native Buildpacks write into an image's labels. Anything unreadable counts as absent:
//! a label is a courtesy, not a contract.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::Config;

/// The names under which buildpacks bring a Java runtime.
const JAVA: [&str; 6] = ["openjdk-jre", "openjdk-jdk", "jre", "jdk", "java", "native-image"];

/// How a buildpacks image was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buildpacks {
    /// `id version`, in the order of the build.
    pub used: Vec<String>,
    /// The run image below the application, by digest.
    pub run_image: Option<String>,
    /// The name under which the builder knows the run image; it may have a tag.
    pub run_image_name: Option<String>,
    /// The commit that was built.
    pub commit: Option<String>,
    /// The version of the Java runtime that was put in.
    pub java: Option<String>,
    /// The application's own layers, as diff ids.
    pub app: Vec<String>,
}

impl Buildpacks {
    /// Reads the labels of an image; `None` when no buildpack made it.
    #[must_use]
    pub fn read(config: &Config) -> Option<Self> {
        let build: Build = parsed(config, "io.buildpacks.build.metadata")?;
        let lifecycle: Lifecycle = parsed(config, "io.buildpacks.lifecycle.metadata").unwrap_or_default();
        let project: Option<Project> = parsed(config, "io.buildpacks.project.metadata");
        let java = build.bom.iter().flatten().find_map(Part::java).or_else(|| lifecycle.java());
        Some(Self {
            used: build.buildpacks.iter().map(|used| format!("{} {}", used.id, used.version)).collect(),
            run_image: lifecycle.run_image.reference,
            run_image_name: lifecycle.stack.run_image.image,
            commit: project.and_then(|project| project.source.version.commit),
            java,
            app: lifecycle.app.into_iter().map(|layer| layer.sha).collect(),
        })
    }
}

/// Returns the version of Java in an image, whoever made it.
#[must_use]
pub fn java(config: &Config) -> Option<String> {
    let by_env = || config.env.iter().find_map(|pair| pair.strip_prefix("JAVA_VERSION="));
    let known = Buildpacks::read(config).and_then(|buildpacks| buildpacks.java);
    known.or_else(|| by_env().map(|version| version.trim_start_matches("jdk-").to_owned()))
}

fn parsed<T: for<'de> Deserialize<'de>>(config: &Config, label: &str) -> Option<T> {
    serde_json::from_str(config.label(label)?).ok()
}

#[derive(Deserialize)]
struct Build {
    #[serde(default)]
    buildpacks: Vec<Used>,
    /// What older platforms list here, newer ones have in the layers' data.
    #[serde(default)]
    bom: Option<Vec<Part>>,
}

#[derive(Deserialize)]
struct Used {
    id: String,
    #[serde(default)]
    version: String,
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    name: String,
    #[serde(default)]
    metadata: Value,
}

impl Part {
    fn java(&self) -> Option<String> {
        version(&self.metadata).filter(|_| JAVA.contains(&self.name.as_str()))
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Lifecycle {
    #[serde(rename = "runImage")]
    run_image: RunImage,
    stack: Stack,
    app: Vec<AppLayer>,
    buildpacks: Vec<Contributor>,
}

impl Lifecycle {
    fn java(&self) -> Option<String> {
        let layers = self.buildpacks.iter().flat_map(|contributor| &contributor.layers);
        let java = layers.filter(|(name, _)| JAVA.contains(&name.as_str()));
        java.map(|(_, layer)| &layer["data"]).find_map(version)
    }
}

#[derive(Default, Deserialize)]
struct RunImage {
    reference: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Stack {
    #[serde(rename = "runImage")]
    run_image: NamedRunImage,
}

#[derive(Default, Deserialize)]
struct NamedRunImage {
    image: Option<String>,
}

#[derive(Deserialize)]
struct AppLayer {
    #[serde(default)]
    sha: String,
}

#[derive(Deserialize)]
struct Contributor {
    #[serde(default)]
    layers: BTreeMap<String, Value>,
}

/// Buildpacks say it at the top of a layer's data, or in the dependency that they put there.
fn version(data: &Value) -> Option<String> {
    let said = data["version"].as_str().or_else(|| data["dependency"]["version"].as_str());
    said.filter(|version| !version.is_empty()).map(str::to_owned)
}

#[derive(Deserialize)]
struct Project {
    #[serde(default)]
    source: Source,
}

#[derive(Default, Deserialize)]
struct Source {
    #[serde(default)]
    version: Version,
}

#[derive(Default, Deserialize)]
struct Version {
    commit: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(labels: &[(&str, &str)]) -> Config {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Config { labels, ..Config::default() }
    }

    #[test]
    fn labels_of_a_buildpacks_image_are_read() {
        let config = config(&[
            (
                "io.buildpacks.build.metadata",
                r#"{"buildpacks": [{"id": "paketo/java", "version": "9.1"}], "bom": null}"#,
            ),
            (
                "io.buildpacks.lifecycle.metadata",
                r#"{"runImage": {"topLayer": "x", "reference": "run@sha256:a"}, "app": [{"sha": "sha256:b"}],
                    "stack": {"runImage": {"image": "run:1", "mirrors": null}},
                    "buildpacks": [{"key": "paketo/jre", "layers": {"jre": {"data": {"version": "21.0.4"}}}}]}"#,
            ),
            (
                "io.buildpacks.project.metadata",
                r#"{"source": {"type": "git", "version": {"commit": "f00"}}}"#,
            ),
        ]);
        let wanted = Buildpacks {
            used: vec!["paketo/java 9.1".to_owned()],
            run_image: Some("run@sha256:a".to_owned()),
            run_image_name: Some("run:1".to_owned()),
            commit: Some("f00".to_owned()),
            java: Some("21.0.4".to_owned()),
            app: vec!["sha256:b".to_owned()],
        };
        assert_eq!(Buildpacks::read(&config), Some(wanted));
    }

    #[test]
    fn image_without_readable_labels_was_not_made_by_buildpacks() {
        assert_eq!(Buildpacks::read(&config(&[])), None);
        assert_eq!(Buildpacks::read(&config(&[("io.buildpacks.build.metadata", "{")])), None);
    }

    #[test]
    fn java_is_found_wherever_an_image_says_it() {
        let bom = r#"{"bom": [{"name": "openjdk-jre", "metadata": {"version": "11.0.5"}}]}"#;
        assert_eq!(java(&config(&[("io.buildpacks.build.metadata", bom)])).as_deref(), Some("11.0.5"));
        let env = vec!["JAVA_VERSION=jdk-21.0.4+7".to_owned()];
        assert_eq!(java(&Config { env, ..Config::default() }).as_deref(), Some("21.0.4+7"));
        assert_eq!(java(&Config::default()), None);
    }
}
