//! What the tests stand on: [`toolkit`] runs executables in an environment that is empty but for
//! what the test names; [`registry`], [`tokens`], [`clouds`] and [`apiserver`] are servers in this
//! process, with faults on demand.

pub(crate) mod apiserver;
pub(crate) mod clouds;
pub(crate) mod images;
pub(crate) mod kpack;
pub(crate) mod line;
pub(crate) mod papers;
pub(crate) mod registry;
pub(crate) mod sets;
pub(crate) mod shop;
pub(crate) mod tokens;
pub(crate) mod toolkit;
