//! When a request is made again: the only retry policy of the registry client.
//!
//! Only requests that change nothing come here. Each retry has a cause that is logged, waits as
//! long as the registry asks for, and ends at a deadline: one for trouble, and one for a registry
//! that throttles, which is in order and only wants to be asked later.

use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// How patient a client is with one request.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// No attempt of a request goes on longer than this after its first one began. One minute is
    /// Concourse's default check interval: a check that takes longer only delays the next one.
    pub deadline: Duration,
    /// So long a registry that throttles is waited for; that time does not count against the other
    /// deadline.
    pub throttled: Duration,
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
            throttled: Duration::from_secs(60),
            first_wait: Duration::from_millis(200),
            longest_wait: Duration::from_secs(10),
        }
    }
}

impl Policy {
    /// Returns the patience of a get or a put: it is run once and not each minute, and it has a build
    /// that waits for it. An hour of throttling is what `registry-image` waits out.
    #[must_use]
    pub fn of_a_build() -> Self {
        Self {
            deadline: Duration::from_secs(300),
            throttled: Duration::from_secs(3_600),
            longest_wait: Duration::from_secs(30),
            ..Self::default()
        }
    }

    /// Returns the patience with a mirror: there is another place to ask.
    pub(super) fn of_a_mirror() -> Self {
        let deadline = Duration::from_secs(10);
        Self { deadline, throttled: deadline, longest_wait: Duration::from_secs(2), ..Self::default() }
    }

    /// Returns the patience with a download that has begun to move: what has come is worth a wait.
    pub(super) fn moving(self) -> Self {
        let usual = Self::default();
        Self {
            deadline: self.deadline.max(usual.deadline),
            throttled: self.throttled.max(usual.throttled),
            ..self
        }
    }

    /// Returns the longest that a request can take with all its attempts.
    pub(super) fn whole(&self) -> Duration {
        self.deadline.max(self.throttled)
    }
}

/// Why an attempt failed in a way that may pass.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Setback {
    /// What `Retry-After` asked for.
    pub(super) asked: Option<Duration>,
    /// The registry is in order and wants to be asked later.
    pub(super) is_throttling: bool,
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
    policy: Policy,
    failed: u32,
    /// How long was waited because the registry throttled.
    away: Duration,
}

impl Attempts {
    pub(super) fn new(policy: Policy) -> Self {
        let waits = ExponentialBuilder::default()
            .with_min_delay(policy.first_wait)
            .with_max_delay(policy.longest_wait)
            .with_jitter()
            .without_max_times();
        Self { waits: waits.build(), policy, failed: 0, away: Duration::ZERO }
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
        // Whoever is asked to come back after a second is not alone: all come back after it, and not
        // all at once.
        let wait = setback.asked.map_or(own, |asked| asked.saturating_add(own));
        let (spent, patience) = if setback.is_throttling {
            (elapsed, self.policy.throttled)
        } else {
            (elapsed.saturating_sub(self.away), self.policy.deadline)
        };
        if spent.saturating_add(wait) >= patience {
            return setback.asked.filter(|asked| *asked >= patience).map_or(Next::Stop, Next::AskedTooMuch);
        }
        if setback.is_throttling {
            self.away += wait;
        }
        Next::Wait(wait)
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
        let deadline = Duration::from_secs(deadline);
        Attempts::new(Policy { deadline, throttled: deadline, ..Policy::default() })
    }

    fn throttled(seconds: u64) -> Setback {
        Setback { asked: Some(Duration::from_secs(seconds)), is_throttling: true, at_most: None }
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
        let asked = Duration::from_secs(7);
        let waits = |_| match attempts(60).after(throttled(7), Duration::ZERO) {
            Next::Wait(wait) => wait,
            other => panic!("{other:?}"),
        };
        let waits: Vec<Duration> = (0..8).map(waits).collect();
        // Not all who were told the same come back at the same time.
        assert!(waits.iter().all(|wait| *wait > asked && *wait < asked * 2), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
    }

    #[test]
    fn build_waits_out_a_registry_that_throttles_for_an_hour_and_not_one_that_is_broken() {
        let minute = Duration::from_secs(60);
        let mut attempts = Attempts::new(Policy::of_a_build());
        for elapsed in [0, 10, 50] {
            assert!(matches!(attempts.after(throttled(120), minute * elapsed), Next::Wait(_)), "{elapsed}");
        }
        // The time that it asked for does not count against its other trouble.
        assert!(matches!(attempts.after(Setback::default(), minute * 7), Next::Wait(_)));
        assert_eq!(attempts.after(Setback::default(), minute * 12), Next::Stop);
        assert_eq!(attempts.after(throttled(120), minute * 59), Next::Stop);
        assert_eq!(
            attempts.after(throttled(3_600), Duration::ZERO),
            Next::AskedTooMuch(Duration::from_secs(3_600))
        );
    }

    #[test]
    fn registry_that_asks_for_more_than_the_deadline_ends_it_at_once() {
        let next = attempts(60).after(throttled(3_600), Duration::ZERO);
        assert_eq!(next, Next::AskedTooMuch(Duration::from_secs(3600)));
    }

    #[test]
    fn cause_with_a_limit_stops_there() {
        let mut attempts = attempts(60);
        let setback = Setback { at_most: Some(1), ..Setback::default() };
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
