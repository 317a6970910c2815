//! The tags of a repository, as far as one page of the registry tells them.

use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::{Call, Client, malformed};
use crate::registry::Error;

/// As many as a registry gives at once: whoever misses one of more wants a search, not a list.
const PAGE: usize = 1000;

impl Client {
    /// Returns the tags that one request finds; none when the registry has no such repository.
    ///
    /// # Errors
    /// When the registry cannot be asked, or answers with something else.
    pub async fn tags(&self) -> Result<Vec<String>, Error> {
        let path = format!("v2/{}/tags/list?n={PAGE}", self.repository.path());
        let answer = self.call(&Call { method: Method::GET, path, accept: None }).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(Vec::new());
        }
        let listed: Result<Listed, _> = serde_json::from_slice(&answer.body);
        let listed = listed.map_err(|error| malformed(&answer, format!("not a list of tags: {error}")))?;
        Ok(listed.tags.unwrap_or_default())
    }
}

/// A repository without tags has `null` in some registries.
#[derive(Deserialize)]
struct Listed {
    tags: Option<Vec<String>>,
}
