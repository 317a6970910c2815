//! What Concourse remembers of a rollout.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::image::Digest;
use crate::rollout::Running;

/// One state that a Deployment was in. The revision makes going back to an earlier digest a new
/// version; the uid keeps a re-created Deployment from being taken for the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// The digest that runs on every pod.
    pub digest: Digest,
    /// The Deployment's own revision (`deployment.kubernetes.io/revision`).
    pub revision: String,
    /// The Deployment's uid.
    pub uid: String,
}

impl From<&Running> for Version {
    fn from(running: &Running) -> Self {
        Self {
            digest: running.image.digest.clone(),
            revision: running.revision.clone(),
            uid: running.uid.clone(),
        }
    }
}
