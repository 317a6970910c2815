//! The real executables against in-process servers: no root, no network but loopback, no cluster.

mod executables_contract;
mod harness_steps;
mod layers;
mod support;
