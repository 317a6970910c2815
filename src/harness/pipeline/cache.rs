//! What gets fetched, kept by everything that decides what it is: type, source, params and the
//! version that was asked for. `in` runs once for each.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::concourse::{AnyVersion, Field};
use crate::harness::payload::Payload;
use crate::harness::{Error, on};

/// A directory of what was fetched.
pub struct Cache {
    folder: PathBuf,
}

/// What `in` answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The version.
    pub version: AnyVersion,
    /// What goes with it.
    pub metadata: Vec<Field>,
}

/// A place in the cache.
pub struct Entry {
    folder: PathBuf,
}

impl Cache {
    /// Returns the cache in `folder`.
    #[must_use]
    pub fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Returns the place of what `payload` asks of the type `kind`.
    #[must_use]
    pub fn entry(&self, kind: &str, payload: &Payload) -> Entry {
        let Payload { source, params, version } = payload;
        // The key is a hash because a source holds credentials.
        let key = Sha256::digest(json!([kind, source, params, version]).to_string());
        let name: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        Entry { folder: self.folder.join(name) }
    }
}

impl Entry {
    /// Returns where the files are.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.folder.join("files")
    }

    /// Returns the answer, if it is there.
    #[must_use]
    pub fn answer(&self) -> Option<Answer> {
        let text = std::fs::read(self.folder.join("answer.json")).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Makes `files`, fetched into a directory of their own, the entry's: all of them or none.
    ///
    /// # Errors
    ///
    /// When they cannot be moved.
    pub fn keep(&self, files: &Path, answer: &Answer) -> Result<(), Error> {
        // A get of the same thing may have been faster; what it kept is as good.
        if self.answer().is_some() {
            return Ok(());
        }
        std::fs::create_dir_all(&self.folder).map_err(on("create", &self.folder))?;
        let target = self.files();
        if target.exists() {
            std::fs::remove_dir_all(&target).map_err(on("replace", &target))?;
        }
        std::fs::rename(files, &target).map_err(on("move", files))?;
        let path = self.folder.join("answer.json");
        let text = serde_json::to_vec(answer).map_err(|error| on("write", &path)(error.into()))?;
        std::fs::write(&path, text).map_err(on("write", &path))
    }
}
