//! `verify` and the real cosign: what it signs with a key, wherever it puts the signature, is offered,
//! fetched and promoted; and nothing else is. The registries are started for one test and gone after it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SignatureAlgorithm};
use rollway_lab::image::{Image, Registry};
use serde_json::{Value, json};

use crate::pushes;
use crate::second_registry::Second;
use crate::world::{Ended, IMAGE_DIGEST, Put};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The ways in which cosign leaves a signature: in a tag, as a referrer, and as a bundle that refers.
const WAYS: [&[&str]; 3] = [
    &["--new-bundle-format=false"],
    &["--new-bundle-format=false", "--registry-referrers-mode=oci-1-1"],
    &["--new-bundle-format=true"],
];

/// Keeps cosign from asking for anything but the registry: no log, no list of services, and a proxy that
/// is not there for all that is not on loopback.
const OFFLINE: [&str; 3] = ["--tlog-upload=false", "--use-signing-config=false", "--yes"];
const NO_PROXY: &str = "http://127.0.0.1:9";

/// A docker-registry in memory, which knows no referrers.
struct Docker {
    process: Child,
    host: String,
    _directory: tempfile::TempDir,
}

impl Docker {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("registry.json");
        let configuration = json!({
            "version": 0.1, "log": {"level": "info"}, "storage": {"inmemory": {}}, "http": {"addr": "127.0.0.1:0"},
        });
        std::fs::write(&path, configuration.to_string()).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&path).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
        let said = lines.find(|line| line.contains("listening on ")).unwrap();
        // It must not be held up by a pipe that nobody reads.
        std::thread::spawn(move || lines.for_each(drop));
        let (_, host) = said.split_once("listening on ").unwrap();
        let host = host.split_once('"').unwrap().0.to_owned();
        Self { process, host, _directory: directory }
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// cosign with a directory of keys.
struct Cosign(tempfile::TempDir);

impl Cosign {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn run(&self, arguments: &[&str]) {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/cosign");
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.0.path()).env_clear().env("HOME", self.0.path());
        command
            .env("COSIGN_EXPERIMENTAL", "1")
            .env("COSIGN_PASSWORD", "pw")
            .env("HTTPS_PROXY", NO_PROXY)
            .env("HTTP_PROXY", NO_PROXY);
        let ended =
            command.output().unwrap_or_else(|error| panic!("{error}: run tests/cluster/cosign/build"));
        assert!(ended.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
    }

    /// Makes a key of cosign's own kind and returns its public half.
    fn key(&self, name: &str) -> String {
        self.run(&["generate-key-pair", "--output-key-prefix", name]);
        self.public(name)
    }

    /// Takes over a private key and returns its public half.
    fn import(&self, name: &str, pem: &str) -> String {
        std::fs::write(self.0.path().join("given.pem"), pem).unwrap();
        self.run(&["import-key-pair", "--yes", "--key", "given.pem", "--output-key-prefix", name]);
        self.public(name)
    }

    fn public(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.path().join(format!("{name}.pub"))).unwrap()
    }

    fn sign(&self, place: &Place, digest: &str, key: &str, way: &[&str]) {
        let (key, image) = (format!("{key}.key"), place.at(digest));
        self.run(&[&["sign", "--key", &key][..], &OFFLINE, way, &[&image]].concat());
    }

    /// Attests to something that is no signature.
    fn attest(&self, place: &Place, digest: &str, key: &str, format: &str) {
        std::fs::write(self.0.path().join("predicate.json"), "{}").unwrap();
        let (key, image) = (format!("{key}.key"), place.at(digest));
        let about = ["attest", "--key", &key, "--type=spdxjson", "--predicate=predicate.json", format];
        self.run(&[&about[..], &OFFLINE, &[&image]].concat());
    }
}

/// A repository.
#[derive(Clone)]
struct Place {
    host: String,
    path: String,
}

impl Place {
    fn new(host: &str, path: &str) -> Self {
        Self { host: host.to_owned(), path: path.to_owned() }
    }

    fn repository(&self) -> String {
        format!("{}/{}", self.host, self.path)
    }

    fn at(&self, digest: &str) -> String {
        format!("{}@{digest}", self.repository())
    }

    async fn push(&self, image: &Image) -> String {
        let registry = Registry::new(&format!("http://{}", self.host), None, None).unwrap();
        registry.push(image, &self.path, "latest").await.unwrap()
    }

    fn source(&self, keys: &[&str]) -> Value {
        json!({"repository": self.repository(), "tag": "latest", "verify": {"cosign": {"keys": keys}}})
    }

    /// Asserts that check offers the image and in takes it.
    async fn assert_counts(&self, digest: &str, keys: &[&str]) {
        let version = json!({"tag": "latest", "digest": digest});
        let ended = step("check", &json!({"source": self.source(keys)})).await;
        assert!(ended.success, "{}", ended.stderr);
        assert_eq!(
            serde_json::from_str::<Value>(&ended.stdout).unwrap(),
            json!([version]),
            "{}",
            ended.stderr
        );
        let request = json!({"source": self.source(keys), "version": version});
        assert_eq!(step("in", &request).await.version(), version);
    }

    /// Asserts that check does not offer the image, and in downloads nothing of it, for this reason.
    async fn assert_does_not_count(&self, digest: &str, keys: &[&str], reason: &str) {
        let ended = step("check", &json!({"source": self.source(keys)})).await;
        assert!(ended.success && ended.stdout.trim() == "[]", "{} {}", ended.stdout, ended.stderr);
        assert!(ended.stderr.contains(&format!("it is not verified: {reason}")), "{}", ended.stderr);
        let version = json!({"tag": "latest", "digest": digest});
        let ended = step("in", &json!({"source": self.source(keys), "version": version})).await;
        ended.assert_refused(&[&format!("`{}` is not verified: {reason}", self.at(digest))]);
        assert_eq!(std::fs::read_dir(ended.directory.path()).unwrap().count(), 0);
    }

    /// Returns a manifest, which cosign may just have written.
    async fn manifest(&self, reference: &str) -> Value {
        let url = format!("http://{}/v2/{}/manifests/{reference}", self.host, self.path);
        let request = http().get(url).header("accept", MANIFEST).send().await.unwrap();
        request.error_for_status().unwrap().json().await.unwrap()
    }

    async fn put_manifest(&self, reference: &str, manifest: &Value) {
        let url = format!("http://{}/v2/{}/manifests/{reference}", self.host, self.path);
        let request = http().put(url).header("content-type", MANIFEST).body(manifest.to_string());
        request.send().await.unwrap().error_for_status().unwrap();
    }
}

fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn step(step: &str, request: &Value) -> Ended {
    Put::start(IMAGE_DIGEST, step, request.clone()).await.end().await
}

fn signature_tag(digest: &str) -> String {
    format!("{}.sig", digest.replace(':', "-"))
}

fn made(algorithm: &'static SignatureAlgorithm) -> String {
    KeyPair::generate_for(algorithm).unwrap().serialize_pem()
}

#[tokio::test]
#[ignore = "needs tests/cluster/cosign/build"]
async fn cosign_signature_counts_in_every_registry_wherever_it_is_put() {
    let cosign = Cosign::new();
    let (ours, other) = (cosign.key("ours"), cosign.key("other"));
    let (docker, plain, referrers) = (Docker::start(), Second::start(""), Second::start("1"));
    for host in [&docker.host, plain.host(), referrers.host()] {
        for (number, way) in WAYS.into_iter().enumerate() {
            let place = Place::new(host, &format!("way/{number}"));
            let digest = place.push(&pushes::image(&format!("signed {number}"))).await;
            place.assert_does_not_count(&digest, &[&ours], "it has no signature").await;
            cosign.attest(&place, &digest, "ours", way[0]);
            place.assert_does_not_count(&digest, &[&ours], "it has no signature").await;
            cosign.sign(&place, &digest, "other", way);
            place.assert_does_not_count(&digest, &[&ours], "its signature is not by any of the keys").await;
            cosign.sign(&place, &digest, "ours", &[way, &["-a", "build=7"]].concat());
            place.assert_counts(&digest, &[&ours]).await;
            place.assert_counts(&digest, &[&other]).await;
            cosign.sign(&place, &digest, "ours", way);
            place.assert_counts(&digest, &[&other, &ours]).await;
        }
    }
}

#[tokio::test]
#[ignore = "needs tests/cluster/cosign/build"]
async fn cosign_keys_of_other_kinds_count_and_one_that_cannot_is_named() {
    let cosign = Cosign::new();
    let rsa = include_str!("../integration/support/google-key.pem");
    let registry = Second::start("1");
    for (name, pem) in [("p384", made(&PKCS_ECDSA_P384_SHA384)), ("rsa", rsa.to_owned())] {
        let key = cosign.import(name, &pem);
        for (number, way) in WAYS.into_iter().enumerate() {
            let place = Place::new(registry.host(), &format!("{name}/{number}"));
            let digest = place.push(&pushes::image(name)).await;
            cosign.sign(&place, &digest, name, way);
            place.assert_counts(&digest, &[&key]).await;
        }
    }
    let key = cosign.import("ed25519", &made(&PKCS_ED25519));
    let place = Place::new(registry.host(), "ed25519");
    let digest = place.push(&pushes::image("ed25519")).await;
    cosign.sign(&place, &digest, "ed25519", WAYS[2]);
    place
        .assert_does_not_count(
            &digest,
            &[&key],
            "its signature is by another Ed25519 key, or it is Ed25519ph",
        )
        .await;
}

#[tokio::test]
#[ignore = "needs tests/cluster/cosign/build"]
async fn cosign_signature_is_of_the_index_or_of_the_image_that_it_names() {
    let cosign = Cosign::new();
    let ours = cosign.key("ours");
    let registry = Second::start("1");
    for (number, way) in WAYS.into_iter().enumerate() {
        let image = pushes::image(&format!("indexed {number}")).indexed();
        let (index, child) = (image.digest(), image.manifest_digest());
        let place = Place::new(registry.host(), &format!("child/{number}"));
        place.push(&image).await;
        cosign.sign(&place, child, "ours", way);
        place.assert_does_not_count(index, &[&ours], "it has no signature").await;
        let place = Place::new(registry.host(), &format!("index/{number}"));
        place.push(&image).await;
        cosign.sign(&place, index, "ours", way);
        place.assert_counts(index, &[&ours]).await;
        let pinned = json!({"source": place.source(&[&ours]), "version": {"tag": "latest", "digest": child}});
        step("in", &pinned).await.assert_refused(&["is not verified: it has no signature"]);
        cosign.sign(&place, index, "ours", &[way, &["--recursive"]].concat());
        assert_eq!(step("in", &pinned).await.version()["digest"], child);
    }
}

#[tokio::test]
#[ignore = "needs tests/cluster/cosign/build"]
async fn cosign_signature_does_not_count_for_what_was_changed_after_it() {
    let cosign = Cosign::new();
    let ours = cosign.key("ours");
    let registry = Docker::start();
    let place = Place::new(&registry.host, "changed");
    let signed = place.push(&pushes::image("signed")).await;
    cosign.sign(&place, &signed, "ours", WAYS[0]);
    let changed = place.push(&pushes::image("changed")).await;
    place.assert_does_not_count(&changed, &[&ours], "it has no signature").await;
    let mut manifest = place.manifest(&signature_tag(&signed)).await;
    place.put_manifest(&signature_tag(&changed), &manifest).await;
    let reason = format!("its signature is of another image, `{signed}`");
    place.assert_does_not_count(&changed, &[&ours], &reason).await;
    let signature = &mut manifest["layers"][0]["annotations"]["dev.cosignproject.cosign/signature"];
    // The last byte of a number, and so of another one.
    *signature = signature.as_str().unwrap().replacen("ME", "MF", 1).into();
    let place = Place::new(&registry.host, "changed");
    place.put_manifest(&signature_tag(&signed), &manifest).await;
    let signed = place.push(&pushes::image("signed")).await;
    place.assert_does_not_count(&signed, &[&ours], "its signature is not by any of the keys").await;
}

#[tokio::test]
#[ignore = "needs tests/cluster/cosign/build"]
async fn cosign_signed_image_is_promoted_with_its_signature_and_an_unsigned_one_is_not() {
    let cosign = Cosign::new();
    let ours = cosign.key("ours");
    let (docker, referrers) = (Docker::start(), Second::start("1"));
    for (number, way) in WAYS.into_iter().enumerate() {
        for [from, to] in [[&docker.host, referrers.host()], [referrers.host(), &docker.host]] {
            let staging = Place::new(from, &format!("staging/{number}"));
            let production = Place::new(to, &format!("production/{number}"));
            let digest = staging.push(&pushes::image("promoted")).await;
            let from = json!({"repository": staging.repository(), "digest": digest});
            let promotion = json!({"source": production.source(&[&ours]), "params": {"from": from}});
            let words =
                format!("`{}` is not promoted, because it is not verified: it has no", staging.at(&digest));
            step("out", &promotion).await.assert_refused(&[&words]);
            cosign.sign(&staging, &digest, "ours", way);
            assert_eq!(step("out", &promotion).await.version()["digest"], digest.as_str());
            production.assert_counts(&digest, &[&ours]).await;
        }
    }
}
