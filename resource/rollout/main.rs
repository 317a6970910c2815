//! The `rollout` resource type as a process.

use std::process::ExitCode;

use rollway::executable;
use rollway::rollout::resource::Rollout;

fn main() -> ExitCode {
    executable::run(Rollout, "rollout", std::env::args_os(), std::env::vars_os())
}
