//! The `kpack-trigger` resource type: not built yet, and its executables say so.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::concourse::{AnyVersion, Context, Resource, Response};
use crate::failure::{Explain, Failure};

/// The resource type.
pub struct KpackTrigger;

/// Any source: none of its keys means anything yet.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
pub struct Source(Map<String, Value>);

/// The answer of every step.
#[derive(Debug, thiserror::Error)]
#[error("kpack-trigger is not built yet: this version of rollway cannot {0}")]
pub struct NotBuilt(&'static str);

impl Explain for NotBuilt {
    fn hint(&self) -> Option<String> {
        Some("watch the image that kpack publishes with the `image-digest` resource instead".to_owned())
    }
}

impl Resource for KpackTrigger {
    type Source = Source;
    type Version = AnyVersion;
    type GetParams = Source;
    type PutParams = Source;

    async fn check(&self, _: Source, _: Option<AnyVersion>, _: &Context) -> Result<Vec<AnyVersion>, Failure> {
        Err(NotBuilt("watch kpack builds").into())
    }

    async fn get(
        &self,
        _: Source,
        _: AnyVersion,
        _: Source,
        _: &Context,
    ) -> Result<Response<AnyVersion>, Failure> {
        Err(NotBuilt("fetch a kpack build").into())
    }

    async fn put(&self, _: Source, _: Source, _: &Context) -> Result<Response<AnyVersion>, Failure> {
        Err(NotBuilt("start a kpack build").into())
    }
}
