//! What people see beside a version: where it came from and what is in it. Pure.

use std::collections::BTreeMap;

use super::Source;
use crate::concourse::Field;
use crate::image::{Buildpacks, Config, Pinned};

/// The labels that are shown, with the names they are shown under.
const LABELS: [(&str, &str); 3] = [
    ("revision", "org.opencontainers.image.revision"),
    ("source", "org.opencontainers.image.source"),
    ("version", "org.opencontainers.image.version"),
];

/// Returns the metadata of a version; `registry-image`'s fields come first, `extra` among them.
pub(super) fn fields(tag: &str, pinned: &Pinned, extra: Vec<Field>, config: Option<&Config>) -> Vec<Field> {
    let mut fields = vec![field("repository", &pinned.repository), field("tag", tag)];
    fields.extend(extra);
    fields.push(field("digest", pinned.digest.as_str()));
    fields.push(field("image", &pinned.to_string()));
    if let Some(config) = config {
        fields.extend(about(config));
    }
    fields
}

/// Returns the labels and the annotations that the source asks for, each by its name.
pub(super) fn matching(
    source: &Source,
    config: Option<&Config>,
    annotations: Option<&BTreeMap<String, String>>,
) -> Vec<Field> {
    let labels = config.into_iter().flat_map(|config| &config.labels);
    let labels = labels.filter(|(name, _)| source.shows_label(name));
    let annotations = annotations.into_iter().flatten().filter(|(name, _)| source.shows_annotation(name));
    labels.chain(annotations).map(|(name, value)| field(name, value)).collect()
}

fn about(config: &Config) -> Vec<Field> {
    let buildpacks = Buildpacks::read(config).unwrap_or_default();
    let label = config.label("org.opencontainers.image.created");
    let mut fields = Vec::new();
    fields.extend(
        label.or(Some(&config.created)).filter(|text| !text.is_empty()).map(|text| field("created", text)),
    );
    fields.push(field("platform", &config.platform.to_string()));
    for (name, key) in LABELS {
        fields.extend(config.label(key).map(|value| field(name, value)));
    }
    if config.label("org.opencontainers.image.revision").is_none() {
        fields.extend(buildpacks.commit.as_deref().map(|commit| field("revision", commit)));
    }
    fields.extend(buildpacks.run_image.as_deref().map(|image| field("run image", image)));
    if !buildpacks.used.is_empty() {
        fields.push(field("buildpacks", &buildpacks.used.join(", ")));
    }
    fields
}

fn field(name: &str, value: &str) -> Field {
    Field { name: name.to_owned(), value: value.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(config: Option<&Config>) -> Vec<String> {
        let digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
        let pinned = Pinned { repository: "app".to_owned(), digest };
        fields("1", &pinned, Vec::new(), config)
            .into_iter()
            .map(|field| format!("{}={}", field.name, field.value))
            .collect()
    }

    #[test]
    fn names_come_first_even_without_a_config() {
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(
            shown(None),
            ["repository=app", "tag=1", &format!("digest={digest}"), &format!("image=app@{digest}")]
        );
    }

    #[test]
    fn labels_and_annotations_are_shown_where_the_source_asks_for_them() {
        let source: Source = serde_json::from_str(
            r#"{"repository": "app", "label_regex": "^team\\.", "annotation_regex": "build$"}"#,
        )
        .unwrap();
        let pairs = |names: [&str; 3]| names.map(|name| (name.to_owned(), format!("{name}!"))).into();
        let config = Config { labels: pairs(["team.b", "team.a", "other"]), ..Config::default() };
        let annotations: BTreeMap<String, String> = pairs(["a.build", "build.a", "team.c"]);
        let shown = matching(&source, Some(&config), Some(&annotations));
        let names: Vec<_> = shown.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["team.a", "team.b", "a.build"]);
        assert_eq!(shown[0].value, "team.a!");
        assert!(matching(&source, None, None).is_empty());
    }

    #[test]
    fn labels_say_what_was_built() {
        let labels = [
            ("org.opencontainers.image.source", "https://git.example.com/app"),
            (
                "io.buildpacks.build.metadata",
                r#"{"buildpacks": [{"id": "java", "version": "9"}, {"id": "jre", "version": "21"}]}"#,
            ),
            ("io.buildpacks.project.metadata", r#"{"source": {"version": {"commit": "f00"}}}"#),
        ];
        let labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let config = Config { created: "2026-07-01T00:00:00Z".to_owned(), labels, ..Config::default() };
        assert_eq!(
            shown(Some(&config))[4..],
            [
                "created=2026-07-01T00:00:00Z",
                "platform=linux/amd64",
                "source=https://git.example.com/app",
                "revision=f00",
                "buildpacks=java 9, jre 21",
            ]
        );
    }
}
