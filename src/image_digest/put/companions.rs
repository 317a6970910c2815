//! What goes along with a promoted image without being a part of it: signatures, attestations and
//! SBOMs of cosign, which are tags named after the digest, and whatever else refers to it.

use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use serde_json::{Value, json};

use super::Error;
use super::content::Content;
use super::graph::Node;
use super::promote::walked;
use super::push::Push;
use crate::image::{Digest, Pinned};
use crate::log::Log;
use crate::registry::{self, Client, digest_of};

/// What cosign appends to the name of a digest.
const TAGS: [&str; 3] = ["sig", "att", "sbom"];

/// Things that refer to things that refer to an image, and so on, end somewhere before this.
const MOST: usize = 200;

/// Manifests that are asked about at the same time.
const PARALLEL: usize = 4;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// One thing that goes along.
pub(super) struct Companion {
    content: Content,
    name: Name,
}

/// How it is found.
enum Name {
    /// By a tag that is made of the digest of the image.
    Tag(String),
    /// By what it says that it refers to.
    Subject(Digest),
}

/// Finds what goes along with an image. A registry that does not want to be asked has nothing.
pub(super) async fn found(
    client: &Arc<Client>,
    content: &Content,
    whole: &Pinned,
    log: &Log,
) -> Result<Vec<Companion>, Error> {
    let mut ahead: Vec<Digest> = content.manifests.iter().map(|node| node.digest.clone()).collect();
    let mut all = Vec::new();
    while !ahead.is_empty() && all.len() < MOST {
        let looks = stream::iter(&ahead).map(|digest| of_one(client, digest, whole)).buffered(PARALLEL);
        let looks: Result<Vec<Vec<Companion>>, Error> = looks.try_collect().await;
        let new = match looks {
            Err(Error::Registry(error)) if error.is_refusal() || error.is_denied() => {
                log.line(format_args!("warning: signatures and referrers stay behind: {error}"));
                Vec::new()
            }
            looks => looks?.into_iter().flatten().collect(),
        };
        let referring = new.iter().filter(|it| matches!(it.name, Name::Subject(_)));
        ahead =
            referring.filter_map(|it| it.content.manifests.last()).map(|node| node.digest.clone()).collect();
        all.extend(new);
    }
    Ok(all)
}

async fn of_one(client: &Arc<Client>, digest: &Digest, whole: &Pinned) -> Result<Vec<Companion>, Error> {
    let mut found = Vec::new();
    for suffix in TAGS {
        let tag = format!("{}.{suffix}", stem(digest));
        if let Some(content) = fetched(client, &tag, whole).await? {
            found.push(Companion { content, name: Name::Tag(tag) });
        }
    }
    for referrer in client.referrers(digest).await? {
        if let Some(content) = fetched(client, referrer.digest.as_str(), whole).await? {
            found.push(Companion { content, name: Name::Subject(digest.clone()) });
        }
    }
    Ok(found)
}

async fn fetched(client: &Arc<Client>, reference: &str, whole: &Pinned) -> Result<Option<Content>, Error> {
    let Some(manifest) = client.manifest(reference).await? else { return Ok(None) };
    // What is no manifest that we know is nothing that could be carried.
    match Node::read(manifest.bytes, "") {
        Ok(node) => walked(client, node, whole).await.map(Some),
        Err(_) => Ok(None),
    }
}

/// Pushes what goes along. Nothing that the target has under the same name is replaced: that may be
/// a signature which was made there.
pub(super) async fn push(image: &Push<'_>, companions: &[Companion]) -> Result<(), Error> {
    for Companion { content, name } in companions {
        let Some(root) = content.manifests.last() else { continue };
        if let Name::Tag(tag) = name
            && let Some(there) = image.client.head(tag).await?
        {
            if there != root.digest {
                let log = &image.context.log;
                log.line(format_args!("warning: the target has another `{tag}`, which stays as it is"));
            }
            continue;
        }
        Push { content, ..*image }.parts().await?;
        let reference = match name {
            Name::Tag(tag) => tag.as_str(),
            Name::Subject(_) => root.digest.as_str(),
        };
        let is_listed = image.client.put_manifest(reference, &root.media_type, &root.bytes).await?;
        if let Name::Subject(subject) = name
            && !is_listed
        {
            list(image.client, subject, root).await?;
        }
    }
    if !companions.is_empty() {
        let count = companions.len();
        image.context.log.line(format_args!("{count} signatures, attestations and other referrers go along"));
    }
    Ok(())
}

/// Adds a referrer to the tag that stands in for the list, in a registry that keeps none.
async fn list(client: &Client, subject: &Digest, referrer: &Node) -> Result<(), registry::Error> {
    let tag = stem(subject);
    let before = client.manifest(&tag).await?.map(|manifest| manifest.bytes);
    if let Some(index) = extended(before.as_deref(), referrer) {
        client.put_manifest(&tag, INDEX, &index).await?;
    }
    Ok(())
}

/// Returns the list with `referrer` in it; `None` when it is there already.
fn extended(before: Option<&[u8]>, referrer: &Node) -> Option<Vec<u8>> {
    let empty = || json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []});
    let mut index: Value = before.and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_else(empty);
    if !index["manifests"].is_array() {
        index = empty();
    }
    let entries = index["manifests"].as_array_mut()?;
    if entries.iter().any(|entry| entry["digest"] == referrer.digest.as_str()) {
        return None;
    }
    entries.push(entry(referrer));
    serde_json::to_vec(&index).ok()
}

fn entry(referrer: &Node) -> Value {
    let manifest: Value = serde_json::from_slice(&referrer.bytes).unwrap_or_default();
    let kind = match &manifest["artifactType"] {
        Value::Null => manifest["config"]["mediaType"].clone(),
        own => own.clone(),
    };
    let mut entry = json!({
        "mediaType": referrer.media_type,
        "digest": digest_of(&referrer.bytes),
        "size": referrer.bytes.len(),
    });
    for (key, value) in [("artifactType", kind), ("annotations", manifest["annotations"].clone())] {
        if !value.is_null() {
            entry[key] = value;
        }
    }
    entry
}

/// Returns what tags about a digest begin with.
fn stem(digest: &Digest) -> String {
    digest.as_str().replace(':', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn referrer(kind: &str) -> Node {
        let manifest =
            json!({"schemaVersion": 2, "artifactType": kind, "layers": [], "annotations": {"a": "b"}});
        Node::read(manifest.to_string().into_bytes(), "").unwrap()
    }

    #[test]
    fn referrer_is_listed_once_beside_those_that_are_there() {
        let (one, two) = (referrer("x/one"), referrer("x/two"));
        let first = extended(None, &one).unwrap();
        assert_eq!(extended(Some(&first), &one), None);
        let both: Value = serde_json::from_slice(&extended(Some(&first), &two).unwrap()).unwrap();
        let listed = both["manifests"].as_array().unwrap();
        let kinds: Vec<_> = listed.iter().map(|entry| entry["artifactType"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["x/one", "x/two"]);
        assert_eq!(listed[1]["annotations"], json!({"a": "b"}));
        assert_eq!(listed[1]["digest"], two.digest.as_str());
    }

    #[test]
    fn list_that_is_none_is_begun_anew() {
        for before in [&b"{}"[..], b"[]", b"not json"] {
            let index: Value =
                serde_json::from_slice(&extended(Some(before), &referrer("x/one")).unwrap()).unwrap();
            assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
        }
    }

    #[test]
    fn kind_of_a_referrer_without_one_is_that_of_its_config() {
        let manifest =
            json!({"config": {"mediaType": "x/config", "digest": digest_of(b""), "size": 0}, "layers": []});
        let node = Node::read(manifest.to_string().into_bytes(), "").unwrap();
        assert_eq!(entry(&node)["artifactType"], "x/config");
    }
}
