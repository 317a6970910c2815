//! What the tests stand on: [`toolkit`] runs executables in an environment that is empty but for
//! what the test names; [`registry`] and [`apiserver`] are servers in this process, with faults on
//! demand.

pub(crate) mod apiserver;
pub(crate) mod kpack;
pub(crate) mod registry;
pub(crate) mod sets;
pub(crate) mod shop;
pub(crate) mod toolkit;
