//! The `kpack-trigger` resource type: check tells which builds of a kpack Image there are, get what one
//! of them was, put has a build made and waits for its verdict. kpack's own objects are in `kpack`.
//!
//! | module | what it decides | I/O |
//! |---|---|---|
//! | `source`, `order`, `manifest` | what is asked | the last reads a file of the step |
//! | [`version`] | which builds are new | none |
//! | [`patch`] | what is written | none |
//! | [`mine`] | which build is the one that was asked for | none |
//! | [`follow`] | how a build that is watched stands, and what is worth saying | none |
//! | [`mask`] | what of a build's log is not told | none |
//! | [`cause`], [`report`], [`stage`] | whose fault a failure is, and the words | none |
//! | [`driver`] | nothing | all |

use crate::concourse::{Context, Resource, Response};
use crate::failure::Failure;

pub mod cause;
mod check;
pub mod driver;
mod error;
pub mod follow;
mod get;
mod manifest;
pub mod mask;
pub mod mine;
pub mod order;
pub mod patch;
mod put;
pub mod record;
pub mod report;
mod revision;
mod source;
pub mod stage;
pub mod tail;
pub mod version;
mod wrong;

pub use error::Error;
pub use get::GetParams;
pub use order::Order;
pub use put::PutParams;
pub use source::{Source, is_image_name};
pub use version::Version;
pub use wrong::Wrong;

/// The resource type.
#[derive(Clone, Copy, Debug)]
pub struct KpackTrigger;

impl Resource for KpackTrigger {
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
        check::run(&source, cursor.as_ref(), context).await
    }

    async fn get(
        &self,
        source: Source,
        version: Version,
        params: GetParams,
        context: &Context,
    ) -> Result<Response<Version>, Failure> {
        get::run(&source, version, params, context).await
    }

    async fn put(
        &self,
        source: Source,
        params: PutParams,
        context: &Context,
    ) -> Result<Response<Version>, Failure> {
        put::run(&source, &params, context).await
    }
}
