//! What only a real cluster can show: real pods, real traffic, real deaths. Run by `make test`
//! inside `lab exec`; every test makes a namespace of its own and takes it away again.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod chaos;
mod cosign;
mod cost;
mod counter;
mod dashboard;
mod drain;
mod faces;
mod fake_node;
mod faults;
mod images;
mod killed;
mod kpack_causes;
mod kpack_fleet;
mod kpack_sidecar;
mod kpack_trigger;
mod kpack_versions;
mod kpack_yard;
mod lies;
mod prometheus;
mod proxy;
mod pushes;
mod registries;
mod rollback;
mod second_registry;
mod sets;
mod several;
mod takeback;
mod watched;
mod world;
