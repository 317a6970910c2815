//! A StatefulSet `shop/db` with three pods and a DaemonSet `shop/agent` on two nodes, and what their
//! controllers do, one pod at a time. Container `app`, revision 4, then 5.

use serde_json::{Value, json};

use super::apiserver::ApiServer;
use super::shop::{REPOSITORY, digest};

/// Where the sets are.
pub(crate) const STATEFUL: &str = "/apis/apps/v1/namespaces/shop/statefulsets/db";
pub(crate) const DAEMON: &str = "/apis/apps/v1/namespaces/shop/daemonsets/agent";

/// One of the two kinds.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) path: &'static str,
    name: &'static str,
    pods: u32,
}

pub(crate) const DB: Kind = Kind { path: STATEFUL, name: "db", pods: 3 };
pub(crate) const AGENT: Kind = Kind { path: DAEMON, name: "agent", pods: 2 };

impl Kind {
    /// Returns another set of the same kind.
    pub(crate) fn called(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// Returns where the set is.
    pub(crate) fn address(self) -> String {
        format!("{}/{}", self.path.rsplit_once('/').unwrap().0, self.name)
    }

    fn is_daemon(self) -> bool {
        self.path == DAEMON
    }

    fn uid(self) -> String {
        format!("uid-{}", self.name)
    }

    fn mark(self, letter: char) -> String {
        if self.is_daemon() { letter.to_string() } else { format!("{}-{letter}", self.name) }
    }

    pub(crate) fn pod_path(self, number: u32) -> String {
        format!("/api/v1/namespaces/shop/pods/{}-{number}", self.name)
    }

    /// Fills the server with the set at rest, all its pods on [`digest`]`(letter)`.
    pub(crate) fn fill(self, server: &ApiServer, letter: char) {
        server.put(&self.address(), self.set(letter));
        self.revise(server, letter, 4);
        for number in 0..self.pods {
            server.put(&self.pod_path(number), self.pod(number, letter));
        }
    }

    fn set(self, letter: char) -> Value {
        let labels = json!({"app": self.name});
        let image = format!("{REPOSITORY}@{}", digest(letter));
        let mut set = json!({
            "apiVersion": "apps/v1", "kind": if self.is_daemon() { "DaemonSet" } else { "StatefulSet" },
            "metadata": {"name": self.name, "namespace": "shop", "uid": self.uid(), "generation": 4},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{"name": "app", "image": image}]},
                },
            },
        });
        set["spec"]["updateStrategy"] = if self.is_daemon() {
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}})
        } else {
            set["spec"]["replicas"] = json!(self.pods);
            set["spec"]["serviceName"] = json!(self.name);
            json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})
        };
        set["status"] = self.status(4, self.pods, self.pods, letter);
        set
    }

    fn status(self, observed: i64, updated: u32, ready: u32, letter: char) -> Value {
        if self.is_daemon() {
            json!({"observedGeneration": observed, "desiredNumberScheduled": self.pods,
                "currentNumberScheduled": self.pods, "numberMisscheduled": 0, "numberReady": ready,
                "numberAvailable": ready, "updatedNumberScheduled": updated})
        } else {
            json!({"observedGeneration": observed, "replicas": self.pods, "readyReplicas": ready,
                "availableReplicas": ready, "updatedReplicas": updated,
                "updateRevision": self.mark(letter)})
        }
    }

    /// Gives the revision of `letter` a number.
    pub(crate) fn revise(self, server: &ApiServer, letter: char, number: i64) {
        let name = format!("{}-{letter}", self.name);
        let mut labels = json!({"app": self.name});
        if self.is_daemon() {
            labels["controller-revision-hash"] = json!(self.mark(letter));
        }
        let image = format!("{REPOSITORY}@{}", digest(letter));
        let template =
            json!({"$patch": "replace", "spec": {"containers": [{"name": "app", "image": image}]}});
        let revision = json!({
            "apiVersion": "apps/v1", "kind": "ControllerRevision",
            "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}"), "labels": labels,
                "ownerReferences": [self.owner()]},
            "revision": number,
            "data": {"spec": {"template": template}},
        });
        server.put(&format!("/apis/apps/v1/namespaces/shop/controllerrevisions/{name}"), revision);
    }

    fn owner(self) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Set", "name": self.name, "uid": self.uid(), "controller": true})
    }

    /// Returns a ready pod that reports [`digest`]`(letter)`.
    pub(crate) fn pod(self, number: u32, letter: char) -> Value {
        let image = format!("{REPOSITORY}@{}", digest(letter));
        let name = format!("{}-{number}", self.name);
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}-{letter}"),
                "labels": {"app": self.name, "controller-revision-hash": self.mark(letter)},
                "ownerReferences": [self.owner()]},
            "spec": {"nodeName": format!("node-{number}"), "containers": [{"name": "app", "image": image}]},
            "status": {
                "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "app", "ready": true, "restartCount": 0, "image": image,
                    "imageID": image, "state": {"running": {"startedAt": "2026-01-02T03:04:05Z"}}}],
            },
        })
    }

    /// Plays the controller for one moment: sees the change, or replaces one more pod, from the highest
    /// down. Returns whether there was anything to do.
    pub(crate) fn reconcile(self, server: &ApiServer) -> bool {
        let mut set = server.object(&self.address()).unwrap();
        let image = set["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned();
        let letter = image.chars().last().unwrap();
        let runs = |number: &u32| {
            let pod = server.object(&self.pod_path(*number));
            pod.is_some_and(|pod| pod["spec"]["containers"][0]["image"] == json!(image))
        };
        let updated = u32::try_from((0..self.pods).filter(runs).count()).unwrap();
        let observed = set["metadata"]["generation"].as_i64().unwrap();
        let status = self.status(observed, updated, self.pods, letter);
        if set["status"] != status {
            if set["status"]["observedGeneration"] != json!(observed) && updated == 0 {
                self.revise(server, letter, 5);
            }
            set["status"] = status;
            server.put(&self.address(), set);
            return true;
        }
        let Some(next) = (0..self.pods).rev().find(|number| !runs(number)) else { return false };
        server.remove(&self.pod_path(next));
        server.put(&self.pod_path(next), self.pod(next, letter));
        true
    }
}
