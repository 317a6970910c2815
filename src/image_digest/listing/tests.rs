use super::*;
use crate::image_digest::rules::{Mode, Rules};

fn listing(keys: &str) -> Listing {
    let source = serde_json::from_str(&format!(r#"{{"repository": "app", {keys}}}"#)).unwrap();
    match Rules::of(&source).unwrap().mode {
        Mode::Listing(listing) => *listing,
        Mode::Tag(tag) => panic!("{keys} names the tag {tag}"),
    }
}

fn choose(keys: &str, tags: &str) -> Choice {
    listing(keys).choose(tags.split_whitespace().map(str::to_owned).collect())
}

fn chosen(keys: &str, tags: &str) -> String {
    let choice = choose(keys, tags);
    let bare = choice.bare.map(|tag| format!("({tag})"));
    let tags = choice.candidates.into_iter().map(|candidate| candidate.tag);
    tags.chain(bare).collect::<Vec<_>>().join(" ")
}

fn reasons(keys: &str, tags: &str) -> Vec<String> {
    choose(keys, tags).left.iter().map(|left| format!("{}: {}", left.tag, left.reason)).collect()
}

fn found(tag: &str, letter: char) -> Found {
    let digest = format!("sha256:{}", letter.to_string().repeat(64)).parse().unwrap();
    Found { tag: tag.to_owned(), key: Key::version(tag, tag).unwrap(), digest }
}

/// `1.0=a 1.1=b` arranged; what Concourse has comes as `known`.
fn arranged(known: Option<&str>, tags: &str) -> String {
    let read = |text: &str| {
        let (tag, letter) = text.split_once('=').unwrap();
        found(tag, letter.chars().next().unwrap())
    };
    let (kept, _) = listing(r#""pre_releases": true"#)
        .arrange(known.map(read), tags.split_whitespace().map(read).collect());
    kept.into_iter().map(|found| found.tag).collect::<Vec<_>>().join(" ")
}

#[test]
fn semantic_versions_are_chosen_as_registry_image_does() {
    for (keys, tags, wanted) in [
        (r#""tag": """#, "1.2.3 v2 3.0 latest nightly 1.2.3.4 1_2 abc123", "1.2.3 v2 3.0 (latest)"),
        (r#""tag": """#, "01.2 20240101 1234567", "01.2 20240101 1234567"),
        (r#""tag": """#, "1.0 1.1-rc.1 1.1-alpine 2.0-beta", "1.0"),
        (
            r#""pre_releases": true"#,
            "1.0 1.1-rc.1 1.1-alpine 2.0-beta 2.0-alpha.1",
            "1.0 1.1-rc.1 2.0-beta 2.0-alpha.1",
        ),
        (r#""pre_releases": true"#, "1.1-rc.1-alpine 1.1-rc-1 1.1-rc1", "1.1-rc1"),
        (
            r#""pre_releases": true, "pre_release_prefixes": ["dev"]"#,
            "1.0-dev.1 1.0-rc-1 1.0-build.1",
            "1.0-dev.1 1.0-rc-1",
        ),
        (
            r#""variant": "alpine""#,
            "1.0-alpine 1.0 alpine latest 1.1-rc.1-alpine 2-alpine3",
            "1.0-alpine (alpine)",
        ),
        (r#""variant": "alpine", "pre_releases": true"#, "1.1-rc.1-alpine 1.1-rc.1", "1.1-rc.1-alpine"),
        (r#""variant": "pine""#, "1.0-alpine", ""),
        (r#""semver_constraint": "1.x""#, "1.0 1.9.9 2.0 latest", "1.0 1.9.9"),
        (r#""semver_constraint": "1.x", "pre_releases": true"#, "1.0-rc.1 1.0", "1.0"),
        (r#""semver_constraint": ">=1.0-0", "pre_releases": true"#, "1.0-rc.1 1.0", "1.0-rc.1 1.0"),
        (r#""bare_tag": "never""#, "1.0 latest", "1.0"),
        (r#""strict_versions": true"#, "1.0 20240101 1234567 20240101.1 999999", "1.0 999999"),
        (r#""allow_tags": ["^1"], "deny_tags": ["9$"]"#, "1.0 1.9 2.0 latest", "1.0"),
        (r#""tag": """#, "1.0 1.0 latest latest", "1.0 (latest)"),
    ] {
        assert_eq!(chosen(keys, tags), wanted, "{keys} of {tags}");
    }
}

#[test]
fn matching_tags_are_chosen_as_registry_image_does_but_for_signatures() {
    let signature = format!("sha256-{}.sig", "a".repeat(64));
    let index = format!("sha256-{}", "a".repeat(64));
    for (keys, tags, wanted) in [
        (r#""tag_regex": "^1""#, "1.0 v1 1.1-x latest", "1.0 1.1-x"),
        (r#""tag_regex": "1""#, "1.0 v1 1.1-x latest", "1.0 v1 1.1-x"),
        (r#""tag_regex": ".*""#, &format!("latest {signature} {index} sha256-abc"), "latest sha256-abc"),
        (r#""tag_regex": "sig$", "deny_tags": []"#, &signature, &signature),
    ] {
        assert_eq!(chosen(keys, tags), wanted, "{keys} of {tags}");
    }
}

#[test]
fn ordered_tags_are_those_with_a_place_in_the_order() {
    for (keys, tags, wanted) in [
        (
            r#""order": "kpack""#,
            "b1.20240101.101010 latest b2.20240101.101010",
            "b1.20240101.101010 b2.20240101.101010",
        ),
        (
            r#""order": "kpack", "tag_regex": "^prod-(b.*)$""#,
            "prod-b1.20240101.101010 b2.20240101.101010",
            "prod-b1.20240101.101010",
        ),
        (
            r#""order": "numeric", "tag_regex": "^main-[0-9a-f]+-([0-9]+)$""#,
            "main-abc-7 main-abc-x dev-a-1",
            "main-abc-7",
        ),
        (r#""order": "semver", "semver_constraint": "<2""#, "1.0 2.0 1.5-rc", "1.0"),
        (r#""order": "semver", "tag_regex": "^v(.*)-jdk$""#, "v1.0-jdk v1.1-rc.1-jdk 1.0", "v1.0-jdk"),
        (
            r#""order": "semver", "tag_regex": "^v(.*)-jdk$", "pre_releases": true"#,
            "v1.0-jdk v1.1-rc.1-jdk v1.1-dev.1-jdk",
            "v1.0-jdk v1.1-rc.1-jdk",
        ),
        (
            r#""order": "semver", "pre_releases": true"#,
            "1.0 2.0-rc.1 2.0 3.0-rc1",
            "1.0 2.0-rc.1 2.0 3.0-rc1",
        ),
        (
            r#""order": "semver", "pre_releases": true, "pre_release_prefixes": ["dev"]"#,
            "1.0-dev-1 1.0-build 1.0-rc.1",
            "1.0-dev-1 1.0-rc.1",
        ),
        (r#""order": "semver""#, "1.0 2.0-rc.1 20240101", "1.0 20240101"),
        (r#""order": "semver", "strict_versions": true"#, "1.0 20240101", "1.0"),
        (r#""order": "semver", "variant": "alpine""#, "1.0 1.1-alpine 1.2-rc.1-alpine alpine", "1.1-alpine"),
        (r#""order": "timestamp", "variant": "slim""#, "20240101 20240102-slim slim", "20240102-slim"),
        (
            r#""order": "numeric", "variant": "slim", "tag_regex": "^main-([0-9]+)""#,
            "main-1 main-2-slim 3-slim",
            "main-2-slim",
        ),
        (r#""order": "numeric", "variant": "slim", "tag_regex": "^[0-9]""#, "1 2-slim", "2-slim"),
        (r#""order": "timestamp""#, "20240101 20241301 latest", "20240101"),
    ] {
        assert_eq!(chosen(keys, tags), wanted, "{keys} of {tags}");
    }
}

#[test]
fn every_tag_that_is_left_has_its_reason() {
    assert_eq!(
        reasons(
            r#""allow_tags": ["^[0-9]"], "deny_tags": ["9$"], "strict_versions": true"#,
            "1.9 latest 1_2 1.0-rc.1 20240101"
        ),
        [
            "1.9: `9$` of deny_tags matches",
            "latest: nothing of allow_tags matches",
            "1_2: it is not a semantic version",
            "1.0-rc.1: it is a pre-release, and pre_releases is not set",
            "20240101: it looks like a date, a build number or a commit",
        ]
    );
    assert_eq!(
        reasons(r#""variant": "x", "semver_constraint": "2", "pre_releases": true"#, "1.0 1.0-x 2.0-dev-x x"),
        [
            "1.0: it does not end in `-x`",
            "1.0-x: semver_constraint does not accept it",
            "2.0-dev-x: semver_constraint does not accept it",
            "x: it is the bare tag, and there are versions or constraints",
        ]
    );
    assert_eq!(
        reasons(r#""order": "numeric", "tag_regex": "^r(.+)""#, "x rx r1"),
        ["x: tag_regex does not match", "rx: `x` has no place in the order"]
    );
    assert_eq!(
        reasons(r#""pre_releases": true"#, "1-dev"),
        ["1-dev: the pre-release `dev` is not of a kind that pre_releases takes"]
    );
}

#[test]
fn one_version_of_each_image_is_kept() {
    for (known, tags, wanted) in [
        (None, "1.0=a 1.1=b", "1.0 1.1"),
        (None, "1=a 1.2=a 1.2.3=a", "1.2.3"),
        (None, "1.2.3=a 1.2.4=a", "1.2.3"),
        (None, "1.2.3-rc.1=a 1.2.3=a", "1.2.3"),
        (None, "1.2=a 1.2.3-rc.1=a", "1.2"),
        (Some("1.0=a"), "1.1=b", "1.0 1.1"),
        (Some("1.0-rc.1=a"), "1.0=a", "1.0"),
        (Some("1.2=a"), "1.2.0=a v1.2=a", "1.2"),
        (Some("1.2=a"), "1.2.0=b", "1.2 1.2.0"),
    ] {
        assert_eq!(arranged(known, tags), wanted, "{known:?} and {tags}");
    }
}

#[test]
fn equal_versions_have_one_order_however_they_come() {
    let wanted = "1.2 v1.2 1.2.0 v1.2.0 1.3";
    for tags in ["1.3=e v1.2.0=d 1.2.0=c v1.2=b 1.2=a", "v1.2=b 1.3=e 1.2=a 1.2.0=c v1.2.0=d"] {
        assert_eq!(arranged(None, tags), wanted, "{tags}");
    }
}

#[test]
fn tags_of_the_same_precedence_as_concourses_are_still_asked_about() {
    let mut choice = choose(r#""tag": """#, "1.1 1.2 1.2.0 1.3 v1.2");
    choice.since("1.2", &Key::version("1.2", "1.2").unwrap());
    let tags: Vec<_> = choice.candidates.iter().map(|candidate| candidate.tag.as_str()).collect();
    assert_eq!(tags, ["1.2.0", "1.3", "v1.2"]);
    assert_eq!(choice.older.len(), 1);
    assert_eq!(choice.left.last().map(|left| left.reason.clone()), Some(Reason::Older));
}

#[test]
fn cap_keeps_the_newest() {
    let mut choice = choose(r#""max_tags": 2"#, "1.10 1.9 1.11 1.2");
    choice.cap(2);
    let tags: Vec<_> = choice.candidates.iter().map(|candidate| candidate.tag.as_str()).collect();
    assert_eq!(tags, ["1.10", "1.11"]);
    assert_eq!(choice.left.len(), 2);
}

#[test]
fn long_number_above_a_version_is_doubted() {
    let all = [found("1.2.3", 'a'), found("20240101", 'b')];
    let doubt = listing(r#""tag": """#).doubt(&all).unwrap();
    assert!(doubt.contains("`20240101` is taken for a version newer than `1.2.3`"), "{doubt}");
    for fine in [&all[..1], &all[1..], &[found("1", 'a'), found("2", 'b')]] {
        assert_eq!(listing(r#""tag": """#).doubt(fine), None);
    }
}

#[test]
fn no_tag_makes_any_listing_panic() {
    const PARTS: [&str; 16] = [
        "1",
        "0",
        "999999999999999999999",
        ".",
        ".",
        "-",
        "_",
        "v",
        "b1",
        "rc",
        "latest",
        "-alpine",
        "20240101",
        "101010",
        "T",
        "ü",
    ];
    let listings = [
        r#""pre_releases": true"#,
        r#""variant": "alpine", "pre_releases": true, "pre_release_prefixes": ["v"]"#,
        r#""order": "semver""#,
        r#""order": "numeric""#,
        r#""order": "alphabetical""#,
        r#""order": "timestamp""#,
        r#""order": "kpack""#,
        r#""tag_regex": "(1)?-(.*)", "order": "numeric""#,
    ]
    .map(listing);
    let mut state = 3_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap()
    };
    let mut chosen = [0; 8];
    for _ in 0..40_000 {
        let tag: String = (0..next() % 7).map(|_| PARTS[next() % PARTS.len()]).collect();
        for (listing, chosen) in listings.iter().zip(&mut chosen) {
            *chosen += usize::from(listing.key(&tag, 0).is_ok());
        }
    }
    assert!(chosen.iter().sum::<usize>() > 1_000, "{chosen:?}");
}
