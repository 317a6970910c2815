//! A namespace on the lab's real kpack in which Images are built, for the tests of `kpack-trigger` and for what
//! measures it.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use rollway_lab::cluster::{Kpack, Lab};
use serde_json::{Value, json};

use crate::world::{Ended, PATIENCE, Put, World};

/// The executable.
pub(crate) const KPACK_TRIGGER: &str = env!("CARGO_BIN_EXE_kpack-trigger");

/// A namespace with a builder that can build, and the way to it.
pub(crate) struct Yard {
    pub(crate) world: World,
    pub(crate) kpack: Kpack,
    pub(crate) namespace: String,
}

pub(crate) fn resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("kpack.io", "v1alpha2", kind))
}

impl Yard {
    /// Makes the namespace, and waits until its builder is ready.
    pub(crate) async fn open() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let world = World::connect().await;
        let lab = Lab::load(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        let kpack = lab.kpack.expect("the lab has no kpack: `lab up --with kpack` starts one");
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("trigger-{}-{number}", std::process::id());
        let yard = Self { world, kpack, namespace };
        let object = json!({"metadata": {"name": yard.namespace}});
        let namespaces: Api<Namespace> = Api::all(yard.client());
        namespaces.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
        let account = json!({"metadata": {"name": "builder"}});
        let accounts: Api<ServiceAccount> = Api::namespaced(yard.client(), &yard.namespace);
        accounts.create(&PostParams::default(), &serde_json::from_value(account).unwrap()).await.unwrap();
        let registry = &yard.kpack.registry;
        let image = |name: &str| json!({"image": format!("{registry}/kpack/{name}")});
        yard.cluster_wide("ClusterStore", json!({"sources": [image("java:11.0.5")]})).await;
        let stack = json!({"id": "io.buildpacks.stacks.jammy", "buildImage": image("build:1"), "runImage": image("run:1")});
        yard.cluster_wide("ClusterStack", stack).await;
        let builder = json!({
            "tag": format!("{registry}/trigger/builder"), "serviceAccountName": "builder",
            "stack": {"kind": "ClusterStack", "name": "trigger"}, "store": {"kind": "ClusterStore", "name": "trigger"},
            "order": [{"group": [{"id": "lab/java"}]}],
        });
        yard.apply("Builder", "builder", builder).await;
        yard.until("a builder", "Builder", "builder", |it| condition(it, "Ready") == "True").await;
        yard
    }

    pub(crate) fn client(&self) -> Client {
        self.world.client.clone()
    }

    pub(crate) fn api(&self, kind: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client(), &self.namespace, &resource(kind))
    }

    pub(crate) async fn cluster_wide(&self, kind: &str, spec: Value) {
        let api: Api<DynamicObject> = Api::all_with(self.client(), &resource(kind));
        let object = json!({"apiVersion": "kpack.io/v1alpha2", "kind": kind, "metadata": {"name": "trigger"}, "spec": spec});
        api.patch("trigger", &PatchParams::apply("test").force(), &Patch::Apply(&object)).await.unwrap();
    }

    pub(crate) async fn apply(&self, kind: &str, name: &str, spec: Value) {
        let object = json!({"apiVersion": "kpack.io/v1alpha2", "kind": kind, "metadata": {"name": name}, "spec": spec});
        let parameters = PatchParams::apply("test").force();
        self.api(kind).patch(name, &parameters, &Patch::Apply(&object)).await.unwrap();
    }

    /// Makes an Image that is built from Git, and `extra` on top.
    pub(crate) async fn image(&self, name: &str, extra: Value) {
        let mut spec = json!({
            "tag": format!("{}/{}/{name}", self.kpack.registry, self.namespace), "serviceAccountName": "builder",
            "builder": {"kind": "Builder", "name": "builder"},
            "source": {"git": {"url": self.kpack.git, "revision": "testing"}},
        });
        for (key, value) in extra.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        self.apply("Image", name, spec).await;
    }

    /// Makes an Image and waits until its first build has succeeded.
    pub(crate) async fn built(&self, name: &str, extra: Value) {
        self.image(name, extra).await;
        self.until("a first build", "Image", name, |it| condition(it, "Ready") == "True").await;
    }

    pub(crate) async fn until(
        &self,
        what: &str,
        kind: &str,
        name: &str,
        is_so: impl Fn(&Value) -> bool,
    ) -> Value {
        let started = Instant::now();
        loop {
            let found = self.api(kind).get_opt(name).await.unwrap();
            let found = found.map(|it| serde_json::to_value(it).unwrap()).unwrap_or_default();
            if is_so(&found) {
                return found;
            }
            assert!(started.elapsed() < PATIENCE, "no {what} within {PATIENCE:?}: {found:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Deletes an Image and waits until nothing of it is left: kpack takes a pod of the same name for that of a new
    /// build. Not in the foreground, where the Image outlives its Builds and kpack makes it a first one again.
    pub(crate) async fn delete(&self, name: &str) {
        self.api("Image").delete(name, &DeleteParams::background()).await.unwrap();
        let started = Instant::now();
        let [image, build, resolver] = ["Image", "Build", "SourceResolver"].map(resource);
        for left in [image, build, resolver, ApiResource::erase::<Pod>(&())] {
            let api: Api<DynamicObject> = Api::namespaced_with(self.client(), &self.namespace, &left);
            while !api.list(&ListParams::default()).await.unwrap().items.is_empty() {
                assert!(started.elapsed() < PATIENCE, "a {} is left after {PATIENCE:?}", left.kind);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    pub(crate) fn source(&self, image: &str) -> Value {
        json!({"kubeconfig": self.world.kubeconfig, "namespace": self.namespace, "image": image})
    }

    pub(crate) async fn start(&self, image: &str, params: Value) -> Put {
        Put::start(KPACK_TRIGGER, "out", json!({"source": self.source(image), "params": params})).await
    }

    pub(crate) async fn put(&self, image: &str, params: Value) -> Ended {
        self.start(image, params).await.end().await
    }

    pub(crate) async fn check(&self, image: &str, version: &Value) -> Value {
        let mut request = json!({"source": self.source(image)});
        if !version.is_null() {
            request["version"] = version.clone();
        }
        let ended = Put::start(KPACK_TRIGGER, "check", request).await.end().await;
        assert!(ended.success, "{ended:#?}");
        serde_json::from_str(&ended.stdout).unwrap()
    }

    pub(crate) async fn close(self) {
        let namespaces: Api<Namespace> = Api::all(self.client());
        namespaces.delete(&self.namespace, &DeleteParams::background()).await.unwrap();
    }
}

/// Returns the status of a condition.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> &'a str {
    let conditions = object["status"]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|it| it["type"] == kind);
    found.and_then(|it| it["status"].as_str()).unwrap_or_default()
}

/// A build that takes so long at least.
pub(crate) fn sleeping(seconds: u32) -> Value {
    json!({"env": [{"name": "LAB_SLEEP", "value": seconds.to_string()}]})
}

/// Returns the version that a step answered with.
pub(crate) fn version(ended: &Ended) -> Value {
    assert!(ended.success, "{ended:#?}");
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    answer["version"].clone()
}

/// Asserts that the log has all of these words.
#[track_caller]
pub(crate) fn assert_says(ended: &Ended, words: &[&str]) {
    for words in words {
        assert!(ended.stderr.contains(words), "`{words}` is not in {ended:#?}");
    }
}
