//! The real executables against in-process servers: no root, no network but loopback, no cluster.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod cli_diff;
mod cli_digest;
mod cli_history;
mod cli_plan;
mod cli_roll;
mod cli_status;
mod executables_contract;
mod harness_steps;
mod house;
mod image_digest_auth;
mod image_digest_check;
mod image_digest_faults;
mod image_digest_get;
mod image_digest_inputs;
mod image_digest_schema;
mod kpack_manifests;
mod layers;
mod pipelines_load;
mod pipelines_run;
mod probe;
mod registry_client;
mod rollout_access;
mod rollout_check;
mod rollout_endings;
mod rollout_fails_fast;
mod rollout_get;
mod rollout_preflight;
mod rollout_put;
mod rollout_rules;
mod rollout_schema;
mod rollout_sets;
mod rollout_verdicts;
mod rollout_wrong_inputs;
mod support;
