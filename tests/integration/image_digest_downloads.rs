//! Layers on their way: connections that break, registries that lie, and what is left on disk.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::image_digest_content::gzipped;
use crate::support::registry::{Fault, Login, Registry, digest};
use crate::support::toolkit::{Outcome, Toolkit, finish};

fn get(toolkit: &Toolkit, directory: &Path, request: &Value) -> Outcome {
    toolkit.step("image-digest", "in", Some(directory), &request.to_string())
}

fn request(registry: &Registry, digest: &str, params: &Value) -> Value {
    json!({
        "source": {"repository": registry.repository("app"), "username": "bob", "password": "canary"},
        "version": {"tag": "latest", "digest": digest},
        "params": params,
    })
}

/// Stores an image of one layer; returns its digest, and the layer.
fn image(registry: &Registry) -> (String, Vec<u8>) {
    let layer = gzipped(&[("a", &"some text ".repeat(50)), ("b", "other")]);
    let config = json!({"os": "linux", "architecture": "amd64"});
    (registry.layered("app", "latest", &config, std::slice::from_ref(&layer)), layer)
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn blob(layer: &[u8]) -> String {
    format!("GET /v2/app/blobs/{}", digest(layer))
}

/// Returns the ranges in which the layer was asked for.
fn ranges(registry: &Registry, layer: &[u8]) -> Vec<Option<String>> {
    registry.seen().into_iter().filter(|seen| seen.line == blob(layer)).map(|seen| seen.range).collect()
}

const FORMATS: [&str; 3] = ["rootfs", "oci", "oci-layout"];

fn assert_whole(directory: &Path, format: &str, layer: &[u8]) {
    match format {
        "rootfs" => assert_eq!(fs::read_to_string(directory.join("rootfs/b")).unwrap(), "other"),
        "oci" => {
            let archive = fs::read(directory.join("image.tar")).unwrap();
            assert!(archive.windows(layer.len()).any(|window| window == layer));
        }
        _ => {
            let path = directory.join("oci/blobs/sha256").join(&digest(layer)[7..]);
            assert_eq!(fs::read(path).unwrap(), layer);
        }
    }
}

#[test]
fn broken_connection_is_taken_up_where_it_broke() {
    for format in FORMATS {
        let (toolkit, registry) = (Toolkit::new(), Registry::plain());
        let (image, layer) = image(&registry);
        let middle = layer.len() / 2;
        for cut in [0, 1, middle, layer.len() - 1] {
            registry.fault(&blob(&layer), Fault::Cut(cut));
            let directory = toolkit.folder(&format!("{format}-{cut}"));
            let outcome = get(&toolkit, &directory, &request(&registry, &image, &json!({"format": format})));
            assert_eq!(outcome.code, Some(0), "{format} {cut}: {outcome}");
            assert_whole(&directory, format, &layer);
            let asked = (cut > 0).then(|| format!("bytes={cut}-"));
            assert_eq!(ranges(&registry, &layer), [None, asked], "{format} {cut}");
            let line = format!("the download broke at byte {cut} of {}\n", layer.len());
            assert_eq!(outcome.stderr.contains(&line), cut > 0, "{outcome}");
            assert_eq!(outcome.stderr.matches("retrying in").count(), 1, "{outcome}");
        }
    }
}

#[test]
fn line_that_breaks_again_and_again_still_brings_it_home() {
    let (toolkit, registry) = (Toolkit::new(), Registry::plain());
    let (image, layer) = image(&registry);
    for _ in 0..5 {
        registry.fault(&blob(&layer), Fault::Cut(20));
    }
    let directory = toolkit.folder("get");
    let outcome = get(&toolkit, &directory, &request(&registry, &image, &json!({})));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert_whole(&directory, "rootfs", &layer);
    let wanted = [
        None,
        Some("bytes=20-"),
        Some("bytes=40-"),
        Some("bytes=60-"),
        Some("bytes=80-"),
        Some("bytes=100-"),
    ];
    assert_eq!(ranges(&registry, &layer), wanted.map(|range| range.map(str::to_owned)));
}

#[test]
fn registry_without_ranges_is_read_again_from_the_start() {
    for format in FORMATS {
        let (toolkit, registry) = (Toolkit::new(), Registry::plain());
        let (image, layer) = image(&registry);
        registry.fault(&blob(&layer), Fault::Cut(50));
        registry.fault(&blob(&layer), Fault::Whole);
        let directory = toolkit.folder("get");
        let outcome = get(&toolkit, &directory, &request(&registry, &image, &json!({"format": format})));
        assert_eq!(outcome.code, Some(0), "{outcome}");
        assert_whole(&directory, format, &layer);
    }
}

#[test]
fn token_that_expires_under_way_is_renewed() {
    let toolkit = Toolkit::new();
    let registry = Registry::plain().with_login(Login::Bearer("bob", "canary"));
    let (image, layer) = image(&registry);
    registry.fault(&blob(&layer), Fault::Cut(50));
    registry.fault(&blob(&layer), Fault::Expired);
    let directory = toolkit.folder("get");
    let outcome = get(&toolkit, &directory, &request(&registry, &image, &json!({})));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert_whole(&directory, "rootfs", &layer);
    assert_eq!(registry.requests().iter().filter(|line| *line == "GET /token").count(), 2);
}

#[test]
fn throttled_download_starts_again_from_the_ping() {
    let (toolkit, registry) = (Toolkit::new(), Registry::plain());
    let (image, layer) = image(&registry);
    registry.fault(&blob(&layer), Fault::wait(429, "0"));
    let outcome = get(&toolkit, &toolkit.folder("get"), &request(&registry, &image, &json!({})));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let requests = registry.requests();
    let at = requests.iter().position(|line| *line == blob(&layer)).unwrap();
    assert_eq!(requests[at + 1..], ["GET /v2/".to_owned(), blob(&layer)]);
}

#[test]
fn server_errors_are_waited_out() {
    let (toolkit, registry) = (Toolkit::new(), Registry::plain());
    let (image, layer) = image(&registry);
    for status in [500, 502, 503, 504] {
        registry.fault(&blob(&layer), Fault::status(status));
    }
    registry.fault(&blob(&layer), Fault::Close);
    let outcome = get(&toolkit, &toolkit.folder("get"), &request(&registry, &image, &json!({})));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert_eq!(outcome.stderr.matches("retrying in").count(), 5, "{outcome}");
}

#[test]
fn layers_that_are_stored_elsewhere_are_fetched_without_credentials() {
    for login in [Login::Basic("bob", "canary"), Login::Bearer("bob", "canary")] {
        let (toolkit, registry, storage) =
            (Toolkit::new(), Registry::plain().with_login(login), Registry::plain());
        let (image, layer) = image(&registry);
        storage.blob("data", layer.clone());
        let location = format!("http://{}/v2/data/blobs/{}?signature=canary", storage.host(), digest(&layer));
        registry.fault(&blob(&layer), Fault::Answer(307, vec![("location", location)], String::new()));
        let directory = toolkit.folder("get");
        let outcome = get(&toolkit, &directory, &request(&registry, &image, &json!({})));
        assert_eq!(outcome.code, Some(0), "{outcome}");
        assert_whole(&directory, "rootfs", &layer);
        let seen = storage.seen();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].authorization, None);
        assert!(!outcome.to_string().contains("canary"), "{outcome}");
    }
}

#[test]
fn wrong_type_of_the_right_content_does_not_matter() {
    let (toolkit, registry) = (Toolkit::new(), Registry::plain());
    let (image, layer) = image(&registry);
    registry.fault(&blob(&layer), Fault::Header("content-type", Some("text/html".to_owned())));
    let outcome = get(&toolkit, &toolkit.folder("get"), &request(&registry, &image, &json!({})));
    assert_eq!(outcome.code, Some(0), "{outcome}");
}

#[test]
fn content_that_is_not_the_layers_is_refused_and_nothing_is_left() {
    let size = image(&Registry::plain()).1.len();
    let cases = [
        ("digest", size, "the registry answers with the digest `sha256:"),
        ("short", 5, "it has 5 bytes where the manifest says"),
        ("long", size + 1, "bytes where the manifest says"),
        ("empty", 0, "it has 0 bytes where the manifest says"),
    ];
    for format in FORMATS {
        for (name, length, wanted) in cases {
            let (toolkit, registry) = (Toolkit::new(), Registry::plain());
            let (image, layer) = image(&registry);
            registry.fault(&blob(&layer), Fault::Body("x".repeat(length)));
            let directory = toolkit.folder("get");
            let outcome = get(&toolkit, &directory, &request(&registry, &image, &json!({"format": format})));
            assert_eq!(outcome.code, Some(1), "{format} {name}: {outcome}");
            assert!(outcome.stderr.contains(wanted), "{format} {name}: {outcome}");
            assert!(outcome.stdout.is_empty() && names(&directory).is_empty(), "{format} {name}");
        }
    }
}

#[test]
fn login_page_in_place_of_a_layer_is_recognised() {
    let (toolkit, registry) = (Toolkit::new(), Registry::plain());
    let (image, layer) = image(&registry);
    let page =
        Fault::Answer(200, vec![("content-type", "text/html".to_owned())], "<html>log in</html>".to_owned());
    registry.fault(&blob(&layer), page);
    let outcome = get(&toolkit, &toolkit.folder("get"), &request(&registry, &image, &json!({})));
    assert!(outcome.stderr.contains("it has 19 bytes of text/html where the manifest says"), "{outcome}");
}

#[test]
fn layer_that_is_gone_is_named() {
    let (toolkit, registry) = (Toolkit::new(), Registry::plain());
    let (image, layer) = image(&registry);
    registry.fault(&blob(&layer), Fault::refusal(404, "BLOB_UNKNOWN", "blob unknown"));
    let directory = toolkit.folder("get");
    let outcome = get(&toolkit, &directory, &request(&registry, &image, &json!({})));
    assert_eq!(outcome.code, Some(1), "{outcome}");
    let wanted =
        format!("error: the registry does not have `{}`, which the image consists of", digest(&layer));
    assert!(outcome.stderr.contains(&wanted), "{outcome}");
    assert!(names(&directory).is_empty());
}

#[test]
fn registry_that_refuses_layers_is_quoted() {
    let (toolkit, registry) = (Toolkit::new(), Registry::plain());
    let (image, layer) = image(&registry);
    registry.fault(&blob(&layer), Fault::refusal(403, "DENIED", "no blobs for canary"));
    let outcome = get(&toolkit, &toolkit.folder("get"), &request(&registry, &image, &json!({})));
    assert!(outcome.stderr.contains("403 DENIED: no blobs for ***"), "{outcome}");
}

#[test]
fn one_layer_of_many_that_fails_leaves_nothing_of_the_others() {
    let (toolkit, registry) = (Toolkit::new(), Registry::plain());
    let layers: Vec<_> = (0..20).map(|at| gzipped(&[(&format!("file-{at}"), "text")])).collect();
    let config = json!({"os": "linux", "architecture": "amd64"});
    let image = registry.layered("app", "latest", &config, &layers);
    registry.fault(&blob(&layers[13]), Fault::status(403));
    for format in FORMATS {
        registry.fault(&blob(&layers[13]), Fault::status(403));
        let directory = toolkit.folder(format);
        let outcome = get(&toolkit, &directory, &request(&registry, &image, &json!({"format": format})));
        assert_eq!(outcome.code, Some(1), "{outcome}");
        assert!(names(&directory).is_empty(), "{format}");
    }
    let directory = toolkit.folder("whole");
    // One of the refusals may be left over.
    get(&toolkit, &toolkit.folder("spare"), &request(&registry, &image, &json!({})));
    let outcome = get(&toolkit, &directory, &request(&registry, &image, &json!({})));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert_eq!(fs::read_dir(directory.join("rootfs")).unwrap().count(), 20);
}

#[test]
fn disk_that_takes_no_more_is_said_and_nothing_is_left() {
    let (toolkit, registry) = (Toolkit::new(), Registry::plain());
    let config = json!({"os": "linux", "architecture": "amd64"});
    let layer = super::image_digest_content::layer(&[("a", &"x".repeat(100_000))]);
    let image = registry.layered("app", "latest", &config, std::slice::from_ref(&layer));
    let program = crate::support::toolkit::binary("image-digest");
    // A limit of the shell stands in for the disk's.
    let script = "trap '' XFSZ; ulimit -f 20; exec \"$0\" in \"$1\"";
    for format in FORMATS {
        let directory = toolkit.folder(format);
        let request = request(&registry, &image, &json!({"format": format})).to_string();
        let run = toolkit.program(Path::new("/bin/sh")).arg("-c").arg(script).arg(&program).arg(&directory);
        let outcome = run.stdin(request).run();
        assert_eq!(outcome.code, Some(1), "{format}: {outcome}");
        assert!(outcome.stderr.contains("File too large"), "{format}: {outcome}");
        assert!(outcome.stdout.is_empty() && names(&directory).is_empty(), "{format}");
    }
}

#[test]
fn interrupted_download_leaves_nothing() {
    for format in FORMATS {
        let (toolkit, registry) = (Toolkit::new(), Registry::plain());
        let (image, layer) = image(&registry);
        registry.fault(&blob(&layer), Fault::Late(Duration::from_secs(60)));
        let directory = toolkit.folder("get");
        let request = request(&registry, &image, &json!({"format": format})).to_string();
        let mut child = toolkit.binary("image-digest").arg("in").arg(&directory).start_without_stdin();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), request.as_bytes()).unwrap();
        let mut requests = Vec::new();
        while !requests.contains(&blob(&layer)) {
            std::thread::sleep(Duration::from_millis(10));
            requests.extend(registry.requests());
        }
        assert_eq!(names(&directory), [".image-digest.partial"]);
        let process = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        let outcome = finish(&toolkit, child, b"");
        assert!(outcome.code != Some(0) && outcome.stderr.contains("interrupted"), "{outcome}");
        assert!(outcome.stdout.is_empty() && names(&directory).is_empty(), "{format}: {outcome}");
    }
}

#[test]
fn killed_download_leaves_what_says_that_it_is_partial_and_the_next_run_is_whole() {
    let (toolkit, registry) = (Toolkit::new(), Registry::plain());
    let (image, layer) = image(&registry);
    registry.fault(&blob(&layer), Fault::Late(Duration::from_secs(60)));
    let directory = toolkit.folder("get");
    let request = request(&registry, &image, &json!({}));
    let mut child = toolkit.binary("image-digest").arg("in").arg(&directory).start_without_stdin();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), request.to_string().as_bytes()).unwrap();
    let mut requests = Vec::new();
    while !requests.contains(&blob(&layer)) {
        std::thread::sleep(Duration::from_millis(10));
        requests.extend(registry.requests());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(names(&directory), [".image-digest.partial"]);
    let outcome = get(&toolkit, &directory, &request);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert_whole(&directory, "rootfs", &layer);
    assert!(!names(&directory).contains(&".image-digest.partial".to_owned()));
}
