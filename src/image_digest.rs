//! The `image-digest` resource type: which digest does a tag point at, and files that name it.

mod broken;
mod check;
mod constraint;
mod content_trust;
mod error;
mod get;
mod listing;
mod metadata;
mod order;
mod pattern;
mod put;
mod reason;
mod rules;
mod semver;
mod source;
mod verify;
mod version;

pub use check::{Detail, Report, look};
pub use content_trust::ContentTrust;
pub use error::Error;
pub use get::GetParams;
pub use put::{Error as PutError, PutFrom, PutParams};
pub use reason::{Left, Reason};
pub use source::Source;
pub use version::Version;

use crate::concourse::{Context, Resource, Response};
use crate::failure::Failure;

/// The resource type.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImageDigest;

impl Resource for ImageDigest {
    type Source = Source;
    type Version = Version;
    type GetParams = GetParams;
    type PutParams = PutParams;

    async fn check(
        &self,
        source: Source,
        cursor: Option<Version>,
        context: &Context,
    ) -> Result<Vec<Version>, Failure> {
        Ok(check::check(&source, cursor, context).await?)
    }

    async fn get(
        &self,
        source: Source,
        version: Version,
        params: GetParams,
        context: &Context,
    ) -> Result<Response<Version>, Failure> {
        Ok(get::get(&source, version, &params, context).await?)
    }

    async fn put(
        &self,
        source: Source,
        params: PutParams,
        context: &Context,
    ) -> Result<Response<Version>, Failure> {
        content_trust::refuse(source.content_trust.as_ref())?;
        Ok(put::put(&source, &params, context).await?)
    }
}
