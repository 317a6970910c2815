//! When it is late, on clocks that the test moves.

use super::*;
use crate::rollout::annotations::{CanaryMark, HOLD, JOURNAL, Journal};
use crate::rollout::fixtures::{mk_ending_within, mk_goal, mk_image, mk_orphan, mk_snapshot, mk_unready};
use crate::rollout::plan::drain::Way;
use crate::rollout::verdict::old_pods_lack;

const WAIT: Duration = Duration::from_secs(60);
const DRAIN: Duration = Duration::from_secs(10);

/// A stopwatch and how long it has run.
struct Run {
    watch: Stopwatch,
    began: Instant,
}

impl Run {
    fn new() -> Self {
        let watch = Stopwatch::new(WAIT, DRAIN);
        Self { began: watch.began.at, watch }
    }

    /// Takes a look so many seconds after the start; returns what it makes of old pods and whether what
    /// is missing comes too late.
    fn look(&mut self, snapshot: &Snapshot, seconds: u64) -> (Clocks, bool) {
        let now = self.began + Duration::from_secs(seconds);
        let goal = mk_goal('a');
        let clocks = self.watch.look_at(&goal, snapshot, now);
        let lack = new_pods_lack(&goal, snapshot).or_else(|| old_pods_lack(snapshot)).unwrap();
        (clocks, self.watch.is_late_at(&lack, snapshot, now))
    }
}

/// Returns three new pods that serve, and an old one with so many seconds to end in.
fn mk_slow_end(seconds: i64) -> Snapshot {
    let mut look = mk_snapshot();
    let mut old = mk_orphan(&mk_ending_within(&look.pods[0], seconds));
    old.metadata.uid = Some("uid-old".to_owned());
    look.pods.push(old);
    look
}

fn mk_two_of_three() -> Snapshot {
    let mut look = mk_snapshot();
    look.pods[0] = mk_unready(&look.pods[0]);
    look
}

#[test]
fn an_old_pod_is_overdue_when_its_own_grace_period_is_over() {
    for (grace, in_time, late) in [(30, 189, 191), (600, 699, 701)] {
        let mut run = Run::new();
        run.look(&mk_slow_end(grace), 1);
        assert!(!run.look(&mk_slow_end(grace), in_time).0.overdue, "{grace}");
        assert!(run.look(&mk_slow_end(grace), late).0.overdue, "{grace}");
    }
}

#[test]
fn old_pods_have_their_time_from_when_the_last_new_one_served() {
    let mut run = Run::new();
    run.look(&mk_two_of_three(), 1);
    run.look(&mk_slow_end(30), 58);
    assert!(!run.look(&mk_slow_end(30), 186).0.overdue);
    assert!(run.look(&mk_slow_end(30), 191).0.overdue);
}

#[test]
fn new_pods_that_are_never_ready_are_late_when_the_wait_is_over() {
    let mut run = Run::new();
    assert!(!run.look(&mk_two_of_three(), 59).1);
    assert!(run.look(&mk_two_of_three(), 61).1);
}

#[test]
fn a_new_pod_that_needs_the_place_of_an_old_one_is_not_late_while_that_ends() {
    let mut look = mk_slow_end(600);
    look.pods.remove(0);
    let mut run = Run::new();
    assert!(run.look(&look, 61).1, "a rolling update does not wait for an end");
    look.deployment.spec.as_mut().unwrap().strategy.as_mut().unwrap().type_ = Some("Recreate".to_owned());
    assert!(!run.look(&look, 689).1);
    assert!(run.look(&look, 691).1);
}

#[test]
fn a_pod_that_comes_after_all_have_served_has_the_time_of_a_new_one() {
    let mut run = Run::new();
    run.look(&mk_slow_end(30), 100);
    assert!(!run.look(&mk_two_of_three(), 101).1);
    assert!(!run.look(&mk_two_of_three(), 159).1);
    assert!(run.look(&mk_two_of_three(), 161).1);
}

#[test]
fn a_canary_that_served_has_the_time_of_a_new_one_when_it_misses_a_probe() {
    let mut canary = mk_two_of_three();
    let spec = canary.deployment.spec.as_mut().unwrap();
    spec.min_ready_seconds = Some(HOLD);
    let mark = CanaryMark { pods: 2, way: Way::Rolling };
    let journal = Journal { image: mk_image('a'), canary: Some(mark), ..Journal::lost("") };
    canary.deployment.metadata.annotations = Some([(JOURNAL.to_owned(), journal.write())].into());
    let gone = canary.pods.remove(0);
    let mut run = Run::new();
    run.look(&canary, 100);
    canary.pods[0] = mk_unready(&canary.pods[0]);
    assert!(!run.look(&canary, 101).1);
    canary.pods.push(gone);
    assert!(run.look(&canary, 161).1);
}

#[test]
fn pods_that_come_and_go_for_ever_are_late_in_the_end() {
    let mut run = Run::new();
    let late: Vec<bool> = (0..20)
        .map(|round| {
            run.look(&mk_slow_end(30), 50 * round);
            run.look(&mk_two_of_three(), 50 * round + 49).1
        })
        .collect();
    assert_eq!((late.first(), late.last()), (Some(&false), Some(&true)), "{late:?}");
}

#[test]
fn a_pause_and_silence_are_not_counted() {
    let mut run = Run::new();
    let mut paused = mk_two_of_three();
    paused.deployment.spec.as_mut().unwrap().paused = Some(true);
    run.look(&paused, 10);
    run.look(&mk_two_of_three(), 110);
    run.watch.forgive(Duration::from_secs(30));
    assert!(!run.look(&mk_two_of_three(), 189).1);
    assert!(run.look(&mk_two_of_three(), 191).1);
}
