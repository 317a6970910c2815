//! The `rollway` binary: hands the process to the command line in `cli.rs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let executable = std::env::current_exe().ok();
    rollway::cli::main(std::env::args_os(), std::env::vars_os(), executable)
}
