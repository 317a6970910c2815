//! Many tags: one list, a HEAD for the version that Concourse has, and then one for each tag that
//! may be newer.

use super::ask::{Asker, Head};
use super::gates::Verdict;
use super::{Report, gates, image, missing, nothing_else};
use crate::image::Digest;
use crate::image_digest::broken::Broken;
use crate::image_digest::listing::{Candidate, Choice, Found, Listing};
use crate::image_digest::order::Key;
use crate::image_digest::reason::{Left, Reason};
use crate::image_digest::rules::Rules;
use crate::image_digest::source::OnMissing;
use crate::image_digest::{Error, Version};

/// The version that Concourse has, looked at again.
#[derive(Default)]
struct Known {
    /// It is as it was: what is older need not be looked at.
    still: Option<Found>,
    /// Its tag has another image now, and so it is one of many.
    moved: Option<Found>,
}

/// Finds the versions among the tags of the repository.
pub(super) async fn look(
    asker: &Asker<'_>,
    rules: &Rules,
    listing: &Listing,
    cursor: Option<&Version>,
) -> Result<Report, Error> {
    let Some(tags) = asker.client.tags().await? else {
        return missing(asker.repository, rules.on_missing, OnMissing::Error);
    };
    let mut choice = listing.choose(tags);
    let known = match cursor.filter(|_| listing.has_order()) {
        Some(cursor) => again(asker, rules, listing, cursor).await?,
        None => Known::default(),
    };
    if let Some(still) = &known.still {
        choice.since(&still.tag, &still.key);
    }
    if let Some(moved) = &known.moved {
        choice.candidates.retain(|candidate| candidate.tag != moved.tag);
    }
    if let Some(most) = listing.most {
        choice.cap(most);
    }
    let (mut found, bare) = ask(asker, &mut choice).await?;
    found.splice(0..0, known.moved);
    if listing.is_by_age() {
        found = by_age(asker, rules, found, &mut choice.left).await?;
    }
    let (mut arranged, same) = listing.arrange(known.still.clone(), found);
    choice.left.extend(same);
    let doubt = listing.doubt(&arranged);
    if let Some(bare) = bare
        && let Some(bare) = unmatched(asker, listing, bare, &arranged, &mut choice).await?
    {
        arranged.push(bare);
    }
    let offered = passed(asker, rules, arranged, known.still.as_ref(), &mut choice.left).await?;
    let versions = offered.iter().map(|found| Version::of(&found.tag, &found.digest)).collect();
    let report = Report { versions, left: choice.left, notes: doubt.into_iter().collect() };
    nothing_else(report, asker.repository, rules.on_missing)
}

/// Leaves out what does not pass the gates; the version that Concourse has did once.
async fn passed(
    asker: &Asker<'_>,
    rules: &Rules,
    arranged: Vec<Found>,
    still: Option<&Found>,
    left: &mut Vec<Left>,
) -> Result<Vec<Found>, Error> {
    let (known, news): (Vec<_>, Vec<_>) =
        arranged.into_iter().enumerate().partition(|(_, found)| Some(found) == still);
    let (places, news): (Vec<usize>, Vec<Found>) = news.into_iter().unzip();
    let count = known.len() + news.len();
    let (mut offered, mut broken) = (known, Broken::default());
    for (place, verdict) in places.into_iter().zip(gates::judge(asker, &rules.gates, news).await?) {
        match verdict {
            Verdict::Passed(found) => offered.push((place, found)),
            Verdict::Stopped(stopped) => left.push(stopped),
            Verdict::Broken(found, error) => left.push(asker.broken(found, error, &mut broken)?),
        }
    }
    if let Some((tag, error)) = broken.last_of(count) {
        return Err(asker.failed(&tag, error));
    }
    offered.sort_by_key(|(place, _)| *place);
    Ok(offered.into_iter().map(|(_, found)| found).collect())
}

/// Looks at the version that Concourse has. One that the rules do not choose is not asked about.
async fn again(
    asker: &Asker<'_>,
    rules: &Rules,
    listing: &Listing,
    cursor: &Version,
) -> Result<Known, Error> {
    let is_bare = listing.bare() == Some(&cursor.tag);
    let (Ok(key), Ok(before), false) = (listing.key(&cursor.tag, 0), cursor.checked_digest(), is_bare) else {
        return Ok(Known::default());
    };
    let Head::At(current) = asker.head(&cursor.tag).await? else { return Ok(Known::default()) };
    let is_still = current == before
        || match &rules.only_platform {
            Some(platform) => image::is_same_for(asker.client, platform, &before, &current).await?,
            None => false,
        };
    let found = |digest| Some(Found { tag: cursor.tag.clone(), key, digest });
    Ok(if is_still {
        Known { still: found(before), moved: None }
    } else {
        Known { still: None, moved: found(current) }
    })
}

/// Asks what the candidates and the bare tag point at.
async fn ask(asker: &Asker<'_>, choice: &mut Choice) -> Result<(Vec<Found>, Option<Found>), Error> {
    let bare = choice.bare.clone().map(|tag| Candidate { tag, key: Key::Place(usize::MAX) });
    let has_bare = bare.is_some();
    let candidates: Vec<Candidate> = bare.into_iter().chain(std::mem::take(&mut choice.candidates)).collect();
    let tags: Vec<String> = candidates.iter().map(|candidate| candidate.tag.clone()).collect();
    let mut found = Vec::with_capacity(candidates.len());
    for (place, (Candidate { tag, key }, head)) in
        candidates.into_iter().zip(asker.heads(&tags).await?).enumerate()
    {
        let reason = match head {
            Head::At(digest) => {
                found.push((has_bare && place == 0, Found { tag, key, digest }));
                continue;
            }
            Head::Gone => Reason::Vanished,
            Head::Broken(error) => Reason::Broken(error),
        };
        choice.left.push(Left { tag, digest: None, reason });
    }
    let (bare, found): (Vec<_>, Vec<_>) = found.into_iter().partition(|(is_bare, _)| *is_bare);
    let bare = bare.into_iter().map(|(_, found)| found).next();
    Ok((found.into_iter().map(|(_, found)| found).collect(), bare))
}

/// Orders what was found by when the images were built; what does not say is left out.
async fn by_age(
    asker: &Asker<'_>,
    rules: &Rules,
    found: Vec<Found>,
    left: &mut Vec<Left>,
) -> Result<Vec<Found>, Error> {
    let dates = image::dates(asker, &rules.gates.platform, &found).await?;
    let (mut dated, mut broken, count) = (Vec::new(), Broken::default(), found.len());
    for (found, date) in found.into_iter().zip(dates) {
        match date {
            Ok(Some(date)) => dated.push(Found { key: Key::Time(date), ..found }),
            Ok(None) => {
                left.push(Left { tag: found.tag, digest: Some(found.digest), reason: Reason::NotDated });
            }
            Err(error) => left.push(asker.broken(found, error, &mut broken)?),
        }
    }
    if let Some((tag, error)) = broken.last_of(count) {
        return Err(asker.failed(&tag, error));
    }
    Ok(dated)
}

/// So many versions that are older than Concourse's are asked whether they have the bare tag's image:
/// a bare tag that was left behind further down would cost a request for each version, in each check.
const MOST_OLDER: usize = 64;

/// Returns the bare tag if no version has its image. Where the versions older than Concourse's were
/// not looked at, they are now, the newest first, until one of them has it or there were enough.
async fn unmatched(
    asker: &Asker<'_>,
    listing: &Listing,
    bare: Found,
    arranged: &[Found],
    choice: &mut Choice,
) -> Result<Option<Found>, Error> {
    let same = arranged.iter().find(|found| found.digest == bare.digest);
    let reason = match same {
        Some(found) => Some(Reason::SameImage(found.tag.clone())),
        None if listing.is_bare_alone() && !arranged.is_empty() => Some(Reason::Bare),
        None => among(asker, &choice.older, &bare.digest).await?,
    };
    let Some(reason) = reason else { return Ok(Some(bare)) };
    choice.left.push(Left { tag: bare.tag, digest: Some(bare.digest), reason });
    Ok(None)
}

/// Looks for the image among older versions.
async fn among(asker: &Asker<'_>, older: &[Candidate], digest: &Digest) -> Result<Option<Reason>, Error> {
    let looked = &older[..older.len().min(MOST_OLDER)];
    for some in looked.chunks(asker.parallel) {
        let tags: Vec<String> = some.iter().map(|candidate| candidate.tag.clone()).collect();
        let heads = asker.heads(&tags).await?;
        if let Some(place) = heads.iter().position(|head| matches!(head, Head::At(found) if found == digest))
        {
            return Ok(tags.get(place).cloned().map(Reason::SameImage));
        }
    }
    Ok((older.len() > MOST_OLDER).then_some(Reason::LeftBehind(MOST_OLDER)))
}
