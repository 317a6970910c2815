//! A rollout on a terminal: a small table that is drawn in place, under lines that stay.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::rollout::report::{Progress, Reporter};

/// A last line that moves, under lines that stay.
pub struct Live {
    bar: ProgressBar,
}

impl Live {
    /// Starts to draw.
    #[must_use]
    pub fn start() -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>4} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar }
    }
}

impl Reporter for Live {
    fn line(&self, text: &str) {
        let seconds = self.bar.elapsed().as_secs_f64();
        self.bar.println(format!("{seconds:>5.1}s  {text}"));
    }

    fn look(&self, progress: &Progress) {
        self.bar.set_message(progress.to_string());
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
