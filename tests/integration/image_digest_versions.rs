//! `image-digest check` on many tags: which are versions, in which order, at which price. Each of
//! `registry-image`'s rules, and each of its defects that is mended here.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::registry::{Fault, Registry};
use crate::support::toolkit::{Outcome, Toolkit};

const PING: &str = "GET /v2/";
const LIST: &str = "GET /v2/app/tags/list";

fn check(registry: &Registry, keys: &Value, cursor: Option<&Value>) -> Outcome {
    let mut source = json!({"repository": registry.repository("app")});
    source.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    let mut request = json!({"source": source});
    if let Some(cursor) = cursor {
        request["version"] = cursor.clone();
    }
    Toolkit::new().step("image-digest", "check", None, &request.to_string())
}

/// Images named by one letter each: `1.0=a latest=a` are two tags of one image.
fn registry(tags: &str) -> Registry {
    let registry = Registry::plain();
    push(&registry, tags);
    registry
}

fn push(registry: &Registry, tags: &str) {
    for (tag, image) in tags.split_whitespace().map(|tag| tag.split_once('=').unwrap()) {
        registry.image("app", tag, &[("image", image)]);
    }
}

/// Returns the version of `1.0=a`.
fn version(registry: &Registry, text: &str) -> Value {
    let (tag, image) = text.split_once('=').unwrap();
    let digest = registry.image("shelf", "x", &[("image", image)]);
    json!({"tag": tag, "digest": digest})
}

/// Returns the tags of the answer, in their order.
fn tags(outcome: &Outcome) -> String {
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let versions = outcome.json();
    let tags = versions.as_array().unwrap().iter().map(|version| version["tag"].as_str().unwrap());
    tags.collect::<Vec<_>>().join(" ")
}

fn head(tag: &str) -> String {
    format!("HEAD /v2/app/manifests/{tag}")
}

/// Returns the requests after ping and list, in the order of their text: they are made at once.
fn heads(registry: &Registry) -> Vec<String> {
    let requests = registry.requests();
    assert_eq!(requests[..2], [PING, LIST], "{requests:?}");
    let mut heads = requests[2..].to_vec();
    heads.sort();
    heads
}

#[test]
fn first_check_answers_with_all_versions_the_oldest_first() {
    for (keys, there, wanted) in [
        (json!({}), "1.10=c 1.2=a 1.9=b latest=c nightly=d 2.0-rc.1=e", "1.2 1.9 1.10"),
        (json!({}), "latest=a", "latest"),
        (json!({}), "1.0=a latest=b", "1.0 latest"),
        (json!({"tag": ""}), "1.0=a 1.0.0=a v1=a", "1.0.0"),
        (json!({"pre_releases": true}), "1.0=a 1.1-rc.1=b 1.1-dev=c", "1.0 1.1-rc.1"),
        (
            json!({"pre_releases": true, "pre_release_prefixes": ["dev"]}),
            "1.0=a 1.1-dev-x=c",
            "1.0 1.1-dev-x",
        ),
        (
            json!({"variant": "alpine"}),
            "1.0-alpine=a 1.1-alpine=b 1.2=c alpine=d latest=e",
            "1.0-alpine 1.1-alpine alpine",
        ),
        (json!({"semver_constraint": "1.x"}), "1.0=a 1.9=b 2.0=c latest=c", "1.0 1.9"),
        (json!({"bare_tag": "never"}), "1.0=a latest=b", "1.0"),
        (json!({"bare_tag": "alone"}), "1.0=a latest=b", "1.0"),
        (json!({"bare_tag": "alone"}), "latest=b", "latest"),
        (json!({"tag_regex": "^v"}), "v2=a v10=b 1.0=c v1=a", "v1 v10 v2"),
        (json!({"order": "numeric", "tag_regex": "^v([0-9]+)$"}), "v2=a v10=b 1.0=c v1=a", "v1 v2 v10"),
        (
            json!({"order": "kpack"}),
            "b10.20240101.101010=a b9.20240101.101011=b latest=b b1.20240201.000000=c",
            "b10.20240101.101010 b9.20240101.101011 b1.20240201.000000",
        ),
        (json!({"order": "semver", "max_tags": 2}), "1.0=a 1.2=b 1.1=c", "1.1 1.2"),
        (json!({"order": "semver"}), "1.0=a 2.0-rc.1=b", "1.0"),
        (json!({"order": "semver", "pre_releases": true}), "1.0=a 2.0-rc.1=b 2.0-x=c", "1.0 2.0-rc.1"),
        (json!({"order": "semver", "variant": "slim"}), "1.0=a 1.1-slim=b slim=c", "1.1-slim"),
        (json!({"allow_tags": ["^1"], "deny_tags": ["1$"]}), "1.0=a 1.1=b 2.0=c", "1.0"),
    ] {
        let registry = registry(there);
        assert_eq!(tags(&check(&registry, &keys, None)), wanted, "{keys} of {there}");
    }
}

#[test]
fn later_check_answers_with_the_version_that_is_there_and_the_newer_ones() {
    for (cursor, there, wanted, asked) in [
        ("1.0=a", "0.9=x 1.0=a 1.1=b", "1.0 1.1", vec!["1.0", "1.1"]),
        ("1.1=b", "1.0=a 1.1=b latest=b", "1.1", vec!["1.1", "latest"]),
        // A tag that moved: all versions again.
        ("1.0=a", "0.9=x 1.0=c 1.1=b", "0.9 1.0 1.1", vec!["0.9", "1.0", "1.1"]),
        // A tag that is gone.
        ("1.0=a", "0.9=x 1.1=b", "0.9 1.1", vec!["0.9", "1.0", "1.1"]),
        // The bare tag has no place among versions.
        ("latest=b", "1.0=a latest=b", "1.0 latest", vec!["1.0", "latest"]),
        // What the rules do not choose is not asked about.
        ("nightly=b", "1.0=a nightly=b", "1.0", vec!["1.0"]),
    ] {
        let registry = registry(there);
        let cursor = version(&registry, cursor);
        assert_eq!(tags(&check(&registry, &json!({}), Some(&cursor))), wanted, "{cursor} in {there}");
        assert_eq!(heads(&registry), asked.into_iter().map(head).collect::<Vec<_>>(), "{cursor} in {there}");
    }
}

#[test]
fn latest_that_is_an_older_version_does_not_follow_the_newest() {
    let registry = registry("1=a 2=b 3=c latest=b");
    let cursor = version(&registry, "3=c");
    assert_eq!(tags(&check(&registry, &json!({}), Some(&cursor))), "3");
    assert_eq!(heads(&registry), ["1", "2", "3", "latest"].map(head));
    // One that is no version at all still does, as documented.
    push(&registry, "latest=d");
    assert_eq!(tags(&check(&registry, &json!({}), Some(&cursor))), "3 latest");
}

#[test]
fn equal_versions_have_the_same_order_in_every_check() {
    let registry = registry("1.2=a v1.2=b 1.2.0=c v1.2.0=d 1.1=e");
    for _ in 0..5 {
        assert_eq!(tags(&check(&registry, &json!({}), None)), "1.1 1.2 v1.2 1.2.0 v1.2.0");
    }
}

#[test]
fn later_tag_of_the_same_version_with_a_new_image_is_seen() {
    let registry = registry("1.2=a 1.2.0=b");
    let cursor = version(&registry, "1.2=a");
    assert_eq!(tags(&check(&registry, &json!({}), Some(&cursor))), "1.2 1.2.0");
}

#[test]
fn throttled_tag_is_waited_for_and_never_fetched() {
    let registry = registry("1.0=a 1.1=b");
    registry.fault(&head("1.1"), Fault::wait(429, "1"));
    assert_eq!(tags(&check(&registry, &json!({}), None)), "1.0 1.1");
    assert!(registry.requests().iter().all(|line| !line.starts_with("GET /v2/app/manifests")));
}

#[test]
fn broken_tag_is_named_and_the_others_are_versions() {
    let registry = registry("1.0=a 1.1=b 1.2=c");
    for _ in 0..2 {
        registry.fault(&head("1.1"), Fault::Header("docker-content-digest", None));
        registry.fault("GET /v2/app/manifests/1.1", Fault::status(422));
    }
    let outcome = check(&registry, &json!({}), None);
    assert_eq!(tags(&outcome), "1.0 1.2");
    let words =
        format!("left out: `{}:1.1`: the registry cannot say what it is: GET", registry.repository("app"));
    assert!(outcome.stderr.contains(&words) && outcome.stderr.contains("422"), "{outcome}");
}

#[test]
fn registry_where_all_is_broken_is_an_error_that_names_a_tag() {
    let registry = registry("1.0=a 1.1=b");
    for tag in ["1.0", "1.1"] {
        registry.fault(&head(tag), Fault::status(422));
        registry.fault(&format!("GET /v2/app/manifests/{tag}"), Fault::status(422));
    }
    let outcome = check(&registry, &json!({}), None);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(
        outcome.stderr.contains("error: failed to look up `") && outcome.stderr.contains(":1."),
        "{outcome}"
    );
}

#[test]
fn denied_is_not_a_broken_tag() {
    let registry = registry("1.0=a 1.1=b");
    registry.fault(&head("1.1"), Fault::status(403));
    let outcome = check(&registry, &json!({}), None);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("403 Forbidden"), "{outcome}");
}

#[test]
fn date_is_a_version_with_a_warning_unless_versions_are_strict() {
    let registry = registry("1.0=a 1.1=b 20240101=c 1234567=d");
    let outcome = check(&registry, &json!({}), None);
    assert_eq!(tags(&outcome), "1.0 1.1 1234567 20240101");
    assert!(
        outcome.stderr.contains("warning: the tag `20240101` is taken for a version newer than `1.1`"),
        "{outcome}"
    );
    let outcome = check(&registry, &json!({"strict_versions": true}), None);
    assert_eq!((tags(&outcome).as_str(), outcome.stderr.as_str()), ("1.0 1.1", ""));
}

#[test]
fn missing_tag_or_repository_is_an_error_or_is_waited_for() {
    let registry = registry("1.0=a");
    for (keys, code, words) in [
        (json!({"tag": "2.0"}), 0, "is not in the registry, so there is no version of it (yet)"),
        (json!({"tag": "2.0", "on_missing": "wait"}), 0, "is not in the registry"),
        (json!({"tag": "2.0", "on_missing": "error"}), 1, "app:2.0` is not in the registry"),
        (json!({"semver_constraint": "2.x"}), 0, ""),
        (json!({"semver_constraint": "2.x", "on_missing": "error"}), 1, "app` has no version"),
        (json!({"tag_regex": "^v", "on_missing": "error"}), 1, "app` has no version"),
    ] {
        let outcome = check(&registry, &keys, None);
        assert_eq!(outcome.code, Some(code), "{keys}: {outcome}");
        assert!(outcome.stderr.contains(words), "{keys}: {outcome}");
        assert!(code == 1 || outcome.json() == json!([]), "{outcome}");
    }
    registry.fault(LIST, Fault::refusal(404, "NAME_UNKNOWN", "repository name not known"));
    assert_eq!(check(&registry, &json!({}), None).code, Some(1));
    registry.fault(LIST, Fault::refusal(404, "NAME_UNKNOWN", "repository name not known"));
    assert_eq!(tags(&check(&registry, &json!({"on_missing": "wait"}), None)), "");
}

#[test]
fn list_that_comes_in_pages_is_read_to_its_end() {
    let registry = registry("1.0=a 1.1=b 1.2=c");
    let page = |tags: Value| json!({"name": "app", "tags": tags}).to_string();
    let link = |target: &str| vec![("link", format!("<{target}>; rel=\"next\""))];
    registry.fault(LIST, Fault::Answer(200, link("/v2/app/tags/list?last=1.0"), page(json!(["1.0"]))));
    registry.fault(LIST, Fault::Answer(200, Vec::new(), page(json!(["1.1", "1.2"]))));
    assert_eq!(tags(&check(&registry, &json!({}), None)), "1.0 1.1 1.2");
    registry.fault(LIST, Fault::Answer(200, link("https://elsewhere.example/x"), page(json!(["1.0"]))));
    let outcome = check(&registry, &json!({}), None);
    assert!(outcome.stderr.contains("the next page is on another host, `elsewhere.example`"), "{outcome}");
    for _ in 0..2 {
        registry.fault(LIST, Fault::Answer(200, link("/v2/app/tags/list?last=1.0"), page(json!(["1.0"]))));
    }
    let outcome = check(&registry, &json!({}), None);
    assert!(outcome.stderr.contains("the list of tags has no end"), "{outcome}");
}

#[test]
fn listed_tag_that_is_not_there_is_no_version() {
    let registry = registry("1.0=a 1.1=b");
    registry.fault(&head("1.1"), Fault::status(404));
    assert_eq!(tags(&check(&registry, &json!({}), None)), "1.0");
}

#[test]
fn matching_tags_are_all_versions_in_every_check() {
    let registry = registry("v1=a v2=a v3=b");
    let cursor = version(&registry, "v2=a");
    assert_eq!(tags(&check(&registry, &json!({"tag_regex": "^v"}), Some(&cursor))), "v1 v2 v3");
}

#[test]
fn tags_sorted_by_age_are_the_oldest_first_and_what_is_no_image_is_left_out() {
    let registry = Registry::plain();
    for (tag, created) in
        [("b", "2026-03-01T00:00:00Z"), ("a", "2026-02-01T00:00:00+02:00"), ("c", "2025-01-01T00:00:00Z")]
    {
        registry.dated("app", tag, created);
    }
    registry.manifest("app", "d", "text/plain", "hello");
    let outcome = check(&registry, &json!({"tag_regex": "^[a-d]$", "created_at_sort": true}), None);
    assert_eq!(tags(&outcome), "c a b");
    assert!(
        outcome.stderr.contains(":d`") && outcome.stderr.contains("it does not say when it was built"),
        "{outcome}"
    );
}

#[test]
fn cursor_of_ordered_tags_spares_the_older_ones() {
    let registry = registry("v1=a v2=b v10=c");
    let cursor = version(&registry, "v2=b");
    let keys = json!({"order": "numeric", "tag_regex": "^v([0-9]+)$"});
    assert_eq!(tags(&check(&registry, &keys, Some(&cursor))), "v2 v10");
    assert_eq!(heads(&registry), ["v10", "v2"].map(head));
}

#[test]
fn tag_that_moves_back_is_a_new_version_where_moves_are_tracked() {
    let registry = Registry::plain();
    let keys = json!({"tag": "latest", "track_moves": true});
    let mut seen: Vec<Value> = Vec::new();
    for image in ["a", "b", "a", "b"] {
        push(&registry, &format!("latest={image}"));
        let answer = check(&registry, &keys, seen.last()).json();
        let newest = answer.as_array().unwrap().last().unwrap().clone();
        assert!(!seen.contains(&newest), "{newest} was there before");
        // Asked again, and asked again from the version it led to, it stays what it is.
        assert_eq!(check(&registry, &keys, seen.last()).json(), answer);
        assert_eq!(check(&registry, &keys, Some(&newest)).json(), json!([newest]));
        seen.push(newest);
    }
    assert_eq!(seen[0].as_object().unwrap().len(), 2);
    assert!(seen[3]["move"].as_str().unwrap().starts_with("3-"), "{}", seen[3]);
    let untracked = check(&registry, &json!({"tag": "latest"}), Some(&version(&registry, "latest=a")));
    assert_eq!(untracked.json()[1].as_object().unwrap().len(), 2);
}

#[test]
fn version_with_a_move_can_be_fetched() {
    let registry = registry("latest=a");
    let mut version = version(&registry, "latest=a");
    version["move"] = json!("2-0123456789ab");
    let toolkit = Toolkit::new();
    let request = json!({
        "source": {"repository": registry.repository("app"), "tag": "latest", "track_moves": true},
        "version": version, "params": {"skip_download": true},
    });
    let outcome = toolkit.step("image-digest", "in", Some(&toolkit.folder("get")), &request.to_string());
    assert_eq!(outcome.json()["version"], version, "{outcome}");
}

#[test]
fn keys_come_in_any_case_and_a_number_keeps_its_text() {
    let registry = registry("1.10=a 1.1=b");
    let repository = registry.repository("app");
    for tag in ["1.10", "\"1.10\""] {
        let request = format!(r#"{{"Source": {{"Repository": "{repository}", "tag": {tag}}}}}"#);
        assert_eq!(tags(&Toolkit::new().step("image-digest", "check", None, &request)), "1.10", "{request}");
    }
}

#[test]
fn tags_are_asked_about_at_the_same_time() {
    let names: Vec<String> = (0..16).map(|number| format!("1.{number}")).collect();
    let registry = Registry::plain();
    for name in &names {
        registry.image("app", name, &[("name", name)]);
        registry.fault(&head(name), Fault::Late(Duration::from_millis(300)));
    }
    let started = std::time::Instant::now();
    let outcome = check(&registry, &json!({"max_parallel": 16}), None);
    assert_eq!(outcome.json().as_array().unwrap().len(), 16);
    // One after the other they would take 4.8 s.
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[test]
fn list_that_ends_in_the_middle_is_no_list() {
    let registry = registry("1.0=a 1.1=b");
    let link = || vec![("link", "</v2/app/tags/list?last=1.0>; rel=\"next\"".to_owned())];
    for first in [json!(["1.0"]), Value::Null] {
        registry.requests();
        registry.fault(LIST, Fault::Answer(200, link(), json!({ "tags": first }).to_string()));
        registry.fault(LIST, Fault::refusal(404, "NAME_UNKNOWN", "repository name not known"));
        let outcome = check(&registry, &json!({"on_missing": "wait"}), None);
        assert_eq!(outcome.code, Some(1), "{outcome}");
        let words = "404, although the page before says that the list of tags goes on there";
        assert!(outcome.stderr.contains(words), "{outcome}");
        assert_eq!(registry.requests(), [PING, LIST, LIST]);
    }
}

#[test]
fn list_of_empty_pages_without_end_is_left() {
    let registry = registry("1.0=a");
    for page in 0..200 {
        let link = vec![("link", format!("</v2/app/tags/list?last={page}>; rel=\"next\""))];
        registry.fault(LIST, Fault::Answer(200, link, json!({"tags": []}).to_string()));
    }
    let outcome = check(&registry, &json!({}), None);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("the list of tags has no end"), "{outcome}");
    assert_eq!(registry.requests().len(), 101);
}

#[test]
fn bare_tag_that_was_left_far_behind_costs_no_request_for_each_version() {
    let registry = Registry::plain();
    for number in 0..100 {
        registry.image("app", &format!("1.{number}"), &[("number", &number.to_string())]);
    }
    let cursor = json!({"tag": "1.99", "digest": registry.image("app", "1.99", &[("number", "99")])});
    registry.image("app", "latest", &[("number", "3")]);
    let outcome = check(&registry, &json!({}), Some(&cursor));
    assert_eq!(tags(&outcome), "1.99");
    // The version that is there, the bare tag, and 64 versions below.
    assert_eq!(heads(&registry).len(), 66);
    let words = "none of the 64 versions below the one that is there has its image, and no more are asked";
    assert_eq!(outcome.stderr.matches(words).count(), 1, "{outcome}");
    assert!(outcome.stderr.contains("`bare_tag: never` asks none"), "{outcome}");
    registry.image("app", "latest", &[("number", "50")]);
    let outcome = check(&registry, &json!({}), Some(&cursor));
    assert_eq!((tags(&outcome).as_str(), outcome.stderr.as_str()), ("1.99", ""));
}
