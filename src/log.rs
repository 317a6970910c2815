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

/// Returns text that others wrote as it may go to a terminal: nothing in it moves the cursor, changes
/// colours or the window's title, or turns the direction of what follows. Line breaks and tabs stay.
#[must_use]
pub fn plain(text: &str) -> String {
    let is_ours = |letter: char| matches!(letter, '\n' | '\t');
    text.chars().map(|letter| if is_obeyed(letter) && !is_ours(letter) { ' ' } else { letter }).collect()
}

/// The same on one line: a line break in it begins no line that looks like one of ours.
#[must_use]
pub fn one_line(text: &str) -> String {
    plain(text).replace(['\n', '\t'], " ")
}

/// Returns whether a terminal does something for the letter instead of showing it.
#[must_use]
pub fn is_obeyed(letter: char) -> bool {
    let turns = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    letter.is_control() || turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_commands_no_terminal() {
        let hostile = "a\u{1b}[2J\u{1b}]0;title\u{7}b\u{9b}31m\rc\u{202e}d\u{85}";
        let shown = plain(&format!("first\n\t{hostile}"));
        assert_eq!(shown, "first\n\ta [2J ]0;title b 31m c d ");
        assert_eq!(one_line("a\nb\tc\u{1b}é"), "a b c é");
    }
}
