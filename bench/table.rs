//! A table of two who did the same, on stdout as it grows and in a report under `target/bench`.

use std::io::Write as _;
use std::path::Path;

/// A number and how it is written.
pub(crate) struct Cell(pub(crate) f64, pub(crate) String);

impl Cell {
    pub(crate) fn seconds(seconds: f64) -> Self {
        Self(seconds, format!("{seconds:.1} s"))
    }

    pub(crate) fn milliseconds(milliseconds: f64) -> Self {
        Self(milliseconds, format!("{milliseconds:.0} ms"))
    }

    pub(crate) fn count(count: usize) -> Self {
        Self(count as f64, count.to_string())
    }

    pub(crate) fn memory(kibibytes: u64) -> Self {
        Self(kibibytes as f64, format!("{:.1} MiB", kibibytes as f64 / 1024.0))
    }
}

/// The table: theirs, ours, and ours by theirs.
pub(crate) struct Table {
    names: [&'static str; 2],
    text: String,
}

impl Table {
    pub(crate) fn of(names: [&'static str; 2]) -> Self {
        Self { names, text: String::new() }
    }

    pub(crate) fn head(&mut self, title: &str) {
        let [theirs, ours] = self.names;
        self.line(&format!("\n{title}\n{:<34} {theirs:>16} {ours:>16} {:>8}", "", "ratio"));
    }

    pub(crate) fn row(&mut self, what: &str, Cell(their, theirs): Cell, Cell(our, ours): Cell) {
        let ratio = if their > 0.0 { format!("{:.2}", our / their) } else { "–".to_owned() };
        self.line(&format!("{what:<34} {theirs:>16} {ours:>16} {ratio:>8}"));
    }

    pub(crate) fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        // Nobody reads it where it cannot be written; the report has it too.
        let _ = writeln!(std::io::stdout(), "{line}");
    }

    /// Writes the report `name`.
    pub(crate) fn save(&self, name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &self.text).unwrap();
    }
}
