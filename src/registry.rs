//! The distribution API: who to ask, how to log in, when to try again, what came back.
//!
//! This is the only place that names `oci_client` or `reqwest`. `oci_client` gives references and
//! manifest types; the request loop is our own, because `check` has to keep the order of requests,
//! the handling of each status and every retry under control.

mod access;
mod auth;
mod challenge;
mod client;
mod cloud;
mod docker_config;
mod error;
mod identity;
mod limit;
mod manifest;
mod mirror;
mod ping;
mod reference;
mod retry;
mod scope;
mod transport;
mod trust;

pub(crate) use access::{document, list, list_or_nothing, or_default, or_nothing, with_access_keys};
pub(crate) use manifest::{digest_of, named};
pub(crate) use reference::{split_host, without_userinfo};
pub(crate) use trust::trusting;

pub use access::{Access, Ambient, HubMirror, Mirror, secret};
pub use client::{Arrival, Client, Description, Referrer, Sink};
pub use error::{Error, Trouble};
pub use manifest::{Child, Family, Manifest};
pub use mirror::Sources;
pub use reference::{Repository, is_tag, split};
pub use retry::Policy;
pub use scope::Scope;
pub use transport::{Supply, SupplyError};
