//! What is broken on purpose around a real kpack: sources without what a buildpack needs, images that are
//! gone, builds that were pruned, rights that are missing, an API server that starts again.

use std::collections::BTreeMap;
use std::path::Path;

use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use rollway_lab::cluster::Lab;
use rollway_lab::image::{Entry, Image, Layer, Parts};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::kpack_yard::{KPACK_TRIGGER, Yard, assert_says, condition, sleeping, version};
use crate::world::{Ended, Put};

fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

impl Yard {
    /// Deletes a manifest, which pods name by the lab's own address of the registry.
    async fn forget(&self, image: &str) {
        let (repository, digest) = image.split_once('@').unwrap();
        let path = repository.strip_prefix(&format!("{}/", self.kpack.registry)).unwrap();
        let path = path.split_once(':').map_or(path, |(path, _tag)| path);
        let url = format!("http://{}/v2/{path}/manifests/{digest}", self.world.registry);
        let answer = reqwest::Client::builder().build().unwrap().delete(&url).send().await.unwrap();
        assert!(answer.status().is_success(), "{url}: {answer:?}");
    }

    /// Has the nodes take new pods, or take none.
    async fn nodes(&self, spec: Value) {
        let nodes: Api<Node> = Api::all(self.client());
        let patch = Patch::Merge(json!({"spec": spec}));
        for node in nodes.list(&ListParams::default()).await.unwrap() {
            nodes.patch(&node.metadata.name.unwrap(), &PatchParams::default(), &patch).await.unwrap();
        }
    }

    /// Makes a builder of its own; returns its image, and the run image that kpack has copied beside it.
    async fn builder(&self, name: &str) -> [String; 2] {
        let spec = json!({
            "tag": format!("{}/{}/{name}", self.kpack.registry, self.namespace), "serviceAccountName": "builder",
            "stack": {"kind": "ClusterStack", "name": "trigger"}, "store": {"kind": "ClusterStore", "name": "trigger"},
            "order": [{"group": [{"id": "lab/java"}]}],
        });
        self.apply("Builder", name, spec).await;
        let ready = self.until("a builder", "Builder", name, |it| condition(it, "Ready") == "True").await;
        let status = &ready["status"];
        [&status["latestImage"], &status["stack"]["runImage"]].map(|it| it.as_str().unwrap().to_owned())
    }

    /// Asks for a build of `app` with the rights of a service account that has those to trigger, and `more`.
    pub(crate) async fn put_as(&self, name: &str, more: &[Value]) -> Ended {
        let api = "rbac.authorization.k8s.io";
        let kpack = json!([
            {"apiGroups": ["kpack.io"], "resources": ["images"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": ["kpack.io"], "resources": ["builds"], "verbs": ["get", "list", "watch", "patch"]},
        ]);
        let rules = [kpack.as_array().unwrap(), more].concat();
        let metadata = json!({"name": name});
        let parameters = PostParams::default();
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), &self.namespace);
        accounts.create(&parameters, &object(json!({"metadata": metadata}))).await.unwrap();
        let roles: Api<Role> = Api::namespaced(self.client(), &self.namespace);
        roles.create(&parameters, &object(json!({"metadata": metadata, "rules": rules}))).await.unwrap();
        let bindings: Api<RoleBinding> = Api::namespaced(self.client(), &self.namespace);
        let binding = json!({"metadata": metadata, "roleRef": {"apiGroup": api, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": self.namespace}]});
        bindings.create(&parameters, &object(binding)).await.unwrap();
        let request = object(json!({"spec": {"audiences": []}}));
        let token = accounts.create_token_request(name, &parameters, &request).await.unwrap().status.unwrap();
        let kubeconfig: Value = serde_saphyr::from_str(&self.world.kubeconfig).unwrap();
        let cluster = &kubeconfig["clusters"][0]["cluster"];
        let source = json!({"server": cluster["server"], "certificate_authority": cluster["certificate-authority-data"],
            "token": token.token, "namespace": self.namespace, "image": "app"});
        let request = json!({"source": source, "params": {"trigger": true}});
        Put::start(KPACK_TRIGGER, "out", request).await.end().await
    }
}

#[tokio::test]
#[ignore = "needs the lab with kpack"]
async fn kpack_builds_that_cannot_detect_pull_or_export_are_told_as_such() {
    let yard = Yard::open().await;
    let git = &yard.kpack.git;
    // No buildpack wants a directory that the source does not have. A source that is not there is found out by
    // the build: kpack takes what it cannot resolve as it is.
    yard.image(
        "detects-nothing",
        json!({"source": {"git": {"url": git, "revision": "testing"}, "subPath": "nowhere"}}),
    )
    .await;
    let elsewhere = git.replace(".git", "-of-nobody.git");
    yard.image("resolves-nothing", json!({"source": {"git": {"url": elsewhere, "revision": "testing"}}}))
        .await;
    let [builder, run] = yard.builder("vanishing").await;
    let vanishing = json!({"kind": "Builder", "name": "vanishing"});
    yard.image("exports-nothing", json!({"builder": vanishing, "build": sleeping(5)})).await;
    let mut export = yard.start("exports-nothing", json!({"trigger": true, "timeout": 100})).await;
    assert!(export.says("===> BUILD").await);
    yard.forget(&run).await;
    yard.forget(&builder).await;
    yard.image("pulls-nothing", json!({"builder": {"kind": "Builder", "name": "vanishing"}})).await;
    let trigger = |image: &'static str, timeout: u64| {
        let yard = &yard;
        async move { yard.put(image, json!({"trigger": true, "timeout": timeout})).await }
    };
    let (detect, resolve, pull, export) = tokio::join!(
        trigger("detects-nothing", 100),
        trigger("resolves-nothing", 100),
        trigger("pulls-nothing", 100),
        export.end(),
    );
    for (ended, words) in [
        (&detect, &["failed in step detect"][..]),
        (&resolve, &["failed in step prepare", "repository not found"][..]),
        (&pull, &["failed before it had a pod", "manifest unknown", "make the builder anew"][..]),
        (&export, &["failed in step export"][..]),
    ] {
        assert!(!ended.success && ended.stdout.is_empty(), "{ended:#?}");
        assert_says(ended, words);
    }
    yard.close().await;
}

#[tokio::test]
#[ignore = "needs the lab with kpack"]
async fn kpack_builds_that_find_no_node_and_then_no_image_say_what_they_wait_for() {
    let yard = Yard::open().await;
    let [builder, _] = yard.builder("leaving").await;
    // The pod is made while the builder is there, and pulls it when it is gone.
    yard.nodes(json!({"unschedulable": true})).await;
    yard.image("app", json!({"builder": {"kind": "Builder", "name": "leaving"}})).await;
    yard.until("a first build", "Build", "app-build-1", |it| !it.is_null()).await;
    let mut put = yard.start("app", json!({"revision": "testing", "timeout": 45})).await;
    let finds_no_node = put.says("waiting: no node takes the build's pod: ").await;
    yard.forget(&builder).await;
    yard.nodes(json!({"unschedulable": null})).await;
    let ended = put.end().await;
    assert!(finds_no_node && !ended.success && ended.stdout.is_empty(), "{ended:#?}");
    let told: Vec<&str> = ended.stderr.lines().filter(|line| line.contains("cannot start: ")).collect();
    let [waiting, .., error] = &told[..] else { panic!("{ended:#?}") };
    assert!(waiting.starts_with("waiting: step ") && waiting.contains("ErrImagePull"), "{ended:#?}");
    assert!(error.starts_with("error: build `app-build-1` has no verdict after 45 s: step "), "{ended:#?}");
    assert_eq!(told.len(), 2, "the kubelet's turns of one trouble are told once: {ended:#?}");
    yard.close().await;
}

#[tokio::test]
#[ignore = "needs the lab with kpack"]
async fn kpack_versions_with_one_digest_are_two_and_pruned_ones_are_still_fetched() {
    let yard = Yard::open().await;
    // Of a source in Git kpack writes down where it is from, and when; of one in an image nothing that changes.
    let files = BTreeMap::from([("application.properties".to_owned(), Entry::text("greeting=Hello\n"))]);
    let layers = vec![Layer::new("source", &files).unwrap()];
    let pushed = yard.world.push(&Image::new(Parts { layers, ..Parts::default() })).await;
    let source = pushed.replace(&yard.world.registry, &yard.kpack.registry);
    yard.built("app", json!({"successBuildHistoryLimit": 1, "source": {"registry": {"image": source}}}))
        .await;
    let first = yard.check("app", &Value::Null).await[0].clone();
    // Two pipelines, with two orders: one changes nothing, the other does, and each gets its own answer.
    let (again, changed) = tokio::join!(
        yard.put("app", json!({"trigger": true})),
        yard.put("app", json!({"env": {"LAB_LINES": 3}})),
    );
    let (again, changed) = (version(&again), version(&changed));
    assert_eq!([&again["image"], &changed["image"]], [&first["image"]; 2], "what is built is the same");
    assert!(again != first && changed != first, "{again} {changed}");
    yard.until("a pruned build", "Build", "app-build-1", Value::is_null).await;
    let newest = yard.check("app", &Value::Null).await;
    assert_eq!(yard.check("app", &first).await, newest, "those that are left are after the one that is gone");
    // The controller prunes after a build has ended; a version of it is what a build of the pipeline still asks for.
    let request = json!({"source": yard.source("app"), "version": first});
    let fetched = Put::start(KPACK_TRIGGER, "in", request).await.end().await;
    assert_eq!(version(&fetched), first);
    assert_says(&fetched, &["is gone from the cluster"]);
    let read = |name: &str| std::fs::read_to_string(fetched.directory.path().join(name)).unwrap();
    assert_eq!(read("image").trim(), first["image"].as_str().unwrap());
    yard.close().await;
}

#[tokio::test]
#[ignore = "needs the lab with kpack"]
async fn kpack_builds_are_followed_without_logs_and_while_the_api_server_starts_again() {
    let yard = Yard::open().await;
    yard.built("app", json!({"build": sleeping(5)})).await;
    let pods = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]});
    let ended = yard.put_as("sees-pods", &[pods]).await;
    assert_eq!(version(&ended)["build"], "2");
    assert_says(&ended, &["these credentials may not read logs (pods/log)"]);
    let mut put = yard.start("app", json!({"trigger": true})).await;
    assert!(put.says("===> BUILD").await);
    let restart = || Lab::load(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap().restart("kube-apiserver");
    tokio::task::spawn_blocking(restart).await.unwrap().unwrap();
    let ended = put.end().await;
    assert_eq!(version(&ended)["build"], "3");
    assert_says(&ended, &["===> EXPORT", "===> COMPLETION"]);
    yard.close().await;
}
