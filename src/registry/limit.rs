//! How many requests a registry gets from us: at the same time, and in each second.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

use super::Access;

/// Enough to hide the way to a registry, and no burden to one.
pub(super) const PARALLEL: NonZeroU32 = NonZeroU32::new(32).expect("not zero");

const SECOND: Duration = Duration::from_secs(1);

/// The turnstile before a registry.
pub(super) struct Limit {
    parallel: usize,
    permits: Semaphore,
    window: Option<Mutex<Window>>,
}

impl Limit {
    pub(super) fn of(access: &Access) -> Self {
        let parallel = access.max_parallel.unwrap_or(PARALLEL).get() as usize;
        let window = access.max_requests_per_second.map(|most| Mutex::new(Window::of(most)));
        Self { parallel, permits: Semaphore::new(parallel), window }
    }

    /// Returns how many requests are let through at the same time.
    pub(super) fn parallel(&self) -> usize {
        self.parallel
    }

    /// Waits for a turn; the request is over when the permit is dropped.
    pub(super) async fn turn(&self) -> SemaphorePermit<'_> {
        let permit = self.permits.acquire().await.expect("the semaphore is never closed");
        if let Some(window) = &self.window {
            let turn = window.lock().unwrap_or_else(PoisonError::into_inner).turn(Instant::now());
            sleep_until(turn).await;
        }
        permit
    }
}

/// The last requests, as many as one second may have. A bucket of tokens would let twice as many
/// through in its first second.
struct Window {
    most: usize,
    turns: VecDeque<Instant>,
}

impl Window {
    fn of(most: NonZeroU32) -> Self {
        Self { most: most.get() as usize, turns: VecDeque::new() }
    }

    /// Returns when the next request may be made, and counts it there.
    fn turn(&mut self, now: Instant) -> Instant {
        let turn = match self.turns.front() {
            Some(first) if self.turns.len() >= self.most => now.max(*first + SECOND),
            _ => now,
        };
        if self.turns.len() >= self.most {
            self.turns.pop_front();
        }
        self.turns.push_back(turn);
        turn
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn limit(json: &str) -> Limit {
        Limit::of(&serde_json::from_str(json).unwrap())
    }

    /// Makes the requests of a caller that is always ready for the next one.
    fn turns(window: &mut Window, start: Instant, count: usize) -> Vec<Duration> {
        let mut now = start;
        let mut next = || {
            now = window.turn(now);
            now - start
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn no_second_has_more_requests_than_it_may() {
        let mut window = Window::of(NonZeroU32::new(5).unwrap());
        let turns = turns(&mut window, Instant::now(), 17);
        for window in turns.windows(6) {
            assert!(window[5] - window[0] >= SECOND, "{turns:?}");
        }
        assert_eq!(turns[16], SECOND * 3);
    }

    #[test]
    fn callers_that_come_at_once_are_spread_out_too() {
        let mut window = Window::of(NonZeroU32::new(2).unwrap());
        let now = Instant::now();
        let turns: Vec<Duration> = (0..6).map(|_| window.turn(now) - now).collect();
        assert_eq!(turns.iter().map(Duration::as_secs).collect::<Vec<_>>(), [0, 0, 1, 1, 2, 2]);
    }

    #[test]
    fn pause_saves_up_no_more_than_one_second() {
        let mut window = Window::of(NonZeroU32::new(2).unwrap());
        let start = Instant::now();
        window.turn(start);
        let turns = turns(&mut window, start + SECOND * 60, 4);
        assert_eq!(turns, [Duration::ZERO, Duration::ZERO, SECOND, SECOND]);
    }

    #[test]
    fn request_waits_until_one_of_the_others_is_over() {
        let limit = limit(r#"{"max_parallel": 2}"#);
        let first = limit.turn().now_or_never().unwrap();
        let _second = limit.turn().now_or_never().unwrap();
        assert!(limit.turn().now_or_never().is_none());
        drop(first);
        assert!(limit.turn().now_or_never().is_some());
    }

    #[test]
    fn nothing_is_slowed_down_unasked() {
        let limit = limit("{}");
        for _ in 0..1000 {
            assert!(limit.turn().now_or_never().is_some());
        }
    }
}
