//! What is kept of a log that is streamed: its last lines, and where to go on after a connection that
//! was cut. However long the log, this stays small. Pure.

use std::cmp::Ordering;
use std::collections::VecDeque;

use k8s_openapi::jiff::Timestamp;

/// How many lines a failure is told with.
pub const LINES: usize = 30;
/// How much of one line is kept.
const WIDTH: usize = 2_000;

/// The last lines of the step that runs.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    step: String,
    lines: VecDeque<String>,
}

impl Tail {
    /// Begins with another step.
    pub fn begin(&mut self, step: &str) {
        step.clone_into(&mut self.step);
        self.lines.clear();
    }

    /// Keeps one line more, and drops the oldest.
    pub fn push(&mut self, line: &str) {
        let oldest = (self.lines.len() == LINES).then(|| self.lines.pop_front()).flatten();
        let mut kept = oldest.unwrap_or_default();
        let end = line.char_indices().nth(WIDTH).map_or(line.len(), |(at, _)| at);
        line[..end].clone_into(&mut kept);
        self.lines.push_back(kept);
    }

    /// Returns the last lines of `step`, if that is the one.
    #[must_use]
    pub fn of(&self, step: &str) -> Option<Vec<String>> {
        (self.step == step && !self.lines.is_empty()).then(|| self.lines.iter().cloned().collect())
    }
}

/// How far a container's log has been read. Lines come with the time at which the runtime took them;
/// a log can be asked for from a second on, and so some lines come twice.
#[derive(Clone, Debug, Default)]
pub struct Position {
    /// The newest time of a line.
    last: String,
    /// Where the connection before ended: up to there lines may come again.
    resumed: String,
    /// How many lines of that very time were read.
    count: usize,
    /// How many lines of that very time came again.
    again: usize,
}

impl Position {
    /// Returns the time to ask from, once something was read: a whole second, because it is rounded to one on its way,
    /// and must not be rounded up past lines that were never read.
    pub fn since(&mut self) -> Option<Timestamp> {
        self.again = 0;
        self.resumed.clone_from(&self.last);
        let last: Timestamp = self.last.parse().ok()?;
        Timestamp::from_second(last.as_second()).ok()
    }

    /// Takes the time off a line; `None` when the line was read before.
    pub fn take<'a>(&mut self, line: &'a str) -> Option<&'a str> {
        let Some((time, text)) = line.split_once(' ').filter(|(time, _)| is_time(time)) else {
            // An empty line has no space after its time.
            return if is_time(line) { self.is_new(line).then_some("") } else { Some(line) };
        };
        self.is_new(time).then_some(text)
    }

    fn is_new(&mut self, time: &str) -> bool {
        match order(time, &self.resumed) {
            Ordering::Less => return false,
            Ordering::Equal => {
                self.again += 1;
                let is_new = self.again > self.count;
                self.count = self.count.max(self.again);
                return is_new;
            }
            Ordering::Greater => {}
        }
        match order(time, &self.last) {
            // stdout and stderr are stamped by two writers: their lines need not be in order.
            Ordering::Less => {}
            Ordering::Equal => self.count += 1,
            Ordering::Greater => {
                time.clone_into(&mut self.last);
                self.count = 1;
            }
        }
        true
    }
}

/// Compares two times of one clock; the runtime leaves out zeros at the end of the fraction.
fn order(one: &str, other: &str) -> Ordering {
    fn parts(time: &str) -> (&str, &str) {
        let time = time.trim_end_matches('Z');
        let (seconds, fraction) = time.split_once('.').unwrap_or((time, ""));
        (seconds, fraction.trim_end_matches('0'))
    }
    parts(one).cmp(&parts(other))
}

fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 20 && bytes[0].is_ascii_digit() && bytes[4] == b'-' && bytes[10] == b'T'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_the_step_that_failed_are_kept() {
        let mut tail = Tail::default();
        tail.begin("detect");
        tail.push("old");
        tail.begin("build");
        for number in 0..100 {
            tail.push(&number.to_string());
        }
        let lines = tail.of("build").unwrap();
        assert_eq!((lines.len(), lines[0].as_str(), lines[29].as_str()), (30, "70", "99"));
        assert_eq!(tail.of("detect"), None);
        tail.push(&"x".repeat(100_000));
        assert_eq!(tail.of("build").unwrap()[29].len(), WIDTH);
    }

    #[test]
    fn lines_that_come_again_after_a_cut_are_said_once() {
        let mut position = Position::default();
        assert_eq!(position.since(), None);
        let first = ["2026-01-02T03:04:05.1Z a", "2026-01-02T03:04:05.2Z b", "2026-01-02T03:04:05.2Z b"];
        for line in first {
            assert!(position.take(line).is_some(), "{line}");
        }
        assert!(position.since().is_some());
        let again = [
            "2026-01-02T03:04:05.1Z a",
            "2026-01-02T03:04:05.2Z b",
            "2026-01-02T03:04:05.2Z b",
            "2026-01-02T03:04:05.2Z c",
            "2026-01-02T03:04:05.25Z d",
        ];
        let said: Vec<&str> = again.iter().filter_map(|line| position.take(line)).collect();
        assert_eq!(said, ["c", "d"]);
        position.since();
        assert_eq!(position.take("2026-01-02T03:04:05.25Z d"), None);
        assert_eq!(position.take("2026-01-02T03:04:05.250000001Z e"), Some("e"));
    }

    #[test]
    fn a_log_goes_on_from_a_second_that_has_begun() {
        let mut position = Position::default();
        assert!(position.take("2026-01-02T03:04:05.9Z a").is_some());
        assert_eq!(position.since().unwrap().to_string(), "2026-01-02T03:04:05Z");
    }

    #[test]
    fn lines_of_two_writers_need_not_be_in_order() {
        let mut position = Position::default();
        position.since();
        let lines = ["2026-01-02T03:04:05.2Z b", "2026-01-02T03:04:05.1Z a", "2026-01-02T03:04:05.2Z c"];
        assert_eq!(lines.map(|line| position.take(line)), [Some("b"), Some("a"), Some("c")]);
    }

    #[test]
    fn lines_without_a_time_and_lines_without_text_are_lines() {
        let mut position = Position::default();
        assert_eq!(position.take("no time here"), Some("no time here"));
        assert_eq!(position.take("2026-01-02T03:04:05Z"), Some(""));
        assert_eq!(position.take("2026-01-02T03:04:05Z "), Some(""));
    }
}
