//! `semver_constraint`: which versions are wanted, in the grammar that Go programs know from
//! Masterminds: `||`, `,` or a space for and, `= != > >= < <= ~ ~> ^`, `x` and `*`, hyphen ranges.
//! A group that names no pre-release accepts none. Pure.

use serde::{Deserialize, Deserializer, de};

use super::semver::{Semver, compare_pre_releases};

/// Groups of which one must be met whole.
#[derive(Clone, Debug)]
pub(super) struct Constraint(Vec<Group>);

/// Comparisons that must all hold.
#[derive(Clone, Debug, Default)]
struct Group {
    comparisons: Vec<Comparison>,
    names_pre_release: bool,
}

#[derive(Clone, Debug)]
struct Comparison {
    operator: Operator,
    version: Semver,
    open: Open,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    Differs,
    Above,
    Below,
    AtLeast,
    AtMost,
    Tilde,
    Caret,
}

/// From which number on a version was left open, with `x` or by leaving it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Nothing,
    Patch,
    Minor,
    All,
}

/// The operators, the longer ones first.
const OPERATORS: [(&str, Operator); 11] = [
    ("!=", Operator::Differs),
    (">=", Operator::AtLeast),
    ("=>", Operator::AtLeast),
    ("<=", Operator::AtMost),
    ("=<", Operator::AtMost),
    ("~>", Operator::Tilde),
    ("=", Operator::Equal),
    (">", Operator::Above),
    ("<", Operator::Below),
    ("~", Operator::Tilde),
    ("^", Operator::Caret),
];

impl Constraint {
    /// Reads a constraint.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let groups = text.split("||").map(|group| Reader(group).group());
        groups.collect::<Option<Vec<Group>>>().map(Self).ok_or_else(|| {
            format!(
                "`{text}` is not a constraint: write it like `1.x`, `~1.2`, `>= 1.2, < 2` or `^1.2 || ^2`"
            )
        })
    }

    /// Returns whether `version` is wanted.
    pub(super) fn accepts(&self, version: &Semver) -> bool {
        self.0.iter().any(|group| {
            (group.names_pre_release || !version.is_pre_release())
                && group.comparisons.iter().all(|comparison| comparison.accepts(version))
        })
    }
}

impl Comparison {
    fn accepts(&self, found: &Semver) -> bool {
        let wanted = &self.version;
        match self.operator {
            Operator::Equal if self.open == Open::Nothing => found == wanted,
            Operator::Equal | Operator::Tilde => self.is_near(found),
            Operator::Differs => self.differs(found),
            Operator::Below => found < wanted,
            Operator::AtLeast => found >= wanted,
            Operator::Above => match self.open {
                Open::Nothing | Open::All => found > wanted,
                Open::Minor => found.major > wanted.major,
                Open::Patch => (found.major, found.minor) > (wanted.major, wanted.minor),
            },
            Operator::AtMost => match self.open {
                Open::Nothing => found <= wanted,
                Open::Minor => found.major <= wanted.major,
                Open::Patch | Open::All => (found.major, found.minor) <= (wanted.major, wanted.minor),
            },
            Operator::Caret => self.is_compatible(found),
        }
    }

    /// `~1.2`: what is given stays, what is left open or comes last may grow.
    fn is_near(&self, found: &Semver) -> bool {
        let wanted = &self.version;
        if found < wanted {
            return false;
        }
        let is_zero = (wanted.major, wanted.minor, wanted.patch) == (0, 0, 0);
        if is_zero && matches!(self.open, Open::Nothing | Open::All) {
            return true;
        }
        found.major == wanted.major && (found.minor == wanted.minor || self.open == Open::Minor)
    }

    /// `^1.2`: the first number that is not zero stays.
    fn is_compatible(&self, found: &Semver) -> bool {
        let wanted = &self.version;
        if found < wanted || found.major != wanted.major {
            return false;
        }
        if wanted.major > 0 || self.open == Open::Minor {
            return true;
        }
        if found.minor != wanted.minor {
            return false;
        }
        wanted.minor > 0 || self.open == Open::Patch || found.patch == wanted.patch
    }

    fn differs(&self, found: &Semver) -> bool {
        let wanted = &self.version;
        match self.open {
            Open::Nothing | Open::All => found != wanted,
            Open::Minor => found.major != wanted.major,
            Open::Patch => {
                (found.major, found.minor) != (wanted.major, wanted.minor)
                    || compare_pre_releases(&found.pre, &wanted.pre).is_ne()
            }
        }
    }
}

/// What is left to read of one group.
struct Reader<'a>(&'a str);

impl<'a> Reader<'a> {
    fn group(mut self) -> Option<Group> {
        let mut group = Group::default();
        self.skip_space();
        loop {
            let operator = self.operator();
            self.skip_space();
            let (version, open) = self.version()?;
            match self.end_of_range() {
                Some((last, open_last)) if operator.is_none() => {
                    group.push(Operator::AtLeast, version, open);
                    group.push(Operator::AtMost, last, open_last);
                }
                Some(_) => return None,
                None => group.push(operator.unwrap_or(Operator::Equal), version, open),
            }
            let has_space = self.skip_space();
            if self.0.is_empty() {
                return Some(group);
            }
            match self.0.strip_prefix(',') {
                Some(rest) => self.0 = rest,
                None if has_space => {}
                None => return None,
            }
            self.skip_space();
        }
    }

    fn skip_space(&mut self) -> bool {
        let rest = self.0.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']);
        let has_space = rest.len() < self.0.len();
        self.0 = rest;
        has_space
    }

    fn operator(&mut self) -> Option<Operator> {
        let (sign, operator) = OPERATORS.iter().find(|(sign, _)| self.0.starts_with(sign))?;
        self.0 = &self.0[sign.len()..];
        Some(*operator)
    }

    /// The second half of `1.2 - 1.4`; nothing is consumed when there is none.
    fn end_of_range(&mut self) -> Option<(Semver, Open)> {
        let mut ahead = Reader(self.0);
        if !ahead.skip_space() {
            return None;
        }
        ahead.0 = ahead.0.strip_prefix('-')?;
        if !ahead.skip_space() {
            return None;
        }
        let found = ahead.version()?;
        self.0 = ahead.0;
        Some(found)
    }

    fn version(&mut self) -> Option<(Semver, Open)> {
        self.0 = self.0.strip_prefix('v').unwrap_or(self.0);
        let major = self.take(is_part)?;
        let minor = self.next_part();
        let patch = if minor.is_some() { self.next_part() } else { None };
        let pre = self.suffix('-').map(|pre| format!("-{pre}")).unwrap_or_default();
        self.suffix('+');
        let (text, open) = match (major, minor, patch) {
            (major, ..) if is_open(major) => (format!("0.0.0{pre}"), Open::All),
            (major, minor, _) if minor.is_none_or(is_open) => (format!("{major}.0.0{pre}"), Open::Minor),
            (major, minor, patch) => {
                let minor = minor.unwrap_or_default();
                match patch.filter(|patch| !is_open(patch)) {
                    Some(patch) => (format!("{major}.{minor}.{patch}{pre}"), Open::Nothing),
                    None => (format!("{major}.{minor}.0{pre}"), Open::Patch),
                }
            }
        };
        Some((Semver::coerce(&text)?, open))
    }

    fn next_part(&mut self) -> Option<&'a str> {
        let mut ahead = Reader(self.0.strip_prefix('.')?);
        let part = ahead.take(is_part)?;
        self.0 = ahead.0;
        Some(part)
    }

    fn suffix(&mut self, sign: char) -> Option<&'a str> {
        let mut ahead = Reader(self.0.strip_prefix(sign)?);
        let start = ahead.0;
        ahead.take(is_word)?;
        while let Some(mut further) = ahead.0.strip_prefix('.').map(Reader) {
            if further.take(is_word).is_none() {
                break;
            }
            ahead = further;
        }
        let suffix = &start[..start.len() - ahead.0.len()];
        self.0 = ahead.0;
        Some(suffix)
    }

    /// Takes at least one byte that `is_wanted`; all of them are ASCII.
    fn take(&mut self, is_wanted: fn(u8) -> bool) -> Option<&'a str> {
        let length = self.0.bytes().take_while(|byte| is_wanted(*byte)).count();
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        (length > 0).then_some(taken)
    }
}

impl Group {
    fn push(&mut self, operator: Operator, version: Semver, open: Open) {
        self.names_pre_release |= version.is_pre_release();
        self.comparisons.push(Comparison { operator, version, open });
    }
}

fn is_part(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'x' | b'X' | b'*')
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

fn is_open(part: &str) -> bool {
    matches!(part, "x" | "X" | "*")
}

impl<'de> Deserialize<'de> for Constraint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
