//! What tags are ordered by: the key that a tag, or the part of it that a pattern extracts, stands
//! for. Pure.

use std::cmp::Ordering;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::Deserialize;

use super::semver::Semver;

/// How tags are ordered; the last one is the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Order {
    /// As semantic versions.
    Semver,
    /// As numbers.
    Numeric,
    /// As text, byte by byte.
    Alphabetical,
    /// As dates, with or without a time.
    Timestamp,
    /// As kpack's build tags `bN.YYYYMMDD.HHMMSS`: by date, then by number.
    Kpack,
}

/// What one tag is ordered by. Keys of different orders never meet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// A version, and how many dots its tag has: of equals the one that says more is the newer.
    Version(Semver, usize),
    Number(Number),
    Text(String),
    Time(Timestamp),
    Build(Timestamp, u64),
    /// Where the registry lists it: no order of its own.
    Place(usize),
}

/// A number of any length: digits without zeros in front, and the fraction without zeros behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Number {
    whole: String,
    fraction: String,
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        fn of(number: &Number) -> (usize, &str, &str) {
            (number.whole.len(), &number.whole, &number.fraction)
        }
        of(self).cmp(&of(other))
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Key {
    /// Reads the key that `text` stands for; `None` when it is none of that order.
    pub(super) fn read(order: Order, text: &str) -> Option<Self> {
        match order {
            Order::Semver => Self::version(text, text),
            Order::Numeric => number(text).map(Self::Number),
            Order::Alphabetical => (!text.is_empty()).then(|| Self::Text(text.to_owned())),
            Order::Timestamp => time(text).map(Self::Time),
            Order::Kpack => build(text),
        }
    }

    /// Reads the version that `text` stands for in `tag`.
    pub(super) fn version(text: &str, tag: &str) -> Option<Self> {
        Semver::coerce(text).map(|version| Self::Version(version, dots(tag)))
    }

    /// Compares without what only breaks ties.
    pub(super) fn precedence(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Version(one, _), Self::Version(other, _)) => one.cmp(other),
            (one, other) => one.cmp(other),
        }
    }

    /// Returns the time that the tag itself names.
    pub(super) fn time(&self) -> Option<Timestamp> {
        match self {
            Self::Time(time) | Self::Build(time, _) => Some(*time),
            Self::Version(..) | Self::Number(_) | Self::Text(_) | Self::Place(_) => None,
        }
    }
}

/// Returns how many dots a tag has: `1.2.3` says more than `1.2`.
pub(super) fn dots(tag: &str) -> usize {
    tag.bytes().filter(|byte| *byte == b'.').count()
}

fn number(text: &str) -> Option<Number> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_digits(whole) && is_digits(fraction)).then(|| Number {
        whole: whole.trim_start_matches('0').to_owned(),
        fraction: fraction.trim_end_matches('0').to_owned(),
    })
}

/// Reads `YYYYMMDD`, with `HHMM`, `HHMMSS` or milliseconds behind it, with or without separators, as
/// UTC; or seconds (10 digits) or milliseconds (13) since 1970.
fn time(text: &str) -> Option<Timestamp> {
    let is_known =
        |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.' | b'T' | b't' | b'Z' | b'z');
    if !text.bytes().all(is_known) {
        return None;
    }
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let part = |from: usize, to: usize| digits.get(from..to).map_or(Some(0), |part| part.parse::<i16>().ok());
    match digits.len() {
        10 => Timestamp::from_second(digits.parse().ok()?).ok(),
        13 => Timestamp::from_millisecond(digits.parse().ok()?).ok(),
        8 | 12 | 14 | 17 => {
            let small = |from, to| part(from, to).and_then(|part| i8::try_from(part).ok());
            let date = Date::new(part(0, 4)?, small(4, 6)?, small(6, 8)?).ok()?;
            let milliseconds = i32::from(part(14, 17)?);
            let time =
                Time::new(small(8, 10)?, small(10, 12)?, small(12, 14)?, milliseconds * 1_000_000).ok()?;
            TimeZone::UTC.to_timestamp(DateTime::from_parts(date, time)).ok()
        }
        _ => None,
    }
}

fn build(text: &str) -> Option<Key> {
    let (number, moment) = text.strip_prefix('b')?.split_once('.')?;
    let (date, clock) = moment.split_once('.')?;
    if (date.len(), clock.len()) != (8, 6) || number.starts_with('+') {
        return None;
    }
    Some(Key::Build(time(&format!("{date}{clock}"))?, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ascending(order: Order, texts: &[&str]) {
        let keys: Vec<Key> = texts.iter().filter_map(|text| Key::read(order, text)).collect();
        assert_eq!(keys.len(), texts.len(), "{order:?}");
        assert!(keys.is_sorted_by(|one, other| one < other), "{keys:?}");
    }

    #[test]
    fn each_order_puts_the_newest_last() {
        ascending(Order::Semver, &["1.2.3-rc.1", "1.2.3", "1.10", "v2"]);
        ascending(
            Order::Numeric,
            &[
                "0",
                "0.5",
                "1",
                "1.05",
                "1.5",
                "9",
                "10",
                "99999999999999999999999",
                "100000000000000000000000",
            ],
        );
        ascending(Order::Alphabetical, &["10", "9", "B", "a", "aa"]);
        ascending(
            Order::Timestamp,
            &[
                "19991231",
                "2024-01-31",
                "20240131T1015",
                "20240131101501",
                "2024-01-31T10-15-02Z",
                "20240131-101503.250",
                "1706696104",
                "1706696105000",
            ],
        );
        ascending(
            Order::Kpack,
            &["b9.20240131.101500", "b10.20240131.101500", "b2.20240131.101501", "b1.20240201.000000"],
        );
    }

    #[test]
    fn what_stands_for_no_key_is_not_read() {
        for (order, text) in [
            (Order::Semver, "latest"),
            (Order::Numeric, ""),
            (Order::Numeric, "-1"),
            (Order::Numeric, "1."),
            (Order::Numeric, "1e3"),
            (Order::Alphabetical, ""),
            (Order::Timestamp, "20241301"),
            (Order::Timestamp, "20230229"),
            (Order::Timestamp, "2024"),
            (Order::Timestamp, "20240101T2500"),
            (Order::Timestamp, "day-20240101"),
            (Order::Kpack, "b1"),
            (Order::Kpack, "b1.20240131"),
            (Order::Kpack, "1.20240131.101500"),
            (Order::Kpack, "bx.20240131.101500"),
            (Order::Kpack, "b+1.20240131.101500"),
            (Order::Kpack, "b1.20240131.1015"),
            (Order::Kpack, "b1.20240131.101500-rc"),
        ] {
            assert_eq!(Key::read(order, text), None, "{order:?} {text}");
        }
    }

    #[test]
    fn of_equal_versions_the_tag_that_says_more_is_the_newer() {
        let (short, long) = (Key::version("1.2", "1.2").unwrap(), Key::version("1.2.0", "1.2.0").unwrap());
        assert!(short < long);
        assert_eq!(short.precedence(&long), Ordering::Equal);
    }
}
