//! Which labels take a pod out of its Services. A Service has no say in this, but network policies may
//! go by the same labels: a pod that one of them does not match any more while it drains loses the
//! connections that it works with. So a label is taken that no policy goes by, where there is one.

use std::collections::BTreeSet;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::rollout::annotations::{DETACHED, HASH};
use crate::rollout::observe::{Labels, Snapshot, labels, selector};

/// A Service that selects pods by nothing but what a network policy goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The Service.
    pub service: String,
    /// The policy.
    pub policy: String,
}

/// Returns the label keys without which no Service selects a pod with these labels: few, for a key that
/// several Services ask for counts once, and such that no policy goes by where that is possible.
#[must_use]
pub fn routing_keys(snapshot: &Snapshot, labels: &Labels) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for service in snapshot.services(labels) {
        let Some(wanted) = selector(service) else { continue };
        if !wanted.keys().any(|key| keys.contains(key)) {
            let free = wanted.keys().find(|key| policy_by(snapshot, labels, key).is_none());
            keys.extend(free.or_else(|| wanted.keys().next()).cloned());
        }
    }
    keys
}

/// Returns the first Service of the Deployment's pods that they cannot be taken out of without a network
/// policy treating them in another way. Policies that may not be listed are not known to mind.
#[must_use]
pub fn bound(snapshot: &Snapshot) -> Option<Bound> {
    let all: BTreeSet<&Labels> = snapshot.own_pods().map(|pod| labels(&pod.metadata)).collect();
    all.into_iter().find_map(|labels| {
        snapshot.services(labels).into_iter().find_map(|service| {
            let minds = |key: &String| policy_by(snapshot, labels, key);
            let policies: Option<Vec<String>> = selector(service)?.keys().map(minds).collect();
            let policy = policies?.into_iter().next()?;
            Some(Bound { service: service.metadata.name.clone().unwrap_or_default(), policy })
        })
    })
}

/// Returns a policy for which a pod is another one when it is detached by this key.
fn policy_by(snapshot: &Snapshot, before: &Labels, key: &str) -> Option<String> {
    let mut after = before.clone();
    after.remove(key);
    after.remove(HASH);
    let mark = snapshot.deployment.metadata.name.clone().unwrap_or_default();
    after.insert(DETACHED.to_owned(), mark);
    let policies = snapshot.routing.iter().flat_map(|routing| routing.policies.iter().flatten());
    let mut minding = policies.filter(|policy| {
        selectors(policy).any(|selector| matches(selector, before) != matches(selector, &after))
    });
    minding.next().map(|policy| policy.metadata.name.clone().unwrap_or_default())
}

/// Returns everything by which a policy tells pods: whom it is for, and whom it lets them talk to.
fn selectors(policy: &NetworkPolicy) -> impl Iterator<Item = &LabelSelector> {
    let spec = policy.spec.as_ref();
    let from = spec.and_then(|spec| spec.ingress.as_ref()).into_iter().flatten();
    let to = spec.and_then(|spec| spec.egress.as_ref()).into_iter().flatten();
    let from = from.flat_map(|rule| rule.from.iter().flatten());
    let peers = from.chain(to.flat_map(|rule| rule.to.iter().flatten()));
    let of_peers = peers.filter_map(|peer| peer.pod_selector.as_ref());
    spec.and_then(|spec| spec.pod_selector.as_ref()).into_iter().chain(of_peers)
}

/// Returns whether a selector matches; an empty one matches everything.
fn matches(selector: &LabelSelector, labels: &Labels) -> bool {
    let equal = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let expressions = selector.match_expressions.iter().flatten();
    equal
        && expressions.into_iter().all(|wanted| {
            let value = labels.get(&wanted.key);
            let is_listed =
                || value.is_some_and(|value| wanted.values.iter().flatten().any(|it| it == value));
            match wanted.operator.as_str() {
                "In" => is_listed(),
                "NotIn" => !is_listed(),
                "Exists" => value.is_some(),
                _ => value.is_none(),
            }
        })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::rollout::fixtures::{mk, mk_service, mk_snapshot};
    use crate::rollout::observe::Routing;

    /// Three pods with the labels `app` and `tier` behind a Service with this selector.
    fn mk_guarded(wanted: &Value, policies: &[Value]) -> Snapshot {
        let routing = Routing {
            services: vec![mk_service("web", wanted)],
            policies: Some(policies.iter().map(mk_policy).collect()),
            ..Routing::default()
        };
        Snapshot { routing: Some(routing), ..mk_snapshot() }
    }

    fn mk_policy(spec: &Value) -> NetworkPolicy {
        mk(json!({ "metadata": { "name": "guard" }, "spec": spec }))
    }

    fn taken(wanted: &Value, policies: &[Value]) -> Vec<String> {
        let snapshot = mk_guarded(wanted, policies);
        routing_keys(&snapshot, labels(&snapshot.pods[0].metadata)).into_iter().collect()
    }

    fn both() -> Value {
        json!({ "app": "app", "tier": "web" })
    }

    #[test]
    fn label_that_no_policy_goes_by_is_taken() {
        let by_app = json!({ "podSelector": { "matchLabels": { "app": "app" } } });
        assert_eq!(taken(&both(), &[]), ["app"]);
        assert_eq!(taken(&both(), std::slice::from_ref(&by_app)), ["tier"]);
        let others = json!({ "podSelector": { "matchLabels": { "app": "other" } } });
        assert_eq!(taken(&both(), &[others]), ["app"], "a policy for other pods does not mind");
        let everybody = json!({ "podSelector": {} });
        assert_eq!(taken(&both(), &[everybody]), ["app"]);
    }

    #[test]
    fn policy_that_lets_others_talk_to_these_pods_minds_as_well() {
        let peer = json!({ "podSelector": { "matchExpressions": [{ "key": "app", "operator": "Exists" }] } });
        for (side, list) in [("ingress", "from"), ("egress", "to")] {
            let policy =
                json!({ "podSelector": { "matchLabels": { "app": "db" } }, side: [{ list: [peer] }] });
            assert_eq!(taken(&both(), &[policy]), ["tier"], "{side}");
        }
    }

    #[test]
    fn every_operator_is_read_as_the_api_has_it() {
        let labels: Labels = [("app".to_owned(), "app".to_owned())].into();
        for (operator, values, wanted) in [
            ("In", json!(["app", "b"]), true),
            ("In", json!(["b"]), false),
            ("NotIn", json!(["b"]), true),
            ("NotIn", json!(["app"]), false),
            ("Exists", json!([]), true),
            ("DoesNotExist", json!([]), false),
        ] {
            let expression = json!({ "key": "app", "operator": operator, "values": values });
            let selector: LabelSelector = mk(json!({ "matchExpressions": [expression] }));
            assert_eq!(matches(&selector, &labels), wanted, "{operator} {values}");
        }
    }

    #[test]
    fn service_whose_every_label_a_policy_goes_by_binds_its_pods() {
        let by_app = json!({ "podSelector": { "matchLabels": { "app": "app" } } });
        let by_tier = json!({ "podSelector": { "matchLabels": { "tier": "web" } } });
        assert_eq!(bound(&mk_guarded(&both(), std::slice::from_ref(&by_app))), None);
        let wanted = Bound { service: "web".to_owned(), policy: "guard".to_owned() };
        assert_eq!(bound(&mk_guarded(&both(), &[by_app.clone(), by_tier])), Some(wanted.clone()));
        assert_eq!(bound(&mk_guarded(&json!({ "app": "app" }), &[by_app])), Some(wanted.clone()));
        // The mark of a detached pod is a label too, and the hash is taken off whatever else is.
        let by_hash = json!({ "podSelector": { "matchLabels": { HASH: "1a" } } });
        assert_eq!(bound(&mk_guarded(&both(), &[by_hash])), Some(wanted.clone()));
        let unmarked = json!({ "podSelector": { "matchExpressions": [
            { "key": DETACHED, "operator": "DoesNotExist" },
        ] } });
        assert_eq!(bound(&mk_guarded(&both(), &[unmarked])), Some(wanted));
    }

    #[test]
    fn policies_that_nobody_may_list_bind_nothing() {
        let mut snapshot = mk_guarded(&both(), &[]);
        snapshot.routing.as_mut().unwrap().policies = None;
        assert_eq!(bound(&snapshot), None);
        assert_eq!(routing_keys(&snapshot, labels(&snapshot.pods[0].metadata)).len(), 1);
    }
}
