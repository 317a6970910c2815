//! The pod that is tried and not created, and what a refusal of it means.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::facts::new_template;
use crate::rollout::Order;
use crate::rollout::annotations::HASH;
use crate::rollout::observe::Snapshot;
use crate::rollout::verdict::diagnosis::text::tidy;

/// What a refusal of the tried pod means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The pod itself is refused, and so will the real ones be.
    Final,
    /// These credentials may not create pods; the controller may.
    Right,
    /// A webhook that is down or knows no dry-run, a busy server: it may go otherwise for a real pod.
    Unclear,
}

/// Returns one pod of the new template as the controller would create it: with an owner, because some
/// policies refuse pods that have none.
#[must_use]
pub fn pod(snapshot: &Snapshot, order: &Order) -> Pod {
    let template = new_template(snapshot, order);
    let given = template.metadata.unwrap_or_default();
    let name = snapshot.deployment.metadata.name.clone().unwrap_or_default();
    let mut labels = given.labels.unwrap_or_default();
    labels.insert(HASH.to_owned(), "preflight".to_owned());
    let owner = snapshot.new_set().or_else(|| snapshot.owned_sets().next()).map(|set| OwnerReference {
        api_version: "apps/v1".to_owned(),
        kind: "ReplicaSet".to_owned(),
        name: set.metadata.name.clone().unwrap_or_default(),
        uid: set.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    });
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-preflight-")),
            namespace: snapshot.deployment.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: given.annotations,
            owner_references: owner.map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

/// Returns why an old pod cannot be relabelled, where that is what the refusal of a tried patch says: a
/// policy's own words. That the pod is another one by now, or gone, says nothing.
#[must_use]
pub fn no_relabelling(code: u16, words: &str) -> Option<String> {
    let is_of_policy = words.contains("denied") || words.contains("forbidden");
    let is_right = words.contains("cannot patch resource");
    let is_final = denial(code, words) == Denial::Final && is_of_policy && !is_right;
    is_final.then(|| format!("relabelling them is refused: {}", tidy(words)))
}

/// Tells by the server's code and words what its refusal means.
#[must_use]
pub fn denial(code: u16, words: &str) -> Denial {
    let is_right = code == 403 && words.contains("cannot create resource \"pods\"");
    let is_webhook_trouble =
        words.contains("failed calling webhook") || words.contains("does not support dry run");
    match code {
        401 | 404 | 405 => Denial::Right,
        _ if is_right => Denial::Right,
        _ if is_webhook_trouble => Denial::Unclear,
        400 | 403 | 422 => Denial::Final,
        _ => Denial::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::fixtures::{mk_image, mk_order, mk_snapshot};

    #[test]
    fn tried_pod_is_one_of_the_new_template_with_an_owner() {
        let pod = pod(&mk_snapshot(), &mk_order('b'));
        let container = &pod.spec.unwrap().containers[0];
        assert_eq!(container.image.as_deref(), Some(mk_image('b').as_str()));
        assert_eq!(pod.metadata.generate_name.as_deref(), Some("app-preflight-"));
        assert_eq!(pod.metadata.labels.unwrap()["app"], "app");
        let owners = pod.metadata.owner_references.unwrap();
        assert_eq!((owners[0].name.as_str(), owners[0].controller), ("app-1a", Some(true)));
    }

    #[test]
    fn only_a_policys_word_keeps_pods_from_being_relabelled() {
        let policy = "admission webhook \"require-labels\" denied the request: label `app` is missing";
        let words = no_relabelling(403, policy).unwrap();
        assert_eq!(words, format!("relabelling them is refused: {policy}"));
        assert!(
            no_relabelling(422, "pods \"x\" is forbidden: ValidatingAdmissionPolicy 'p' denied request")
                .is_some()
        );
        for (code, words) in [
            (422, "the server rejected our request due to an error in our request"),
            (404, "pods \"x\" not found"),
            (409, "the object has been modified"),
            (403, "pods \"x\" is forbidden: User \"u\" cannot patch resource \"pods\""),
            (400, "admission webhook \"policy\" does not support dry run"),
            (500, "Internal error: failed calling webhook \"policy\": denied"),
        ] {
            assert_eq!(no_relabelling(code, words), None, "{words}");
        }
    }

    #[test]
    fn only_a_refusal_of_the_pod_itself_is_final() {
        for (code, words, wanted) in [
            (403, "pods \"x\" is forbidden: exceeded quota: q, requested: pods=1", Denial::Final),
            (403, "pods \"x\" is forbidden: error looking up service account shop/app", Denial::Final),
            (400, "admission webhook \"policy\" denied the request: no", Denial::Final),
            (422, "Pod \"x\" is invalid: spec", Denial::Final),
            (
                403,
                "pods is forbidden: User \"u\" cannot create resource \"pods\" in API group \"\"",
                Denial::Right,
            ),
            (405, "this server cannot do that", Denial::Right),
            (500, "Internal error: failed calling webhook \"policy\": timeout", Denial::Unclear),
            (400, "admission webhook \"policy\" does not support dry run", Denial::Unclear),
            (429, "too many requests", Denial::Unclear),
        ] {
            assert_eq!(denial(code, words), wanted, "{words}");
        }
    }
}
