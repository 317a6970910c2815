//! The `kpack-trigger` resource type as a process.

use std::process::ExitCode;

use rollway::executable;
use rollway::kpack_trigger::KpackTrigger;

fn main() -> ExitCode {
    executable::run(KpackTrigger, "kpack-trigger", std::env::args_os(), std::env::vars_os())
}
