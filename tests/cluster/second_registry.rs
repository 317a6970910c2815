//! A registry that is not docker-registry: other code, other habits. Started for one test and gone
//! after it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::pushes::{self, Repositories};

/// A running registry.
pub(crate) struct Second {
    process: Child,
    host: String,
}

impl Second {
    /// Starts it, with the API for referrers unless the text is empty.
    pub(crate) fn start(referrers: &str) -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/second-registry");
        let built = "run tests/cluster/second-registry/build";
        let mut command = Command::new(&program);
        command.env_clear().env("REFERRERS", referrers).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{error}: {built}"));
        let mut host = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut host).unwrap();
        Self { process, host: host.trim().to_owned() }
    }

    /// Returns its address.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    fn source(&self, path: &str) -> Value {
        json!({ "repository": format!("{}/{path}", self.host) })
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
#[ignore = "needs tests/cluster/second-registry/build"]
async fn second_registry_takes_serves_and_promotes_images() {
    for referrers in ["", "1"] {
        let second = Second::start(referrers);
        let repositories =
            Repositories { staging: second.source("staging/app"), production: second.source("app") };
        pushes::assert_pushed_and_promoted(&repositories).await;
    }
}
