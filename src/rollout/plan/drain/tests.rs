//! One test per reason to choose a way, and one per kind of shutdown that is known.

use std::time::Duration;

use super::*;
use crate::rollout::fixtures::*;
use crate::rollout::observe::Routing;
use serde_json::{Value, json};

/// Returns the snapshot with `spec` laid over the spec of each pod.
fn with_pods(spec: &Value) -> Snapshot {
    let mut snapshot = mk_snapshot();
    for pod in &mut snapshot.pods {
        *pod = with(pod, &json!({ "spec": spec }));
    }
    snapshot
}

fn hook(pre_stop: &Value) -> Value {
    json!({ "name": "main", "lifecycle": { "preStop": pre_stop } })
}

fn sleeping(seconds: u32, grace: u32) -> Snapshot {
    let main = hook(&json!({ "sleep": { "seconds": seconds } }));
    with_pods(&json!({ "containers": [main], "terminationGracePeriodSeconds": grace }))
}

fn way(snapshot: &Snapshot) -> Way {
    choose(&mk_order('b'), snapshot, None).way
}

#[test]
fn pods_without_a_drain_of_their_own_are_detached() {
    let choice = choose(&mk_order('b'), &mk_snapshot(), None);
    assert_eq!((choice.way, choice.loses), (Way::Detached, None));
    assert_eq!(choice.why, "3 old pods have no drain of 5 s of their own");
}

#[test]
fn a_long_sleep_within_the_grace_is_a_drain() {
    assert_eq!(way(&sleeping(5, 30)), Way::Rolling);
    assert_eq!(way(&sleeping(4, 30)), Way::Detached);
    assert_eq!(way(&sleeping(5, 7)), Way::Rolling);
    assert_eq!(way(&sleeping(5, 6)), Way::Detached);
    assert_eq!(choose(&mk_order('b'), &sleeping(5, 30), None).loses, None);
}

#[test]
fn commands_count_when_they_end_in_a_sleep() {
    let cases: [(&[&str], u64); 8] = [
        (&["sleep", "10"], 10),
        (&["/bin/sleep", "10s"], 10),
        (&["sh", "-c", "sleep 10"], 10),
        (&["sh", "-c", "nginx -s quit; sleep 10"], 10),
        (&["sh", "-c", "sleep 10 && nginx -s quit"], 0),
        (&["usleep", "500"], 0),
        (&["sleep", "1m"], 0),
        (&["/drain"], 0),
    ];
    for (command, seconds) in cases {
        let main = hook(&json!({ "exec": { "command": command } }));
        let pod = with_pods(&json!({ "containers": [main] })).pods[0].clone();
        assert_eq!(shutdown(&pod, "main"), Shutdown { serves: seconds, grace: 30 }, "{command:?}");
    }
    let http = hook(&json!({ "httpGet": { "port": 80 } }));
    assert_eq!(shutdown(&with_pods(&json!({ "containers": [http] })).pods[0], "main").serves, 0);
}

#[test]
fn a_declared_drain_adds_to_the_hook() {
    let mut snapshot = sleeping(3, 30);
    assert_eq!(way(&snapshot), Way::Detached);
    for pod in &mut snapshot.pods {
        *pod = with(pod, &json!({ "metadata": { "annotations": { DRAINS: "2s" } } }));
    }
    assert_eq!(way(&snapshot), Way::Rolling);
    snapshot.pods[0] = with(&snapshot.pods[0], &json!({ "metadata": { "annotations": { DRAINS: "long" } } }));
    assert_eq!(way(&snapshot), Way::Detached, "every pod must have it, and what is no number is none");
}

#[test]
fn a_proxy_with_ports_that_goes_first_ends_the_drain() {
    let main = hook(&json!({ "sleep": { "seconds": 10 } }));
    let proxy = json!({ "name": "proxy", "ports": [{ "containerPort": 80 }] });
    let shipper = json!({ "name": "log-shipper" });
    assert_eq!(way(&with_pods(&json!({ "containers": [main, proxy] }))), Way::Detached);
    assert_eq!(way(&with_pods(&json!({ "containers": [main, shipper] }))), Way::Rolling);
}

#[test]
fn pods_of_others_under_the_same_labels_do_not_count() {
    let mut snapshot = sleeping(10, 30);
    let naked = json!({ "metadata": { "ownerReferences": null, "generateName": null } });
    snapshot.pods.push(with(&mk_snapshot().pods[0], &naked));
    assert_eq!(way(&snapshot), Way::Rolling);
}

#[test]
fn without_a_service_nothing_is_to_be_drained() {
    let mut snapshot = mk_snapshot();
    snapshot.routing = Some(Routing::default());
    let choice = choose(&mk_order('b'), &snapshot, None);
    assert_eq!((choice.way, choice.loses), (Way::Rolling, None));
    snapshot.routing = None;
    assert_eq!(way(&snapshot), Way::Detached, "services that cannot be read may be there");
}

#[test]
fn the_strategy_stays_when_a_drain_cannot_be() {
    let recreate = json!({ "spec": { "strategy": { "type": "Recreate", "rollingUpdate": null } } });
    let empty = json!({ "spec": { "replicas": 0 } });
    for part in [recreate, empty] {
        let deployment = with(&mk_snapshot().deployment, &part);
        assert_eq!(way(&Snapshot { deployment, ..mk_snapshot() }), Way::Plain);
    }
    let order = Order { wait: None, drain: Drain::Detached, ..mk_order('b') };
    let choice = choose(&order, &mk_snapshot(), None);
    assert_eq!(choice.way, Way::Plain);
    assert!(choice.why.contains("wait_until_ready is 0"), "{}", choice.why);
}

#[test]
fn an_obstacle_makes_a_rolling_update_that_says_what_it_loses() {
    for drain in [Drain::Auto, Drain::Detached] {
        let order = Order { drain, ..mk_order('b') };
        let choice = choose(&order, &mk_snapshot(), Some("the credentials may not patch pods"));
        assert_eq!(choice.way, Way::Rolling);
        assert!(choice.why.contains("may not patch pods"), "{}", choice.why);
        assert!(choice.loses.unwrap().starts_with("3 old pods"));
    }
}

#[test]
fn a_name_too_long_for_a_label_is_an_obstacle() {
    let named = |name: String| {
        let deployment = with(&mk_snapshot().deployment, &json!({ "metadata": { "name": name } }));
        way(&Snapshot { deployment, ..mk_snapshot() })
    };
    assert_eq!(named("a".repeat(63)), Way::Detached);
    assert_eq!(named("a".repeat(64)), Way::Rolling);
}

#[test]
fn the_drain_that_was_asked_for_is_taken() {
    let ways = [(Drain::None, Way::Plain), (Drain::Rolling, Way::Rolling), (Drain::Detached, Way::Detached)];
    for (drain, way) in ways {
        let order = Order { drain, drain_wait: Duration::from_secs(5), ..mk_order('b') };
        assert_eq!(choose(&order, &sleeping(10, 30), None).way, way);
    }
}
