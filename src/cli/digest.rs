//! `rollway digest`: what a tag points at, or what a check of `image-digest` would answer and why
//! each other tag is not in it.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};

use super::Surroundings;
use super::access::{self, RegistryArgs, find};
use super::output::{Output, OutputArgs, short, table};
use crate::concourse::request;
use crate::exit::Code;
use crate::failure::Failure;
use crate::image::Digest;
use crate::image_digest::{Detail, Report, Source, Version, look};
use crate::registry::{self, Ambient, Client};
use crate::yaml;

/// Print the digest that a tag points at, or that a check would find, as `repository@sha256:…`
#[derive(clap::Args)]
pub struct Args {
    /// The image: `repository`, `repository:tag`, or `repository@sha256:…` to see whether it is there
    #[arg(value_name = "REPOSITORY[:TAG]", required_unless_present = "source")]
    image: Option<String>,
    /// Show every request
    #[arg(short, long)]
    verbose: bool,
    /// Show every tag: the versions that a check would answer with, and why the others are none
    #[arg(long)]
    explain: bool,
    /// Check as this source of a pipeline would, given as JSON or YAML; `-` is stdin. How to get into
    /// the registry is in it too
    #[arg(long, value_name = "FILE", conflicts_with = "RegistryArgs")]
    source: Option<PathBuf>,
    /// Check as if Concourse had this version
    #[arg(long, value_name = "TAG@DIGEST")]
    cursor: Option<String>,
    #[command(flatten)]
    choice: ChoiceArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// The keys of a source that choose among tags. Any of them, and `--explain`, makes a repository
/// without a tag mean what it means in a pipeline: its semantic versions.
#[derive(clap::Args)]
#[command(next_help_heading = "As in the source of a pipeline")]
struct ChoiceArgs {
    /// Tags that match
    #[arg(long, value_name = "RE2")]
    tag_regex: Option<String>,
    /// The order of tags: semver, numeric, alphabetical, timestamp, kpack
    #[arg(long, value_name = "ORDER")]
    order: Option<String>,
    /// Versions that end in `-` and this
    #[arg(long, value_name = "TEXT")]
    variant: Option<String>,
    /// Versions that it accepts
    #[arg(long, value_name = "CONSTRAINT")]
    semver_constraint: Option<String>,
    /// Pre-releases too
    #[arg(long)]
    pre_releases: bool,
    /// What else a pre-release may begin with; may be repeated
    #[arg(long, value_name = "TEXT")]
    pre_release_prefix: Vec<String>,
    /// No dates, build numbers and commit hashes
    #[arg(long)]
    strict_versions: bool,
    /// Tags that match one of these; may be repeated
    #[arg(long, value_name = "RE2")]
    allow_tag: Vec<String>,
    /// No tags that match one of these; may be repeated
    #[arg(long, value_name = "RE2")]
    deny_tag: Vec<String>,
    /// Only images with this platform; may be repeated
    #[arg(long, value_name = "OS/ARCHITECTURE")]
    platform: Vec<String>,
    /// Only images that were built so long ago
    #[arg(long, value_name = "DURATION")]
    minimum_age: Option<String>,
    /// Only images that are signed by this cosign public key; may be repeated
    #[arg(long, value_name = "FILE")]
    cosign_key: Vec<PathBuf>,
}

impl ChoiceArgs {
    /// Returns what is set, as keys of a source.
    fn keys(&self) -> anyhow::Result<Map<String, Value>> {
        let mut keys = Map::new();
        let texts = [
            ("tag_regex", &self.tag_regex),
            ("order", &self.order),
            ("variant", &self.variant),
            ("semver_constraint", &self.semver_constraint),
            ("minimum_age", &self.minimum_age),
        ];
        keys.extend(
            texts.into_iter().filter_map(|(key, text)| Some((key.to_owned(), json!(text.as_ref()?)))),
        );
        let flags = [("pre_releases", self.pre_releases), ("strict_versions", self.strict_versions)];
        keys.extend(
            flags.into_iter().filter(|(_, is_set)| *is_set).map(|(key, _)| (key.to_owned(), json!(true))),
        );
        let lists = [
            ("pre_release_prefixes", &self.pre_release_prefix),
            ("allow_tags", &self.allow_tag),
            ("deny_tags", &self.deny_tag),
            ("platforms", &self.platform),
        ];
        let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
        keys.extend(lists.map(|(key, list)| (key.to_owned(), json!(list))));
        let pems = self.cosign_key.iter().map(|path| access::read(path));
        let pems = pems.collect::<anyhow::Result<Vec<String>>>()?;
        if !pems.is_empty() {
            keys.insert("verify".to_owned(), json!({"cosign": {"keys": pems}}));
        }
        Ok(keys)
    }
}

/// Runs the command.
///
/// # Errors
///
/// When the registry cannot be asked, or has no such tag.
pub async fn run(args: Args, surroundings: &Surroundings) -> anyhow::Result<Code> {
    let keys = args.choice.keys()?;
    if keys.is_empty() && args.source.is_none() && !args.explain && args.cursor.is_none() {
        return plain(&args, surroundings).await;
    }
    let cursor = args.cursor.as_deref().map(cursor).transpose()?;
    let source: Source = request::typed("source", &source(&args, keys)?).map_err(Failure::from)?;
    let access = match &args.source {
        Some(_) => source.access(&Ambient::of(&surroundings.vars)),
        None => args.registry.access(surroundings)?,
    };
    let client =
        Client::reach(&source.repository, &access, &surroundings.log).await.map_err(Failure::from)?;
    let client = if args.verbose { client.traced() } else { client };
    let report = look(&client, &source, cursor).await.map_err(Failure::from)?;
    answer(&args, &source.repository, &report, surroundings)
}

/// What a tag points at, or whether a digest is there, and nothing else.
async fn plain(args: &Args, surroundings: &Surroundings) -> anyhow::Result<Code> {
    let image = args.image.as_deref().unwrap_or_default();
    let pinned = access::pinned(image)?;
    let (repository, tag) = match &pinned {
        Some((pinned, tag)) => (pinned.repository.as_str(), tag.as_deref()),
        None => {
            let (repository, tag) = registry::split(image);
            (repository, Some(tag.unwrap_or("latest")))
        }
    };
    let access = args.registry.access(surroundings)?;
    let client = Client::reach(repository, &access, &surroundings.log).await.map_err(Failure::from)?;
    let client = if args.verbose { client.traced() } else { client };
    let found = match &pinned {
        Some((pinned, _)) => {
            let there = client.head(pinned.digest.as_str()).await.map_err(Failure::from)?;
            there.with_context(|| format!("`{pinned}` is not in the registry"))?;
            pinned.clone()
        }
        None => find(&client, repository, tag.unwrap_or_default()).await?,
    };
    match args.output.output {
        Output::Text => surroundings.print(found)?,
        Output::Json => {
            let digest = found.digest.as_str();
            surroundings.print(json!({"image": found.to_string(), "tag": tag, "digest": digest}))?;
        }
    }
    Ok(Code::Done)
}

/// Puts a source together: the file's, then the image's, then what the options say.
fn source(args: &Args, keys: Map<String, Value>) -> anyhow::Result<Value> {
    let mut source = match &args.source {
        Some(path) => read(path)?,
        None => Map::new(),
    };
    if let Some(image) = &args.image {
        if image.contains('@') {
            bail!("`{image}` names a digest, and a check chooses among tags: leave out `@` and what follows");
        }
        let (repository, tag) = registry::split(image);
        source.insert("repository".to_owned(), json!(repository));
        source.extend(tag.map(|tag| ("tag".to_owned(), json!(tag))));
    }
    source.extend(keys);
    Ok(Value::Object(source))
}

/// Reads a source, or a resource of a pipeline with its source.
fn read(path: &std::path::Path) -> anyhow::Result<Map<String, Value>> {
    let name = path.display();
    let text = if path.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin()).context("failed to read stdin")?
    } else {
        access::read(path)?
    };
    let value: Value = yaml::read(&text).with_context(|| format!("`{name}` is neither JSON nor YAML"))?;
    let source = match value {
        Value::Object(mut resource) => match resource.remove("source") {
            Some(source) => source,
            None => Value::Object(resource),
        },
        other => other,
    };
    match source {
        Value::Object(source) => Ok(source),
        _ => bail!("`{name}` has no source: it is not an object with `repository`"),
    }
}

fn cursor(text: &str) -> anyhow::Result<Version> {
    let parts = text.split_once('@').and_then(|(tag, digest)| Some((tag, digest.parse::<Digest>().ok()?)));
    let (tag, digest) =
        parts.with_context(|| format!("`--cursor` is `{text}`; write it as `TAG@sha256:…`"))?;
    Ok(Version { tag: tag.to_owned(), digest: digest.to_string(), moved: None })
}

fn answer(
    args: &Args,
    repository: &str,
    report: &Report,
    surroundings: &Surroundings,
) -> anyhow::Result<Code> {
    let newest = report.versions.last().map(|version| format!("{repository}@{}", version.digest));
    match args.output.output {
        Output::Json => {
            let left = report.left.iter().map(
                |left| json!({"tag": left.tag, "digest": left.digest, "reason": left.reason.to_string()}),
            );
            let left: Vec<Value> = left.collect();
            let document =
                json!({"image": newest, "versions": report.versions, "left": left, "notes": report.notes});
            surroundings.print(document)?;
        }
        Output::Text if args.explain => {
            for note in &report.notes {
                surroundings.log.line(note);
            }
            surroundings.print(explained(report))?;
        }
        Output::Text => {
            report.tell(repository, Detail::News, &surroundings.log);
            if let Some(newest) = &newest {
                surroundings.print(newest)?;
            }
        }
    }
    if newest.is_none() {
        bail!("a check of `{repository}` finds no version");
    }
    Ok(Code::Done)
}

/// The newest version first, then what is no version in the order of the list.
fn explained(report: &Report) -> String {
    let newest = report.versions.len().saturating_sub(1);
    let versions = report.versions.iter().enumerate().rev().map(|(place, version)| {
        let word = if place == newest { "the newest version" } else { "a version" };
        vec![version.tag.clone(), short(&version.digest), word.to_owned()]
    });
    let left = report.left.iter().map(|left| {
        let digest = left.digest.as_ref().map(|digest| short(digest.as_str())).unwrap_or_default();
        vec![left.tag.clone(), digest, left.reason.to_string()]
    });
    table(&["TAG", "DIGEST", "VERDICT"], &versions.chain(left).collect::<Vec<_>>())
}
