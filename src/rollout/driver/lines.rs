//! A rollout told in lines, for a log that only grows: what changed, and a sign of life when nothing did.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::log::{Log, one_line};
use crate::rollout::report::{Progress, Reporter};

/// How long the log may be silent.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Writes each line with the time since the start. What is said over and over is said once, with how
/// often when something else comes.
pub struct Lines {
    log: Log,
    /// Before each line, where several workloads tell at once.
    prefix: String,
    started: Instant,
    said: Mutex<Said>,
}

struct Said {
    /// The last look in words, and when it was written.
    look: (String, Instant),
    /// The last line, and how often it was kept back since.
    line: (String, usize),
}

impl Lines {
    /// Returns a reporter that starts to count now.
    #[must_use]
    pub fn to(log: Log) -> Self {
        let now = Instant::now();
        let said = Said { look: (String::new(), now), line: (String::new(), 0) };
        Self { log, prefix: String::new(), started: now, said: Mutex::new(said) }
    }

    /// Returns a reporter that begins each line with the workload's name.
    #[must_use]
    pub fn of(log: Log, name: &str) -> Self {
        let mut lines = Self::to(log);
        lines.prefix = format!("{name}: ");
        lines
    }

    fn write(&self, text: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        self.log.line(format_args!("{seconds:>5.1}s  {}{}", self.prefix, one_line(text)));
    }

    /// Says how often the last line was kept back.
    fn settle(&self, said: &mut Said) {
        if said.line.1 > 0 {
            self.write(&format!("{} (×{} more)", said.line.0, said.line.1));
            said.line.1 = 0;
        }
    }
}

impl Reporter for Lines {
    fn line(&self, text: &str) {
        let Ok(mut said) = self.said.lock() else { return };
        if said.line.0 == text {
            said.line.1 += 1;
            return;
        }
        self.settle(&mut said);
        text.clone_into(&mut said.line.0);
        self.write(text);
    }

    fn look(&self, progress: &Progress) {
        let Ok(mut said) = self.said.lock() else { return };
        let words = progress.to_string();
        if said.look.0 == words && said.look.1.elapsed() < HEARTBEAT {
            return;
        }
        self.settle(&mut said);
        self.write(&words);
        said.look = (words, Instant::now());
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if let Ok(mut said) = self.said.lock() {
            let count = std::mem::take(&mut said.line.1);
            if count > 0 {
                self.write(&format!("{} (×{count} more)", said.line.0));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Returns what is written, without the times.
    fn told(tell: impl FnOnce(&Lines)) -> Vec<String> {
        let sink = Sink::default();
        let lines = Lines::to(Log::to(sink.clone()));
        tell(&lines);
        drop(lines);
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| line.split_once("s  ").unwrap().1.to_owned()).collect()
    }

    #[test]
    fn a_line_that_is_said_over_and_over_is_written_once_and_counted() {
        let told = told(|lines| {
            for line in ["asking again", "asking again", "asking again", "done"] {
                lines.line(line);
            }
        });
        assert_eq!(told, ["asking again", "asking again (×2 more)", "done"]);
    }

    #[test]
    fn looks_are_written_when_they_differ() {
        let look = |ready| Progress { wanted: 2, ready, ..Progress::default() };
        let told = told(|lines| {
            lines.look(&look(0));
            lines.look(&look(0));
            lines.look(&look(1));
            lines.line("end");
            lines.line("end");
        });
        let looks = ["new 0/2 ready, old 0", "new 1/2 ready, old 0"];
        assert_eq!(told, [looks[0], looks[1], "end", "end (×1 more)"]);
    }
}
