//! The API versions before `kpack.io/v1alpha2`, on a real API server: `kpack.io/v1alpha1` by way of kpack's own
//! webhook, and `build.pivotal.io/v1alpha1` without a controller, whose part the test plays.

use std::time::{Duration, Instant};

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::kpack_yard::{KPACK_TRIGGER, Yard, assert_says, version};
use crate::world::{Ended, PATIENCE, Put};

/// The last API of kpack before it had this name.
const PIVOTAL: &str = "build.pivotal.io";

async fn step(yard: &Yard, step: &str, api_version: &str, mut request: Value) -> Put {
    let mut source = yard.source("app");
    source["api_version"] = api_version.into();
    request["source"] = source;
    Put::start(KPACK_TRIGGER, step, request).await
}

#[tokio::test]
#[ignore = "needs the lab with kpack"]
async fn kpack_speaks_its_former_version_and_loses_nothing_of_an_image() {
    let yard = Yard::open().await;
    // All of these are younger than that version.
    let tags = json!([format!("{}/{}/app:also", yard.kpack.registry, yard.namespace)]);
    let build = json!({"buildTimeout": 900, "creationTime": "now", "tolerations": [{"key": "builds", "operator": "Exists"}]});
    yard.image("app", json!({"additionalTags": tags, "build": build})).await;
    let out = async |params: Value| {
        step(&yard, "out", "kpack.io/v1alpha1", json!({"params": params})).await.end().await
    };
    let first = version(&out(json!({"revision": "testing"})).await);
    let changed = out(json!({"env": {"LAB_LINES": 3}})).await;
    assert_eq!(version(&changed)["build"], "2");
    assert_says(&changed, &["writes as kpack.io/v1alpha2", "===> COMPLETION", "---> Lab Java 11.0.5"]);
    let image = yard.until("an Image", "Image", "app", |it| !it.is_null()).await;
    assert_eq!(image["spec"]["additionalTags"], tags, "{image:#}");
    for (field, value) in build.as_object().unwrap() {
        assert_eq!(image["spec"]["build"][field], *value, "{image:#}");
    }
    let checked = step(&yard, "check", "kpack.io/v1alpha1", json!({"version": first})).await.end().await;
    let versions: Value = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!(versions, json!([first, version(&changed)]));
    let got = step(&yard, "in", "kpack.io/v1alpha1", json!({"version": first})).await.end().await;
    assert_eq!(version(&got), first);
    let text = std::fs::read_to_string(got.directory.path().join("build.json")).unwrap();
    let object: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(object["apiVersion"], "kpack.io/v1alpha1");
    yard.close().await;
}

/// kpack as it was then, as far as its API and its controller show.
struct Former<'a> {
    yard: &'a Yard,
}

impl<'a> Former<'a> {
    /// Makes its kinds known, and waits until they are served.
    async fn install(yard: &'a Yard) -> Self {
        let former = Self { yard };
        for (kind, plural) in [("Image", "images"), ("Build", "builds")] {
            let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
            let name = format!("{plural}.{PIVOTAL}");
            let definition = json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": name},
                "spec": {
                    "group": PIVOTAL, "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
                    "versions": [{"name": "v1alpha1", "served": true, "storage": true,
                        "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}}}],
                },
            });
            let parameters = PatchParams::apply("test").force();
            former.definitions().patch(&name, &parameters, &Patch::Apply(&definition)).await.unwrap();
        }
        let started = Instant::now();
        while former.api("Build").list(&Default::default()).await.is_err()
            || former.api("Image").list(&Default::default()).await.is_err()
        {
            assert!(started.elapsed() < PATIENCE, "the definitions are not served");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        former
    }

    async fn remove(self) {
        for plural in ["images", "builds"] {
            let name = format!("{plural}.{PIVOTAL}");
            self.definitions().delete(&name, &DeleteParams::default()).await.unwrap();
        }
    }

    fn definitions(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
        Api::all_with(self.yard.client(), &ApiResource::from_gvk(&kind))
    }

    fn api(&self, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(PIVOTAL, "v1alpha1", kind));
        Api::namespaced_with(self.yard.client(), &self.yard.namespace, &resource)
    }

    async fn create(&self, kind: &str, mut object: Value) -> DynamicObject {
        object["apiVersion"] = format!("{PIVOTAL}/v1alpha1").into();
        object["kind"] = kind.into();
        self.api(kind).create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
    }

    async fn status(&self, kind: &str, name: &str, status: Value) {
        let patch = Patch::Merge(json!({"status": status}));
        self.api(kind).patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Begins a build as its controller did; names had a random end.
    async fn begin(&self, image: &DynamicObject, number: u32, reason: &str) -> String {
        let name = format!("app-build-{number}-x7b92");
        let metadata = json!({
            "name": name,
            "labels": {format!("image.{PIVOTAL}/image"): "app", format!("image.{PIVOTAL}/buildNumber"): number.to_string()},
            "annotations": {format!("image.{PIVOTAL}/reason"): reason},
            "ownerReferences": [{"apiVersion": format!("{PIVOTAL}/v1alpha1"), "kind": "Image", "name": "app",
                "uid": image.metadata.uid, "controller": true, "blockOwnerDeletion": true}],
        });
        let spec = json!({"tags": ["registry.example.com/app"], "serviceAccount": "builder",
            "source": {"git": {"url": "https://git.example.com/app.git", "revision": "0".repeat(40)}}});
        self.create("Build", json!({"metadata": metadata, "spec": spec})).await;
        name
    }

    /// Ends a build well.
    async fn succeed(&self, build: &str, digit: char) {
        let digest: String = std::iter::repeat_n(digit, 64).collect();
        let status = json!({
            "conditions": [{"type": "Succeeded", "status": "True"}],
            "latestImage": format!("registry.example.com/app@sha256:{digest}"),
        });
        self.status("Build", build, status).await;
    }

    async fn until(&self, kind: &str, name: &str, is_so: impl Fn(&DynamicObject) -> bool) -> DynamicObject {
        let started = Instant::now();
        loop {
            let found = self.api(kind).get(name).await.unwrap();
            if is_so(&found) {
                return found;
            }
            assert!(started.elapsed() < PATIENCE, "{kind} `{name}` stays {found:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn step(&self, name: &str, request: Value) -> Put {
        step(self.yard, name, "build.pivotal.io/v1alpha1", request).await
    }

    async fn ended(&self, name: &str, request: Value) -> Ended {
        self.step(name, request).await.end().await
    }
}

#[tokio::test]
#[ignore = "needs the lab with kpack"]
async fn kpack_from_before_it_had_this_name_is_asked_in_its_own_words() {
    let yard = Yard::open().await;
    let kpack = Former::install(&yard).await;
    let spec = json!({
        "tag": "registry.example.com/app", "serviceAccount": "builder", "cacheSize": "2Gi",
        "builder": {"kind": "CustomBuilder", "name": "java"}, "onlyThen": {"a": 1},
        "source": {"git": {"url": "https://git.example.com/app.git", "revision": "testing"}},
    });
    let image = kpack.create("Image", json!({"metadata": {"name": "app"}, "spec": spec})).await;
    let first = kpack.begin(&image, 1, "CONFIG").await;
    kpack.succeed(&first, 'a').await;
    let checked: Value = serde_json::from_str(&kpack.ended("check", json!({})).await.stdout).unwrap();
    assert_eq!(checked[0]["build"], "1", "{checked}");
    // A trigger, with the annotation that it had then.
    let put = kpack.step("out", json!({"params": {"trigger": true}})).await;
    let trigger = format!("image.{PIVOTAL}/additionalBuildNeeded");
    let has_trigger = |build: &DynamicObject| {
        build.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(&trigger))
    };
    kpack.until("Build", &first, has_trigger).await;
    let second = kpack.begin(&image, 2, "TRIGGER").await;
    kpack.succeed(&second, 'b').await;
    let triggered = version(&put.end().await);
    assert_eq!(triggered["build"], "2");
    // A change, in the fields that it had then.
    let changes = json!({"revision": "v2", "service_account": "deployer"});
    let put = kpack.step("out", json!({"params": changes})).await;
    let changed =
        kpack.until("Image", "app", |image| image.data["spec"]["source"]["git"]["revision"] == "v2").await;
    let mut expected = spec.clone();
    expected["source"]["git"]["revision"] = "v2".into();
    expected["serviceAccount"] = "deployer".into();
    assert_eq!(changed.data["spec"], expected);
    let third = kpack.begin(&image, 3, "COMMIT,CONFIG").await;
    kpack.succeed(&third, 'c').await;
    let ended = put.end().await;
    assert_eq!(version(&ended)["build"], "3");
    // What it did not have is refused, before anything is written.
    let refused =
        kpack.ended("out", json!({"params": {"additional_tags": ["registry.example.com/app:v1"]}})).await;
    assert!(!refused.success, "{refused:#?}");
    assert_says(&refused, &["additional_tags", "build.pivotal.io/v1alpha1"]);
    let checked: Value =
        serde_json::from_str(&kpack.ended("check", json!({"version": triggered})).await.stdout).unwrap();
    assert_eq!(checked, json!([triggered, version(&ended)]));
    let got = kpack.ended("in", json!({"version": triggered})).await;
    assert_eq!(
        std::fs::read_to_string(got.directory.path().join("reason")).unwrap().trim(),
        "TRIGGER",
        "{got:#?}"
    );
    kpack.remove().await;
    yard.close().await;
}
