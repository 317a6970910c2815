//! What a build's log must not tell: kpack's own `prepare` prints the variables of the Image that
//! changed with their values, and Git repeats URLs with their passwords. Line by line, and nothing of
//! a log is kept. What a source's own build prints is its own matter. Pure.

use std::borrow::Cow;

use crate::kpack::{without_secrets, without_userinfo};

/// What stands where a value stood.
const REDACTED: &str = "((redacted))";
/// The key whose values are taken out.
const VALUE: &str = "value:";
/// A line that is as long as this may be the first piece of a longer one.
const PIECE: usize = 60_000;

/// Masks the log of one step, however often the connection that it comes by is made again.
#[derive(Debug)]
pub struct Mask {
    /// Whether it is the step that prints variables and runs nobody's code.
    is_kpacks: bool,
    /// How far the value is indented whose lines come now.
    inside: Option<usize>,
    /// Whether the line before was only a piece of a value.
    is_cut: bool,
}

impl Mask {
    /// Begins with a step.
    #[must_use]
    pub fn of(step: &str) -> Self {
        Self { is_kpacks: step == "prepare", inside: None, is_cut: false }
    }

    /// Returns whether no line needs those before it.
    #[must_use]
    pub const fn is_per_line(&self) -> bool {
        !self.is_kpacks
    }

    /// Returns the line as it may be told.
    pub fn line<'a>(&mut self, line: &'a str) -> Cow<'a, str> {
        if !self.is_kpacks {
            return without_userinfo(line);
        }
        if let Some(masked) = self.value(line) {
            self.is_cut = line.len() >= PIECE;
            return Cow::Owned(masked);
        }
        if let Some((before, _)) = line.split_once("build changes JSON string") {
            return Cow::Owned(format!("{before}build changes {REDACTED}"));
        }
        if line.contains("://") { Cow::Owned(without_secrets(line)) } else { Cow::Borrowed(line) }
    }

    /// Masks a line of the difference that kpack prints as YAML; `None` when it is no part of a value.
    fn value(&mut self, line: &str) -> Option<String> {
        if self.is_cut {
            return Some(REDACTED.to_owned());
        }
        let bare = without_colours(line);
        let text = bare.trim_start_matches('\t');
        // kpack marks what is new and what is gone, and nothing else.
        let text = text.strip_prefix("+ ").or_else(|| text.strip_prefix("- ")).unwrap_or(text);
        let content = text.trim_start();
        let depth = text.len() - content.len();
        if self.inside.is_some_and(|value| depth > value) {
            return Some(format!("\t{}{REDACTED}", " ".repeat(depth)));
        }
        self.inside = content.starts_with(VALUE).then_some(depth);
        self.inside?;
        let end = line.find(VALUE)? + VALUE.len();
        let reset = if line.contains('\u{1b}') { "\u{1b}[0m" } else { "" };
        Some(format!("{} {REDACTED}{reset}", &line[..end]))
    }
}

/// Drops `ESC [ … m`.
fn without_colours(line: &str) -> Cow<'_, str> {
    if !line.contains('\u{1b}') {
        return Cow::Borrowed(line);
    }
    let mut pieces = line.split("\u{1b}[");
    let mut bare = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let codes =
            piece.find(|letter: char| !letter.is_ascii_digit() && letter != ';').unwrap_or(piece.len());
        let rest = &piece[codes..];
        bare.push_str(rest.strip_prefix('m').unwrap_or(rest));
    }
    Cow::Owned(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(step: &str, lines: &[&str]) -> Vec<String> {
        let mut mask = Mask::of(step);
        lines.iter().map(|line| mask.line(line).into_owned()).collect()
    }

    #[test]
    fn the_values_of_variables_are_taken_out_of_what_prepare_prints() {
        let lines = [
            "CONFIG:",
            "\tenv:",
            "\t- name: KEPT",
            "\t  value: canary",
            "\t\u{1b}[32m+\u{1b}[0m \u{1b}[32m- name: NEW\u{1b}[0m",
            "\t\u{1b}[32m+\u{1b}[0m \u{1b}[32m  value: \"canary\"\u{1b}[0m",
            "\t-   value: |-",
            "\t-     canary: 1",
            "\t+       canary",
            "\t      canary",
            "\tresources: {}",
            "Loading secrets",
        ];
        let told = told("prepare", &lines);
        assert!(!told.concat().contains("canary"), "{told:#?}");
        assert_eq!(told[3], "\t  value: ((redacted))");
        assert_eq!(told[5], "\t\u{1b}[32m+\u{1b}[0m \u{1b}[32m  value: ((redacted))\u{1b}[0m");
        for index in [0, 1, 2, 4, 10, 11] {
            assert_eq!(told[index], lines[index]);
        }
    }

    #[test]
    fn a_value_that_comes_in_pieces_is_taken_out_whole() {
        let long = format!("\t  value: {}", "x".repeat(65_000));
        assert_eq!(
            told("prepare", &[&long, "canary", "next"]),
            ["\t  value: ((redacted))", REDACTED, "next"]
        );
        let broken = "error parsing build changes JSON string '[canary]': eof";
        assert_eq!(told("prepare", &[broken]), ["error parsing build changes ((redacted))"]);
    }

    #[test]
    fn no_step_tells_the_password_of_a_url_and_none_but_prepare_is_changed_otherwise() {
        let clone = "Cloning \"http://me:canary@git.example/a.git?sig=canary\"...";
        assert_eq!(told("prepare", &[clone]), ["Cloning \"http://git.example/a.git\"..."]);
        let lines = ["  value: mine", "get\thttps://me:canary@m.example/a?v=1  and x@y", "a://b c@d", "://@"];
        assert_eq!(
            told("build", &lines),
            ["  value: mine", "get\thttps://m.example/a?v=1  and x@y", "a://b c@d", "://"]
        );
    }
}
