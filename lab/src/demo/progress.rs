//! Lines that tell what the demo does, on stderr, each with the time since it began.

use std::fmt::Display;
use std::io::Write as _;
use std::time::{Duration, Instant};

use super::outcome::grouped;
use crate::load::Load;

/// The demo's narrator.
pub(super) struct Progress {
    began: Instant,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { began: Instant::now() }
    }

    /// Writes one line.
    pub(super) fn say(&self, text: impl Display) {
        // A demo whose terminal went away still has a report to write.
        let _ = writeln!(std::io::stderr(), "{:6.1} s  {text}", self.began.elapsed().as_secs_f64());
    }

    /// Returns how long the demo has been running.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

/// Sums up what loads have sent and lost so far.
pub(super) fn so_far(loads: &[Load]) -> String {
    let counts = loads.iter().flat_map(Load::so_far);
    let (requests, lost) =
        counts.fold((0, 0), |(requests, lost), (_, more, gone)| (requests + more, lost + gone));
    format!("{} requests, {} lost", grouped(requests), grouped(lost))
}
