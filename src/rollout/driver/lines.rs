//! A rollout told in lines, for a log that only grows: what changed, and a sign of life when nothing did.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::log::Log;
use crate::rollout::report::{Progress, Reporter};

/// How long the log may be silent.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Writes each line with the time since the start.
pub struct Lines {
    log: Log,
    started: Instant,
    last: Mutex<(String, Instant)>,
}

impl Lines {
    /// Returns a reporter that starts to count now.
    #[must_use]
    pub fn to(log: Log) -> Self {
        let now = Instant::now();
        Self { log, started: now, last: Mutex::new((String::new(), now)) }
    }
}

impl Reporter for Lines {
    fn line(&self, text: &str) {
        self.log.line(format_args!("{:>5.1}s  {text}", self.started.elapsed().as_secs_f64()));
    }

    fn look(&self, progress: &Progress) {
        let Ok(mut last) = self.last.lock() else { return };
        let words = progress.to_string();
        if last.0 == words && last.1.elapsed() < HEARTBEAT {
            return;
        }
        *last = (words.clone(), Instant::now());
        drop(last);
        self.line(&words);
    }
}
