//! What a check reads in images themselves: when they were built, and which image of an index is a
//! platform's.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;
use serde::Deserialize;

use super::ask::Asker;
use crate::image::{Config, Digest, Platform};
use crate::image_digest::Error;
use crate::image_digest::listing::Found;
use crate::registry::{self, Client, Manifest};

/// The label and the annotation that tell when an image was built.
const CREATED: &str = "org.opencontainers.image.created";

/// Reproducible builds write a constant instead of a date, in 1970 or in 1980.
const FIRST_BELIEVED: &str = "1990-01-01T00:00:00Z";

/// When an image was built.
pub(super) enum Built {
    /// Then.
    At(Timestamp),
    /// It does not say, or says a constant.
    Unknown(String),
}

/// When an image says that it was built; `None` for what is no image.
type Date = Result<Option<Timestamp>, registry::Error>;

/// Returns when the images say that they were built, in their order. An error within is of one image
/// alone.
pub(super) async fn dates(
    asker: &Asker<'_>,
    platform: &Platform,
    found: &[Found],
) -> Result<Vec<Date>, Error> {
    stream::iter(found)
        .map(async |found| match date(asker.client, platform, &found.digest).await {
            Err(error) if !error.is_of_one() => Err(asker.failed(&found.tag, error)),
            date => Ok(date),
        })
        .buffered(asker.parallel)
        .try_collect()
        .await
}

/// An image that does not say counts as the oldest, as it does for `registry-image`.
async fn date(client: &Client, platform: &Platform, digest: &Digest) -> Date {
    let Some(manifest) = client.manifest(digest.as_str()).await? else { return Ok(None) };
    let Some(image) = image_of(client, manifest, platform).await? else { return Ok(None) };
    let Some(digest) = image.config() else { return Ok(None) };
    Ok(config(client, digest)
        .await?
        .filter(|config| !config.platform.os.is_empty())
        .map(|config| config.created.parse().unwrap_or(Timestamp::UNIX_EPOCH)))
}

/// Returns the config of an image. A chart or a signature has a config too, and it is not an image's.
pub(super) async fn config(client: &Client, digest: &Digest) -> Result<Option<Config>, registry::Error> {
    match client.config(digest).await {
        Err(registry::Error::Malformed { .. }) => Ok(None),
        config => config,
    }
}

/// Finds out when an image was built: its config says, else a label or an annotation.
pub(super) async fn built(
    client: &Client,
    manifest: &Manifest,
    platform: &Platform,
) -> Result<Built, registry::Error> {
    let Some(image) = image_of(client, manifest.clone(), platform).await? else {
        return Ok(Built::Unknown(format!("it has no image for {platform}")));
    };
    let config = match image.config() {
        Some(digest) => config(client, digest).await?,
        None => None,
    };
    let label = config.as_ref().and_then(|config| config.label(CREATED).map(str::to_owned));
    let created = config.map(|config| config.created).filter(|created| !created.is_empty());
    let said = [created, label, annotation(&image), annotation(manifest)];
    let said: Vec<String> = said.into_iter().flatten().collect();
    let believed = said.iter().filter_map(|text| text.parse::<Timestamp>().ok()).find(is_believed);
    Ok(match (believed, said.first()) {
        (Some(created), _) => Built::At(created),
        (None, Some(text)) => {
            Built::Unknown(format!("it says `{}`, as reproducible builds do", text.escape_debug()))
        }
        (None, None) => Built::Unknown("it does not say when it was built".to_owned()),
    })
}

fn is_believed(time: &Timestamp) -> bool {
    FIRST_BELIEVED.parse().is_ok_and(|first| *time >= first)
}

fn annotation(manifest: &Manifest) -> Option<String> {
    #[derive(Deserialize)]
    struct Annotated {
        #[serde(default)]
        annotations: BTreeMap<String, String>,
    }

    let mut annotated: Annotated = serde_json::from_slice(&manifest.bytes).ok()?;
    annotated.annotations.remove(CREATED)
}

/// Returns a platform's image of an index; an image that is none is its own.
async fn image_of(
    client: &Client,
    manifest: Manifest,
    platform: &Platform,
) -> Result<Option<Manifest>, registry::Error> {
    if manifest.config().is_some() {
        return Ok(Some(manifest));
    }
    match manifest.children().iter().find(|child| platform.accepts(&child.platform)) {
        Some(child) => client.manifest(child.digest.as_str()).await,
        None => Ok(None),
    }
}

/// Returns whether two digests have the same image for a platform. What is gone is not the same.
pub(super) async fn is_same_for(
    client: &Client,
    platform: &Platform,
    before: &Digest,
    now: &Digest,
) -> Result<bool, registry::Error> {
    let Some(before) = client.manifest(before.as_str()).await? else { return Ok(false) };
    let Some(now) = client.manifest(now.as_str()).await? else { return Ok(false) };
    let image = |manifest: &Manifest| match manifest.config() {
        Some(_) => Some(manifest.digest.clone()),
        None => {
            let mut children = manifest.children().iter();
            children.find(|child| platform.accepts(&child.platform)).map(|child| child.digest.clone())
        }
    };
    let (before, now) = (image(&before), image(&now));
    Ok(before.is_some() && before == now)
}
