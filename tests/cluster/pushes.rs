//! `image-digest out` and registries that are not ours: an image is pushed, found, fetched and promoted.

use std::collections::BTreeMap;

use rollway_lab::image::{Entry, Image, Layer, Parts};
use serde_json::{Value, json};

use crate::faces::Face;
use crate::world::{Ended, IMAGE_DIGEST, Put};

/// The sources of two repositories.
pub(crate) struct Repositories {
    pub(crate) staging: Value,
    pub(crate) production: Value,
}

/// Makes an image with nothing but `content` in it.
pub(crate) fn image(content: &str) -> Image {
    let files = BTreeMap::from([("content".to_owned(), Entry::text(content))]);
    let layers = vec![Layer::new("content", &files).unwrap()];
    Image::new(Parts { layers, ..Parts::default() })
}

async fn put(source: &Value, params: Value, archived: Option<&Image>) -> Ended {
    let directory = tempfile::tempdir().unwrap();
    if let Some(image) = archived {
        image.oci_archive(&directory.path().join("image.tar"), "app:1").unwrap();
    }
    let request = json!({ "source": source, "params": params });
    Put::start_in(directory, IMAGE_DIGEST, "out", request).await.end().await
}

fn tagged(source: &Value, tag: &str) -> Value {
    let mut source = source.clone();
    source["tag"] = tag.into();
    source
}

/// Asserts that check and in find what a put says that it pushed.
async fn assert_found(source: &Value, version: &Value) {
    let ended = Put::start(IMAGE_DIGEST, "check", json!({ "source": source })).await.end().await;
    assert!(ended.success, "{}", ended.stderr);
    assert_eq!(serde_json::from_str::<Value>(&ended.stdout).unwrap(), json!([version]));
    let request = json!({"source": source, "version": version, "params": {"skip_download": true}});
    assert_eq!(&Put::start(IMAGE_DIGEST, "in", request).await.end().await.version(), version);
}

/// Pushes an image to one repository, twice, and promotes it to the other.
pub(crate) async fn assert_pushed_and_promoted(repositories: &Repositories) {
    let (staging, production) =
        (tagged(&repositories.staging, "rc"), tagged(&repositories.production, "live"));
    let image = image("pushed");
    let params = json!({"image": "image.tar", "version": "1.2.3", "bump_aliases": true});
    let version = put(&staging, params.clone(), Some(&image)).await.version();
    assert_eq!(version["tag"], "rc");
    assert_found(&staging, &version).await;
    for alias in ["1.2.3", "1.2", "1", "latest"] {
        assert_found(&tagged(&staging, alias), &json!({"tag": alias, "digest": version["digest"]})).await;
    }
    let again = put(&staging, params, Some(&image)).await;
    assert_eq!(again.version(), version);
    assert!(again.stderr.contains(" 0 mounted, 0 sent (0 B)"), "{}", again.stderr);
    let mut from = repositories.staging.clone();
    // What is watched there is not what is promoted.
    from.as_object_mut().unwrap().remove("tag");
    from["digest"] = version["digest"].clone();
    let promoted = put(&production, json!({ "from": from }), None).await;
    let live = json!({"tag": "live", "digest": version["digest"]});
    assert_eq!(promoted.version(), live);
    assert_found(&production, &live).await;
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn each_face_takes_serves_and_promotes_images() {
    for face in [Face::plain, Face::tls, Face::auth] {
        let repositories = Repositories {
            staging: face("pushes/staging").source,
            production: face("pushes/production").source,
        };
        assert_pushed_and_promoted(&repositories).await;
    }
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn image_goes_from_one_registry_to_another_with_the_keys_of_both() {
    let repositories = Repositories {
        staging: Face::plain("pushes/near").source,
        production: Face::auth("pushes/far").source,
    };
    assert_pushed_and_promoted(&repositories).await;
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn blobs_of_another_repository_are_mounted() {
    let (staging, production) = (Face::plain("pushes/from"), Face::plain("pushes/mounted"));
    let version =
        put(&tagged(&staging.source, "rc"), json!({"image": "image.tar"}), Some(&image("mounted"))).await;
    let from = json!({"repository": staging.repository, "digest": version.version()["digest"]});
    let promoted = put(&tagged(&production.source, "live"), json!({ "from": from }), None).await;
    assert!(promoted.stderr.contains("2 blobs: 0 there already, 2 mounted, 0 sent"), "{}", promoted.stderr);
}
