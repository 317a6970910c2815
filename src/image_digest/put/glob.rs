//! The path that `image` names: a pattern in the language of Go's `filepath.Glob`, which pipelines of
//! registry-image are written in, below the step's directory and not out of it.

use std::fs;
use std::path::{Path, PathBuf};

use super::Error;

/// Finds the one path below `directory` that matches.
pub(super) fn one(directory: &Path, pattern: &str) -> Result<PathBuf, Error> {
    let mut found = all(directory, pattern)?;
    match (found.pop(), found.is_empty()) {
        (Some(path), true) => Ok(path),
        (last, _) => {
            found.extend(last);
            let below = |path: &PathBuf| path.strip_prefix(directory).unwrap_or(path).display().to_string();
            let found = found.iter().map(below).collect();
            Err(Error::Matches { pattern: pattern.to_owned(), found })
        }
    }
}

/// Finds all of them, in the order of their names. What cannot be listed has no matches, as in Go.
fn all(directory: &Path, pattern: &str) -> Result<Vec<PathBuf>, Error> {
    let mut paths = vec![directory.to_owned()];
    for part in parts(pattern)? {
        paths = match part {
            Part::Literal(name) => {
                let named = paths.into_iter().map(|path| path.join(&name));
                named.filter(|path| path.symlink_metadata().is_ok()).collect()
            }
            Part::Pattern(atoms) => paths.iter().flat_map(|path| matching(path, &atoms)).collect(),
        };
    }
    Ok(paths)
}

fn matching(directory: &Path, atoms: &[Atom]) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter(|name| matches(atoms, &name.chars().collect::<Vec<_>>())).collect();
    names.sort_unstable();
    names.into_iter().map(|name| directory.join(name)).collect()
}

/// One part of a path.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Pattern(Vec<Atom>),
}

/// One element of a pattern.
#[derive(Debug, PartialEq, Eq)]
enum Atom {
    /// `*`
    Any,
    /// `?`
    One,
    /// `[…]`
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    Literal(char),
}

fn parts(pattern: &str) -> Result<Vec<Part>, Error> {
    let bad = |reason| Error::Pattern { pattern: pattern.to_owned(), reason };
    let mut parts = Vec::new();
    for text in pattern.split('/') {
        match text {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or_else(|| bad("leads out of the step's directory"))?;
            }
            text if text.contains(['*', '?', '[', '\\']) => {
                parts.push(Part::Pattern(atoms(text).ok_or_else(|| bad("is not a pattern"))?));
            }
            text => parts.push(Part::Literal(text.to_owned())),
        }
    }
    Ok(parts)
}

fn atoms(text: &str) -> Option<Vec<Atom>> {
    let mut atoms = Vec::new();
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        atoms.push(match character {
            '*' => Atom::Any,
            '?' => Atom::One,
            '[' => class(&mut rest)?,
            '\\' => Atom::Literal(rest.next()?),
            other => Atom::Literal(other),
        });
    }
    Some(atoms)
}

fn class(rest: &mut std::str::Chars<'_>) -> Option<Atom> {
    let negated = rest.as_str().starts_with('^');
    if negated {
        rest.next();
    }
    let mut ranges = Vec::new();
    loop {
        if rest.as_str().starts_with(']') && !ranges.is_empty() {
            rest.next();
            return Some(Atom::Class { negated, ranges });
        }
        let low = member(rest)?;
        let is_range = rest.as_str().starts_with('-');
        let high = if is_range {
            rest.next();
            member(rest)?
        } else {
            low
        };
        ranges.push((low, high));
    }
}

/// A `-` or a `]` stands for itself only behind a backslash.
fn member(rest: &mut std::str::Chars<'_>) -> Option<char> {
    match rest.next()? {
        '\\' => rest.next(),
        '-' | ']' => None,
        other => Some(other),
    }
}

/// Takes the last `*` back for another character where the rest does not match: no pattern takes
/// longer than its length times that of the name.
fn matches(atoms: &[Atom], name: &[char]) -> bool {
    let (mut atom, mut at) = (0, 0);
    let mut star = None;
    while at < name.len() {
        if let Some(Atom::Any) = atoms.get(atom) {
            star = Some((atom, at));
            atom += 1;
        } else if atoms.get(atom).is_some_and(|atom| atom.takes(name[at])) {
            atom += 1;
            at += 1;
        } else if let Some((back, taken)) = star {
            star = Some((back, taken + 1));
            atom = back + 1;
            at = taken + 1;
        } else {
            return false;
        }
    }
    atoms[atom..].iter().all(|atom| *atom == Atom::Any)
}

impl Atom {
    fn takes(&self, character: char) -> bool {
        match self {
            Self::Any => false,
            Self::One => true,
            Self::Literal(literal) => *literal == character,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&character)) != *negated
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_match(pattern: &str, name: &str) -> Option<bool> {
        Some(matches(&atoms(pattern)?, &name.chars().collect::<Vec<_>>()))
    }

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        for (pattern, name, wanted) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*", "", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*b*c*d*e*", "axbxcxdxexxx", true),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("[a-ζ]*", "α", true),
            ("*[a-ζ]", "A", false),
            ("[\\]a]", "]", true),
            ("[\\-]", "-", true),
            ("[x\\-]", "z", false),
            ("*x", "xxx", true),
            ("[z-a]", "m", false),
            (".*", ".hidden", true),
            ("*", ".hidden", true),
        ] {
            assert_eq!(is_match(pattern, name), Some(wanted), "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_that_are_none_are_refused() {
        for pattern in ["[", "[]", "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[^", "[^bc", "a[", "a\\", "[\\"]
        {
            assert_eq!(is_match(pattern, "a"), None, "{pattern}");
        }
    }

    #[test]
    fn long_patterns_end() {
        let name: Vec<char> = "a".repeat(5000).chars().collect();
        assert!(!matches(&atoms(&"*a".repeat(50).replace("aa", "a")).unwrap(), &name[..20]));
        assert!(!matches(&atoms(&format!("{}b", "a*".repeat(50))).unwrap(), &name));
    }

    #[test]
    fn one_path_is_found_and_others_are_named() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["image/app-1.tar", "image/app-2.tar", "image/notes", "other/app-3.tar", "star*/x"] {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let find = |pattern: &str| {
            let found = one(directory.path(), pattern);
            found.map(|path| path.strip_prefix(directory.path()).unwrap().display().to_string())
        };
        for (pattern, wanted) in [
            ("image/app-1.tar", "image/app-1.tar"),
            ("/image/./app-1.tar", "image/app-1.tar"),
            ("image/../other/*", "other/app-3.tar"),
            ("o*/*.tar", "other/app-3.tar"),
            ("image/*[2-9].tar", "image/app-2.tar"),
            ("star\\*/x", "star*/x"),
            ("image", "image"),
        ] {
            assert_eq!(find(pattern).unwrap(), wanted, "{pattern}");
        }
        let error = |pattern: &str| find(pattern).unwrap_err().to_string();
        assert_eq!(
            error("*/app-*.tar"),
            "`params.image`: `*/app-*.tar` matches 3 paths: `image/app-1.tar`, `image/app-2.tar`, `other/app-3.tar`"
        );
        assert_eq!(error("image/*.tgz"), "`params.image`: `image/*.tgz` matches nothing");
        assert_eq!(error("../x"), "`params.image`: `../x` leads out of the step's directory");
        assert_eq!(error("image/[.tar"), "`params.image`: `image/[.tar` is not a pattern");
    }
}
