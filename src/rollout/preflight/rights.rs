//! What the credentials may do, read off the API server's own list of rules. Pure; a list that says of
//! itself that it is incomplete is the driver's to complete.

use k8s_openapi::api::authorization::v1::ResourceRule;

use crate::rollout::Kind;

/// One thing that a rollout wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// The verb.
    pub verb: &'static str,
    /// The API group, empty for the core.
    pub group: &'static str,
    /// The resource, with its subresource.
    pub resource: &'static str,
    /// What cannot be done without it.
    pub loses: &'static str,
}

impl std::fmt::Display for Need {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.verb, self.resource)
    }
}

/// Returns the rights that a rollout of this kind uses after it has begun. What the rules themselves want
/// to read is not here: a rule that may not look says so.
pub fn needs(kind: Kind) -> impl Iterator<Item = &'static Need> {
    let own = match kind {
        Kind::Deployment => DEPLOYMENT,
        Kind::StatefulSet => STATEFUL_SET,
        Kind::DaemonSet => DAEMON_SET,
    };
    own.iter().chain(ANY)
}

const DEPLOYMENT: &[Need] = &[
    need("patch", "apps", "deployments", IMAGE),
    need("watch", "apps", "deployments", FOLLOW),
    need("watch", "apps", "replicasets", FOLLOW),
    need("delete", "apps", "replicasets", DETACH),
    need("patch", "apps", "replicasets", "pods that failed cannot be drained on the way back"),
    need("patch", "", "pods", DETACH),
    need("delete", "", "pods", DETACH),
];

const STATEFUL_SET: &[Need] = &[
    need("patch", "apps", "statefulsets", IMAGE),
    need("watch", "apps", "statefulsets", FOLLOW),
    need("delete", "", "pods", "a broken pod that the StatefulSet waits for cannot be ended"),
];

const DAEMON_SET: &[Need] = &[
    need("patch", "apps", "daemonsets", IMAGE),
    need("watch", "apps", "daemonsets", FOLLOW),
    need("watch", "apps", "controllerrevisions", FOLLOW),
];

const ANY: &[Need] = &[
    need("watch", "", "pods", FOLLOW),
    need("list", "", "events", "reasons of the scheduler and the kubelet would be invisible"),
    need("get", "", "pods/log", "the last words of a crash would be invisible"),
    need("list", "", "services", "nothing would be known of the traffic"),
    need("watch", "discovery.k8s.io", "endpointslices", "nothing would be known of the traffic"),
];

/// What the right to write the workload is for.
pub const IMAGE: &str = "the image cannot be written";
/// What rights to take pods out of their Services are for.
pub const DETACH: &str = "old pods cannot be detached";
const FOLLOW: &str = "the rollout cannot be followed";

/// Returns whether the need is about the workload itself: its name is known in advance.
#[must_use]
pub fn is_of_the_workload(need: &Need) -> bool {
    matches!(need.resource, "deployments" | "statefulsets" | "daemonsets")
}

const fn need(verb: &'static str, group: &'static str, resource: &'static str, loses: &'static str) -> Need {
    Need { verb, group, resource, loses }
}

/// Returns whether the rules let `need` pass for the object with this name.
#[must_use]
pub fn is_allowed(rules: &[ResourceRule], need: &Need, name: &str) -> bool {
    rules.iter().any(|rule| {
        has(Some(&rule.verbs), need.verb)
            && has(rule.api_groups.as_ref(), need.group)
            && has_resource(rule, need.resource)
            && is_named(rule, need, name)
    })
}

fn has(given: Option<&Vec<String>>, wanted: &str) -> bool {
    given.is_some_and(|given| given.iter().any(|it| it == wanted || it == "*"))
}

fn has_resource(rule: &ResourceRule, wanted: &str) -> bool {
    let any_parent = wanted.split_once('/').map(|(_, part)| format!("*/{part}"));
    has(rule.resources.as_ref(), wanted) || any_parent.is_some_and(|any| has(rule.resources.as_ref(), &any))
}

/// A rule for named objects is for the workload alone: names of pods are not known in advance.
fn is_named(rule: &ResourceRule, need: &Need, name: &str) -> bool {
    let names = rule.resource_names.as_deref().unwrap_or_default();
    names.is_empty() || (is_of_the_workload(need) && names.iter().any(|it| it == name))
}

/// Returns why old pods cannot be taken out of their Services with these rights, if they cannot.
#[must_use]
pub fn obstacle(missing: Option<&[Need]>) -> Option<String> {
    match missing {
        None => Some("nobody can say what the credentials may do".to_owned()),
        Some(missing) => {
            let lacks = missing.iter().find(|need| need.loses == DETACH);
            lacks.map(|need| format!("the credentials may not {need}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rollout::fixtures::mk;

    fn rules() -> Vec<ResourceRule> {
        mk(json!([
            { "verbs": ["get", "patch", "watch"], "apiGroups": ["apps"], "resources": ["deployments"],
              "resourceNames": ["app"] },
            { "verbs": ["*"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["one"] },
            { "verbs": ["get"], "apiGroups": ["*"], "resources": ["*/log"] },
        ]))
    }

    fn find(text: &str) -> &'static Need {
        needs(Kind::Deployment).find(|need| need.to_string() == text).unwrap()
    }

    #[test]
    fn set_needs_the_rights_of_its_own_kind_and_none_to_detach_pods() {
        for (kind, own) in [(Kind::StatefulSet, "statefulsets"), (Kind::DaemonSet, "daemonsets")] {
            let all: Vec<&Need> = needs(kind).collect();
            assert!(all.iter().any(|need| need.resource == own && need.loses == IMAGE), "{all:?}");
            assert!(all.iter().all(|need| need.resource != "deployments" && need.loses != DETACH));
        }
    }

    #[test]
    fn named_rule_counts_for_the_deployment_and_for_nothing_else() {
        assert!(is_allowed(&rules(), find("patch deployments"), "app"));
        assert!(!is_allowed(&rules(), find("patch deployments"), "other"));
        assert!(!is_allowed(&rules(), find("patch pods"), "one"));
    }

    #[test]
    fn subresource_is_allowed_for_any_parent() {
        assert!(is_allowed(&rules(), find("get pods/log"), "app"));
        assert!(!is_allowed(&rules(), find("list events"), "app"));
    }

    #[test]
    fn old_pods_can_be_detached_unless_a_right_for_it_is_missing() {
        assert_eq!(obstacle(Some(&[*find("list events")])), None);
        let obstacle = obstacle(Some(&[*find("delete pods")]));
        assert_eq!(obstacle.unwrap(), "the credentials may not delete pods");
        assert!(super::obstacle(None).is_some());
    }
}
