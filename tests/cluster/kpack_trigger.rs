//! The `kpack-trigger` resource on a real kpack: triggers in every state of a build, failures of every
//! step, and what happens to builds, Images and the API server meanwhile.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, RoleBinding};
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use rollway_lab::cluster::{Kpack, Lab};
use serde_json::{Value, json};

use crate::proxy::{Line, Proxy};
use crate::world::{Ended, PATIENCE, Put, World};

/// The executable.
const KPACK_TRIGGER: &str = env!("CARGO_BIN_EXE_kpack-trigger");
/// The annotation that asks for a build.
const TRIGGER: &str = "image.kpack.io/additionalBuildNeeded";

/// A namespace with a builder that can build, and the way to it.
struct Yard {
    world: World,
    kpack: Kpack,
    namespace: String,
}

fn resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("kpack.io", "v1alpha2", kind))
}

impl Yard {
    /// Makes the namespace, and waits until its builder is ready.
    async fn open() -> Self {
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

    fn client(&self) -> Client {
        self.world.client.clone()
    }

    fn api(&self, kind: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client(), &self.namespace, &resource(kind))
    }

    async fn cluster_wide(&self, kind: &str, spec: Value) {
        let api: Api<DynamicObject> = Api::all_with(self.client(), &resource(kind));
        let object = json!({"apiVersion": "kpack.io/v1alpha2", "kind": kind, "metadata": {"name": "trigger"}, "spec": spec});
        api.patch("trigger", &PatchParams::apply("test").force(), &Patch::Apply(&object)).await.unwrap();
    }

    async fn apply(&self, kind: &str, name: &str, spec: Value) {
        let object = json!({"apiVersion": "kpack.io/v1alpha2", "kind": kind, "metadata": {"name": name}, "spec": spec});
        let parameters = PatchParams::apply("test").force();
        self.api(kind).patch(name, &parameters, &Patch::Apply(&object)).await.unwrap();
    }

    /// Makes an Image that is built from Git, and `extra` on top.
    async fn image(&self, name: &str, extra: Value) {
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
    async fn built(&self, name: &str, extra: Value) {
        self.image(name, extra).await;
        self.until("a first build", "Image", name, |it| condition(it, "Ready") == "True").await;
    }

    async fn until(&self, what: &str, kind: &str, name: &str, is_so: impl Fn(&Value) -> bool) -> Value {
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

    /// Waits until no build pod is left: kpack takes one of the same name for that of a new build.
    async fn until_no_pods(&self) {
        let pods: Api<Pod> = Api::namespaced(self.client(), &self.namespace);
        let started = Instant::now();
        while !pods.list(&ListParams::default()).await.unwrap().items.is_empty() {
            assert!(started.elapsed() < PATIENCE, "build pods are left after {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn source(&self, image: &str) -> Value {
        json!({"kubeconfig": self.world.kubeconfig, "namespace": self.namespace, "image": image})
    }

    async fn start(&self, image: &str, params: Value) -> Put {
        Put::start(KPACK_TRIGGER, "out", json!({"source": self.source(image), "params": params})).await
    }

    async fn put(&self, image: &str, params: Value) -> Ended {
        self.start(image, params).await.end().await
    }

    async fn check(&self, image: &str, version: &Value) -> Value {
        let mut request = json!({"source": self.source(image)});
        if !version.is_null() {
            request["version"] = version.clone();
        }
        let ended = Put::start(KPACK_TRIGGER, "check", request).await.end().await;
        assert!(ended.success, "{ended:#?}");
        serde_json::from_str(&ended.stdout).unwrap()
    }

    async fn close(self) {
        let namespaces: Api<Namespace> = Api::all(self.client());
        namespaces.delete(&self.namespace, &DeleteParams::background()).await.unwrap();
    }
}

fn condition<'a>(object: &'a Value, kind: &str) -> &'a str {
    let conditions = object["status"]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|it| it["type"] == kind);
    found.and_then(|it| it["status"].as_str()).unwrap_or_default()
}

fn version(ended: &Ended) -> Value {
    assert!(ended.success, "{ended:#?}");
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    answer["version"].clone()
}

#[track_caller]
fn assert_says(ended: &Ended, words: &[&str]) {
    for words in words {
        assert!(ended.stderr.contains(words), "`{words}` is not in {ended:#?}");
    }
}

fn sleeping(seconds: u32) -> Value {
    json!({"env": [{"name": "LAB_SLEEP", "value": seconds.to_string()}]})
}

#[tokio::test]
#[ignore = "needs the lab with kpack"]
async fn kpack_builds_are_asked_for_while_idle_and_while_one_runs_and_by_two_at_once() {
    let yard = Yard::open().await;
    yard.built("app", json!({"build": sleeping(4)})).await;
    let first = yard.check("app", &Value::Null).await;
    assert_eq!(first[0]["build"], "1", "{first}");
    // Idle: both see build 1 as the newest.
    let (one, other) =
        tokio::join!(yard.put("app", json!({"trigger": true})), yard.put("app", json!({"trigger": true})));
    let (one, other) = (version(&one), version(&other));
    assert!(
        [&one["build"], &other["build"]].iter().all(|number| **number == "2" || **number == "3"),
        "{one} {other}"
    );
    let steps = ["PREPARE", "ANALYZE", "DETECT", "RESTORE", "BUILD", "EXPORT", "COMPLETION"];
    // While one runs: the answer is the next one, however many ask.
    let mut running = yard.start("app", json!({"trigger": true})).await;
    assert!(running.says("===> BUILD").await);
    let (second, third) =
        tokio::join!(yard.put("app", json!({"trigger": true})), yard.put("app", json!({"trigger": true})));
    let running = running.end().await;
    let headings = steps.map(|step| format!("===> {step}"));
    assert_says(&running, &headings.each_ref().map(String::as_str));
    assert_says(&running, &["---> Lab Java 11.0.5"]);
    assert_eq!(version(&second), version(&third), "one build answers both");
    let number = |version: &Value| version["build"].as_str().unwrap().parse::<u64>().unwrap();
    assert_eq!(number(&version(&second)), number(&version(&running)) + 1);
    let shared = format!("{}{}", second.stderr, third.stderr);
    assert!(shared.contains("kpack makes one build of both"), "{shared}");
    let all = yard.check("app", &one).await;
    assert!(all.as_array().unwrap().len() >= 3 && all[0] == one, "{all}");
    yard.close().await;
}

#[tokio::test]
#[ignore = "needs the lab with kpack"]
async fn kpack_failures_are_told_with_their_step_and_what_to_do() {
    let yard = Yard::open().await;
    let env = |name: &str, value: &str| json!({"build": {"env": [{"name": name, "value": value}]}});
    yard.image("fails-to-build", env("LAB_FAIL", "no semicolon")).await;
    yard.image("fails-to-start", env("A=B", "x")).await;
    yard.image("has-no-account", json!({"serviceAccountName": "nobody"})).await;
    let nowhere = json!({"tag": "10.200.0.1:9/nowhere/app"});
    yard.image("fails-to-push", nowhere).await;
    let missing = json!({"source": {"git": {"url": yard.kpack.git, "revision": "no-such-branch"}}});
    yard.image("has-no-revision", missing).await;
    yard.image("has-no-builder", json!({"builder": {"kind": "Builder", "name": "nope"}})).await;
    yard.until("a refusal", "Image", "has-no-builder", |it| condition(it, "Ready") == "False").await;
    let trigger = |image: &'static str, timeout: u64| {
        let yard = &yard;
        async move { yard.put(image, json!({"trigger": true, "timeout": timeout})).await }
    };
    let (build, start, account, push, revision, builder) = tokio::join!(
        trigger("fails-to-build", 100),
        trigger("fails-to-start", 100),
        trigger("has-no-account", 100),
        trigger("fails-to-push", 100),
        trigger("has-no-revision", 100),
        trigger("has-no-builder", 3),
    );
    for (ended, words) in [
        (&build, &["failed in step build", "| error: no semicolon", "hint: the source does not build"][..]),
        (&start, &["failed before it had a pod", "hint: correct the variable's name"][..]),
        (&account, &["failed before it had a pod", "hint: create the service account"][..]),
        (&push, &["failed in step prepare", "write access"][..]),
        (&revision, &["failed in step prepare", "no-such-branch", "hint: set `revision`"][..]),
        (&builder, &["kpack began no build of `has-no-builder` within 3 s", "BuilderNotFound"][..]),
    ] {
        assert!(!ended.success && ended.stdout.is_empty(), "{ended:#?}");
        assert_says(ended, words);
    }
    // What failed is built once it is right.
    let ended = yard.put("fails-to-build", json!({"env": {"LAB_FAIL": null}})).await;
    assert!(version(&ended)["image"].is_string());
    yard.close().await;
}

#[tokio::test]
#[ignore = "needs the lab with kpack"]
async fn kpack_images_that_are_changed_made_and_deleted_are_followed_by_what_they_are() {
    let yard = Yard::open().await;
    let long = "a-name-that-is-nearly-as-long-as-a-label-may-be-so-it-is-hashed";
    assert_eq!(long.len(), 63);
    let manifest = json!({
        "apiVersion": "kpack.io/v1alpha2", "kind": "Image", "metadata": {"name": long},
        "spec": {"tag": format!("{}/{}/long", yard.kpack.registry, yard.namespace), "serviceAccountName": "builder",
            "builder": {"kind": "Builder", "name": "builder"}, "imageTaggingStrategy": "None",
            "source": {"git": {"url": yard.kpack.git, "revision": "testing"}}},
    });
    // The first build, which kpack begins by itself.
    yard.api("Image")
        .create(&PostParams::default(), &serde_json::from_value(manifest).unwrap())
        .await
        .unwrap();
    let first = yard.put(long, json!({"revision": "testing"})).await;
    assert_eq!(version(&first)["build"], "1");
    // A change that it builds for, and one that it does not.
    let changed = yard.put(long, json!({"env": {"LAB_LINES": 20_000}})).await;
    assert_eq!(
        version(&changed)["build"],
        "2",
        "{}",
        changed.stderr.lines().take(20).collect::<Vec<_>>().join("\n")
    );
    assert_eq!(changed.stderr.lines().filter(|line| line.starts_with("-----")).count(), 20_000);
    let same = yard.put(long, json!({"env": {"LAB_LINES": 20_000}})).await;
    assert_says(&same, &["built already: build 2"]);
    let tags = json!([format!("{}/{}/long:v2", yard.kpack.registry, yard.namespace)]);
    let tagged = yard.put(long, json!({"additional_tags": tags})).await;
    assert_says(&tagged, &["kpack builds nothing for that"]);
    // Made anew: numbers begin again, and check goes on.
    let before = version(&changed);
    yard.api("Image").delete(long, &DeleteParams::foreground()).await.unwrap();
    yard.until("an end", "Image", long, Value::is_null).await;
    yard.until_no_pods().await;
    assert_eq!(yard.check(long, &before).await, json!([]));
    yard.built(long, json!({"build": sleeping(1)})).await;
    let after = yard.check(long, &before).await;
    assert_eq!((after[0]["build"].as_str(), after.as_array().unwrap().len()), (Some("1"), 1), "{after}");
    yard.close().await;
}

#[tokio::test]
#[ignore = "needs the lab with kpack"]
async fn kpack_builds_that_are_deleted_or_left_behind_are_told_as_such() {
    let yard = Yard::open().await;
    yard.built("app", json!({"build": sleeping(6)})).await;
    // Aborted: the build goes on.
    let mut put = yard.start("app", json!({"trigger": true})).await;
    assert!(put.says("===> BUILD").await);
    let aborted = put.terminate().await;
    assert!(!aborted.success);
    assert_says(&aborted, &["error: interrupted: build `app-build-2` goes on in the cluster"]);
    let mark =
        yard.until("a success", "Build", "app-build-2", |it| condition(it, "Succeeded") == "True").await;
    assert!(mark["metadata"]["annotations"][TRIGGER].is_null());
    // Deleted in mid build: kpack makes another one, and that one's verdict is not this one's.
    let mut put = yard.start("app", json!({"trigger": true})).await;
    assert!(put.says("===> BUILD").await);
    yard.api("Build").delete("app-build-3", &DeleteParams::default()).await.unwrap();
    let deleted = put.end().await;
    assert!(!deleted.success && deleted.stdout.is_empty(), "{deleted:#?}");
    assert_says(&deleted, &["error: build `app-build-3` was deleted while it was waited for"]);
    yard.until("another build", "Build", "app-build-3", |it| !it.is_null()).await;
    yard.close().await;
}

#[tokio::test]
#[ignore = "needs the lab with kpack"]
async fn kpack_is_asked_with_few_rights_and_through_an_api_server_that_goes_away() {
    let yard = Yard::open().await;
    yard.built("app", json!({"build": sleeping(5)})).await;
    // The rights to trigger, without those to see pods and logs.
    let token = yard.token().await;
    let mut source = yard.source("app");
    let kubeconfig: Value = serde_saphyr::from_str(&yard.world.kubeconfig).unwrap();
    let cluster = &kubeconfig["clusters"][0]["cluster"];
    let authority = cluster["certificate-authority-data"].clone();
    source.as_object_mut().unwrap().remove("kubeconfig");
    source["token"] = token.into();
    source["server"] = cluster["server"].clone();
    source["certificate_authority"] = authority;
    let ended = Put::start(KPACK_TRIGGER, "out", json!({"source": source, "params": {"trigger": true}}))
        .await
        .end()
        .await;
    assert_eq!(version(&ended)["build"], "2");
    assert_says(&ended, &["these credentials may not see pods"]);
    // The API server goes away in mid build, and comes back.
    let proxy = Proxy::start(yard.world.api()).await;
    let mut source = yard.source("app");
    let address = format!("https://127.0.0.1:{}", proxy.port);
    let text = yard.world.kubeconfig.replace(cluster["server"].as_str().unwrap(), &address);
    source["kubeconfig"] = text.into();
    let mut put =
        Put::start(KPACK_TRIGGER, "out", json!({"source": source, "params": {"trigger": true}})).await;
    assert!(put.says("===> BUILD").await);
    proxy.set(Line::Cut);
    tokio::time::sleep(Duration::from_secs(3)).await;
    proxy.set(Line::Up);
    let ended = put.end().await;
    assert_eq!(version(&ended)["build"], "3");
    assert_says(&ended, &["===> COMPLETION"]);
    let lines: Vec<&str> = ended.stderr.lines().filter(|line| line.contains("---> Lab Java")).collect();
    assert_eq!(lines.len(), 1, "a line was lost, or came twice: {ended:#?}");
    yard.close().await;
}

impl Yard {
    /// Returns a token that may trigger and nothing else.
    async fn token(&self) -> String {
        let role = json!({"metadata": {"name": "trigger-only"}, "rules": [
            {"apiGroups": ["kpack.io"], "resources": ["images"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": ["kpack.io"], "resources": ["builds"], "verbs": ["get", "list", "watch", "patch"]}]});
        let roles: Api<ClusterRole> = Api::all(self.client());
        let mut object = role;
        object["apiVersion"] = "rbac.authorization.k8s.io/v1".into();
        object["kind"] = "ClusterRole".into();
        roles
            .patch("trigger-only", &PatchParams::apply("test").force(), &Patch::Apply(&object))
            .await
            .unwrap();
        let binding = json!({"metadata": {"name": "trigger-only"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "trigger-only"},
            "subjects": [{"kind": "ServiceAccount", "name": "builder", "namespace": self.namespace}]});
        let bindings: Api<RoleBinding> = Api::namespaced(self.client(), &self.namespace);
        bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), &self.namespace);
        let request = serde_json::from_value(json!({"spec": {"audiences": []}})).unwrap();
        let answer =
            accounts.create_token_request("builder", &PostParams::default(), &request).await.unwrap();
        answer.status.unwrap().token
    }
}
