//! A probe: what is asked of the application itself while it is rolled.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use serde_json::Value;

use super::wrong::Wrong;
use crate::probe::shown;
use crate::probe::tally::Lane;

/// The most requests per second.
const FASTEST: u32 = 200;
const RPS: u32 = 10;

/// Where to ask, how often, and what follows.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// The address, `http://…` or `https://…`: what a user would ask, through Ingress and Service.
    pub url: String,
    /// How many requests per second, 1 to 200, over all lanes. Default: 10.
    #[serde(default = "rps", deserialize_with = "read_rps")]
    #[schemars(schema_with = "rps_schema")]
    pub rps: u32,
    /// `fresh`: a new connection for each request; `pooled`: kept connections. Default: both in turn.
    #[serde(default = "lanes")]
    pub lanes: Vec<Lane>,
    /// Whether failed requests fail the rollout. Default: true.
    #[serde(default = "yes", deserialize_with = "crate::cluster::flag")]
    #[schemars(schema_with = "crate::cluster::flag_schema")]
    pub fail: bool,
}

impl Probe {
    /// Returns a probe of `url` as it is when nobody says more.
    #[must_use]
    pub fn of(url: String) -> Self {
        Self { url, rps: RPS, lanes: lanes(), fail: true }
    }

    pub(super) fn inspect(&self) -> Result<(), Wrong> {
        inspect_url("probe.url", &self.url)?;
        if !(1..=FASTEST).contains(&self.rps) {
            let words = format!("is {}, which is not between 1 and {FASTEST}", self.rps);
            return Err(Wrong::new("probe.rps", words, "10 a second show what a person would notice"));
        }
        if self.lanes.is_empty() {
            let words = "is empty, so nothing would be asked".to_owned();
            return Err(Wrong::new("probe.lanes", words, "leave it out for `[fresh, pooled]`"));
        }
        Ok(())
    }
}

/// The address may carry credentials.
impl fmt::Debug for Probe {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut probe = formatter.debug_struct("Probe");
        probe.field("url", &shown(&self.url)).field("rps", &self.rps);
        probe.field("lanes", &self.lanes).field("fail", &self.fail).finish()
    }
}

/// Refuses an address before anything is asked.
pub(super) fn inspect_url(key: &'static str, url: &str) -> Result<(), Wrong> {
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    if host.is_some_and(|host| !host.starts_with('/') && !host.is_empty())
        && !url.contains(char::is_whitespace)
    {
        return Ok(());
    }
    let words = format!("has the address `{}`, which is no URL that can be asked", shown(url));
    Err(Wrong::new(key, words, "write `http://HOST/…` or `https://HOST/…`"))
}

fn rps() -> u32 {
    RPS
}

fn lanes() -> Vec<Lane> {
    vec![Lane::Fresh, Lane::Pooled]
}

fn yes() -> bool {
    true
}

fn read_rps<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let text = match &value {
        Value::Null => return Ok(RPS),
        Value::String(text) if text.trim().is_empty() => return Ok(RPS),
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    };
    text.parse()
        .map_err(|_| D::Error::custom(format!("`{text}` is not a whole number of requests per second")))
}

fn rps_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["integer", "string", "null"], "minimum": 1, "maximum": FASTEST, "default": RPS})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<Probe, String> {
        serde_saphyr::from_str(yaml).map_err(|error| error.to_string())
    }

    #[test]
    fn only_the_address_is_required() {
        assert_eq!(read("{url: 'http://app/'}").unwrap(), Probe::of("http://app/".to_owned()));
        assert!(read("{}").unwrap_err().contains("missing field `url`"));
        let given = read("{url: 'https://app', rps: '50', lanes: [fresh], fail: 'false'}").unwrap();
        assert_eq!((given.rps, given.lanes.as_slice(), given.fail), (50, [Lane::Fresh].as_slice(), false));
    }

    #[test]
    fn what_cannot_be_asked_is_refused_with_the_key() {
        for (yaml, wanted) in [
            ("{url: app}", "`probe.url` has the address `app`, which is no URL that can be asked"),
            ("{url: 'http://'}", "`probe.url` has the address `http://`, which is no URL that can be asked"),
            ("{url: 'http://a', rps: 0}", "`probe.rps` is 0, which is not between 1 and 200"),
            ("{url: 'http://a', rps: 201}", "`probe.rps` is 201, which is not between 1 and 200"),
            ("{url: 'http://a', lanes: []}", "`probe.lanes` is empty, so nothing would be asked"),
        ] {
            assert_eq!(read(yaml).unwrap().inspect().unwrap_err().to_string(), wanted);
        }
        for bad in
            ["{url: 'http://a', rps: fast}", "{url: 'http://a', lanes: [slow]}", "{url: 'http://a', to: b}"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn debug_output_keeps_credentials_to_itself() {
        assert!(!format!("{:?}", Probe::of("http://a:canary@b/?canary".to_owned())).contains("canary"));
    }
}
