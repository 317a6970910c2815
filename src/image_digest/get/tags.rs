//! All tags of a digest. Registries do not keep them, so each tag is asked where it points.

use futures::{StreamExt, TryStreamExt, stream};

use super::super::Error;
use crate::image::Digest;
use crate::registry::Client;

/// Tags that are asked about at the same time.
const PARALLEL: usize = 8;

/// Returns the tags that point at `digest`, sorted; `known` is one of them in any case.
pub(super) async fn of(client: &Client, digest: &Digest, known: &str) -> Result<Vec<String>, Error> {
    let listed = client.tags().await?.unwrap_or_default();
    let found: Vec<Option<String>> = stream::iter(listed.into_iter().filter(|tag| tag != known))
        .map(async |tag| {
            let points_at = client.head(&tag).await?;
            Ok::<_, Error>(Some(tag).filter(|_| points_at.as_ref() == Some(digest)))
        })
        .buffered(PARALLEL)
        .try_collect()
        .await?;
    let mut tags: Vec<String> = found.into_iter().flatten().chain([known.to_owned()]).collect();
    tags.sort();
    Ok(tags)
}
