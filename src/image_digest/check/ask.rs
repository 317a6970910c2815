//! Asks a registry about tags, several at a time.

use futures::stream::{self, StreamExt};

use crate::image::Digest;
use crate::image_digest::broken::Broken;
use crate::image_digest::listing::Found;
use crate::image_digest::reason::{Left, Reason};
use crate::image_digest::{Error, Source};
use crate::registry::{self, Client};

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
            Err(error) if error.is_of_one() => Ok(Head::Broken(crate::failure::chain(&error))),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks about all tags; the answers are in their order.
    pub(super) async fn heads(&self, tags: &[String]) -> Result<Vec<Head>, Error> {
        let mut answers = vec![Head::Gone; tags.len()];
        let mut asked = stream::iter(tags.iter().enumerate())
            .map(async |(place, tag)| (place, tag, self.client.head(tag).await))
            .buffer_unordered(self.parallel);
        let (mut broken, mut gone) = (Broken::default(), 0);
        while let Some((place, tag, answer)) = asked.next().await {
            match answer {
                Ok(Some(digest)) => answers[place] = Head::At(digest),
                Ok(None) => gone += 1,
                Err(error) => {
                    let words = broken.take(tag, error).map_err(|error| self.failed(tag, error))?;
                    answers[place] = Head::Broken(words);
                }
            }
        }
        drop(asked);
        match broken.last_of(tags.len() - gone) {
            Some((tag, error)) => Err(self.failed(&tag, error)),
            None => Ok(answers),
        }
    }

    /// Leaves out an image that the registry says too little of, unless there are too many of them.
    pub(super) fn broken(
        &self,
        found: Found,
        error: registry::Error,
        broken: &mut Broken,
    ) -> Result<Left, Error> {
        let words = broken.take(&found.tag, error).map_err(|error| self.failed(&found.tag, error))?;
        Ok(Left { tag: found.tag, digest: Some(found.digest), reason: Reason::Broken(words) })
    }

    /// Names the tag that could not be asked about.
    pub(super) fn failed(&self, tag: &str, error: registry::Error) -> Error {
        Error::Tag { name: format!("{}:{tag}", self.repository), source: Box::new(error) }
    }
}
