//! Lines between `image-digest` and a registry: cut at any byte of any answer, and slow to say which
//! scheme is spoken.

use std::time::Duration;

use serde_json::{Value, json};

use super::image_digest_content::gzipped;
use crate::support::line::{Line, Tls};
use crate::support::registry::{Login, Registry, digest};
use crate::support::toolkit::{Outcome, Toolkit};

/// A registry behind a line that can be cut, with a login whose tokens come over the same line.
struct Place {
    registry: Registry,
    line: Line,
    toolkit: Toolkit,
    image: String,
    layer: Vec<u8>,
}

impl Place {
    fn new() -> Self {
        let registry = Registry::plain().with_login(Login::Bearer("bob", "canary"));
        let line = Line::to(&registry, Tls::Through);
        let registry = registry.with_realm(&format!("http://{}/token", line.host()));
        let layer = gzipped(&[("a", &"some text ".repeat(50)), ("b", "other")]);
        let config = json!({"os": "linux", "architecture": "amd64"});
        let image = registry.layered("app", "1.0", &config, std::slice::from_ref(&layer));
        Self { registry, line, toolkit: Toolkit::new(), image, layer }
    }

    fn source(&self) -> Value {
        json!({"repository": format!("{}/app", self.line.host()), "username": "bob", "password": "canary"})
    }

    fn check(&self, tag: &str) -> Outcome {
        let mut source = self.source();
        source["tag"] = json!(tag);
        self.toolkit.step("image-digest", "check", None, &json!({ "source": source }).to_string())
    }

    fn get(&self, name: &str) -> Outcome {
        let request = json!({"source": self.source(), "version": {"tag": "1.0", "digest": self.image}});
        let directory = self.toolkit.folder(name);
        let outcome = self.toolkit.step("image-digest", "in", Some(&directory), &request.to_string());
        let whole = std::fs::read_to_string(directory.join("rootfs/b")).unwrap_or_default();
        assert_eq!(whole == "other", outcome.code == Some(0), "{outcome}");
        outcome
    }

    /// Cuts the answer to a request in each of its parts, and at their borders.
    fn assert_mended(&self, request: &str, run: impl Fn(&str) -> Outcome) {
        let whole = run("whole");
        assert_eq!(whole.code, Some(0), "{whole}");
        let answer = self.line.answer(request);
        for place in places(&answer) {
            self.line.cut(request, place);
            let outcome = run(&format!("cut-{place}"));
            let context = format!("{request} cut after {place} of {} bytes: {outcome}", answer.len());
            assert_eq!((outcome.code, &outcome.stdout), (Some(0), &whole.stdout), "{context}");
            assert_eq!(outcome.stderr.matches("retrying in").count(), 1, "{context}");
            assert!(!outcome.to_string().contains("canary"), "{context}");
        }
    }
}

/// Returns where an answer can be cut: in its status line, its headers, its body, and between them.
fn places(answer: &[u8]) -> Vec<usize> {
    let end = |mark: &[u8]| answer.windows(mark.len()).position(|it| it == mark).unwrap() + mark.len();
    let (status, head, whole) = (end(b"\r\n"), end(b"\r\n\r\n"), answer.len());
    let in_head = [0, 1, status - 4, status - 1, status, status + 3, head - 3, head - 1];
    let mut places: Vec<usize> =
        in_head.into_iter().chain([head, head + 1, head.midpoint(whole), whole - 1]).collect();
    places.retain(|place| *place < whole);
    places.sort_unstable();
    places.dedup();
    places
}

#[test]
fn cut_ping_is_made_again() {
    let place = Place::new();
    place.assert_mended("GET /v2/ ", |_| place.check("1.0"));
}

#[test]
fn cut_answer_to_a_head_is_asked_for_again() {
    let place = Place::new();
    place.assert_mended("HEAD /v2/app/manifests/1.0", |_| place.check("1.0"));
}

#[test]
fn cut_token_is_asked_for_again() {
    let place = Place::new();
    place.assert_mended("GET /token", |_| place.check("1.0"));
}

#[test]
fn cut_list_of_tags_is_asked_for_again() {
    let place = Place::new();
    place.assert_mended("GET /v2/app/tags/list", |_| place.check(""));
}

#[test]
fn cut_manifest_is_asked_for_again() {
    let place = Place::new();
    place.assert_mended("GET /v2/app/manifests/", |name| place.get(name));
}

#[test]
fn cut_config_is_asked_for_again() {
    let place = Place::new();
    let (_, manifest) = place.registry.stored("app", "1.0").unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let config = format!("GET /v2/app/blobs/{}", manifest["config"]["digest"].as_str().unwrap());
    place.assert_mended(&config, |name| place.get(name));
}

#[test]
fn cut_layer_is_taken_up_again() {
    let place = Place::new();
    let layer = format!("GET /v2/app/blobs/{}", digest(&place.layer));
    place.assert_mended(&layer, |name| place.get(name));
}

fn check(line: &Line, keys: &Value) -> Outcome {
    let mut source = keys.clone();
    source["repository"] = json!(format!("{}/app", line.host()));
    source["tag"] = json!("latest");
    Toolkit::new().step("image-digest", "check", None, &json!({ "source": source }).to_string())
}

#[test]
fn registry_whose_https_is_swallowed_is_found_on_http() {
    let registry = Registry::plain();
    registry.image("app", "latest", &[]);
    let line = Line::to(&registry, Tls::Lost);
    let outcome = check(&line, &json!({"insecure": true}));
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{outcome}");
    let (tls, plain) = line.opened();
    assert!(tls == 1 && plain >= 1, "{tls} {plain}");
}

#[test]
fn https_that_is_slow_has_the_word_when_http_does_not_work() {
    let registry = Registry::tls();
    registry.image("app", "latest", &[]);
    let line = Line::to(&registry, Tls::Late(Duration::from_millis(700)));
    let outcome = check(&line, &json!({"insecure": true, "ca_certs": [registry.ca()]}));
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{outcome}");
    assert!(line.opened().1 >= 1, "http was not tried meanwhile");
    assert_eq!(registry.requests(), ["GET /v2/", "HEAD /v2/app/manifests/latest"]);
}
