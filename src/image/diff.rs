//! What changed between two images, read from what they say about themselves. It is told apart who
//! moved: the run image below, the buildpacks' parts in the middle, the application on top. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::{Buildpacks, Config, Digest, java};

/// Labels that say what was built, and how they are called here.
const LABELS: [(&str, &str); 4] = [
    ("commit", "org.opencontainers.image.revision"),
    ("version", "org.opencontainers.image.version"),
    ("base", "org.opencontainers.image.base.name"),
    ("stack", "io.buildpacks.stack.id"),
];
/// Parts of a name that make its value nobody's business.
const SECRET: [&str; 6] = ["PASS", "TOKEN", "SECRET", "KEY", "CREDENTIAL", "AUTH"];
/// More of a value than this tells nobody anything.
const SHOWN: usize = 60;

/// One of the two images.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// Its digest.
    pub digest: &'a Digest,
    /// Its config.
    pub config: &'a Config,
    /// Its layers, the lowest first, with their sizes as they are pulled.
    pub layers: &'a [(Digest, u64)],
}

/// Who moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Kind {
    /// Nobody.
    #[serde(rename = "identical")]
    Identical,
    /// No layer, only how the image is started or labelled.
    #[serde(rename = "config only")]
    Config,
    /// The layers below, and nothing on top of them.
    #[serde(rename = "rebase only")]
    Rebase,
    /// What buildpacks put in, and not the application.
    #[serde(rename = "buildpacks changed")]
    Buildpacks,
    /// The application.
    #[serde(rename = "app changed")]
    App,
}

/// One thing that is not the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it is: `run image`, `java`, `env JAVA_OPTS`.
    pub what: String,
    /// What it was; absent where it was not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What it is now; absent where it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// What has to be pulled where the old image is already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Pull {
    /// Layers of the new image that the old one does not have.
    pub layers: usize,
    /// Layers of the new image.
    pub of: usize,
    /// How much that is, compressed.
    pub bytes: u64,
}

/// How two images differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Who moved.
    pub kind: Kind,
    /// What is not the same, the most telling first.
    pub changes: Vec<Change>,
    /// The version of Java that both have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same_java: Option<String>,
    /// What has to be pulled.
    pub pull: Pull,
}

impl Diff {
    /// Compares two images.
    #[must_use]
    pub fn between(old: &Side<'_>, new: &Side<'_>) -> Self {
        let changes = changes(old.config, new.config);
        let kind = kind(old, new, &changes);
        let same_java = java(new.config).filter(|version| java(old.config).as_ref() == Some(version));
        Self { kind, changes, same_java, pull: pull(old, new) }
    }

    /// Says it in one line.
    #[must_use]
    pub fn headline(&self) -> String {
        let named: Vec<String> =
            self.changes.iter().filter(|change| !change.is_detail()).map(Change::to_string).collect();
        let mut words = match self.kind {
            Kind::Identical => return "both are the same image".to_owned(),
            Kind::Config => "only the config changed".to_owned(),
            Kind::Rebase => "only the run image moved".to_owned(),
            Kind::Buildpacks => "the buildpacks' parts changed, the application did not".to_owned(),
            Kind::App => "the application changed".to_owned(),
        };
        if !named.is_empty() {
            words.push_str(": ");
            words.push_str(&named.join(", "));
        }
        if let Some(java) = &self.same_java {
            words.push_str(&format!(", java {java} unchanged"));
        }
        format!("{words}; {}", self.pull)
    }

    /// Says what the headline leaves out, a line each.
    pub fn details(&self) -> impl Iterator<Item = String> {
        self.changes.iter().filter(|change| change.is_detail()).map(Change::to_string)
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.headline())?;
        self.details().try_for_each(|line| write!(formatter, "\n  {line}"))
    }
}

impl Change {
    fn between(what: &str, from: Option<&str>, to: Option<&str>) -> Option<Self> {
        let cut = |text: &str| shortened(text);
        (from != to).then(|| Self { what: what.to_owned(), from: from.map(cut), to: to.map(cut) })
    }

    /// Returns whether only somebody who looks closely wants to know.
    fn is_detail(&self) -> bool {
        ["env ", "entrypoint", "command", "user", "platform", "created", "base"]
            .iter()
            .any(|start| self.what.starts_with(start))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = &self.what;
        match (&self.from, &self.to) {
            (Some(from), Some(to)) => match common_name(from, to) {
                Some((name, from, to)) => write!(formatter, "{what} {name} {from} → {to}"),
                None => write!(formatter, "{what} {from} → {to}"),
            },
            (None, Some(to)) => write!(formatter, "{what} {to} is new"),
            (Some(from), None) => write!(formatter, "{what} {from} is gone"),
            (None, None) => formatter.write_str(what),
        }
    }
}

impl fmt::Display for Pull {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.layers {
            0 => formatter.write_str("nothing to pull"),
            layers => write!(formatter, "{} to pull, {layers} of {} layers", size(self.bytes), self.of),
        }
    }
}

/// Writes a number of bytes as people say it.
#[must_use]
pub fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one decimal of it is shown")]
    let number = bytes as f64;
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{:.1} kB", number / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", number / 1e6),
        _ => format!("{:.1} GB", number / 1e9),
    }
}

fn changes(old: &Config, new: &Config) -> Vec<Change> {
    let (from, to) = (Buildpacks::read(old).unwrap_or_default(), Buildpacks::read(new).unwrap_or_default());
    let mut changes = Vec::new();
    let mut note = |what: &str, from: Option<&str>, to: Option<&str>| {
        changes.extend(Change::between(what, from, to));
    };
    note("run image", run_image(&from, &to).as_deref(), run_image(&to, &from).as_deref());
    note("java", java(old).as_deref(), java(new).as_deref());
    let (before, after) = (versions(&from), versions(&to));
    for id in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        note(&format!("buildpack {id}"), before.get(id).copied(), after.get(id).copied());
    }
    for (name, key) in LABELS {
        note(name, label(old, &from, key), label(new, &to, key));
    }
    note("platform", Some(&old.platform.to_string()), Some(&new.platform.to_string()));
    note("user", text(&old.user), text(&new.user));
    note("entrypoint", text(&old.entrypoint.join(" ")), text(&new.entrypoint.join(" ")));
    note("command", text(&old.command.join(" ")), text(&new.command.join(" ")));
    let (before, after) = (environment(old), environment(new));
    for name in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        let shown = |value: &&str| if is_secret(name) { "***".to_owned() } else { shortened(value) };
        let (from, to) = (before.get(name), after.get(name));
        if from != to {
            let what = format!("env {name}");
            changes.push(Change { what, from: from.map(shown), to: to.map(shown) });
        }
    }
    changes
}

fn kind(old: &Side<'_>, new: &Side<'_>, changes: &[Change]) -> Kind {
    let is_same_config = old.config == new.config;
    if old.digest == new.digest || (is_same_config && old.layers == new.layers) {
        return Kind::Identical;
    }
    if !new.layers.is_empty() && old.layers == new.layers {
        return Kind::Config;
    }
    let moved = |start: &str| changes.iter().any(|change| change.what.starts_with(start));
    if is_same_app(old, new) {
        let is_rebased = is_only_below(old, new) && !moved("java") && !moved("buildpack");
        return if is_rebased { Kind::Rebase } else { Kind::Buildpacks };
    }
    // Without buildpacks nobody says what the application is; what was put on last is.
    let is_untold = Buildpacks::read(new.config).is_none();
    if is_untold && is_only_below(old, new) && !moved("commit") && !moved("version") {
        return Kind::Rebase;
    }
    Kind::App
}

/// Returns whether buildpacks made both, from the same application.
fn is_same_app(old: &Side<'_>, new: &Side<'_>) -> bool {
    let (Some(from), Some(to)) = (Buildpacks::read(old.config), Buildpacks::read(new.config)) else {
        return false;
    };
    if !from.app.is_empty() || !to.app.is_empty() {
        return from.app == to.app;
    }
    // Labels that do not name the application's layers: it is on top, and known by its commit.
    let key = "org.opencontainers.image.revision";
    let top = |side: &Side<'_>| side.layers.last().cloned();
    label(old.config, &from, key) == label(new.config, &to, key) && top(old) == top(new)
}

/// Returns whether the layers on top are the same and only lower ones are not.
fn is_only_below(old: &Side<'_>, new: &Side<'_>) -> bool {
    let above = old.layers.iter().rev().zip(new.layers.iter().rev()).take_while(|(one, other)| one == other);
    let shared = above.count();
    let lower = |side: &Side<'_>| side.layers.len() - shared;
    let is_kept = |layer: &&(Digest, u64)| old.layers.iter().any(|(digest, _)| *digest == layer.0);
    shared > 0 && lower(new) > 0 && !new.layers.iter().take(lower(new)).any(|layer| is_kept(&layer))
}

fn pull(old: &Side<'_>, new: &Side<'_>) -> Pull {
    let known: BTreeSet<&Digest> = old.layers.iter().map(|(digest, _)| digest).collect();
    // A layer that is there twice is pulled once.
    let missing: BTreeMap<&Digest, u64> = new
        .layers
        .iter()
        .filter(|(digest, _)| !known.contains(digest))
        .map(|(digest, size)| (digest, *size))
        .collect();
    Pull { layers: missing.len(), of: new.layers.len(), bytes: missing.values().sum() }
}

/// Names the run image by the builder's name where that tells it from the other, else by digest.
fn run_image(this: &Buildpacks, other: &Buildpacks) -> Option<String> {
    let is_telling = this.run_image_name != other.run_image_name || this.run_image == other.run_image;
    let name = this.run_image_name.clone().filter(|_| is_telling || this.run_image.is_none());
    name.or_else(|| this.run_image.clone())
}

fn versions(buildpacks: &Buildpacks) -> BTreeMap<&str, &str> {
    buildpacks.used.iter().filter_map(|used| used.split_once(' ')).collect()
}

fn label<'a>(config: &'a Config, buildpacks: &'a Buildpacks, key: &str) -> Option<&'a str> {
    let is_commit = key == "org.opencontainers.image.revision";
    config.label(key).or_else(|| buildpacks.commit.as_deref().filter(|_| is_commit))
}

fn environment(config: &Config) -> BTreeMap<&str, &str> {
    config.env.iter().filter_map(|pair| pair.split_once('=')).collect()
}

fn is_secret(name: &str) -> bool {
    let name = name.to_uppercase();
    SECRET.iter().any(|part| name.contains(part))
}

fn text(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// Cuts digests and commits to what tells two apart, and long values to a line.
fn shortened(value: &str) -> String {
    if let Some((name, digest)) = value.split_once("@sha256:") {
        return format!("{name}@sha256:{}", &digest.get(..12).unwrap_or(digest));
    }
    let is_commit = value.len() == 40 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    let limit = if is_commit { 12 } else { SHOWN };
    // A terminal must not obey what an image says.
    let plain = value.chars().filter(|character| !character.is_control());
    let mut cut: String = plain.clone().take(limit).collect();
    if !is_commit && plain.count() > limit {
        cut.push('…');
    }
    cut
}

/// Splits two references to the same repository: `(repository, old tag or digest, new one)`.
fn common_name<'a>(from: &'a str, to: &'a str) -> Option<(&'a str, &'a str, &'a str)> {
    let split = |text: &'a str| text.split_once('@').or_else(|| text.rsplit_once(':'));
    let ((name, from), (other, to)) = (split(from)?, split(to)?);
    (name == other && name.contains('/') && !from.contains('/')).then_some((name, from, to))
}

#[cfg(test)]
mod tests;
