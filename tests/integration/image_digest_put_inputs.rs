//! Wrong inputs to `image-digest out`: each is one clear line, and no registry hears of it.

use serde_json::{Value, json};

use crate::support::images::{archive, directory, gzipped, packed, saved};
use crate::support::registry::Registry;
use crate::support::toolkit::Toolkit;

/// The params, what the error must say and what the hint must say.
type Case = (Value, &'static str, &'static str);

/// The inputs of the put: what is right, and what is wrong in every way.
fn inputs(toolkit: &Toolkit) {
    let files = saved(&[b"layer"], &[b"packed"]);
    let at = |path: &str| toolkit.directory().join(path);
    archive(&at("ok/image.tar"), &files);
    archive(&at("two/a.tar"), &files);
    archive(&at("two/b.tar"), &files);
    let bytes = packed(&files);
    toolkit.file("bad/text.tar", "this is a text");
    toolkit.file("bad/empty.tar", "");
    std::fs::write(at("bad/cut.tar"), &bytes[..bytes.len() - 2448]).unwrap();
    std::fs::write(at("bad/cut.tgz"), &gzipped(&bytes)[..100]).unwrap();
    std::fs::write(at("bad/image.tar.zst"), [0x28, 0xb5, 0x2f, 0xfd, 0, 0]).unwrap();
    archive(&at("bad/rootfs.tar"), &vec![("etc/passwd".to_owned(), b"root".to_vec())]);
    let without = |name: &str| files.iter().filter(|(it, _)| it != name).cloned().collect();
    archive(&at("bad/no-config.tar"), &without("config.json"));
    archive(&at("bad/no-layer.tar"), &without("0.tar.gz"));
    let mut other = files.clone();
    other[0].1 = b"other".to_vec();
    archive(&at("bad/other-layer.tar"), &other);
    directory(
        &at("bad/layout"),
        &vec![("index.json".to_owned(), b"{\"manifests\": [{\"digest\": \"latest\"}]}".to_vec())],
    );
    let absent = format!("{{\"manifests\": [{{\"digest\": \"sha256:{}\", \"size\": 2}}]}}", "a".repeat(64));
    directory(&at("bad/absent"), &vec![("index.json".to_owned(), absent.into_bytes())]);
    toolkit.folder("bad/nothing");
    toolkit.file("tags/none", " \n\t\n");
    toolkit.file("tags/wrong", "fine not/fine");
    toolkit.file("tags/long", &"x".repeat(129));
    std::fs::write(at("tags/binary"), [0xff, 0xfe, 0]).unwrap();
    toolkit.file("digests/wrong", "latest");
    toolkit.file("digests/empty", "");
}

fn cases() -> Vec<Case> {
    let image = |path: &str| json!({ "image": path });
    let tags = |path: &str| json!({"image": "ok/image.tar", "additional_tags": path});
    let version = |text: &str| json!({"image": "ok/image.tar", "version": text});
    let no_image = "is not an image that can be pushed: ";
    vec![
        (json!({}), "`params.image` is missing", "name the image's file"),
        (image("ok/*.tgz"), "`params.image`: `ok/*.tgz` matches nothing", "begin with the name of an input"),
        (
            image("nowhere/image.tar"),
            "`nowhere/image.tar` matches nothing",
            "begin with the name of an input",
        ),
        (image("two/*"), "`two/*` matches 2 paths: `two/a.tar`, `two/b.tar`", "name one file or directory"),
        (image("ok/[.tar"), "`ok/[.tar` is not a pattern", "`*`, `?` and `[a-z]` match"),
        (image("../../etc/passwd"), "leads out of the step's directory", ""),
        (image("bad/text.tar"), no_image, "`docker save`"),
        (image("bad/empty.tar"), "there is nothing in it", "`docker save`"),
        (image("bad/cut.tar"), "it ends early", "`docker save`"),
        (image("bad/cut.tgz"), "it ends early", "`docker save`"),
        (image("bad/image.tar.zst"), "it is compressed with zstd, and only gzip is read", ""),
        (image("bad/rootfs.tar"), "it has neither `manifest.json` nor `index.json`", "`docker save`"),
        (image("bad/no-config.tar"), "`config.json` is missing in it", ""),
        (image("bad/no-layer.tar"), "`0.tar.gz` is missing in it", ""),
        (image("bad/other-layer.tar"), "the config says that the digest of `0/layer.tar` is", ""),
        (image("bad/layout"), "`latest` is not a digest", ""),
        (image("bad/absent"), "is missing in it", ""),
        (image("bad/nothing"), "it has neither `index.json` nor `manifest.json`", ""),
        (image("two"), "but there is `a.tar` in it", ""),
        (version("latest"), "`params.version`: `latest` is not a version", "a version is `1.2.3`"),
        (version("1.2.3.4"), "`params.version`: `1.2.3.4` is not a version", "a version is `1.2.3`"),
        (version("1.2.3+5"), "has build metadata, which no tag can hold", ""),
        (
            json!({"image": "ok/image.tar", "version": 1.2}),
            "`params.version`: expected a string, found the number `1.2`",
            "",
        ),
        (tags("tags/none"), "`[DIR]/tags/none` has no tag in it", "separated by white space"),
        (
            tags("tags/wrong"),
            "`not/fine`, in `tags/wrong`, which `params.additional_tags` names, is not a tag",
            "at most 128 letters",
        ),
        (tags("tags/long"), "is not a tag", "at most 128 letters"),
        (tags("tags/binary"), "`[DIR]/tags/binary` is no text", ""),
        (
            tags("tags/absent"),
            "failed to read `[DIR]/tags/absent`, which `params.additional_tags` names: No such file",
            "its path begins with the name of one",
        ),
        (
            tags("tags"),
            "failed to read `[DIR]/tags`, which `params.additional_tags` names: Is a directory",
            "its path begins with the name of one",
        ),
        (
            json!({"digest_file": "digests/absent"}),
            "failed to read `[DIR]/digests/absent`, which `params.digest_file` names: No such file",
            "its path begins with the name of one",
        ),
        (
            json!({"image": "ok/image.tar", "tag_prefix": "x-"}),
            "`params.tag_prefix` has no `additional_tags` to go with",
            "",
        ),
        (
            json!({"image": "ok/image.tar", "from": {"tag": "1"}}),
            "`params.image` and `params.from` are two images",
            "",
        ),
        (
            json!({"image": "ok/image.tar", "digest_file": "x"}),
            "`params.image` and `params.digest_file` are two images",
            "",
        ),
        (
            json!({"from": {"repository": "x.io/app"}}),
            "`params.from` does not say which image",
            "add `digest` or `tag`",
        ),
        (json!({"from": {"digest": "latest"}}), "`params.from.digest`: `latest` is not a digest", ""),
        (json!({"from": {"tag": "a/b"}}), "`a/b`, in `params.from.tag`, is not a tag", ""),
        (json!({"from": {"repository": "https://x.io/app", "tag": "1"}}), "leave out `https://`", ""),
        (
            json!({"from": {"repositry": "x"}}),
            "`params.from.repositry`: unknown key; did you mean `repository`?",
            "",
        ),
        (
            json!({"digest_file": "digests/wrong"}),
            "`[DIR]/digests/wrong` names no digest",
            "of an earlier get",
        ),
        (
            json!({"digest_file": "digests/empty"}),
            "`[DIR]/digests/empty` names no digest",
            "of an earlier get",
        ),
        (json!({"digest_file": "ok/image.tar"}), "`[DIR]/ok/image.tar` ", ""),
        (json!({"imag": "x"}), "`params.imag`: unknown key; did you mean `image`?", ""),
    ]
}

#[test]
fn wrong_put_is_one_clear_line_and_reaches_no_registry() {
    let (toolkit, registry) = (Toolkit::new(), Registry::plain());
    inputs(&toolkit);
    for (params, error, hint) in cases() {
        let source = json!({"repository": registry.repository("app"), "tag": "latest"});
        let request = json!({"source": source, "params": params}).to_string();
        let outcome = toolkit.step("image-digest", "out", Some(toolkit.directory()), &request);
        let lines: Vec<_> = outcome.stderr.lines().collect();
        assert_eq!(outcome.code, Some(1), "{params}: {outcome}");
        assert!(lines[0].starts_with("error: ") && lines[0].contains(error), "{params}: {outcome}");
        assert!(lines.get(1).is_none_or(|line| line.starts_with("hint: ")), "{params}: {outcome}");
        assert!(hint.is_empty() || lines[1].contains(hint), "{params}: {outcome}");
        assert!(lines.len() <= 2 && outcome.stdout.is_empty(), "{params}: {outcome}");
        assert_eq!(registry.requests(), [""; 0], "{params}");
    }
}

#[test]
fn put_without_a_tag_says_where_one_goes() {
    let (toolkit, registry) = (Toolkit::new(), Registry::plain());
    inputs(&toolkit);
    let request = json!({"source": {"repository": registry.repository("app")}, "params": {"image": "ok/*"}});
    let outcome = toolkit.step("image-digest", "out", Some(toolkit.directory()), &request.to_string());
    insta::assert_snapshot!(outcome, @r"
    exit 1
    --- stderr
    error: there is no tag to push
    hint: set `tag` in the source, or `version` or `additional_tags` in the params
    ");
}

#[test]
fn notary_is_refused_with_what_took_its_place() {
    let (toolkit, registry) = (Toolkit::new(), Registry::plain());
    inputs(&toolkit);
    let source = json!({"repository": registry.repository("app"), "tag": "latest",
        "content_trust": {"repository_key_id": "abc", "repository_key": "canary"}});
    let request = json!({"source": source, "params": {"image": "ok/*"}}).to_string();
    let outcome = toolkit.step("image-digest", "out", Some(toolkit.directory()), &request);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("`content_trust`") && outcome.stderr.contains("cosign"), "{outcome}");
    assert!(!outcome.stderr.contains("canary"));
    assert!(registry.requests().is_empty());
}
