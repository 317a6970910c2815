//! The check/in/out contract as Concourse really keeps it: requests, responses, the build's
//! environment. It knows no registry, no cluster and no process.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::{BoxFuture, Shared};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::log::Log;

pub mod metadata;
pub mod request;
pub mod response;
pub mod step;

use metadata::Variables;

pub use request::Request;
pub use step::Step;

/// Resolves when Concourse (or a person) asks the step to stop.
pub type Interrupted = Shared<BoxFuture<'static, ()>>;

/// What a step gets from its surroundings.
#[derive(Clone)]
pub struct Context {
    /// Concourse's `argv[1]`: where `in` writes and what `out` reads; params' paths are relative to it.
    pub directory: PathBuf,
    /// The build that runs the step, as far as Concourse tells.
    pub build: Build,
    /// The environment.
    pub variables: Arc<Variables>,
    /// Where progress goes.
    pub log: Log,
    /// Resolves on SIGTERM.
    pub interrupted: Interrupted,
}

/// The build metadata of the environment; empty strings where Concourse gave none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Build {
    /// `BUILD_URL`, or the parts of it that are known.
    pub url: String,
    /// `team/pipeline/job #name`, as far as known.
    pub label: String,
}

/// One name and value under a version in Concourse's page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// The left column.
    pub name: String,
    /// The right column; Concourse refuses anything but a string.
    pub value: String,
}

/// What `in` and `out` answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Response<V> {
    /// The version fetched or made.
    pub version: V,
    /// What people see beside it.
    pub metadata: Vec<Field>,
}

/// A resource type: three steps over typed requests.
pub trait Resource {
    /// The `source` of the pipeline.
    type Source: DeserializeOwned + JsonSchema;
    /// The version; all its values are strings.
    type Version: DeserializeOwned + Serialize + JsonSchema;
    /// The `params` of a get.
    type GetParams: DeserializeOwned + Default + JsonSchema;
    /// The `params` of a put.
    type PutParams: DeserializeOwned + JsonSchema;

    /// Finds the versions since `cursor`, oldest first.
    fn check(
        &self,
        source: Self::Source,
        cursor: Option<Self::Version>,
        context: &Context,
    ) -> impl Future<Output = Result<Vec<Self::Version>, Failure>>;

    /// Writes `version` into the context's directory.
    fn get(
        &self,
        source: Self::Source,
        version: Self::Version,
        params: Self::GetParams,
        context: &Context,
    ) -> impl Future<Output = Result<Response<Self::Version>, Failure>>;

    /// Makes a new version from what is in the context's directory.
    fn put(
        &self,
        source: Self::Source,
        params: Self::PutParams,
        context: &Context,
    ) -> impl Future<Output = Result<Response<Self::Version>, Failure>>;
}

/// A version as Concourse stores it, for code that handles any resource type.
pub type AnyVersion = BTreeMap<String, String>;
