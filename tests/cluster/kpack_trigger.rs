//! The `kpack-trigger` resource on a real kpack: triggers in every state of a build, failures of every
//! step, and what happens to builds, Images and the API server meanwhile.

use std::time::Duration;

use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::counter::Counter;
use crate::kpack_yard::{KPACK_TRIGGER, Yard, assert_says, condition, sleeping, version};
use crate::proxy::{Line, Proxy};
use crate::world::Put;

/// The annotation that asks for a build.
const TRIGGER: &str = "image.kpack.io/additionalBuildNeeded";

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
async fn kpack_builds_that_begin_between_the_look_and_the_trigger_are_found() {
    let yard = Yard::open().await;
    yard.built("app", json!({"build": sleeping(1)})).await;
    // kpack looks at the newest build alone: a trigger on the one before is lost without a word.
    let way = Counter::start(&yard.world).await;
    let mut source = yard.source("app");
    source["kubeconfig"] = way.kubeconfig(&yard.namespace).to_string().into();
    way.hold("patch");
    let put = Put::start(KPACK_TRIGGER, "out", json!({"source": source, "params": {"trigger": true}})).await;
    way.held().await;
    yard.image("app", json!({"build": sleeping(2)})).await;
    yard.until("another build", "Build", "app-build-2", |it| !it.is_null()).await;
    way.release();
    let ended = put.end().await;
    // It was not there when the put began, so it is of what there is now; one more would be of the same.
    assert_eq!(version(&ended)["build"], "2", "{ended:#?}");
    assert_says(&ended, &["asked kpack for a build after build 1", "with all that is current: it counts"]);
    let newest = yard.until("a build", "Build", "app-build-2", |it| !it.is_null()).await;
    assert!(newest["metadata"]["annotations"][TRIGGER].is_null(), "{newest:#}");
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
    yard.delete(long).await;
    assert_eq!(yard.check(long, &before).await, json!([]));
    yard.built(long, json!({"build": sleeping(1)})).await;
    // Build 1 alone may be what is left when somebody deletes build 2; another build 2 is beyond doubt.
    assert_eq!(yard.check(long, &before).await, json!([]));
    let again = version(&yard.put(long, json!({"trigger": true})).await);
    assert_eq!(again["build"], "2");
    assert_eq!(yard.check(long, &before).await, json!([again]));
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
    let ended = yard.put_as("triggers", &[]).await;
    assert_eq!(version(&ended)["build"], "2");
    assert_says(&ended, &["these credentials may not see pods"]);
    // The API server goes away in mid build, and comes back.
    let proxy = Proxy::start(yard.world.api()).await;
    let mut source = yard.source("app");
    let address = format!("https://127.0.0.1:{}", proxy.port);
    let text = yard.world.kubeconfig.replace(&format!("https://{}", yard.world.api()), &address);
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
