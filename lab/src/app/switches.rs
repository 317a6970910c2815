//! What the environment, or a file in the image, tells the application to do.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// How the application takes SIGTERM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnSigterm {
    /// Keeps serving for the drain delay while saying goodbye on every connection, then finishes what is open.
    Drain,
    /// Closes the listener at once and finishes what is open.
    Graceful,
    /// Exits at once.
    Die,
    /// Does nothing; only SIGKILL ends it.
    Ignore,
}

impl fmt::Display for OnSigterm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Drain => "drain",
            Self::Graceful => "graceful",
            Self::Die => "die",
            Self::Ignore => "ignore",
        })
    }
}

/// Every switch with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switches {
    /// `ON_SIGTERM`: `drain` (default), `graceful`, `die` or `ignore`.
    pub on_sigterm: OnSigterm,
    /// `START_DELAY` seconds before it listens; default 0.
    pub start_delay: Duration,
    /// `DRAIN_DELAY` seconds during which a draining application still accepts; default 5.
    pub drain_delay: Duration,
    /// `DRAIN_TIMEOUT` seconds for open requests once the listener is closed; default 20.
    pub drain_timeout: Duration,
    /// `CRASH_AFTER` seconds it exits; default never.
    pub crash_after: Option<Duration>,
    /// `EXIT_CODE` of that exit; default 1. With 0 it is a job that is done, as an init container's.
    pub exit_code: u8,
    /// `ALLOCATE` MiB of memory that it fills before it listens; default 0.
    pub allocate: usize,
    /// `NEVER_READY=1`: serves, but its health stays out of service.
    pub never_ready: bool,
    /// `FAIL_REQUESTS=1`: healthy and ready, and every page is an error.
    pub fail_requests: bool,
    /// `PORT`; default 8080.
    pub port: u16,
    /// `ADDRESS`; default all.
    pub address: IpAddr,
}

impl Switches {
    /// Reads the switches baked into an image (`KEY=VALUE` lines, `#` comments), overridden by the environment.
    ///
    /// # Errors
    /// A line or value that cannot be understood, named.
    pub fn read(baked: &str, environment: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut values = parse_lines(baked)?;
        values.extend(environment.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        let on_sigterm = match values.get("ON_SIGTERM").copied() {
            None | Some("" | "drain") => OnSigterm::Drain,
            Some("graceful") => OnSigterm::Graceful,
            Some("die") => OnSigterm::Die,
            Some("ignore") => OnSigterm::Ignore,
            Some(other) => {
                return Err(format!("ON_SIGTERM is `{other}`, not drain, graceful, die or ignore"));
            }
        };
        Ok(Self {
            on_sigterm,
            start_delay: seconds(&values, "START_DELAY")?.unwrap_or_default(),
            drain_delay: seconds(&values, "DRAIN_DELAY")?.unwrap_or(Duration::from_secs(5)),
            drain_timeout: seconds(&values, "DRAIN_TIMEOUT")?.unwrap_or(Duration::from_secs(20)),
            crash_after: seconds(&values, "CRASH_AFTER")?,
            exit_code: parsed(&values, "EXIT_CODE")?.unwrap_or(1),
            allocate: parsed(&values, "ALLOCATE")?.unwrap_or(0),
            never_ready: is_set(&values, "NEVER_READY"),
            fail_requests: is_set(&values, "FAIL_REQUESTS"),
            port: parsed(&values, "PORT")?.unwrap_or(8080),
            address: parsed(&values, "ADDRESS")?.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        })
    }
}

fn is_set(values: &BTreeMap<&str, &str>, key: &str) -> bool {
    matches!(values.get(key).copied(), Some("1" | "true"))
}

fn parse_lines(text: &str) -> Result<BTreeMap<&str, &str>, String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once('=').ok_or_else(|| format!("the switch `{line}` is not KEY=VALUE")))
        .collect()
}

fn seconds(values: &BTreeMap<&str, &str>, key: &str) -> Result<Option<Duration>, String> {
    let Some(number) = parsed::<f64>(values, key)? else { return Ok(None) };
    Duration::try_from_secs_f64(number)
        .map(Some)
        .map_err(|_| format!("{key} is `{number}`, not a number of seconds"))
}

fn parsed<T: std::str::FromStr>(values: &BTreeMap<&str, &str>, key: &str) -> Result<Option<T>, String> {
    match values.get(key).copied() {
        None | Some("") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| format!("{key} is `{text}`, which cannot be read")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn nothing_set_means_drain_on_port_8080() {
        let switches = Switches::read("", &BTreeMap::new()).unwrap();
        assert_eq!(switches.on_sigterm, OnSigterm::Drain);
        assert_eq!(switches.port, 8080);
        assert_eq!((switches.crash_after, switches.exit_code, switches.allocate), (None, 1, 0));
    }

    #[test]
    fn an_image_can_bake_a_switch_and_the_environment_overrides_it() {
        let baked = "# a broken build\nCRASH_AFTER=2\nON_SIGTERM=die\n";
        let switches = Switches::read(baked, &environment(&[("ON_SIGTERM", "graceful")])).unwrap();
        assert_eq!(switches.crash_after, Some(Duration::from_secs(2)));
        assert_eq!(switches.on_sigterm, OnSigterm::Graceful);
    }

    #[test]
    fn a_wrong_value_is_named() {
        let reason = Switches::read("", &environment(&[("ON_SIGTERM", "explode")])).unwrap_err();
        assert_eq!(reason, "ON_SIGTERM is `explode`, not drain, graceful, die or ignore");
        let reason = Switches::read("", &environment(&[("START_DELAY", "-1")])).unwrap_err();
        assert_eq!(reason, "START_DELAY is `-1`, not a number of seconds");
        let reason = Switches::read("EXIT_CODE=256", &BTreeMap::new()).unwrap_err();
        assert_eq!(reason, "EXIT_CODE is `256`, which cannot be read");
        let reason = Switches::read("CRASH\n", &BTreeMap::new()).unwrap_err();
        assert_eq!(reason, "the switch `CRASH` is not KEY=VALUE");
    }
}
