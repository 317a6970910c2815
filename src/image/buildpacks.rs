//! What Cloud Native Buildpacks write into an image's labels. Anything unreadable counts as absent:
//! a label is a courtesy, not a contract.

use serde::Deserialize;

use super::Config;

/// How a buildpacks image was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buildpacks {
    /// `id version`, in the order of the build.
    pub used: Vec<String>,
    /// The run image below the application, by digest.
    pub run_image: Option<String>,
    /// The commit that was built.
    pub commit: Option<String>,
}

impl Buildpacks {
    /// Reads the labels of an image; `None` when no buildpack made it.
    #[must_use]
    pub fn read(config: &Config) -> Option<Self> {
        let build: Build = parsed(config, "io.buildpacks.build.metadata")?;
        let lifecycle: Option<Lifecycle> = parsed(config, "io.buildpacks.lifecycle.metadata");
        let project: Option<Project> = parsed(config, "io.buildpacks.project.metadata");
        Some(Self {
            used: build.buildpacks.iter().map(|used| format!("{} {}", used.id, used.version)).collect(),
            run_image: lifecycle.and_then(|lifecycle| lifecycle.run_image.reference),
            commit: project.and_then(|project| project.source.version.commit),
        })
    }
}

fn parsed<T: for<'de> Deserialize<'de>>(config: &Config, label: &str) -> Option<T> {
    serde_json::from_str(config.label(label)?).ok()
}

#[derive(Deserialize)]
struct Build {
    #[serde(default)]
    buildpacks: Vec<Used>,
}

#[derive(Deserialize)]
struct Used {
    id: String,
    #[serde(default)]
    version: String,
}

#[derive(Deserialize)]
struct Lifecycle {
    #[serde(default, rename = "runImage")]
    run_image: RunImage,
}

#[derive(Default, Deserialize)]
struct RunImage {
    reference: Option<String>,
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
                r#"{"runImage": {"topLayer": "x", "reference": "run@sha256:a"}}"#,
            ),
            (
                "io.buildpacks.project.metadata",
                r#"{"source": {"type": "git", "version": {"commit": "f00"}}}"#,
            ),
        ]);
        let wanted = Buildpacks {
            used: vec!["paketo/java 9.1".to_owned()],
            run_image: Some("run@sha256:a".to_owned()),
            commit: Some("f00".to_owned()),
        };
        assert_eq!(Buildpacks::read(&config), Some(wanted));
    }

    #[test]
    fn image_without_readable_labels_was_not_made_by_buildpacks() {
        assert_eq!(Buildpacks::read(&config(&[])), None);
        assert_eq!(Buildpacks::read(&config(&[("io.buildpacks.build.metadata", "{")])), None);
    }
}
