//! A rollout on a terminal: a small table that is drawn in place, under lines that stay.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::log::one_line;
use crate::rollout::report::{Progress, Reporter};

/// How wide the bar of ready pods is.
const WIDTH: usize = 24;
/// More pods than this that do not come up show nothing new.
const SUSPECTS: usize = 4;

/// A table that moves, under lines that stay.
pub struct Live {
    bar: ProgressBar,
}

impl Live {
    /// Starts to draw; `title` names what is rolled.
    #[must_use]
    pub fn start(title: &str) -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}  {elapsed}{msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(title.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar }
    }
}

impl Reporter for Live {
    fn line(&self, text: &str) {
        let seconds = self.bar.elapsed().as_secs_f64();
        self.bar.println(format!("{seconds:>5.1}s  {}", one_line(text)));
    }

    fn look(&self, progress: &Progress) {
        // The rows are one message, so that they are drawn at once or not at all.
        let rows: String = rows(progress).iter().map(|row| format!("\n    {}", one_line(row))).collect();
        if self.bar.message() != rows {
            self.bar.set_message(rows);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Returns the rows of the table.
fn rows(progress: &Progress) -> Vec<String> {
    let Progress { wanted, new, ready, old, detached, ending, restarts, .. } = progress;
    let filled = if *wanted == 0 { 0 } else { ready.min(wanted) * WIDTH / wanted };
    let bar = format!("{}{}", "█".repeat(filled), "░".repeat(WIDTH - filled));
    let mut rows = vec![format!("new     {bar} {ready}/{wanted} ready, {new} there")];
    let mut row = format!("old     {old} serving");
    if *detached > 0 {
        row = format!("old     {} serving, {detached} out of service", old.saturating_sub(*detached));
    }
    if *ending > 0 {
        row.push_str(&format!(", {ending} ending"));
    }
    rows.push(row);
    rows.extend(progress.routed.map(|routed| format!("routed  {routed} of {wanted} new pods get traffic")));
    if *restarts > 0 {
        rows.push(format!("starts  {restarts} again after an end"));
    }
    rows.extend(progress.suspects.iter().take(SUSPECTS).map(|suspect| format!("stuck   {suspect}")));
    if progress.suspects.len() > SUSPECTS {
        rows.push(format!("stuck   and {} more", progress.suspects.len() - SUSPECTS));
    }
    if !progress.lack.is_empty() {
        rows.push(format!("waits   {}", progress.lack));
    }
    rows.extend(progress.left.map(|left| format!("left    about {} s", left.as_secs())));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_say_what_is_there_and_leave_out_what_is_not() {
        let start = Progress { wanted: 4, new: 1, old: 4, ..Progress::default() };
        assert_eq!(
            rows(&start),
            ["new     ░░░░░░░░░░░░░░░░░░░░░░░░ 0/4 ready, 1 there", "old     4 serving"]
        );
        let middle = Progress {
            wanted: 4,
            new: 4,
            ready: 2,
            old: 4,
            detached: 1,
            ending: 1,
            restarts: 3,
            routed: Some(2),
            suspects: (0..6).map(|pod| format!("app-{pod} CrashLoopBackOff")).collect(),
            left: Some(Duration::from_secs(30)),
            lack: "2 of 4 new pods ready".to_owned(),
        };
        insta::assert_snapshot!(rows(&middle).join("\n"), @r"
    new     ████████████░░░░░░░░░░░░ 2/4 ready, 4 there
    old     3 serving, 1 out of service, 1 ending
    routed  2 of 4 new pods get traffic
    starts  3 again after an end
    stuck   app-0 CrashLoopBackOff
    stuck   app-1 CrashLoopBackOff
    stuck   app-2 CrashLoopBackOff
    stuck   app-3 CrashLoopBackOff
    stuck   and 2 more
    waits   2 of 4 new pods ready
    left    about 30 s
    ");
    }
}
