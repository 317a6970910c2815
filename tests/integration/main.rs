//! The real executables against in-process servers: no root, no network but loopback, no cluster.

mod executables_contract;
mod layers;
mod rollout_access;
mod rollout_check;
mod rollout_get;
mod rollout_wrong_inputs;
mod support;
