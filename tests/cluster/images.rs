//! The resource images that `make images` writes, run as Concourse runs them: in unprivileged
//! containers, with the worker's CA directory read-only over theirs, and without a shell.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::world::{Shape, World};

/// Runs one step from the image of a resource type and returns what Concourse would make of it.
async fn step(step: &str, image: &str, request: &Value, directory: &Path) -> Value {
    let archive = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("dist").join(format!("{image}.tar"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollway"));
    command.args(["harness", step, "--json", "--image"]).arg(archive).arg("--dir").arg(directory);
    for key in ["source", "params", "version"] {
        if let Some(value) = request.get(key) {
            command.arg(format!("--{key}")).arg(value.to_string());
        }
    }
    let output = command.output().await.unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("no answer: {}", String::from_utf8_lossy(&output.stderr)))
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn images_check_fetch_and_roll_in_unprivileged_containers() {
    let world = World::connect().await;
    let (old, new) = (world.publish("11.0.5", &[]).await, world.publish("11.0.6", &[]).await);
    let app = world.deploy(Shape::dies_at_once(&old)).await;
    let build = tempfile::tempdir().unwrap();
    let got = build.path().join("container-image");
    let source = json!({ "repository": format!("{}/cluster-tests", world.registry), "tag": "latest" });

    let check = step("check", "image-digest", &json!({ "source": source }), build.path()).await;
    assert_eq!(check["outcome"], "succeeded", "{check:#}");
    let version = check["versions"][0].clone();
    let get = step("in", "image-digest", &json!({ "source": source, "version": version }), &got).await;
    assert_eq!(get["outcome"], "succeeded", "{get:#}");
    assert_eq!(std::fs::read_to_string(got.join("image")).unwrap(), new);

    let params = json!({ "image": "container-image", "wait_until_ready": 90 });
    let mut request = app.request(params);
    let put = step("out", "rollout", &request, build.path()).await;
    assert_eq!(put["outcome"], "succeeded", "{put:#}");
    request.as_object_mut().unwrap().remove("params");
    let check = step("check", "rollout", &request, build.path()).await;
    assert_eq!(
        check["versions"].as_array().and_then(|versions| versions.last()),
        Some(&put["version"]),
        "{check:#}"
    );
    let images = app.view().await.images();
    assert!(images.len() == 3 && images.values().all(|image| *image == new), "{images:#?}");
    app.remove().await;
}

/// Without the worker's CA directory the image's own bundle is hidden, and nothing is trusted.
#[tokio::test]
#[ignore = "needs the lab"]
async fn trust_comes_from_the_workers_ca_directory() {
    let lab = PathBuf::from(std::env::var("KUBECONFIG").unwrap()).with_file_name("lab.json");
    let lab: Value = serde_json::from_slice(&std::fs::read(lab).unwrap()).unwrap();
    let registry = &lab["registry"];
    let image = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("dist/image-digest.tar");
    let authority = std::fs::read_to_string(registry["ca"].as_str().unwrap()).unwrap();
    let trusted = tempfile::tempdir().unwrap();
    let nothing = tempfile::tempdir().unwrap();
    std::fs::write(trusted.path().join("ca-certificates.crt"), authority).unwrap();
    let repository = format!("{}/absent", registry["tls"].as_str().unwrap());
    let source = json!({ "repository": repository, "tag": "latest" });
    for (certificates, outcome) in [(&trusted, "succeeded"), (&nothing, "failed")] {
        let output = Command::new(env!("CARGO_BIN_EXE_rollway"))
            .args(["harness", "check", "--json", "--source", &source.to_string(), "--image"])
            .arg(&image)
            .arg("--certs")
            .arg(certificates.path())
            .output()
            .await
            .unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["outcome"], outcome, "{answer:#}");
    }
}
