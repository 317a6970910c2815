//! check: the versions since the one that Concourse has, at the price of as few requests as they
//! can be had for. `rules` and `listing` decide; here and below is what asks.

use super::reason::{Left, Reason};
use super::rules::{Mode, Rules};
use super::source::OnMissing;
use super::{Error, Source, Version};
use crate::concourse::Context;
use crate::image::Digest;
use crate::log::Log;
use crate::registry::Client;

mod ask;
mod gates;
mod image;
mod many;
mod one;

use ask::Asker;

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The versions, the newest last.
    pub versions: Vec<Version>,
    /// The tags that are not among them, and why.
    pub left: Vec<Left>,
    /// What else a person should know, line by line.
    pub notes: Vec<String>,
}

impl Report {
    /// Writes to the log what a person should hear of; with `Detail::All`, all that was left out.
    pub fn tell(&self, repository: &str, detail: Detail, log: &Log) {
        for note in &self.notes {
            log.line(note);
        }
        let told = self.left.iter().filter(|left| detail == Detail::All || left.reason.is_news());
        for Left { tag, digest, reason } in told {
            let digest = digest.as_ref().map(|digest| format!(" ({})", digest.short())).unwrap_or_default();
            log.line(format_args!("left out: `{repository}:{tag}`{digest}: {reason}"));
        }
    }
}

/// How much of what was left out is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// What keeps a watched tag from being a version.
    News,
    /// Every tag.
    All,
}

/// Finds the versions since `cursor`, oldest first.
pub(super) async fn check(
    source: &Source,
    cursor: Option<Version>,
    context: &Context,
) -> Result<Vec<Version>, Error> {
    let rules = Rules::of(source)?;
    let sources = source.sources(context).await?;
    let ask = async |client: &Client| find(client, source, &rules, cursor.clone()).await;
    let report = sources.ask(ask, |report| !report.versions.is_empty()).await?;
    let detail = if source.debug { Detail::All } else { Detail::News };
    report.tell(&source.repository, detail, &context.log);
    Ok(report.versions)
}

/// Looks for the versions that a check of `source` answers with, and for the reasons of all other
/// tags.
///
/// # Errors
///
/// When the keys do not fit together, or the registry cannot be asked.
pub async fn look(client: &Client, source: &Source, cursor: Option<Version>) -> Result<Report, Error> {
    find(client, source, &Rules::of(source)?, cursor).await
}

async fn find(
    client: &Client,
    source: &Source,
    rules: &Rules,
    cursor: Option<Version>,
) -> Result<Report, Error> {
    let cursor = cursor.map(|cursor| cursor.with_tag(source.usual_tag()));
    let asker = Asker::new(client, source);
    let mut report = match &rules.mode {
        Mode::Tag(tag) => one::look(&asker, rules, tag, cursor.as_ref()).await?,
        Mode::Listing(listing) => many::look(&asker, rules, listing, cursor.as_ref()).await?,
    };
    if let Some(cursor) = &cursor {
        report.versions = stamped(report.versions, cursor, rules.track_moves);
    }
    Ok(report)
}

/// Gives the version that Concourse has back as it was, and a tag that moved since its count.
fn stamped(versions: Vec<Version>, cursor: &Version, is_tracked: bool) -> Vec<Version> {
    let stamp = |version: Version| match version.digest.parse::<Digest>() {
        _ if version.tag != cursor.tag => version,
        _ if version.digest == cursor.digest => cursor.clone(),
        Ok(digest) if is_tracked => cursor.moved_to(&digest),
        _ => version,
    };
    versions.into_iter().map(stamp).collect()
}

/// Decides what it means that `name` is not there: registries forget repositories without tags, and
/// the first image of one may still be being built.
fn missing(name: &str, policy: Option<OnMissing>, usual: OnMissing) -> Result<Report, Error> {
    if policy.unwrap_or(usual) == OnMissing::Error {
        return Err(Error::Missing(name.to_owned()));
    }
    let note = format!("warning: `{name}` is not in the registry, so there is no version of it (yet)");
    Ok(Report { notes: vec![note], ..Report::default() })
}

/// Turns the reason of one tag into an error where a missing version is one.
fn nothing_else(report: Report, name: &str, policy: Option<OnMissing>) -> Result<Report, Error> {
    if report.versions.is_empty() && policy == Some(OnMissing::Error) {
        let reason = report.left.iter().find(|left| left.reason.is_news()).map(|left| left.reason.clone());
        return Err(Error::NoVersion { name: name.to_owned(), reason });
    }
    Ok(report)
}

/// Returns the tag as one that is left out.
fn left(tag: &str, digest: &Digest, reason: Reason) -> Left {
    Left { tag: tag.to_owned(), digest: Some(digest.clone()), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(character: char) -> Digest {
        format!("sha256:{}", character.to_string().repeat(64)).parse().unwrap()
    }

    #[test]
    fn version_that_concourse_has_is_given_back_as_it_was() {
        let cursor = Version { moved: Some("3-abc".to_owned()), ..Version::of("1", &digest('a')) };
        let found = vec![Version::of("0", &digest('b')), Version::of("1", &digest('a'))];
        for is_tracked in [true, false] {
            let stamped = stamped(found.clone(), &cursor, is_tracked);
            assert_eq!(stamped, [Version::of("0", &digest('b')), cursor.clone()]);
        }
    }

    #[test]
    fn moved_tag_is_counted_only_where_moves_are_tracked() {
        let cursor = Version::of("1", &digest('a'));
        let found = vec![cursor.clone(), Version::of("1", &digest('b'))];
        assert_eq!(stamped(found.clone(), &cursor, false), found);
        assert_eq!(stamped(found, &cursor, true), [cursor.clone(), cursor.moved_to(&digest('b'))]);
    }
}
