//! put: has a build made, and answers with what it published.

use std::fs::File;
use std::io::Read;
use std::path::{Component, Path};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use serde_json::Value;

use super::driver::{self, Site};
use super::manifest::Manifest;
use super::order::{Builder, Changes, Environment, Order, Wait};
use super::revision::{is_revision, is_unseen};
use super::{Source, Version, Wrong, record};
use crate::cluster;
use crate::concourse::{Context, Response};
use crate::failure::Failure;
use crate::probe;

/// No file that names a revision is longer.
const LONGEST_VALUE: u64 = 4_096;
/// No Image that the API server takes is longer.
const LONGEST_MANIFEST: u64 = 1_500_000;
/// How many seconds a build may take when nobody says.
const TIMEOUT: u64 = 3_600;
const LONGEST_TIMEOUT: u64 = 86_400;
const MOST_RETRIES: u64 = 10;

/// What to build, and how long to wait for it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PutParams {
    /// Build even if nothing changed. Default: false.
    #[serde(deserialize_with = "cluster::flag")]
    #[schemars(schema_with = "cluster::flag_schema")]
    pub trigger: bool,
    /// The Git commit, branch or tag to build from now on.
    #[serde(deserialize_with = "cluster::optional_text")]
    pub revision: Option<String>,
    /// A file of the step with the revision.
    #[serde(deserialize_with = "cluster::optional_text")]
    pub revision_file: Option<String>,
    /// The URL of the archive to build from now on.
    #[serde(deserialize_with = "cluster::optional_text")]
    pub blob_url: Option<String>,
    /// A file of the step with the URL.
    #[serde(deserialize_with = "cluster::optional_text")]
    pub blob_url_file: Option<String>,
    /// The image to build from, from now on.
    #[serde(deserialize_with = "cluster::optional_text")]
    pub registry_image: Option<String>,
    /// A file of the step with the image.
    #[serde(deserialize_with = "cluster::optional_text")]
    pub registry_image_file: Option<String>,
    /// The builder: `NAME`, `Builder/NAME` or `ClusterBuilder/NAME`.
    pub builder: Option<Builder>,
    /// Variables of the build, by name; null takes one away. Others stay as they are.
    pub env: Environment,
    /// The tags to publish beside the Image's own: the whole list.
    pub additional_tags: Option<Vec<String>>,
    /// The service account of the build.
    #[serde(deserialize_with = "cluster::optional_text")]
    pub service_account: Option<String>,
    /// A file of the step with the whole Image; it is made when it is not there.
    #[serde(deserialize_with = "cluster::optional_text")]
    pub create: Option<String>,
    /// Wait for the build's verdict, not only until it has begun. Default: true.
    #[serde(deserialize_with = "yes")]
    #[schemars(schema_with = "cluster::flag_schema")]
    pub wait: bool,
    /// For how many seconds to wait, 1 to 86400. Default: 3600.
    #[serde(deserialize_with = "timeout_seconds")]
    #[schemars(schema_with = "cluster::whole_number_schema")]
    pub timeout: u64,
    /// Show the build's log while it runs. Default: true.
    #[serde(deserialize_with = "yes")]
    #[schemars(schema_with = "cluster::flag_schema")]
    pub logs: bool,
    /// How often a build that the infrastructure failed is begun again, 0 to 10. Default: 0.
    #[serde(deserialize_with = "retries")]
    #[schemars(schema_with = "cluster::whole_number_schema")]
    pub retry: u64,
}

impl Default for PutParams {
    fn default() -> Self {
        Self {
            trigger: false,
            revision: None,
            revision_file: None,
            blob_url: None,
            blob_url_file: None,
            registry_image: None,
            registry_image_file: None,
            builder: None,
            env: Environment::default(),
            additional_tags: None,
            service_account: None,
            create: None,
            wait: true,
            timeout: TIMEOUT,
            logs: true,
            retry: 0,
        }
    }
}

/// Refuses what cannot work, then has it built.
pub(super) async fn run(
    source: &Source,
    params: &PutParams,
    context: &Context,
) -> Result<Response<Version>, Failure> {
    source.inspect()?;
    let order = params.order(source, context)?;
    let place = driver::Place::find(&source.target(), &context.interrupted).await?;
    let place = place.for_writing(&context.log);
    if source.debug {
        context.log.line(place.about());
    }
    let site = Site { place: &place, log: &context.log, interrupted: context.interrupted.clone() };
    let build = driver::build(&site, &order).await?;
    Ok(Response { version: Version::of(&build), metadata: record::told(&build, &place.link(&build)) })
}

impl PutParams {
    fn order(&self, source: &Source, context: &Context) -> Result<Order, Wrong> {
        self.inspect()?;
        let directory = &context.directory;
        let changes = Changes {
            revision: either(directory, "revision", "revision_file", (&self.revision, &self.revision_file))?,
            blob_url: either(directory, "blob_url", "blob_url_file", (&self.blob_url, &self.blob_url_file))?,
            registry_image: either(
                directory,
                "registry_image",
                "registry_image_file",
                (&self.registry_image, &self.registry_image_file),
            )?,
            builder: self.builder.clone(),
            env: self.env.clone(),
            additional_tags: self.additional_tags.clone(),
            service_account: self.service_account.clone(),
        };
        inspect(&changes)?;
        let manifest = self.create.as_deref().map(|path| {
            let text = read(directory, "create", path, LONGEST_MANIFEST)?;
            Manifest::read(path, &text, &source.image)
        });
        let manifest = manifest.transpose()?;
        if changes.is_empty() && manifest.is_none() && !self.trigger {
            return Err(Wrong::Nothing);
        }
        Ok(Order {
            changes,
            manifest,
            trigger: self.trigger,
            wait: if self.wait { Wait::Verdict } else { Wait::Begin },
            timeout: Duration::from_secs(self.timeout),
            logs: self.logs,
            retry: u32::try_from(self.retry).unwrap_or(0),
            build: context.build.clone(),
        })
    }

    fn inspect(&self) -> Result<(), Wrong> {
        let bounds = [("timeout", self.timeout, 1, LONGEST_TIMEOUT), ("retry", self.retry, 0, MOST_RETRIES)];
        let wrong = bounds.into_iter().find(|(_, given, least, most)| given < least || given > most);
        if let Some((key, given, least, most)) = wrong {
            return Err(Wrong::Number { key, given, least, most });
        }
        let sources = [
            ("revision", self.revision.is_some() || self.revision_file.is_some()),
            ("blob_url", self.blob_url.is_some() || self.blob_url_file.is_some()),
            ("registry_image", self.registry_image.is_some() || self.registry_image_file.is_some()),
        ];
        let mut given = sources.into_iter().filter(|(_, is_given)| *is_given).map(|(key, _)| key);
        match (given.next(), given.next()) {
            (Some(one), Some(other)) => Err(Wrong::TwoSources { one, other }),
            _ => Ok(()),
        }
    }
}

/// Refuses values that no Image takes, before anything is written.
fn inspect(changes: &Changes) -> Result<(), Wrong> {
    let wrong = |place: &str, value: &str, wanted| {
        Err(Wrong::Malformed { place: place.to_owned(), value: shown(value), wanted })
    };
    let has_space = |text: &str| text.contains(|letter: char| letter.is_whitespace() || is_unseen(letter));
    if let Some(value) = changes.revision.as_ref().filter(|it| !it.is_empty() && !is_revision(it)) {
        return wrong("params.revision", value, "a commit, a branch or a tag");
    }
    let is_url = |url: &str| !has_space(url) && (url.starts_with("https://") || url.starts_with("http://"));
    if let Some(value) = changes.blob_url.as_ref().filter(|url| !is_url(url)) {
        return wrong("params.blob_url", value, "a URL that begins with https:// or http://");
    }
    if let Some(value) = changes.registry_image.as_ref().filter(|it| !is_image(it)) {
        return wrong("params.registry_image", value, "a reference to an image");
    }
    if let Some(value) = changes.additional_tags.iter().flatten().find(|tag| !is_image(tag)) {
        return wrong(
            "params.additional_tags",
            value,
            "a tag with its repository (registry.example.com/app:v1)",
        );
    }
    if let Some(value) = changes.service_account.as_ref().filter(|name| !cluster::is_name(name)) {
        return wrong("params.service_account", value, "the name of a service account");
    }
    let is_variable =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b'=');
    if let Some(name) = changes.env.0.keys().find(|name| !is_variable(name)) {
        // Whoever writes `NAME=VALUE` here has written a value.
        let name: String =
            name.chars().take_while(|c| c.is_ascii_alphanumeric() || "_.-".contains(*c)).collect();
        return wrong("params.env", &format!("{name}…"), "the name of a variable");
    }
    Ok(())
}

fn is_image(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@[]".contains(&byte);
    !text.is_empty()
        && text.bytes().all(is_allowed)
        && !text.starts_with(['/', ':', '@', '-'])
        && !text.contains("//")
}

/// Returns the value of a key, or of the file that its second form names.
fn either(
    directory: &Path,
    key: &'static str,
    file_key: &'static str,
    given: (&Option<String>, &Option<String>),
) -> Result<Option<String>, Wrong> {
    match given {
        (Some(_), Some(_)) => Err(Wrong::Twice { key }),
        (Some(value), None) => Ok(Some(value.trim().to_owned())),
        (None, None) => Ok(None),
        (None, Some(path)) => {
            let text = read(directory, file_key, path, LONGEST_VALUE)?;
            // Some editors begin every file with a byte order mark.
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text).trim();
            if text.is_empty() {
                return Err(Wrong::EmptyFile { key: file_key, path: path.clone() });
            }
            if text.lines().count() > 1 {
                let place = format!("params.{file_key}");
                return Err(Wrong::Malformed { place, value: shown(text), wanted: "a file with one line" });
            }
            Ok(Some(text.to_owned()))
        }
    }
}

/// Reads a file of the step, without leaving the step by `..`, by `/` or by a link.
fn read(directory: &Path, key: &'static str, path: &str, longest: u64) -> Result<String, Wrong> {
    let outside = || Wrong::Outside { key, path: path.to_owned() };
    let given = Path::new(path);
    if given.is_absolute() || given.components().any(|part| part == Component::ParentDir) {
        return Err(outside());
    }
    let unreadable = |source| Wrong::NoFile { key, path: path.to_owned(), source };
    let found = directory.join(given).canonicalize().map_err(unreadable)?;
    // Whoever opens a pipe that nobody writes into waits without end.
    if !found.metadata().map_err(unreadable)?.is_file() {
        return Err(unreadable(std::io::Error::other("it is no ordinary file")));
    }
    if !directory.canonicalize().is_ok_and(|base| found.starts_with(base)) {
        return Err(outside());
    }
    let mut text = String::new();
    // One byte more than may be there tells a file that is too long from one that is not.
    let file = File::open(&found).map_err(unreadable)?;
    file.take(longest + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > longest {
        return Err(Wrong::Long { key, path: path.to_owned(), longest });
    }
    Ok(text)
}

/// Keeps a wrong value from filling the log, and its password out of it.
fn shown(value: &str) -> String {
    let line = value.lines().next().unwrap_or_default();
    let is_open = line.contains("://") || line.split_once('@').is_some_and(|(user, _)| user.contains(':'));
    let safe = if is_open { probe::shown(line) } else { line.to_owned() };
    let seen = |letter: char| {
        if is_unseen(letter) { letter.escape_unicode().to_string() } else { letter.to_string() }
    };
    let cut: String = safe.chars().take(100).map(seen).collect();
    if safe.chars().count() > 100 || line.len() < value.len() { format!("{cut}…") } else { cut }
}

/// Reads a switch that is on when nobody says.
fn yes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(true),
        Value::String(text) if text.trim().is_empty() => Ok(true),
        value => cluster::flag(value).map_err(D::Error::custom),
    }
}

fn timeout_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(cluster::whole_number(deserializer, "whole seconds, 1 or more")?.unwrap_or(TIMEOUT))
}

fn retries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(cluster::whole_number(deserializer, "a whole number, 0 or more")?.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<PutParams, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn waiting_and_logs_are_on_unless_they_are_turned_off() {
        for (json, wait, logs) in [
            ("{}", true, true),
            (r#"{"wait": null, "logs": false}"#, true, false),
            (r#"{"wait": "", "logs": "false"}"#, true, false),
            (r#"{"wait": "false", "logs": "true"}"#, false, true),
        ] {
            let params = read(json).unwrap();
            assert_eq!((params.wait, params.logs), (wait, logs), "{json}");
        }
        assert!(read(r#"{"wait": "maybe"}"#).unwrap_err().contains("expected true or false"));
    }

    #[test]
    fn numbers_have_bounds_and_sources_exclude_each_other() {
        for (json, words) in [
            (r#"{"timeout": 0}"#, "`params.timeout` is 0, which is not between 1 and 86400"),
            (r#"{"timeout": "90000"}"#, "`params.timeout` is 90000"),
            (r#"{"retry": 11}"#, "`params.retry` is 11, which is not between 0 and 10"),
            (
                r#"{"revision": "a", "blob_url_file": "b"}"#,
                "`params.revision` and `params.blob_url` are both set",
            ),
        ] {
            assert!(read(json).unwrap().inspect().unwrap_err().to_string().contains(words), "{json}");
        }
        assert!(read(r#"{"timeout": "1h"}"#).unwrap_err().contains("expected whole seconds"));
    }

    #[test]
    fn a_file_holds_one_line_and_is_inside_of_the_step() {
        let step = tempfile::tempdir().unwrap();
        let base = step.path().join("in");
        std::fs::create_dir_all(base.join("git")).unwrap();
        std::fs::write(base.join("git/ref"), "main\n").unwrap();
        std::fs::write(base.join("git/empty"), " \n").unwrap();
        std::fs::write(base.join("git/two"), "a\nb\n").unwrap();
        std::fs::write(base.join("git/long"), "a".repeat(4_097)).unwrap();
        std::fs::write(base.join("git/longest"), "a".repeat(4_096)).unwrap();
        std::fs::write(step.path().join("outside"), "x").unwrap();
        std::fs::write(base.join("git/bom"), "\u{feff}main\r\n").unwrap();
        std::os::unix::net::UnixListener::bind(base.join("git/socket")).unwrap();
        std::os::unix::fs::symlink(step.path().join("outside"), base.join("link")).unwrap();
        let of = |path: &str| {
            either(&base, "revision", "revision_file", (&None, &Some(path.to_owned())))
                .map_err(|error| error.to_string())
        };
        assert_eq!(of("git/ref"), Ok(Some("main".to_owned())));
        assert_eq!(of("git/bom"), Ok(Some("main".to_owned())));
        assert_eq!(of("git/longest"), Ok(Some("a".repeat(4_096))));
        for (path, words) in [
            ("git/long", "which has more than 4096 bytes"),
            ("git/empty", "which is empty"),
            ("git/two", "which is not a file with one line"),
            ("../outside", "outside of the step's directory"),
            ("/etc/hostname", "outside of the step's directory"),
            ("link", "outside of the step's directory"),
            ("git/none", "cannot be read"),
            ("git/socket", "cannot be read"),
            ("git", "cannot be read"),
        ] {
            assert!(of(path).unwrap_err().contains(words), "{path}");
        }
    }

    #[test]
    fn values_that_no_image_takes_are_refused() {
        let text = |text: &str| Some(text.to_owned());
        let base = Changes::default;
        for changes in [
            Changes { revision: text("a b"), ..base() },
            Changes { revision: text("--upload-pack=x"), ..base() },
            Changes { blob_url: text("ftp://x"), ..base() },
            Changes { registry_image: text("a b"), ..base() },
            Changes { additional_tags: Some(vec!["https://r/app".to_owned()]), ..base() },
            Changes { service_account: text("A"), ..base() },
            Changes { env: serde_json::from_str(r#"{"A=B": "1"}"#).unwrap(), ..base() },
        ] {
            assert!(matches!(inspect(&changes), Err(Wrong::Malformed { .. })), "{changes:?}");
        }
        let good = Changes {
            revision: text("feature/x"),
            additional_tags: Some(vec!["r.example:5000/app:v1".to_owned()]),
            ..base()
        };
        assert!(inspect(&good).is_ok());
    }
}
