//! What Concourse remembers of a rollout.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::image::Digest;
use crate::rollout::several::Together;

/// One state that a Deployment was in. The revision makes going back to an earlier digest a new
/// version; the uid keeps a re-created Deployment from being taken for the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// The digest that runs on every pod.
    pub digest: Digest,
    /// The workload's own revision; of several, the revision of each (`a=12,b=7`), or a hash of more
    /// than ten.
    pub revision: String,
    /// The workload's uid; of several, a hash of their uids.
    pub uid: String,
}

impl From<Together> for Version {
    fn from(Together { digest, revision, uid }: Together) -> Self {
        Self { digest, revision, uid }
    }
}
