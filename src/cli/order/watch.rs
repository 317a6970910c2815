//! The options that say what is watched while it is rolled: the canary and its checks, and the probe.

use std::time::Duration;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as Refusal, StrDeserializer};

use super::super::mapping::{self, read};
use crate::failure::Failure;
use crate::probe::shown;
use crate::probe::tally::Lane;
use crate::rollout::order::canary::{Check, Metric, Share, seconds};
use crate::rollout::order::{Canary, Probe};

/// What is watched.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Rollout")]
pub struct WatchArgs {
    /// How many new pods go first and are watched: a number, or a share like `10%`
    #[arg(long, value_name = "PODS")]
    canary: Option<Share>,
    /// For how long the canary is watched: seconds, or `90s`, `2m`
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = seconds, requires = "canary")]
    canary_hold: Duration,
    /// What must hold meanwhile: `restarts`, `probe`, or `prometheus: {url: http://prometheus:9090, query:
    /// …, max: 0.01}` with `max`, `min` or both; may be repeated [default: restarts, and probe with --probe]
    #[arg(long, value_name = "CHECK", requires = "canary")]
    canary_check: Vec<String>,
    /// An address to ask all the while; requests that fail fail the rollout
    #[arg(long, value_name = "URL")]
    probe: Option<String>,
    /// How many requests per second, over all lanes [default: 10]
    #[arg(long, value_name = "N", requires = "probe", value_parser = clap::value_parser!(u32).range(1..=200))]
    probe_rps: Option<u32>,
    /// `fresh`: a new connection for each request, `pooled`: kept ones [default: fresh,pooled]
    #[arg(long, value_name = "LANES", requires = "probe", value_delimiter = ',', value_parser = lane)]
    probe_lanes: Vec<Lane>,
    /// Whether requests that fail fail the rollout; `false` only reports them [default: true]
    #[arg(long, value_name = "BOOL", requires = "probe")]
    probe_fail: Option<bool>,
}

fn lane(text: &str) -> Result<Lane, String> {
    let text: StrDeserializer<'_, Refusal> = text.trim().into_deserializer();
    Lane::deserialize(text).map_err(|refusal| refusal.to_string())
}

impl WatchArgs {
    /// Reads the canary.
    ///
    /// # Errors
    ///
    /// When a check is none.
    pub fn canary(&self) -> Result<Option<Canary>, Failure> {
        let checks = self.checks()?;
        Ok(self.canary.map(|pods| Canary {
            pods,
            hold: self.canary_hold,
            checks: (!checks.is_empty()).then_some(checks),
        }))
    }

    fn checks(&self) -> Result<Vec<Check>, Failure> {
        let checks = self.canary_check.iter().map(|text| read("--canary-check", text));
        Ok(checks.collect::<Result<_, _>>()?)
    }

    /// Returns the probe.
    #[must_use]
    pub fn probe(&self) -> Option<Probe> {
        let mut probe = Probe::of(self.probe.clone()?);
        probe.rps = self.probe_rps.unwrap_or(probe.rps);
        probe.fail = self.probe_fail.unwrap_or(probe.fail);
        if !self.probe_lanes.is_empty() {
            probe.lanes.clone_from(&self.probe_lanes);
        }
        Some(probe)
    }

    /// Returns what was typed, for somebody to type it again. Nobody gets the credentials of an address.
    pub(super) fn options(&self, usual: &Self) -> String {
        let mut options = String::new();
        let mut add = |option: &str, value: &str| options.push_str(&mapping::typed(option, value));
        if let Some(pods) = self.canary {
            add("canary", &pods.to_string());
            if self.canary_hold != usual.canary_hold {
                add("canary-hold", &self.canary_hold.as_secs().to_string());
            }
        }
        self.checks().unwrap_or_default().iter().for_each(|check| add("canary-check", &typed(check)));
        if let Some(url) = &self.probe {
            add("probe", &shown(url));
        }
        if let Some(rps) = self.probe_rps {
            add("probe-rps", &rps.to_string());
        }
        if !self.probe_lanes.is_empty() {
            let lanes = self.probe_lanes.iter().map(|lane| lane.word());
            add("probe-lanes", &lanes.collect::<Vec<_>>().join(","));
        }
        if let Some(fail) = self.probe_fail {
            add("probe-fail", &fail.to_string());
        }
        options
    }
}

/// Returns the option that stands for a key of the resource.
pub(super) fn option(key: &'static str) -> &'static str {
    match key {
        "canary" => "--canary",
        "canary.hold" => "--canary-hold",
        "canary.checks" => "--canary-check",
        "probe.url" => "--probe",
        "probe.rps" => "--probe-rps",
        "probe.lanes" => "--probe-lanes",
        other => other,
    }
}

/// Returns a check as it is typed.
fn typed(check: &Check) -> String {
    let mut check = check.clone();
    if let Check::Prometheus(Metric { url, .. }) = &mut check {
        *url = shown(url);
    }
    match serde_json::to_value(&check) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(query) => query.to_string(),
        Err(_) => String::new(),
    }
}
