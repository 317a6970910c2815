//! What belongs to an image without being a part of it: manifests that refer to it, and small
//! documents such as signatures.

use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::tags::next;
use super::{Call, Client, digest_of, malformed, matching};
use crate::image::Digest;
use crate::registry::Error;

/// More pages than this are a registry that does not stop.
const MOST_PAGES: usize = 100;

/// A manifest that refers to an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    /// The digest of the manifest.
    pub digest: Digest,
    /// What it is; empty where the registry does not say.
    pub artifact_type: String,
}

impl Client {
    /// Returns what refers to `digest`. A registry without the API for it has a tag that lists them.
    ///
    /// # Errors
    /// When the registry cannot be asked.
    pub async fn referrers(&self, digest: &Digest) -> Result<Vec<Referrer>, Error> {
        if let Some(referrers) = self.pages_of_referrers(digest).await? {
            return Ok(referrers);
        }
        let tag = digest.as_str().replace(':', "-");
        let manifest = self.manifest(&tag).await?;
        Ok(manifest.and_then(|manifest| listed(&manifest.bytes)).unwrap_or_default())
    }

    /// Returns what the API for it lists, page by page; `None` when the registry has none.
    async fn pages_of_referrers(&self, digest: &Digest) -> Result<Option<Vec<Referrer>>, Error> {
        let mut path = format!("v2/{}/referrers/{digest}", self.repository.path());
        let mut found = Vec::new();
        for page in 1..=MOST_PAGES {
            let is_first = page == 1;
            let answer = match self.call(&Call { method: Method::GET, path, accept: None }).await {
                Ok(answer) => answer,
                // Registries that do not know the API say so in many ways.
                Err(Error::Answered { status: 400 | 404 | 405 | 406 | 501, .. }) if is_first => break,
                Err(error) => return Err(error),
            };
            match listed(&answer.body) {
                Some(referrers) => found.extend(referrers),
                None if is_first => break,
                None => return Err(malformed(&answer, "not the rest of the list of referrers".to_owned())),
            }
            match next(&answer)? {
                Some(_) if page == MOST_PAGES => {
                    return Err(malformed(&answer, "the list of referrers has no end".to_owned()));
                }
                Some(more) => path = more,
                None => return Ok(Some(found)),
            }
        }
        Ok(None)
    }

    /// Returns a blob that fits into memory, such as a signature; `None` when the registry does not
    /// have it.
    ///
    /// # Errors
    /// When the registry cannot be asked, or serves something else than the digest names.
    pub async fn small_blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Error> {
        let path = format!("v2/{}/blobs/{digest}", self.repository.path());
        let answer = self.call(&Call { method: Method::GET, path, accept: None }).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        matching(digest.as_str(), digest_of(&answer.body), &answer)?;
        Ok(Some(answer.body))
    }
}

fn listed(index: &[u8]) -> Option<Vec<Referrer>> {
    #[derive(Deserialize)]
    struct Index {
        manifests: Vec<Entry>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Entry {
        digest: Digest,
        #[serde(default)]
        artifact_type: String,
    }

    let index: Index = serde_json::from_slice(index).ok()?;
    let referrer = |entry: Entry| Referrer { digest: entry.digest, artifact_type: entry.artifact_type };
    Some(index.manifests.into_iter().map(referrer).collect())
}
