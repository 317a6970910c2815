//! Rollway turns "a new image is in the registry" into "every pod that should run it runs it, and
//! no request was lost". This crate holds the engines; the binaries only wire them to a process.
//!
//! | module | what it knows | what it must not know |
//! |---|---|---|
//! | [`concourse`] | the check/in/out contract | registries, clusters, the process |
//! | [`registry`] | the distribution API: auth, retry, manifests | Concourse, clusters |
//! | [`image`] | what an image says about itself | where it came from |
//! | [`unpack`] | how layers become a directory | where they come from |
//! | [`probe`] | load and metrics over HTTP | what is probed, and why |
//! | [`kpack`] | kpack's objects as they are served | who asks, and what for |
//! | [`cluster`] | kubeconfig, contexts, the client | what is done with it |
//! | [`image_digest`], [`kpack_trigger`], [`rollout`] | one resource type each | each other |
//! | [`harness`] | how Concourse runs executables and pipelines | what they do |

pub mod cli;
pub mod cluster;
pub mod concourse;
pub mod executable;
pub mod exit;
pub mod failure;
#[cfg(test)]
mod fuzz;
pub mod harness;
pub mod image;
pub mod image_digest;
pub mod kpack;
pub mod kpack_trigger;
pub mod log;
pub mod probe;
pub mod registry;
pub mod rollout;
pub mod unpack;
pub mod yaml;
