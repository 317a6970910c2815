//! The one way to stderr: append-only lines, in colour where Concourse or a terminal shows it.
//! What is said is decided elsewhere; this only writes it.

use std::io::Write;
use std::sync::{Arc, Mutex};

/// A line writer that engines share; clones write to the same place.
#[derive(Clone)]
pub struct Log {
    sink: Arc<Mutex<dyn Write + Send>>,
}

impl Log {
    /// Returns a log that appends to `sink`.
    pub fn to(sink: impl Write + Send + 'static) -> Self {
        Self { sink: Arc::new(Mutex::new(sink)) }
    }

    /// Writes one line. A closed stderr is not a reason to stop a rollout, so errors are dropped.
    pub fn line(&self, line: impl std::fmt::Display) {
        if let Ok(mut sink) = self.sink.lock() {
            let _ = writeln!(sink, "{line}");
            let _ = sink.flush();
        }
    }
}
