//! When the nth request of a lane starts. Nothing but arithmetic, so that no answer can shift it.

use std::time::Duration;

/// No lane sends more.
const MOST: u64 = 2_000_000;

/// Evenly spaced starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    rate: f64,
}

impl Schedule {
    pub(super) fn new(rate: f64) -> Self {
        Self { rate }
    }

    /// Returns the start of each request, counted from the start of the load.
    pub(super) fn starts(self) -> impl Iterator<Item = Duration> {
        (0..MOST).map(move |number| self.start(number))
    }

    fn start(self, number: u64) -> Duration {
        // Computed from the number, not summed up: a sum of rounded steps would drift.
        Duration::from_secs_f64(number as f64 / self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_evenly_spaced_from_zero() {
        let starts: Vec<u128> = Schedule::new(4.0).starts().take(5).map(|start| start.as_millis()).collect();
        assert_eq!(starts, [0, 250, 500, 750, 1000]);
    }

    #[test]
    fn an_odd_rate_does_not_drift_over_an_hour() {
        let schedule = Schedule::new(700.0);
        assert_eq!(schedule.start(700 * 3600), Duration::from_secs(3600));
        assert!((schedule.start(1).as_secs_f64() - 1.0 / 700.0).abs() < 1e-9);
    }

    #[test]
    fn the_number_of_requests_is_bounded() {
        assert_eq!(Schedule::new(1.0).starts().count() as u64, MOST);
    }
}
