//! The `params` of a put, and what they ask for. Pure.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Error;
use crate::image::Digest;
use crate::registry::{is_tag, or_default, or_nothing, with_access_keys};

/// The `params` of a put.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutParams {
    /// The image to push: a path below the put's inputs, or a pattern that matches one.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "String")]
    pub image: String,
    /// The image to promote, from another repository or the same.
    #[serde(default, deserialize_with = "or_nothing")]
    pub from: Option<PutFrom>,
    /// A file with the digest of the image to promote: `digest` or `image` of an earlier get.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "String")]
    pub digest_file: String,
    /// Carry the signatures, attestations and other referrers of a promoted image along.
    #[serde(default, deserialize_with = "or_nothing")]
    pub with_signatures: Option<bool>,
    /// A semantic version; its tag is written in full, with the source's variant.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "String")]
    pub version: String,
    /// Let `1.2`, `1` and `latest` move to `version` where nothing newer has them.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "bool")]
    pub bump_aliases: bool,
    /// A file of more tags, separated by white space.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "String")]
    pub additional_tags: String,
    /// What is put in front of each tag of `additional_tags`.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "String")]
    pub tag_prefix: String,
}

with_access_keys! {
/// An image in a registry. Without keys to log in with, it is fetched with the source's.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutFrom {
    /// Its repository; the default is the source's.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "String")]
    pub repository: String,
    /// Its digest.
    #[serde(default, deserialize_with = "or_nothing")]
    pub digest: Option<Digest>,
    /// Its tag.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "String")]
    pub tag: String,
}
}

/// What is asked for.
#[derive(Debug)]
pub(super) enum Wanted<'a> {
    /// Push what is on disk.
    Push {
        /// The pattern of its path.
        pattern: &'a str,
    },
    /// Promote what is in a registry.
    Promote {
        /// From where, where it is said.
        from: Option<&'a PutFrom>,
        /// Which one.
        which: Which<'a>,
    },
}

/// How the image to promote is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Which<'a> {
    /// By a tag or a digest.
    Reference(String),
    /// By a file.
    File(&'a str),
}

impl PutParams {
    /// Decides what is asked for.
    pub(super) fn wanted(&self) -> Result<Wanted<'_>, Error> {
        let wrong = |problem: &str, remedy| Error::Params { problem: problem.to_owned(), remedy };
        if !self.tag_prefix.is_empty() && self.additional_tags.is_empty() {
            let remedy = "it goes in front of the tags in the file of `additional_tags`: set that too";
            return Err(wrong("`params.tag_prefix` has no `additional_tags` to go with", remedy));
        }
        let is_promotion = self.from.is_some() || !self.digest_file.is_empty();
        if !self.image.is_empty() {
            let other = if self.from.is_some() { "from" } else { "digest_file" };
            return if is_promotion {
                let problem = format!("`params.image` and `params.{other}` are two images");
                Err(wrong(&problem, "push the one or promote the other, in two puts"))
            } else {
                Ok(Wanted::Push { pattern: &self.image })
            };
        }
        if !is_promotion {
            let remedy = "name the image's file, or the one to promote in `from` or `digest_file`";
            return Err(wrong("`params.image` is missing", remedy));
        }
        let from = self.from.as_ref();
        let digest =
            from.and_then(|from| from.digest.as_ref()).map(|digest| Which::Reference(digest.to_string()));
        let tag = from.map(|from| from.tag.as_str()).filter(|tag| !tag.is_empty());
        if let Some(wrong) = tag.filter(|tag| !is_tag(tag)) {
            return Err(Error::Tag { tag: wrong.to_owned(), origin: "in `params.from.tag`".to_owned() });
        }
        let tag = tag.map(|tag| Which::Reference(tag.to_owned()));
        let file = (!self.digest_file.is_empty()).then_some(Which::File(&self.digest_file));
        let mut named = [digest, tag, file].into_iter().flatten();
        match (named.next(), named.next()) {
            (Some(which), None) => Ok(Wanted::Promote { from, which }),
            (None, _) => {
                let remedy = "add `digest` or `tag` to it, or name a file in `digest_file`";
                Err(wrong("`params.from` does not say which image", remedy))
            }
            (Some(_), Some(_)) => {
                let remedy = "keep one of `from.digest`, `from.tag` and `digest_file`";
                Err(wrong("`params` name the image to promote more than once", remedy))
            }
        }
    }
}

/// Reads the file of `digest_file`: a digest, or `repository@digest`.
pub(super) fn digest_of_file(text: &str) -> Option<(Option<String>, Digest)> {
    let text = text.trim();
    let (repository, digest) = match text.split_once('@') {
        Some((repository, digest)) => (Some(repository.to_owned()), digest),
        None => (None, text),
    };
    Some((repository, digest.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn digest() -> String {
        format!("sha256:{}", "a".repeat(64))
    }

    fn params(value: Value) -> PutParams {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn image_is_pushed_or_promoted() {
        assert!(matches!(
            params(json!({"image": "a/*.tar"})).wanted(),
            Ok(Wanted::Push { pattern: "a/*.tar" })
        ));
        for (value, wanted) in [
            (json!({"from": {"repository": "a", "digest": digest()}}), Which::Reference(digest())),
            (json!({"from": {"repository": "a", "tag": "1"}}), Which::Reference("1".to_owned())),
            (json!({"from": {"repository": "a"}, "digest_file": "x/digest"}), Which::File("x/digest")),
            (json!({"digest_file": "x/digest"}), Which::File("x/digest")),
            (json!({"from": {"repository": "a", "tag": "", "digest": digest()}}), Which::Reference(digest())),
        ] {
            let params = params(value);
            let Ok(Wanted::Promote { which, .. }) = params.wanted() else { panic!("{params:?}") };
            assert_eq!(which, wanted);
        }
    }

    #[test]
    fn params_that_contradict_each_other_are_refused() {
        for (value, words) in [
            (json!({}), "`params.image` is missing"),
            (json!({"image": "a", "from": {"tag": "1"}}), "`params.image` and `params.from` are two images"),
            (
                json!({"image": "a", "digest_file": "b"}),
                "`params.image` and `params.digest_file` are two images",
            ),
            (json!({"from": {"repository": "a"}}), "`params.from` does not say which image"),
            (json!({"from": {"tag": "1", "digest": digest()}}), "more than once"),
            (json!({"from": {"tag": "1"}, "digest_file": "b"}), "more than once"),
            (
                json!({"image": "a", "tag_prefix": "x-"}),
                "`params.tag_prefix` has no `additional_tags` to go with",
            ),
        ] {
            let error = params(value).wanted().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn empty_values_are_values_that_are_not_there() {
        let value = json!({"image": "a", "from": null, "digest_file": "", "version": null, "bump_aliases": null,
            "additional_tags": "", "tag_prefix": "", "with_signatures": null});
        assert!(matches!(params(value).wanted(), Ok(Wanted::Push { .. })));
        let value = json!({"image": "a", "from": "", "with_signatures": "", "bump_aliases": ""});
        assert!(matches!(params(value).wanted(), Ok(Wanted::Push { .. })));
        let value = json!({"from": {"tag": "1", "digest": "", "insecure": ""}});
        assert!(matches!(params(value).wanted(), Ok(Wanted::Promote { .. })));
    }

    #[test]
    fn file_names_a_digest_with_or_without_its_repository() {
        let bare: Digest = digest().parse().unwrap();
        assert_eq!(digest_of_file(&format!(" {bare}\n")), Some((None, bare.clone())));
        let whole = format!("registry.example.com:5000/app@{bare}");
        assert_eq!(digest_of_file(&whole), Some((Some("registry.example.com:5000/app".to_owned()), bare)));
        for wrong in ["", "latest", "app@latest", "sha256:beef", "app:1"] {
            assert_eq!(digest_of_file(wrong), None, "{wrong}");
        }
    }
}
