//! What the checks of a canary say, from literal looks and answers.

use super::*;
use crate::rollout::fixtures::*;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn metric(min: Option<f64>, max: Option<f64>) -> Check {
    let (url, query) = ("http://prometheus".to_owned(), "errors".to_owned());
    Check::Prometheus(Metric { url, query, max, min })
}

/// A trial of a minute whose canary serves from the tenth second on.
fn trial(checks: &[Check]) -> Trial {
    let canary = Canary { checks: Some(checks.to_vec()), ..Canary::default() };
    let mut trial = Trial::new(&canary, true);
    assert_eq!(trial.look(&mk_snapshot(), false, at(5)), None);
    assert_eq!(trial.judge(None, at(5)), Finding::Watching(at(60)));
    assert_eq!(trial.look(&mk_snapshot(), true, at(10)), None);
    trial
}

fn rule(finding: &Finding) -> &'static str {
    match finding {
        Finding::Failed(cause) => cause.rule,
        Finding::Passed => "passed",
        Finding::Watching(_) => "watching",
    }
}

#[test]
fn a_canary_passes_when_everything_held_to_the_end() {
    let trial = trial(&[Check::Restarts, Check::Probe]);
    let none_failed = Some(Span { sent: 100, failed: 0, longest: 0 });
    assert_eq!(trial.judge(none_failed, at(30)), Finding::Watching(at(40)));
    assert_eq!(trial.judge(none_failed, at(70)), Finding::Passed);
}

#[test]
fn one_failed_request_is_enough() {
    let trial = trial(&[Check::Probe]);
    let Finding::Failed(cause) = trial.judge(Some(Span { sent: 600, failed: 1, longest: 1 }), at(20)) else {
        panic!("it did not fail");
    };
    assert_eq!(cause.to_string(), "1 of 600 requests failed while the canary was watched (F310)");
    let unasked = self::trial(&[Check::Restarts]);
    assert_eq!(rule(&unasked.judge(Some(Span { sent: 600, failed: 9, longest: 1 }), at(20))), "watching");
}

#[test]
fn a_pod_that_loses_its_readiness_fails_it_or_begins_the_hold_again() {
    let mut shaky = mk_snapshot();
    shaky.pods[1] = mk_unready(&shaky.pods[1]);
    let cause = trial(&[Check::Restarts]).look(&shaky, false, at(20)).unwrap();
    assert_eq!(cause.words, "pod app-1a-y lost its readiness while the canary was watched");
    let mut unasked = trial(&[Check::Probe]);
    assert_eq!(unasked.look(&shaky, false, at(20)), None);
    assert_eq!(unasked.look(&mk_snapshot(), true, at(30)), None);
    assert_eq!(unasked.judge(None, at(70)), Finding::Watching(at(20)));
}

#[test]
fn metrics_are_asked_every_so_often_and_at_the_end() {
    let canary = Canary { checks: Some(vec![Check::Restarts, metric(None, Some(1.0))]), ..Canary::default() };
    assert!(Trial::new(&canary, false).due(at(1)).is_empty());
    let mut trial = trial(&[Check::Restarts, metric(None, Some(1.0))]);
    assert_eq!(trial.due(at(10))[0].0, 1);
    assert!(trial.due(at(15)).is_empty());
    assert_eq!(trial.due(at(20)).len(), 1);
    assert_eq!(trial.due(at(70)).len(), 1);
}

#[test]
fn a_metric_out_of_bounds_fails_at_once() {
    for (min, max, value, wanted) in [
        (None, Some(1.0), 1.5, "`errors` is 1.5, which is above 1"),
        (Some(0.9), None, 0.5, "`errors` is 0.5, which is below 0.9"),
        (Some(0.0), Some(1.0), 2.0, "`errors` is 2, which is not between 0 and 1"),
    ] {
        let mut trial = trial(&[metric(min, max)]);
        trial.measure(0, Ok(vec![value]));
        let Finding::Failed(cause) = trial.judge(None, at(11)) else { panic!("it did not fail") };
        assert_eq!((cause.rule, cause.words.as_str()), (CANARY_METRIC.id, wanted));
        trial.measure(0, Ok(vec![max.or(min).unwrap()]));
        assert_eq!(trial.judge(None, at(70)), Finding::Passed);
    }
}

#[test]
fn what_cannot_be_judged_does_not_pass() {
    let mut trial = trial(&[metric(None, Some(1.0))]);
    assert_eq!(rule(&trial.judge(None, at(70))), "watching");
    for answer in [Ok(vec![]), Err("no connection".to_owned())] {
        trial.measure(0, answer);
        assert_eq!(rule(&trial.judge(None, at(30))), "watching");
        assert_eq!(rule(&trial.judge(None, at(70))), CANARY_BLIND.id);
    }
    trial.measure(0, Ok(vec![0.5]));
    assert_eq!(rule(&trial.judge(None, at(70))), "passed");
}
