//! One tag: a ping and a HEAD, and a second HEAD only when it moved.

use super::ask::Asker;
use super::gates::Verdict;
use super::{Report, gates, image, left, missing, nothing_else};
use crate::image::Digest;
use crate::image_digest::listing::Found;
use crate::image_digest::order::Key;
use crate::image_digest::reason::Reason;
use crate::image_digest::rules::Rules;
use crate::image_digest::source::OnMissing;
use crate::image_digest::{Error, Version};

/// Finds what `tag` points at, and what it pointed at before.
pub(super) async fn look(
    asker: &Asker<'_>,
    rules: &Rules,
    tag: &str,
    cursor: Option<&Version>,
) -> Result<Report, Error> {
    let name = format!("{}:{tag}", asker.repository);
    let Some(current) = asker.client.head(tag).await? else {
        return missing(&name, rules.on_missing, OnMissing::Wait);
    };
    let Some(before) = moved_from(cursor, &current) else {
        return match cursor {
            // What was offered once stays what it is.
            Some(cursor) if cursor.digest == current.as_str() => Ok(versions(None, Some((tag, &current)))),
            _ => nothing_else(gated(asker, rules, tag, current, None).await?, &name, rules.on_missing),
        };
    };
    if let Some(platform) = &rules.only_platform
        && image::is_same_for(asker.client, platform, &before, &current).await?
    {
        let mut report = versions(cursor, None);
        report.left.push(left(tag, &current, Reason::SamePlatform(platform.to_string())));
        return Ok(report);
    }
    let is_served = asker.client.head(before.as_str()).await?.is_some();
    let report = gated(asker, rules, tag, current, cursor.filter(|_| is_served)).await?;
    nothing_else(report, &name, rules.on_missing)
}

async fn gated(
    asker: &Asker<'_>,
    rules: &Rules,
    tag: &str,
    current: Digest,
    before: Option<&Version>,
) -> Result<Report, Error> {
    let found = Found { tag: tag.to_owned(), key: Key::Place(0), digest: current };
    let mut report = versions(before, None);
    for verdict in gates::judge(asker, &rules.gates, vec![found]).await? {
        match verdict {
            Verdict::Passed(found) => report.versions.push(Version::of(tag, &found.digest)),
            Verdict::Stopped(left) => report.left.push(left),
            Verdict::Broken(_, error) => return Err(asker.failed(tag, error)),
        }
    }
    Ok(report)
}

/// Returns the cursor's digest if the tag left it. A digest that is none cannot be in a registry,
/// so nobody is asked about it.
fn moved_from(cursor: Option<&Version>, current: &Digest) -> Option<Digest> {
    cursor?.checked_digest().ok().filter(|before| before != current)
}

/// Concourse takes the last version for the newest.
fn versions(before: Option<&Version>, now: Option<(&str, &Digest)>) -> Report {
    let now = now.map(|(tag, digest)| Version::of(tag, digest));
    Report { versions: before.cloned().into_iter().chain(now).collect(), ..Report::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(character: char) -> Digest {
        format!("sha256:{}", character.to_string().repeat(64)).parse().unwrap()
    }

    fn version(digest: &str) -> Version {
        Version { tag: "latest".to_owned(), digest: digest.to_owned(), moved: None }
    }

    #[test]
    fn only_a_real_move_is_worth_a_second_request() {
        let now = digest('a');
        assert_eq!(moved_from(None, &now), None);
        assert_eq!(moved_from(Some(&version(now.as_str())), &now), None);
        for broken in ["", "sha256:", "latest"] {
            assert_eq!(moved_from(Some(&version(broken)), &now), None, "{broken}");
        }
        assert_eq!(moved_from(Some(&version(digest('b').as_str())), &now), Some(digest('b')));
    }

    #[test]
    fn newest_version_is_last() {
        let before = version(digest('b').as_str());
        let found = versions(Some(&before), Some(("latest", &digest('a')))).versions;
        assert_eq!(found, [before, version(digest('a').as_str())]);
    }
}
