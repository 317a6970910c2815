//! When a rollout may start: windows of the week, in the words of Concourse's time resource, and alerts
//! that freeze it. What is said about it is a preflight rule's; who asks Prometheus is the driver.

use std::collections::BTreeSet;
use std::fmt;

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use k8s_openapi::jiff::Timestamp;
use regex::Regex;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

const DAYS: [(&str, Weekday); 7] = [
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
    ("sunday", Weekday::Sunday),
];

/// A stretch of the week in which a rollout may start. One that ends before it begins ends on the day after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    days: BTreeSet<usize>,
    hours: Option<(Time, Time)>,
    zone: TimeZone,
    location: String,
}

/// A window as a pipeline writes it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Window")]
struct Written {
    /// The days on which it begins: `mon` or `Monday`. Default: every day.
    #[serde(default)]
    days: Vec<Day>,
    /// When it begins: `09:00`, `9:00 AM` or `0900`. Default: midnight; needs `stop`.
    start: Option<Clock>,
    /// When it ends. Default: midnight; needs `start`.
    stop: Option<Clock>,
    /// The time zone (`Europe/Zurich`). Default: UTC.
    location: Option<Location>,
}

/// A day's place in [`DAYS`].
struct Day(usize);
struct Clock(Time);
struct Location(String, TimeZone);

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        let hours = match (written.start, written.stop) {
            (Some(start), Some(stop)) => Some((start.0, stop.0)),
            (None, None) => None,
            _ => return Err(D::Error::custom("`start` and `stop` belong together: one of them is missing")),
        };
        let every_day = (0..DAYS.len()).collect();
        let days: BTreeSet<usize> = written.days.into_iter().map(|day| day.0).collect();
        let Location(location, zone) = written.location.unwrap_or(Location("UTC".to_owned(), TimeZone::UTC));
        Ok(Self { days: if days.is_empty() { every_day } else { days }, hours, zone, location })
    }
}

impl JsonSchema for Window {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Written::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Written::json_schema(generator)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let given = text.trim().to_lowercase();
        let is_it =
            |(name, _): &(&str, Weekday)| *name == given || (given.len() == 3 && name.starts_with(&given));
        let day = DAYS.iter().position(is_it);
        day.map(Self).ok_or_else(|| {
            D::Error::custom(format!("`{text}` is not a day of the week (`mon` or `Monday`, …)"))
        })
    }
}

impl<'de> Deserialize<'de> for Clock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = clock(&text).map(Self);
        time.ok_or_else(|| D::Error::custom(format!("`{text}` is not a time of day (`09:00`, `9:00 AM`)")))
    }
}

impl<'de> Deserialize<'de> for Location {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let zone = TimeZone::get(text.trim());
        zone.map(|zone| Self(text.trim().to_owned(), zone))
            .map_err(|_| D::Error::custom(format!("`{text}` is not a time zone (`Europe/Zurich`, `UTC`)")))
    }
}

macro_rules! text_schema {
    ($($kind:ty),*) => { $(impl JsonSchema for $kind {
        fn inline_schema() -> bool {
            true
        }

        fn schema_name() -> std::borrow::Cow<'static, str> {
            stringify!($kind).into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({"type": "string"})
        }
    })* };
}

text_schema!(Day, Clock, Location);

/// Reads `15:04`, `1504`, `3:04 PM` and `3PM`.
fn clock(text: &str) -> Option<Time> {
    let text: String =
        text.chars().filter(|character| !character.is_whitespace()).collect::<String>().to_uppercase();
    let (digits, afternoon) = match (text.strip_suffix("AM"), text.strip_suffix("PM")) {
        (Some(digits), _) => (digits, Some(false)),
        (_, Some(digits)) => (digits, Some(true)),
        _ => (text.as_str(), None),
    };
    let (hour, minute) = match digits.split_once(':') {
        Some((hour, minute)) if minute.len() == 2 => (hour, minute),
        Some(_) => return None,
        None if digits.len() == 4 => digits.split_at(2),
        None if afternoon.is_some() => (digits, "0"),
        None => return None,
    };
    let number = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<i8>().ok()).flatten()
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    let hour = match afternoon {
        None => hour,
        Some(_) if !(1..=12).contains(&hour) => return None,
        Some(afternoon) => hour % 12 + if afternoon { 12 } else { 0 },
    };
    Time::new(hour, minute, 0, 0).ok()
}

impl Window {
    /// Returns whether `now` lies in it.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        let here = now.to_zoned(self.zone.clone());
        let begins_on = |day: Weekday| self.days.iter().any(|place| DAYS[*place].1 == day);
        let (today, time) = (here.weekday(), here.time());
        match self.hours {
            None => begins_on(today),
            Some((start, stop)) if start < stop => begins_on(today) && start <= time && time < stop,
            Some((start, stop)) => {
                (begins_on(today) && start <= time) || (begins_on(today.previous()) && time < stop)
            }
        }
    }

    /// Returns the time as it is shown where the window is.
    #[must_use]
    pub fn shows(&self, now: Timestamp) -> String {
        let here = now.to_zoned(self.zone.clone());
        format!("{} {} {}", here.strftime("%a"), here.strftime("%H:%M"), self.location)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days.len() < DAYS.len() {
            let days: Vec<&str> = self.days.iter().map(|day| &DAYS[*day].0[..3]).collect();
            write!(formatter, "{} ", days.join(", "))?;
        }
        if let Some((start, stop)) = self.hours {
            write!(formatter, "{}–{} ", start.strftime("%H:%M"), stop.strftime("%H:%M"))?;
        }
        formatter.write_str(&self.location)
    }
}

/// Returns why none of the windows is open, if none is; no windows are always open.
#[must_use]
pub fn closed(windows: &[Window], now: Timestamp) -> Option<String> {
    let first = windows.first()?;
    if windows.iter().any(|window| window.is_open(now)) {
        return None;
    }
    let open: Vec<String> = windows.iter().map(ToString::to_string).collect();
    Some(format!("it is {}, and rollouts start only on: {}", first.shows(now), open.join("; ")))
}

/// Alerts that stop a rollout before it starts.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// The URL of a Prometheus.
    #[serde(deserialize_with = "url")]
    pub prometheus: String,
    /// A regular expression of the names of the alerts that stop a rollout while they fire.
    #[serde(deserialize_with = "pattern")]
    #[schemars(with = "String")]
    pub alerts: Regex,
}

/// What is asked of Prometheus.
pub const FIRING: &str = r#"ALERTS{alertstate="firing"}"#;

impl Freeze {
    /// Returns the names of the alerts that stop a rollout, of the series that fire.
    #[must_use]
    pub fn stopping<'a>(&self, series: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let names: BTreeSet<&str> = series.into_iter().filter_map(name).collect();
        names.into_iter().filter(|name| self.alerts.is_match(name)).map(str::to_owned).collect()
    }
}

/// Reads the alert's name off a series. Names of alerts have no quotes in them.
fn name(series: &str) -> Option<&str> {
    let (_, rest) = series.split_once("alertname=\"")?;
    rest.split('"').next()
}

fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let is_url = ["http://", "https://"]
        .iter()
        .any(|scheme| text.strip_prefix(scheme).is_some_and(|host| !host.is_empty()));
    // The value is not shown: a URL can hold a password.
    if is_url { Ok(text) } else { Err(D::Error::custom("it does not begin with `http://` or `https://`")) }
}

fn pattern<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Regex, D::Error> {
    let text = String::deserialize(deserializer)?;
    Regex::new(&text).map_err(|_| D::Error::custom(format!("`{text}` is not a regular expression")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn window(json: &Value) -> Result<Window, String> {
        Window::deserialize(json).map_err(|error| error.to_string())
    }

    fn is_open(json: &Value, now: &str) -> bool {
        window(json).unwrap().is_open(now.parse().unwrap())
    }

    #[test]
    fn times_are_read_as_concourse_reads_them() {
        for (text, wanted) in [
            ("09:00", Some((9, 0))),
            ("9:05", Some((9, 5))),
            ("1504", Some((15, 4))),
            ("3:04 PM", Some((15, 4))),
            ("12AM", Some((0, 0))),
            ("12:30pm", Some((12, 30))),
            ("24:00", None),
            ("13PM", None),
            ("9", None),
            ("9:5", None),
            ("-1:00", None),
            ("", None),
        ] {
            assert_eq!(clock(text).map(|time| (time.hour(), time.minute())), wanted, "{text}");
        }
    }

    #[test]
    fn window_is_open_on_its_days_between_its_hours_where_it_is() {
        // 2026-01-02 is a Friday; Zurich is an hour ahead of UTC in winter and two in summer.
        let work = json!({ "days": ["mon", "Friday"], "start": "09:00", "stop": "17:00", "location": "Europe/Zurich" });
        assert!(is_open(&work, "2026-01-02T08:00:00Z"));
        assert!(!is_open(&work, "2026-01-02T07:59:59Z"));
        assert!(!is_open(&work, "2026-01-02T16:00:00Z"));
        assert!(!is_open(&work, "2026-01-03T10:00:00Z"));
        assert!(is_open(&work, "2026-07-03T07:00:00Z"));
    }

    #[test]
    fn window_that_ends_before_it_begins_ends_on_the_next_day() {
        let night = json!({ "days": ["fri"], "start": "22:00", "stop": "04:00" });
        assert!(is_open(&night, "2026-01-02T23:00:00Z"));
        assert!(is_open(&night, "2026-01-03T03:59:00Z"));
        assert!(!is_open(&night, "2026-01-03T04:00:00Z"));
        assert!(!is_open(&night, "2026-01-02T03:00:00Z"));
    }

    #[test]
    fn days_alone_are_whole_days_and_nothing_is_always() {
        assert!(is_open(&json!({ "days": ["fri"] }), "2026-01-02T00:00:00Z"));
        assert!(!is_open(&json!({ "days": ["sat"] }), "2026-01-02T23:59:59Z"));
        assert!(is_open(&json!({}), "2026-01-02T12:00:00Z"));
        assert_eq!(closed(&[], "2026-01-02T12:00:00Z".parse().unwrap()), None);
    }

    #[test]
    fn closed_windows_say_what_time_it_is_and_when_they_open() {
        let work =
            json!({ "days": ["mon", "tue"], "start": "9AM", "stop": "17:00", "location": "Europe/Zurich" });
        let windows = [window(&work).unwrap()];
        let words = closed(&windows, "2026-01-02T12:00:00Z".parse().unwrap()).unwrap();
        assert_eq!(
            words,
            "it is Fri 13:00 Europe/Zurich, and rollouts start only on: mon, tue 09:00–17:00 Europe/Zurich"
        );
    }

    #[test]
    fn wrong_windows_are_told_by_their_value() {
        for (json, words) in [
            (json!({ "days": ["frday"] }), "`frday` is not a day of the week"),
            (json!({ "start": "25:00", "stop": "26:00" }), "`25:00` is not a time of day"),
            (json!({ "start": "09:00" }), "`start` and `stop` belong together"),
            (json!({ "location": "Europe/Bern" }), "`Europe/Bern` is not a time zone"),
            (json!({ "end": "09:00" }), "unknown field `end`"),
        ] {
            let error = window(&json).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn firing_alerts_stop_it_when_their_name_matches() {
        let freeze: Freeze =
            serde_json::from_value(json!({ "prometheus": "http://p:9090", "alerts": "^Slo|Down$" })).unwrap();
        let series = [
            r#"ALERTS{alertname="SloBurn",alertstate="firing"}"#,
            r#"{alertstate="firing",alertname="NodeDown"}"#,
            r#"{alertname="Watchdog"}"#,
            "{}",
        ];
        assert_eq!(freeze.stopping(series), ["NodeDown", "SloBurn"]);
        for wrong in [
            json!({ "prometheus": "p:9090", "alerts": "x" }),
            json!({ "prometheus": "http://p", "alerts": "(" }),
        ] {
            assert!(serde_json::from_value::<Freeze>(wrong).is_err());
        }
    }
}
