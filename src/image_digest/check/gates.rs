//! What an image must have to be offered: platforms, age, a signature. What does not pass is left
//! out with its reason. What the registry cannot say of one image is told apart from what it cannot
//! say at all, which is an error: a gate that nobody could look at stays shut.

use std::time::{Duration, SystemTime};

use futures::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;

use super::ask::Asker;
use super::image::{self, Built};
use crate::image::Platform;
use crate::image_digest::listing::Found;
use crate::image_digest::reason::{Left, Reason};
use crate::image_digest::rules::Gates;
use crate::image_digest::{Error, verify};
use crate::registry::{self, Manifest};

/// What is known of an image at the gates.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It may be offered.
    Passed(Found),
    /// It may not.
    Stopped(Left),
    /// The registry cannot say.
    Broken(Found, registry::Error),
}

/// Judges images, several at a time; the answers are in their order.
pub(super) async fn judge(
    asker: &Asker<'_>,
    gates: &Gates,
    found: Vec<Found>,
) -> Result<Vec<Verdict>, Error> {
    if gates.are_open() {
        return Ok(found.into_iter().map(Verdict::Passed).collect());
    }
    let now = Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH);
    stream::iter(found)
        .map(async |found| {
            Ok(match reason(asker, gates, &found, now).await {
                Ok(None) => Verdict::Passed(found),
                Ok(Some(reason)) => {
                    Verdict::Stopped(Left { tag: found.tag, digest: Some(found.digest), reason })
                }
                Err(error) if error.is_of_one() => Verdict::Broken(found, error),
                Err(error) => return Err(asker.failed(&found.tag, error)),
            })
        })
        .buffered(asker.parallel)
        .try_collect()
        .await
}

/// Returns why an image does not pass; the cheapest questions come first.
async fn reason(
    asker: &Asker<'_>,
    gates: &Gates,
    found: &Found,
    now: Timestamp,
) -> Result<Option<Reason>, registry::Error> {
    let client = asker.client;
    let told = found.key.time();
    if let (Some(age), Some(created)) = (gates.minimum_age, told)
        && let Some(young) = young(created, age, now)
    {
        return Ok(Some(young));
    }
    let asks_age = gates.minimum_age.filter(|_| told.is_none());
    if !gates.platforms.is_empty() || asks_age.is_some() {
        let Some(manifest) = client.manifest(found.digest.as_str()).await? else {
            return Ok(Some(Reason::Vanished));
        };
        let missing = missing(asker, &gates.platforms, &manifest).await?;
        if !missing.is_empty() {
            return Ok(Some(Reason::Platforms(missing)));
        }
        if let Some(age) = asks_age {
            match image::built(client, &manifest, &gates.platform).await? {
                Built::At(created) => {
                    if let Some(young) = young(created, age, now) {
                        return Ok(Some(young));
                    }
                }
                Built::Unknown(why) => return Ok(Some(Reason::AgeUnknown(why))),
            }
        }
    }
    if gates.keys.is_empty() {
        return Ok(None);
    }
    Ok(verify::signature(client, &found.digest, &gates.keys).await?.err().map(Reason::Unsigned))
}

fn young(created: Timestamp, age: Duration, now: Timestamp) -> Option<Reason> {
    let ripe = created.checked_add(age).unwrap_or(Timestamp::MAX);
    let shown = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    (ripe > now).then(|| Reason::Young { created: shown(created), ripe: shown(ripe) })
}

/// Returns the wanted platforms that an image does not have. Of a single image only its config knows.
async fn missing(
    asker: &Asker<'_>,
    wanted: &[Platform],
    manifest: &Manifest,
) -> Result<Vec<String>, registry::Error> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let mut there: Vec<Platform> = manifest.children().iter().map(|child| child.platform.clone()).collect();
    if let Some(config) = manifest.config() {
        there.extend(image::config(asker.client, config).await?.map(|config| config.platform));
    }
    let is_missing = |wanted: &&Platform| !there.iter().any(|there| wanted.accepts(there));
    Ok(wanted.iter().filter(is_missing).map(Platform::to_string).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_is_young_until_its_age_is_reached() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let young = |now: &str| young(at("2026-07-01T10:00:00Z"), Duration::from_secs(3_600), at(now));
        assert_eq!(
            young("2026-07-01T10:59:59Z").map(|reason| reason.to_string()).as_deref(),
            Some("it was built at 2026-07-01T10:00:00Z, and minimum_age is reached at 2026-07-01T11:00:00Z")
        );
        assert_eq!(young("2026-07-01T11:00:00Z"), None);
        assert!(young("2020-01-01T00:00:00Z").is_some());
    }
}
