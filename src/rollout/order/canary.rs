//! A canary: a few new pods serve beside all the old ones, and what they are asked before it goes on.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::wrong::Wrong;

/// How long a canary is watched when nobody says.
const HOLD: Duration = Duration::from_secs(60);
/// A build that waits longer for a canary waits for a person.
const LONGEST: Duration = Duration::from_secs(86_400);

/// How many pods begin, for how long, and what they must stand.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Canary {
    /// How many pods begin: a number, or a share of the wanted ones (`10%`, rounded up). Default: 1.
    pub pods: Share,
    /// For how long they are watched once they serve: seconds, or `90s`, `2m`, `1h`. Default: 60.
    #[serde(deserialize_with = "hold")]
    #[schemars(schema_with = "hold_schema")]
    pub hold: Duration,
    /// What must hold meanwhile: `restarts`, `probe`, `{prometheus: {…}}`. Default: `restarts`, and
    /// `probe` where there is one.
    pub checks: Option<Vec<Check>>,
}

impl Default for Canary {
    fn default() -> Self {
        Self { pods: Share::default(), hold: HOLD, checks: None }
    }
}

/// A number of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// So many.
    Pods(u32),
    /// So many of a hundred, rounded up.
    Percent(u32),
}

/// One thing that must hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// No request of `probe` fails.
    Probe,
    /// No new pod restarts or loses its readiness.
    Restarts,
    /// Every value of a query is within bounds.
    Prometheus(Metric),
}

/// A query and its bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// The address of the Prometheus server.
    pub url: String,
    /// The query, PromQL: an instant vector or a scalar.
    pub query: String,
    /// No value may be above this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// No value may be below this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
}

impl Canary {
    /// Returns what must hold.
    #[must_use]
    pub fn checks(&self, has_probe: bool) -> Vec<Check> {
        self.checks.clone().unwrap_or_else(|| {
            let probe = has_probe.then_some(Check::Probe);
            [Check::Restarts].into_iter().chain(probe).collect()
        })
    }

    pub(super) fn inspect(&self, has_probe: bool) -> Result<(), Wrong> {
        if self.hold > LONGEST {
            let words = format!("is {} s, which is longer than a day", self.hold.as_secs());
            return Err(Wrong::new("canary.hold", words, "`60s` or `10m` are usual"));
        }
        for check in self.checks.iter().flatten() {
            match check {
                Check::Probe if !has_probe => {
                    let words = "asks for `probe`, and there is no `probe`".to_owned();
                    return Err(Wrong::new("canary.checks", words, "give it a `probe` too"));
                }
                Check::Prometheus(Metric { max: None, min: None, query, .. }) => {
                    let words = format!("has the query `{query}` without bounds");
                    return Err(Wrong::new("canary.checks", words, "set `max` or `min` beside `query`"));
                }
                Check::Prometheus(metric) => super::probe::inspect_url("canary.checks", &metric.url)?,
                Check::Probe | Check::Restarts => {}
            }
        }
        Ok(())
    }
}

impl Default for Share {
    fn default() -> Self {
        Self::Pods(1)
    }
}

impl Share {
    /// Returns how many pods that is of `wanted`.
    #[must_use]
    pub fn of(self, wanted: usize) -> usize {
        match self {
            Self::Pods(pods) => pods as usize,
            Self::Percent(percent) => (wanted * percent as usize).div_ceil(100),
        }
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a number of pods above 0, nor a share from `1%` to `99%`");
        let text = text.trim();
        let (number, share): (_, fn(u32) -> Self) = match text.strip_suffix('%') {
            Some(number) => (number, Self::Percent),
            None => (text, Self::Pods),
        };
        let number: u32 = number.parse().map_err(|_| wrong())?;
        let share = share(number);
        match share {
            Self::Pods(0) | Self::Percent(0 | 100..) => Err(wrong()),
            _ => Ok(share),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pods(pods) => write!(formatter, "{pods}"),
            Self::Percent(percent) => write!(formatter, "{percent}%"),
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Null => Ok(Self::default()),
            Value::Number(number) => number.to_string().parse().map_err(D::Error::custom),
            Value::String(text) if text.trim().is_empty() => Ok(Self::default()),
            Value::String(text) => text.parse().map_err(D::Error::custom),
            other => {
                Err(D::Error::custom(format!("`{other}` is not a number of pods, nor a share like `10%`")))
            }
        }
    }
}

impl JsonSchema for Share {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Share".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["integer", "string", "null"], "minimum": 1, "pattern": "^([1-9][0-9]*%?)?$"})
    }
}

/// Reads seconds, or hours, minutes and seconds as `1h`, `2m`, `1m30s`.
///
/// # Errors
///
/// When it is neither.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a time: whole seconds, or `90s`, `2m`, `1h`");
    let mut rest = text.trim();
    if let Ok(seconds) = rest.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(end);
        let unit = match tail.chars().next() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3_600,
            _ => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        total = number.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = &tail[1..];
    }
    if text.trim().is_empty() { Err(wrong()) } else { Ok(Duration::from_secs(total)) }
}

fn hold<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(HOLD),
        Value::String(text) if text.trim().is_empty() => Ok(HOLD),
        Value::String(text) => seconds(&text).map_err(D::Error::custom),
        other => seconds(&other.to_string()).map_err(D::Error::custom),
    }
}

fn hold_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["integer", "string", "null"], "minimum": 0, "default": 60})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<Canary, String> {
        serde_saphyr::from_str(yaml).map_err(|error| error.to_string())
    }

    #[test]
    fn a_canary_is_one_pod_for_a_minute_when_nobody_says() {
        let canary = read("{}").unwrap();
        assert_eq!((canary.pods, canary.hold), (Share::Pods(1), Duration::from_secs(60)));
        assert_eq!(canary.checks(true), [Check::Restarts, Check::Probe]);
        assert_eq!(canary.checks(false), [Check::Restarts]);
    }

    #[test]
    fn shares_round_up() {
        for (text, wanted, pods) in
            [("10%", 3, 1), ("10%", 10, 1), ("10%", 11, 2), ("50%", 3, 2), ("4", 3, 4)]
        {
            assert_eq!(text.parse::<Share>().unwrap().of(wanted), pods, "{text} of {wanted}");
        }
        for bad in ["0", "0%", "100%", "-1", "1.5", "", "%", "a lot"] {
            assert!(bad.parse::<Share>().is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_seconds_or_have_units() {
        for (text, wanted) in [("60", 60), ("60s", 60), ("2m", 120), ("1m30s", 90), ("1h", 3600), ("0", 0)] {
            assert_eq!(seconds(text), Ok(Duration::from_secs(wanted)), "{text}");
        }
        for bad in ["", "s", "1d", "1.5m", "-1", "m1", "1é", "99999999999999999999s", "9999999999999999999h"]
        {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn checks_are_words_or_a_query() {
        let canary = read(
            "{pods: 25%, hold: 2m, checks: [probe, restarts, {prometheus: {url: 'http://p:9090', query: up, min: 1}}]}",
        )
        .unwrap();
        assert_eq!((canary.pods, canary.hold.as_secs()), (Share::Percent(25), 120));
        assert_eq!(canary.checks.as_ref().unwrap().len(), 3);
        assert!(canary.inspect(true).is_ok());
        let wrong = canary.inspect(false).unwrap_err();
        assert_eq!(wrong.to_string(), "`canary.checks` asks for `probe`, and there is no `probe`");
        for (yaml, part) in [
            ("{pods: 0}", "above 0"),
            ("{hold: soon}", "is not a time"),
            ("{checks: [smoke]}", "unknown variant"),
            ("{pod: 1}", "unknown field"),
            ("{pods: [1]}", "is not a number of pods"),
        ] {
            assert!(read(yaml).unwrap_err().contains(part), "{yaml}: {:?}", read(yaml));
        }
        let boundless = read("{checks: [{prometheus: {url: 'http://p', query: up}}]}").unwrap();
        assert!(boundless.inspect(true).unwrap_err().to_string().contains("`up` without bounds"));
        assert!(read("{hold: 2d}").is_err() && read("{hold: 25h}").unwrap().inspect(true).is_err());
    }
}
