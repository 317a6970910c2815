//! What only a real cluster can show: real pods, real traffic, real deaths. Run by `make test`
//! inside `lab exec`; every test makes a namespace of its own and takes it away again.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod drain;
mod images;
mod killed;
mod lies;
mod takeback;
mod world;
