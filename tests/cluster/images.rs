//! The images of the resource types (`make images`), run as a Concourse worker runs them.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rollway::harness::archive;
use rollway::harness::container::MAPPED_ROOT;
use rollway_lab::image::{Entry, Image, Layer, Parts};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::faces::{self, Face};
use crate::world::{Shape, World};

/// A megabyte as people who pay for storage count it.
const MEGABYTE: u64 = 1_000_000;

/// What every container holds beside its own program.
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";

/// What the probe in a container writes as its answer to a check.
const PROBE: &str = r#"#!/bin/busybox sh
users=$(/bin/busybox tr -s ' ' </proc/self/uid_map)
if /bin/busybox touch /etc/ssl/certs/mine 2>/dev/null; then certs=writable; else certs=read-only; fi
if /bin/busybox mount -t tmpfs none /tmp 2>/dev/null; then mount=allowed; else mount=refused; fi
if /bin/busybox cat /etc/ssl/certs/theirs >/dev/null; then theirs=there; else theirs=missing; fi
printf '[{"cwd":"%s","home":"%s","users":"%s","certs":"%s","theirs":"%s","mount":"%s"}]' \
  "$PWD" "${HOME-none}" "$users" "$certs" "$theirs" "$mount"
"#;

fn archive(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist").join(format!("{name}.tar"));
    assert!(path.exists(), "`{}` is missing: run `make images`", path.display());
    path
}

/// One run of an image by the harness.
struct Run<'a> {
    step: &'a str,
    image: &'a Path,
    arguments: Vec<String>,
}

impl<'a> Run<'a> {
    fn new(step: &'a str, image: &'a Path, source: &Value) -> Self {
        Self { step, image, arguments: Vec::new() }.with("--source", source)
    }

    fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.arguments.extend([name.to_owned(), value.to_string()]);
        self
    }

    /// Runs it and returns the harness's account of it.
    async fn end(self) -> Value {
        let ended = Command::new(env!("CARGO_BIN_EXE_rollway"))
            .args(["harness", self.step, "--json", "--timeout", "120", "--image"])
            .arg(self.image)
            .args(self.arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .output()
            .await
            .unwrap();
        let stderr = String::from_utf8_lossy(&ended.stderr);
        let account: Value =
            serde_json::from_slice(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
        assert_eq!(ended.status.success(), account["outcome"] == "succeeded", "{account:#}");
        account
    }

    /// Runs what has to work.
    async fn succeed(self) -> Value {
        let account = self.end().await;
        assert_eq!(account["outcome"], "succeeded", "{account:#}");
        account
    }
}

/// A CA directory as a worker's, with `files` in it.
fn certificates(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o755)).tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

/// Unpacks an image; everything in it belongs to the user that stands for its root.
fn unpack(name: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let image = archive::Image::unpack(&archive(name), directory.path(), MAPPED_ROOT).unwrap();
    assert_eq!(image.user, (0, 0));
    (directory, image.root)
}

/// Returns every path below `root` that is no directory, and where it leads if it is a link.
fn contents(root: &Path) -> BTreeMap<String, Option<String>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let target = std::fs::read_link(entry.path()).ok();
            let path = entry.path().strip_prefix(root).unwrap().display().to_string();
            found.insert(path, target.map(|target| target.display().to_string()));
        }
    }
    found
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn image_digest_runs_against_every_face_of_a_registry() {
    let image = archive("image-digest");
    let workers = certificates(&[("ca-certificates.crt", &faces::authority())]);
    let nobodys = certificates(&[]);
    let tls = Face::tls("images/tls");
    let by_system = tls.source_without("ca_certs");
    let (plain, auth) = (Face::plain("images/plain"), Face::auth("images/auth"));
    for (face, source, certs) in [
        (&plain, &plain.source, &nobodys),
        (&tls, &by_system, &workers),
        (&tls, &tls.source, &nobodys),
        (&auth, &auth.source, &nobodys),
    ] {
        let version = json!({ "tag": "latest", "digest": face.push("one").await });
        let certs = certs.path().display();
        let found = Run::new("check", &image, source).with("--certs", &certs).succeed().await;
        assert_eq!(found["versions"], json!([version]));
        let run = Run::new("in", &image, source).with("--certs", &certs).with("--version", &version);
        let got = run.with("--params", json!({ "skip_download": true })).succeed().await;
        assert_eq!(got["version"], version);
        assert_eq!(got["files"], json!(["digest", "image", "image.json", "repository", "tag"]));
    }
    let run = Run::new("check", &image, &by_system).with("--certs", nobodys.path().display());
    let refused = run.end().await;
    assert_eq!(refused["outcome"], "failed", "{refused:#}");
    assert!(
        refused["stderr"].to_string().contains("give the certificate of the registry's CA"),
        "{refused:#}"
    );
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn rollout_rolls_to_what_an_image_digest_got_and_check_agrees() {
    let world = World::connect().await;
    let old = world.publish("11.0.5", &[]).await;
    let app = world.deploy(Shape { replicas: 1, ..Shape::dies_at_once(&old) }).await;
    let new = world.publish("11.0.6", &[]).await;
    let (repository, digest) = new.split_once('@').unwrap();

    let build = tempfile::tempdir().unwrap();
    let version = json!({ "tag": "latest", "digest": digest });
    let source = json!({ "repository": repository });
    Run::new("in", &archive("image-digest"), &source)
        .with("--version", version)
        .with("--params", json!({ "skip_download": true }))
        .with("--dir", build.path().join("container-image").display())
        .succeed()
        .await;

    // The kubeconfig brings its own authority, so a worker without any is good enough.
    let nobodys = certificates(&[]);
    let certs = nobodys.path().display();
    let (rollout, source) = (archive("rollout"), app.request(Value::Null)["source"].clone());
    let put = Run::new("out", &rollout, &source)
        .with("--certs", &certs)
        .with("--params", json!({ "image": "container-image", "wait_until_ready": 90 }))
        .with("--dir", build.path().display())
        .succeed()
        .await;
    assert_eq!(put["version"]["digest"], digest);
    assert!(put["stderr"].to_string().contains("(seen as tag latest)"), "{put:#}");
    let mut trusting = source.clone();
    trusting["insecure_skip_tls_verify"] = true.into();
    for source in [&source, &trusting] {
        let run = Run::new("check", &rollout, source).with("--version", &put["version"]);
        let found = run.with("--certs", &certs).succeed().await;
        assert_eq!(found["versions"], json!([put["version"]]));
    }

    let after = build.path().join("deployment");
    let run = Run::new("in", &rollout, &source).with("--version", &put["version"]);
    let got = run.with("--dir", after.display()).succeed().await;
    assert_eq!(got["version"], put["version"]);
    assert_eq!(std::fs::read_to_string(after.join("image")).unwrap(), new);
    app.remove().await;
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn images_hold_one_program_its_links_and_the_authorities_and_no_shell() {
    for name in ["image-digest", "kpack-trigger", "rollout"] {
        let (_directory, root) = unpack(name);
        let program = format!("opt/resource/{name}");
        let links =
            ["check", "in", "out"].map(|step| (format!("opt/resource/{step}"), Some(name.to_owned())));
        let mut wanted = BTreeMap::from([(program, None), (BUNDLE.to_owned(), None)]);
        wanted.extend(links);
        assert_eq!(contents(&root), wanted);
    }
    let shell = |root: PathBuf| async move {
        Command::new("chroot").arg(root).args(["/bin/sh", "-c", "exit 7"]).output().await.unwrap()
    };
    let (_directory, root) = unpack("rollout");
    let ended = shell(root).await;
    assert_eq!(ended.status.code(), Some(127), "{ended:?}");
    let (_directory, root) = unpack("rollout-debug");
    assert_eq!(shell(root).await.status.code(), Some(7), "the image for `fly hijack` has one");
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn images_are_small() {
    for name in ["image-digest", "kpack-trigger", "rollout"] {
        let (_directory, root) = unpack(name);
        let size = |path: &Path| std::fs::metadata(path).unwrap().len();
        let program = size(&root.join("opt/resource").join(name));
        let unpacked = program + size(&root.join(BUNDLE));
        assert!(unpacked < 12 * MEGABYTE, "{name}: {unpacked} bytes unpacked");
        assert!(size(&archive(name)) < 12 * MEGABYTE, "{name}: {} bytes", size(&archive(name)));
        if name == "image-digest" {
            assert!(program < 6 * MEGABYTE, "{program} bytes");
        }
    }
}

/// The harness's promise, without which the tests above would show little.
#[tokio::test]
#[ignore = "needs the lab"]
async fn container_is_as_unprivileged_as_a_workers() {
    let (directory, root) = unpack("image-digest-debug");
    let files = BTreeMap::from([
        ("bin/busybox".to_owned(), Entry::program(&root.join("bin/busybox")).unwrap()),
        ("opt/resource/check".to_owned(), Entry::File { mode: 0o755, content: PROBE.into() }),
        ("tmp".to_owned(), Entry::Directory { mode: 0o777 }),
        (BUNDLE.to_owned(), Entry::text("")),
    ]);
    let layers = vec![Layer::new("probe", &files).unwrap()];
    let probe = directory.path().join("probe.tar");
    Image::new(Parts { layers, ..Parts::default() }).oci_archive(&probe, "probe").unwrap();
    let certs = certificates(&[("theirs", "the worker's")]);
    // Everybody may write there, so that only the mount can keep the probe from it.
    std::fs::set_permissions(certs.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let run = Run::new("check", &probe, &json!({})).with("--certs", certs.path().display());
    let wanted = json!([{
        "cwd": "/",
        // Concourse sets none; runc, which is its runtime too, then makes up this one.
        "home": "/",
        "users": format!(" 0 {MAPPED_ROOT} 65536"),
        "certs": "read-only",
        "theirs": "there",
        "mount": "refused",
    }]);
    assert_eq!(run.succeed().await["versions"], wanted);
}
