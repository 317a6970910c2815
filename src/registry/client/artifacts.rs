//! What belongs to an image without being a part of it: manifests that refer to it, and small
//! documents such as signatures.

use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::{Call, Client, digest_of, matching};
use crate::image::Digest;
use crate::registry::Error;

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
        let path = format!("v2/{}/referrers/{digest}", self.repository.path());
        match self.call(&Call { method: Method::GET, path, accept: None }).await {
            Ok(answer) if answer.status != StatusCode::NOT_FOUND => {
                if let Some(referrers) = listed(&answer.body) {
                    return Ok(referrers);
                }
            }
            // Registries that do not know the API say so in many ways.
            Ok(_) | Err(Error::Answered { status: 400 | 404 | 405 | 406 | 501, .. }) => {}
            Err(error) => return Err(error),
        }
        let tag = digest.as_str().replace(':', "-");
        let manifest = self.manifest(&tag).await?;
        Ok(manifest.and_then(|manifest| listed(&manifest.bytes)).unwrap_or_default())
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
