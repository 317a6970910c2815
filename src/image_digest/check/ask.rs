//! Asks a registry about tags, several at a time.

use futures::stream::{self, StreamExt};

use crate::image::Digest;
use crate::image_digest::{Error, Source};
use crate::registry::{self, Client};

/// So many tags may be broken. When there are more, it is the registry that is.
const MOST_BROKEN: usize = 5;

/// What a registry says about a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// It points at this.
    At(Digest),
    /// It is not there.
    Gone,
    /// It is there, and the registry cannot say what it is.
    Broken(String),
}

/// Asks about the tags of one repository.
pub(super) struct Asker<'a> {
    pub(super) client: &'a Client,
    pub(super) repository: &'a str,
    pub(super) parallel: usize,
}

impl<'a> Asker<'a> {
    pub(super) fn new(client: &'a Client, source: &'a Source) -> Self {
        Self { client, repository: &source.repository, parallel: client.parallel() }
    }

    /// Asks about one tag of many: an answer that only concerns the tag is not an error.
    pub(super) async fn head(&self, tag: &str) -> Result<Head, Error> {
        match self.client.head(tag).await {
            Ok(Some(digest)) => Ok(Head::At(digest)),
            Ok(None) => Ok(Head::Gone),
            Err(error) if is_of_the_tag(&error) => Ok(Head::Broken(crate::failure::chain(&error))),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks about all tags; the answers are in their order.
    pub(super) async fn heads(&self, tags: &[String]) -> Result<Vec<Head>, Error> {
        let mut answers = vec![Head::Gone; tags.len()];
        let mut asked = stream::iter(tags.iter().enumerate())
            .map(async |(place, tag)| (place, tag, self.client.head(tag).await))
            .buffer_unordered(self.parallel);
        let (mut broken, mut whole) = (Vec::new(), 0);
        while let Some((place, tag, answer)) = asked.next().await {
            match answer {
                Ok(Some(digest)) => {
                    whole += 1;
                    answers[place] = Head::At(digest);
                }
                Ok(None) => {}
                Err(error) if is_of_the_tag(&error) && broken.len() < MOST_BROKEN => {
                    answers[place] = Head::Broken(crate::failure::chain(&error));
                    broken.push((tag, error));
                }
                Err(error) => return Err(self.failed(tag, error)),
            }
        }
        drop(asked);
        match broken.pop() {
            Some((tag, error)) if whole == 0 => Err(self.failed(tag, error)),
            _ => Ok(answers),
        }
    }

    /// Names the tag that could not be asked about.
    pub(super) fn failed(&self, tag: &str, error: registry::Error) -> Error {
        Error::Tag { name: format!("{}:{tag}", self.repository), source: Box::new(error) }
    }
}

/// Returns whether the registry answered, and the answer says nothing about other tags.
fn is_of_the_tag(error: &registry::Error) -> bool {
    match error {
        registry::Error::Answered { status, .. } => !matches!(status, 401 | 403 | 429),
        registry::Error::Malformed { .. } | registry::Error::Mismatch { .. } => true,
        registry::Error::GaveUp { last, .. } => is_of_the_tag(last),
        _ => false,
    }
}
