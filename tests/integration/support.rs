//! What the tests stand on: [`toolkit`] runs executables in an environment that is empty but for
//! what the test names.

pub(crate) mod apiserver;
pub(crate) mod shop;
pub(crate) mod toolkit;
