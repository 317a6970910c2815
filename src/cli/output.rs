//! How a command answers on stdout: text for a person, or one JSON document for a program.

use clap::ValueEnum;

use crate::image::Digest;
use crate::log::one_line;

/// The form of the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For a person.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// The option, the same for every command that has something to say.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct OutputArgs {
    /// The form of the answer on stdout
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    pub output: Output,
}

/// Returns lines of columns, each as wide as its widest cell, with a heading. Columns that are empty
/// in every row are left out.
#[must_use]
pub fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let cell = |row: &[String], column: usize| row.get(column).map(|text| one_line(text)).unwrap_or_default();
    let columns: Vec<usize> =
        (0..heading.len()).filter(|column| rows.iter().any(|row| !cell(row, *column).is_empty())).collect();
    let width = |column: &usize| {
        let cells = rows.iter().map(|row| cell(row, *column).chars().count());
        cells.chain([heading[*column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = columns.iter().map(width).collect();
    let line = |row: &[String]| {
        let cells = columns.iter().zip(&widths);
        let padded = cells.map(|(column, width)| {
            let text = cell(row, *column);
            let shown = if text.is_empty() { "-".to_owned() } else { text };
            format!("{shown:<width$}")
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let heading: Vec<String> = heading.iter().map(|&name| name.to_owned()).collect();
    std::iter::once(&heading).chain(rows).map(|row| line(row)).collect::<Vec<_>>().join("\n")
}

/// Returns the digits that tell two digests apart.
#[must_use]
pub fn short(digest: &str) -> String {
    let parsed: Option<Digest> = digest.parse().ok();
    parsed.map_or_else(|| digest.to_owned(), |digest| digest.short().replace("sha256:", ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_empty_ones_are_left_out() {
        let rows = [["app", "", "1"], ["a-long-name", "", ""]];
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.map(str::to_owned).to_vec()).collect();
        assert_eq!(
            table(&["NAME", "TAG", "NOTE"], &rows),
            "NAME         NOTE\napp          1\na-long-name  -"
        );
        let hostile = [vec!["a\u{1b}[31m\nb".to_owned()]];
        assert_eq!(table(&["NAME"], &hostile), "NAME\na [31m b");
    }
}
