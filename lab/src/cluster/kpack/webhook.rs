//! What the API server needs to ask kpack's webhook, which runs beside it and in no pod: a Service that leads to the
//! node, and the objects into which the webhook itself writes what it is to be asked, and its certificate. Pure.

use serde_json::{Value, json};

use super::{WEBHOOK, WEBHOOK_PORT};
use crate::cluster::place::NODE_ADDRESS;

/// Returns a list of them, with the namespace first.
pub(super) fn surroundings() -> String {
    let namespaced = json!({ "name": WEBHOOK, "namespace": "kpack" });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": namespaced,
        // No pod is behind it, so there is nothing to select.
        "spec": { "ports": [{ "name": "https", "port": 443, "targetPort": WEBHOOK_PORT }] },
    });
    let endpoints = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": { "name": WEBHOOK, "namespace": "kpack", "labels": { "kubernetes.io/service-name": WEBHOOK } },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": [NODE_ADDRESS] }],
        "ports": [{ "name": "https", "port": WEBHOOK_PORT }],
    });
    let certificates = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "webhook-certs", "namespace": "kpack" } });
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "kpack" } });
    let items = [
        namespace,
        service,
        endpoints,
        certificates,
        asked("MutatingWebhookConfiguration", "defaults.webhook.kpack.io"),
        asked("ValidatingWebhookConfiguration", "validation.webhook.kpack.io"),
    ];
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}

/// Without rules nothing is asked: the webhook writes them when it is there to answer.
fn asked(kind: &str, name: &str) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": { "name": name },
        "webhooks": [{
            "name": name,
            "clientConfig": { "service": { "name": WEBHOOK, "namespace": "kpack" } },
            "admissionReviewVersions": ["v1"],
            "failurePolicy": "Fail",
            "matchPolicy": "Exact",
            "sideEffects": "None",
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_leads_to_the_node_s_own_port() {
        let list: Value = serde_json::from_str(&surroundings()).unwrap();
        assert_eq!(list["items"][0]["kind"], "Namespace");
        assert_eq!(list["items"][1]["spec"]["ports"][0]["name"], list["items"][2]["ports"][0]["name"]);
        assert_eq!(list["items"][2]["ports"][0]["port"], 8443);
    }
}
