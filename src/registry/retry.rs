//! When a request is made again: the only retry policy of the registry client.
//!
//! Only requests that change nothing come here. Each retry has a cause that is logged, waits as
//! long as the registry asks for, and ends at one deadline.

use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// How patient a client is with one request.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// No attempt of a request goes on longer than this after its first one began. One minute is
    /// Concourse's default check interval: a check that takes longer only delays the next one.
    pub deadline: Duration,
    /// The wait after the first failure; it doubles from there, and up to as much again is added at
    /// random, so that a fleet of checks does not come back in step.
    pub first_wait: Duration,
    /// The longest wait that the doubling reaches.
    pub longest_wait: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(60),
            first_wait: Duration::from_millis(200),
            longest_wait: Duration::from_secs(10),
        }
    }
}

/// Why an attempt failed in a way that may pass.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Setback {
    /// What `Retry-After` asked for.
    pub(super) asked: Option<Duration>,
    /// How many retries this cause deserves, where that is fewer than the deadline allows.
    pub(super) at_most: Option<u32>,
}

/// What to do after a setback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Wait, then try again.
    Wait(Duration),
    /// No attempt is left, or no time.
    Stop,
    /// The registry asked for more time than there is.
    AskedTooMuch(Duration),
}

/// The attempts of one request. It has no clock: the caller tells how much time has passed.
pub(super) struct Attempts {
    waits: ExponentialBackoff,
    deadline: Duration,
    failed: u32,
}

impl Attempts {
    pub(super) fn new(policy: Policy) -> Self {
        let waits = ExponentialBuilder::default()
            .with_min_delay(policy.first_wait)
            .with_max_delay(policy.longest_wait)
            .with_jitter()
            .without_max_times();
        Self { waits: waits.build(), deadline: policy.deadline, failed: 0 }
    }

    /// Returns how many attempts have failed.
    pub(super) fn failed(&self) -> u32 {
        self.failed
    }

    /// Decides what follows a setback, `elapsed` after the first attempt began.
    pub(super) fn after(&mut self, setback: Setback, elapsed: Duration) -> Next {
        self.failed += 1;
        if setback.at_most.is_some_and(|limit| self.failed > limit) {
            return Next::Stop;
        }
        let own = self.waits.next().unwrap_or_default();
        let wait = setback.asked.map_or(own, |asked| asked.max(own));
        if elapsed.saturating_add(wait) < self.deadline {
            Next::Wait(wait)
        } else {
            setback.asked.filter(|asked| *asked >= self.deadline).map_or(Next::Stop, Next::AskedTooMuch)
        }
    }
}

/// Reads `Retry-After`: seconds, or a date as HTTP writes it.
pub(super) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts(deadline: u64) -> Attempts {
        Attempts::new(Policy { deadline: Duration::from_secs(deadline), ..Policy::default() })
    }

    #[test]
    fn waits_grow_and_end_at_the_deadline() {
        let mut attempts = attempts(60);
        let (mut waits, mut elapsed) = (Vec::new(), Duration::ZERO);
        while let Next::Wait(wait) = attempts.after(Setback::default(), elapsed) {
            elapsed += wait;
            waits.push(wait);
        }
        assert!(waits.len() > 5 && waits.len() < 30, "{waits:?}");
        assert!(waits.last() > waits.first(), "{waits:?}");
        assert!(elapsed < Duration::from_secs(60));
    }

    #[test]
    fn registry_that_asks_for_time_gets_it() {
        let asked = Some(Duration::from_secs(7));
        let next = attempts(60).after(Setback { asked, at_most: None }, Duration::ZERO);
        assert_eq!(next, Next::Wait(Duration::from_secs(7)));
    }

    #[test]
    fn registry_that_asks_for_more_than_the_deadline_ends_it_at_once() {
        let asked = Some(Duration::from_secs(3600));
        let next = attempts(60).after(Setback { asked, at_most: None }, Duration::ZERO);
        assert_eq!(next, Next::AskedTooMuch(Duration::from_secs(3600)));
    }

    #[test]
    fn cause_with_a_limit_stops_there() {
        let mut attempts = attempts(60);
        let setback = Setback { asked: None, at_most: Some(1) };
        assert!(matches!(attempts.after(setback, Duration::ZERO), Next::Wait(_)));
        assert_eq!(attempts.after(setback, Duration::ZERO), Next::Stop);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Mon, 06 Jul 2026 10:00:00 GMT").unwrap();
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Mon, 06 Jul 2026 10:00:30 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Mon, 06 Jul 2026 09:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }
}
