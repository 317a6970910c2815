//! All tags of a digest. Registries do not keep them, so each tag is asked where it points.

use futures::{StreamExt, stream};

use super::super::Error;
use super::super::broken::Broken;
use crate::image::Digest;
use crate::log::Log;
use crate::registry::{Client, is_tag};

/// Tags that are asked about at the same time.
const PARALLEL: usize = 8;

/// Returns the tags that point at `digest`, sorted; `known` is one of them in any case. A tag that the
/// registry cannot say anything about is named and left out.
pub(super) async fn of(
    client: &Client,
    digest: &Digest,
    known: &str,
    log: &Log,
) -> Result<Vec<String>, Error> {
    let listed = client.tags().await?.unwrap_or_default();
    let (others, odd): (Vec<String>, Vec<String>) =
        listed.into_iter().filter(|tag| tag != known).partition(|tag| is_tag(tag));
    for name in odd {
        let name = name.escape_debug();
        log.line(format_args!("warning: the registry lists `{name}` among the tags, and that is none"));
    }
    let mut asked = stream::iter(others)
        .map(async |tag| {
            let points_at = client.head(&tag).await;
            (tag, points_at)
        })
        .buffered(PARALLEL.min(client.parallel()));
    let (mut tags, mut broken) = (vec![known.to_owned()], Broken::default());
    while let Some((tag, points_at)) = asked.next().await {
        match points_at {
            Ok(points_at) if points_at.as_ref() == Some(digest) => tags.push(tag),
            Ok(_) => {}
            Err(error) => {
                let words = broken.take(&tag, error)?;
                log.line(format_args!("warning: the tag `{tag}` is left out: {words}"));
            }
        }
    }
    tags.sort();
    Ok(tags)
}
