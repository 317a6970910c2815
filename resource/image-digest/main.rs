//! The `image-digest` resource type as a process.

use std::process::ExitCode;

use rollway::executable;
use rollway::image_digest::ImageDigest;

fn main() -> ExitCode {
    executable::run(ImageDigest, "image-digest", std::env::args_os(), std::env::vars_os())
}
