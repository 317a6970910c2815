//! put: pushes an image from disk, or promotes one that is in a registry, and moves the tags last.

use std::path::PathBuf;

use super::semver::Semver;
use super::verify::PublicKey;
use super::{Source, Version, rules};
use crate::concourse::{Context, Field, Response};
use crate::image::Pinned;
use crate::registry::{Client, Policy, Repository, Scope};

mod aliases;
mod companions;
mod content;
mod error;
mod files;
mod glob;
mod graph;
mod image;
mod layout;
mod params;
mod promote;
mod proof;
mod push;
mod tags;
mod tarball;

pub use error::Error;
pub use params::{PutFrom, PutParams};

use companions::Companion;
use content::Content;
use graph::Node;
use params::Wanted;
use promote::Origins;
use push::{Push, amount, until_interrupted};
use tags::Tags;

/// So many blobs are sent at the same time, where the source says nothing.
const PARALLEL: usize = 4;

/// Where the image is.
enum Place {
    Disk(PathBuf),
    Registry(Origins),
}

/// Pushes or promotes, and returns the version that check would find.
pub(super) async fn put(
    source: &Source,
    params: &PutParams,
    context: &Context,
) -> Result<Response<Version>, Error> {
    let keys = rules::keys(source).map_err(Box::new)?;
    let wanted = params.wanted()?;
    let (mut tags, version) = known_tags(source, params, context)?;
    let place = place(source, &wanted, context).await?;
    let client = client(source, &place, context).await?;
    let content = content(&place, client.repository(), &keys, context);
    let content = until_interrupted(context, content, nothing).await?;
    let Some(root) = content.manifests.last() else { return Err(Error::NoTag) };
    if let Some(version) = version.filter(|version| params.bump_aliases && !version.is_pre_release()) {
        let present =
            until_interrupted(context, async { Ok(client.tags().await?.unwrap_or_default()) }, nothing)
                .await?;
        tags.aliases = tags::bumped(&version, source.variant(), &present)?;
    }
    let companions = place.companions(params, &content, &client, context);
    let companions = until_interrupted(context, companions, nothing).await?;
    let repository = client.repository().given().to_owned();
    let pinned = Pinned { repository, digest: root.digest.clone() };
    context.log.line(announced(&pinned, root, &content));
    let push = Push {
        client: &client,
        content: &content,
        mount: place.neighbour(client.repository()),
        parallel: place.parallel(source.max_parallel.map_or(PARALLEL, |limit| limit.get() as usize)),
        context,
    };
    push.parts().await?;
    companions::push(&push, &companions).await?;
    push.tags(&tags.written()).await?;
    let client = client.with_policy(proof::patience());
    proof::wait(&client, &tags.written(), &pinned.digest, context).await;
    Ok(answer(pinned, &tags))
}

fn nothing() -> String {
    "nothing was pushed".to_owned()
}

async fn place(source: &Source, wanted: &Wanted<'_>, context: &Context) -> Result<Place, Error> {
    Ok(match wanted {
        Wanted::Push { pattern } => Place::Disk(glob::one(&context.directory, pattern)?),
        Wanted::Promote { from, which } => Place::Registry(Origins::of(source, *from, which, context).await?),
    })
}

/// What is on disk cannot be signed before it is in a registry; what is in one is verified.
async fn content(
    place: &Place,
    target: &Repository,
    keys: &[PublicKey],
    context: &Context,
) -> Result<Content, Error> {
    match place {
        Place::Disk(path) => image::read(path, &context.directory).await,
        Place::Registry(origins) => origins.content(target, keys).await,
    }
}

impl Place {
    /// Returns how many blobs can be under way: those of another registry need turns there too.
    fn parallel(&self, most: usize) -> usize {
        match self {
            Self::Disk(_) => most,
            Self::Registry(origins) => most.min(origins.client.parallel()),
        }
    }

    /// Finds what goes along with the image, unless it is to stay behind.
    async fn companions(
        &self,
        params: &PutParams,
        content: &Content,
        target: &Client,
        context: &Context,
    ) -> Result<Vec<Companion>, Error> {
        match self {
            Self::Registry(origins) if params.with_signatures != Some(false) => {
                origins.companions(content, target.repository(), context).await
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Returns another repository of the same registry that blobs can be mounted from.
    fn neighbour(&self, target: &Repository) -> Option<&Repository> {
        match self {
            Self::Disk(_) => None,
            Self::Registry(origins) => {
                Some(origins.client.repository()).filter(|it| it.host() == target.host())
            }
        }
    }
}

/// Returns the client to push with, whose tokens are good for all that it will do.
async fn client(source: &Source, place: &Place, context: &Context) -> Result<Client, Error> {
    let client = source.client(context).await?.with_policy(Policy::of_a_build()).with_scope(&Scope::Push);
    Ok(match place.neighbour(client.repository()) {
        Some(neighbour) => {
            let scope = Scope::PullFrom(neighbour.path().to_owned());
            client.with_scope(&scope)
        }
        None => client,
    })
}

/// Returns the tags that can be known before the registry is asked, and the version that aliases may
/// move to.
fn known_tags(
    source: &Source,
    params: &PutParams,
    context: &Context,
) -> Result<(Tags, Option<Semver>), Error> {
    let version =
        Some(params.version.as_str()).filter(|text| !text.is_empty()).map(tags::version).transpose()?;
    let tag = version.as_ref().map(|version| tags::of_version(version, source.variant())).transpose()?;
    let tags = Tags {
        source: source.own_tag().map(str::to_owned),
        version: tag,
        aliases: Vec::new(),
        additional: additional(params, context)?,
    };
    if tags.told().is_empty() { Err(Error::NoTag) } else { Ok((tags, version)) }
}

fn additional(params: &PutParams, context: &Context) -> Result<Vec<String>, Error> {
    if params.additional_tags.is_empty() {
        return Ok(Vec::new());
    }
    let (path, text) = small_file(context, "additional_tags", &params.additional_tags)?;
    let tags = tags::additional(&text, &params.tag_prefix, &params.additional_tags)?;
    if tags.is_empty() {
        let remedy = "`additional_tags` is a file with one or more tags, separated by white space";
        return Err(Error::File { path, problem: "has no tag in it".to_owned(), remedy });
    }
    Ok(tags)
}

/// Reads a text below the step's directory that a key names, and returns it with its path.
fn small_file(context: &Context, key: &'static str, path: &str) -> Result<(PathBuf, String), Error> {
    const LIMIT: u64 = 1 << 20;
    let path = context.directory.join(path.trim_start_matches('/'));
    let bytes = std::fs::File::open(&path).and_then(|file| {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::Read::take(file, LIMIT), &mut bytes)?;
        Ok(bytes)
    });
    let bytes = bytes.map_err(|source| Error::Input { key, path: path.clone(), source })?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok((path, text)),
        Err(_) => {
            let remedy = "it has to be a text of UTF-8";
            Err(Error::File { path, problem: "is no text".to_owned(), remedy })
        }
    }
}

fn announced(pinned: &Pinned, root: &Node, content: &Content) -> String {
    let kind = match root.manifests.len() {
        0 => "an image".to_owned(),
        1 => "an index of 1 manifest".to_owned(),
        count => format!("an index of {count} manifests"),
    };
    let bytes: u64 = content.blobs.iter().map(|blob| blob.size).sum();
    match content.blobs.len() {
        0 => format!("{pinned} is {kind}, and there already"),
        1 => format!("{pinned} is {kind} with 1 blob, {}", amount(bytes)),
        count => format!("{pinned} is {kind} with {count} blobs, {}", amount(bytes)),
    }
}

/// The same as registry-image's: the version is that of the first tag, and the tags are told in its order.
fn answer(pinned: Pinned, tags: &Tags) -> Response<Version> {
    let told = tags.told();
    let tag = told.first().copied().unwrap_or_default();
    let field = |name: &str, value: String| Field { name: name.to_owned(), value };
    let metadata = vec![field("repository", pinned.repository), field("tags", told.join(" "))];
    Response { version: Version::of(tag, &pinned.digest), metadata }
}
