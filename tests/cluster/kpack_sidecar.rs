//! Builds whose pods get a sidecar from somebody else, on a real kpack that supports that: the steps are ordinary
//! containers then, and it is kpack that ends the pod, by a deadline.

use std::path::Path;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use rollway_lab::cluster::Lab;
use serde_json::{Value, json};

use crate::kpack_yard::{Yard, assert_says, version};
use crate::world::PATIENCE;

/// The part of the lab that is kpack's controller.
const CONTROLLER: &str = "kpack-controller";

/// kpack as it is with support for sidecars, until this is dropped.
struct Supported(Lab);

impl Supported {
    fn start() -> Self {
        let lab = Lab::load(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        lab.restart_with(CONTROLLER, &[("INJECTED_SIDECAR_SUPPORT", "true")]).unwrap();
        Self(lab)
    }
}

impl Drop for Supported {
    fn drop(&mut self) {
        let restored = self.0.restart(CONTROLLER);
        // A test that panics already says what matters.
        assert!(
            restored.is_ok() || std::thread::panicking(),
            "the lab's kpack is not as it was: {restored:?}"
        );
    }
}

/// What gives every pod of a namespace a sidecar, as a service mesh does.
struct Injector<'a> {
    yard: &'a Yard,
    name: String,
}

impl<'a> Injector<'a> {
    /// Starts, and waits until it works.
    async fn start(yard: &'a Yard) -> Self {
        let injector = Self { yard, name: yard.namespace.clone() };
        let image = format!("{}/kpack/build:1", yard.kpack.registry);
        // It runs for as long as it may, and ends when it is told to.
        let forever = "trap exit TERM; while :; do sleep 1; done";
        let container = format!(
            "Object.spec.containers{{name: 'proxy', image: '{image}', command: ['sh', '-c', '{forever}']}}"
        );
        let policy = json!({
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": yard.namespace}},
                "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            },
            "failurePolicy": "Fail", "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {
                "expression": format!("[JSONPatch{{op: 'add', path: '/spec/containers/-', value: {container}}}]"),
            }}],
        });
        for (kind, spec) in [
            ("MutatingAdmissionPolicy", policy),
            ("MutatingAdmissionPolicyBinding", json!({"policyName": injector.name})),
        ] {
            let api = injector.api(kind);
            let object = json!({"metadata": {"name": injector.name}, "spec": spec});
            api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
        }
        let pods: Api<Pod> = Api::namespaced(yard.client(), &yard.namespace);
        let pod = json!({"metadata": {"name": "example"}, "spec": {"containers": [{"name": "app", "image": image}]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let started = Instant::now();
        let asks = PostParams { dry_run: true, ..PostParams::default() };
        while pods.create(&asks, &pod).await.unwrap().spec.unwrap().containers.len() < 2 {
            assert!(started.elapsed() < PATIENCE, "pods get no sidecar");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        injector
    }

    fn api(&self, kind: &str) -> Api<DynamicObject> {
        let resource =
            ApiResource::from_gvk(&GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind));
        Api::all_with(self.yard.client(), &resource)
    }

    async fn stop(self) {
        for kind in ["MutatingAdmissionPolicyBinding", "MutatingAdmissionPolicy"] {
            self.api(kind).delete(&self.name, &DeleteParams::default()).await.unwrap();
        }
    }
}

#[tokio::test]
#[ignore = "needs the lab with kpack"]
async fn kpack_builds_beside_sidecars_are_followed_to_their_verdict() {
    let yard = Yard::open().await;
    let injector = Injector::start(&yard).await;
    let kpack = Supported::start();
    yard.image("app", json!({})).await;
    let ended = yard.put("app", json!({"revision": "testing"})).await;
    assert_eq!(version(&ended)["build"], "1");
    assert_says(&ended, &["---> Lab Java 11.0.5"]);
    let headings: Vec<&str> = ended.stderr.lines().filter_map(|line| line.strip_prefix("===> ")).collect();
    assert_eq!(headings, ["PREPARE", "ANALYZE", "DETECT", "RESTORE", "BUILD", "EXPORT", "COMPLETION"]);
    // It was such a build, and its pod's phase is no verdict.
    let pods: Api<Pod> = Api::namespaced(yard.client(), &yard.namespace);
    let pods = pods.list(&ListParams::default().labels("image.kpack.io/image=app")).await.unwrap();
    let pod = serde_json::to_value(&pods.items[0]).unwrap();
    let names: Vec<&Value> =
        pod["spec"]["containers"].as_array().unwrap().iter().map(|container| &container["name"]).collect();
    assert!(names.contains(&&json!("proxy")) && names.contains(&&json!("prepare")), "{names:?}");
    assert_eq!(pod["status"]["reason"], "DeadlineExceeded");
    // The same deadline ends the pod of a failure, and is not what failed.
    let failed = yard.put("app", json!({"env": {"LAB_FAIL": "no semicolon"}})).await;
    assert!(!failed.success && failed.stdout.is_empty(), "{failed:#?}");
    assert_says(
        &failed,
        &["failed in step build", "| error: no semicolon", "hint: the source does not build"],
    );
    assert!(!failed.stderr.contains("deadline"), "{failed:#?}");
    drop(kpack);
    injector.stop().await;
    yard.close().await;
}
