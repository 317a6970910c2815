//! What `lab up` and `lab down` say while they work: one line for each step, with the time since the start.

use std::io::Write as _;
use std::time::Instant;

/// Prints progress.
pub(crate) struct Progress {
    start: Instant,
}

impl Progress {
    /// Starts the clock.
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    /// Prints one step.
    pub(crate) fn say(&self, line: &str) {
        print(&format!("{:>6.1} s  {line}", self.start.elapsed().as_secs_f64()));
    }
}

/// Prints one line. A reader that has gone away is no reason to stop.
pub(crate) fn print(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
