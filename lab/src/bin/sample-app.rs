//! The sample application: what runs in the containers of app-foo, app-bar and app-baz.
//! Everything but the reading of the environment is in `rollway_lab::app`.

use std::process::ExitCode;

use rollway_lab::app;

fn main() -> ExitCode {
    app::run(
        std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?))),
    )
}
