//! Reads the ends of logs, for messages about what went wrong.

use std::fs;
use std::path::Path;

/// How many lines tell enough.
const LINES: usize = 12;

/// Returns the last lines of the log and where it lies.
pub(crate) fn tail(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default();
    let mut told: String = last.iter().map(|line| format!("  | {line}\n")).collect();
    told.push_str(&format!("  the whole log: {}", path.display()));
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_shown_and_the_path_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("part.log");
        let lines: Vec<_> = (1..=40).map(|number| format!("line {number}")).collect();
        fs::write(&path, lines.join("\n")).unwrap();
        let told = tail(&path);
        assert!(told.contains("line 40") && told.contains("line 29") && !told.contains("line 28"), "{told}");
        assert!(told.ends_with("part.log"), "{told}");
    }
}
